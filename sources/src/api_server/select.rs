//! What is selected: where, with which labels, of which owner, and which of its events pass.

use millrace_event::Event;
use millrace_filter::{Decision, Subject, Turns};
use millrace_model::source::ApiServer;
use millrace_model::source::api_server::{ObjectKind, WatchedKind};

use super::discover::Resource;
use super::object::Object;

/// A place that is looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// All namespaces at once.
    Everywhere,
    /// The namespace of the source. Kinds that know no namespaces are looked at here too.
    Own(String),
    /// One of the namespaces whose labels match.
    Matching(String),
    /// Outside of namespaces: what is looked at once beside those whose labels match.
    Outside,
}

/// One kind in one place.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) watched: WatchedKind,
    pub(super) owner: Option<ObjectKind>,
    pub(super) place: Scope,
    /// Which one it is of those in the document that watch the same kind.
    nth: usize,
}

// === impl Scope ===

impl Scope {
    pub(super) fn namespace(&self) -> Option<&str> {
        match self {
            Self::Own(namespace) | Self::Matching(namespace) => Some(namespace),
            Self::Everywhere | Self::Outside => None,
        }
    }

    /// Whether this kind of objects is looked at here.
    fn has(&self, resource: &Resource) -> bool {
        match self {
            Self::Everywhere | Self::Own(_) => true,
            Self::Matching(_) => resource.is_namespaced,
            Self::Outside => !resource.is_namespaced,
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Everywhere => "*",
            Self::Outside => "-",
            Self::Own(namespace) | Self::Matching(namespace) => namespace,
        }
    }
}

// === impl Selection ===

impl Selection {
    /// All kinds of a source in one place.
    pub(super) fn all(spec: &ApiServer, place: &Scope) -> Vec<Self> {
        let kinds = spec.resources.iter().enumerate();
        let selections = kinds.map(|(at, watched)| {
            let earlier = &spec.resources[..at];
            let nth = earlier
                .iter()
                .filter(|other| other.object == watched.object)
                .count();
            Self {
                watched: watched.clone(),
                owner: spec.owner.clone(),
                place: place.clone(),
                nth,
            }
        });
        selections.collect()
    }

    /// The path of the objects; `None` where this kind is not looked at in this place.
    pub(super) fn path(&self, resource: &Resource) -> Option<String> {
        self.place
            .has(resource)
            .then(|| resource.path(self.place.namespace()))
    }

    /// Whether the object is selected; the API server has already checked its labels.
    pub(super) fn takes(&self, object: &Object) -> bool {
        self.owner.is_none() || self.owner == object.controller
    }

    /// The name under which is remembered what was told of it.
    pub(super) fn name(&self) -> String {
        let ObjectKind { api_version, kind } = &self.watched.object;
        format!("{api_version}/{kind}/{}/{}", self.nth, self.place.as_str())
    }

    /// What it is called in a message.
    pub(super) fn shown(&self) -> String {
        let ObjectKind { api_version, kind } = &self.watched.object;
        let nth = match self.nth {
            0 => String::new(),
            nth => format!(" #{}", nth + 1),
        };
        match self.place.namespace() {
            Some(namespace) => format!("{kind} ({api_version}){nth} in {namespace}"),
            None => format!("{kind} ({api_version}){nth}"),
        }
    }

    /// All that decides what is seen of the API server's objects: two tables of the same view can be compared
    /// row by row.
    pub(super) fn view(&self, url: &str) -> String {
        let owner = self.owner.as_ref().map_or_else(String::new, |owner| {
            format!("{}/{}", owner.api_version, owner.kind)
        });
        format!("{url} {} [{}] <{owner}>", self.name(), self.watched.selector)
    }
}

/// What the filters of the source decide about an event: at once, or in turns if that takes long.
pub(super) async fn decide(spec: &ApiServer, event: &Event, turns: &Turns) -> Decision {
    if spec.filters.is_empty() {
        return Decision::Match;
    }
    turns.decide(Subject::new(event), &spec.compiled).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use millrace_event::SpecVersion;
    use millrace_filter::{Compiled, Filter};
    use millrace_model::source::api_server::{Namespaces, ObjectMode};

    use super::*;

    fn kind(api_version: &str, kind: &str) -> ObjectKind {
        ObjectKind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        }
    }

    fn spec(owner: Option<ObjectKind>, filters: Vec<Filter>) -> ApiServer {
        let watched = |selector: &str| WatchedKind {
            object: kind("v1", "Pod"),
            selector: selector.to_owned(),
        };
        ApiServer {
            kubeconfig: None,
            mode: ObjectMode::Reference,
            resources: vec![watched("a=b"), watched("c=d")],
            namespaces: Namespaces::Own,
            owner,
            compiled: Arc::new(Compiled::new(&filters).unwrap()),
            filters,
            initial_list: false,
        }
    }

    fn pod(controller: Option<ObjectKind>) -> Object {
        Object {
            uid: "u".to_owned(),
            version: "1".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "x".to_owned(),
            controller,
            body: Bytes::new(),
        }
    }

    #[test]
    fn an_owner_takes_only_what_it_controls() {
        let replica_set = kind("apps/v1", "ReplicaSet");
        for (owner, controller, expected) in [
            (None, None, true),
            (None, Some(replica_set.clone()), true),
            (Some(replica_set.clone()), None, false),
            (
                Some(replica_set.clone()),
                Some(kind("apps/v1", "StatefulSet")),
                false,
            ),
            (Some(replica_set.clone()), Some(replica_set), true),
        ] {
            let selections = Selection::all(&spec(owner.clone(), Vec::new()), &Scope::Everywhere);
            assert_eq!(
                selections[0].takes(&pod(controller.clone())),
                expected,
                "{owner:?} {controller:?}"
            );
        }
    }

    #[tokio::test]
    async fn filters_are_those_of_triggers() {
        let filter = |ty: &str| vec![Filter::Exact(vec![("type".to_owned(), ty.to_owned())])];
        let event = Event::builder(SpecVersion::V10)
            .attribute("id", "1")
            .attribute("source", "/s")
            .attribute("type", "dev.knative.apiserver.ref.add")
            .build()
            .unwrap();
        for (filters, expected) in [
            (Vec::new(), Decision::Match),
            (filter("dev.knative.apiserver.ref.add"), Decision::Match),
            (filter("dev.knative.apiserver.ref.delete"), Decision::NoMatch),
        ] {
            assert_eq!(
                decide(&spec(None, filters.clone()), &event, &Turns::new(1)).await,
                expected,
                "{filters:?}"
            );
        }
    }

    #[test]
    fn a_kind_that_is_there_twice_is_remembered_twice() {
        let spec = spec(None, Vec::new());
        let [first, second] = Selection::all(&spec, &Scope::Own("shop".to_owned()))
            .try_into()
            .unwrap();
        assert_eq!(
            (first.name(), second.name()),
            ("v1/Pod/0/shop".to_owned(), "v1/Pod/1/shop".to_owned())
        );
        assert_eq!(
            (first.shown(), second.shown()),
            ("Pod (v1) in shop".to_owned(), "Pod (v1) #2 in shop".to_owned())
        );
        assert_ne!(first.view("https://a"), first.view("https://b"));
    }

    #[test]
    fn beside_matching_namespaces_what_knows_none_is_looked_at_once() {
        let selection = |place| Selection::all(&spec(None, Vec::new()), &place)[0].clone();
        let resource = |is_namespaced| Resource {
            kind: kind("v1", "Pod"),
            plural: "pods".to_owned(),
            is_namespaced,
        };
        let own = || Scope::Own("a".to_owned());
        let matching = || Scope::Matching("a".to_owned());
        for (place, is_namespaced, expected) in [
            (Scope::Everywhere, true, Some("/api/v1/pods")),
            (Scope::Everywhere, false, Some("/api/v1/pods")),
            (own(), true, Some("/api/v1/namespaces/a/pods")),
            (own(), false, Some("/api/v1/pods")),
            (matching(), true, Some("/api/v1/namespaces/a/pods")),
            (matching(), false, None),
            (Scope::Outside, true, None),
            (Scope::Outside, false, Some("/api/v1/pods")),
        ] {
            let path = selection(place.clone()).path(&resource(is_namespaced));
            assert_eq!(path.as_deref(), expected, "{place:?} {is_namespaced}");
        }
    }
}
