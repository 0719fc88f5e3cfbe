//! From a change to its event, in the form of Knative's ApiServerSource, with an id that a repeat has again.

use bytes::Bytes;
use millrace_event::{DataForm, Event, Invalid, SpecVersion};
use millrace_model::source::api_server::ObjectMode;
use serde::Serialize;

use super::difference::{Change, Verb};
use super::discover::Resource;

/// Set to `true` on an event that was found by comparing a list with what had been told.
const RECONSTRUCTED: &str = "millracereconstructed";
/// Set to `true` on an event of the mode `Resource` that has not the whole object.
const PARTIAL: &str = "millracepartial";

/// What the events of one kind have in common.
pub(super) struct Shape<'a> {
    /// The API server's URL.
    pub(super) url: &'a str,
    pub(super) resource: &'a Resource,
    pub(super) mode: ObjectMode,
    /// The most data of an event, in bytes.
    pub(super) max_bytes: usize,
}

/// An `ObjectReference`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference<'a> {
    api_version: &'a str,
    kind: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
}

/// An object of which only the row is left, or that is too large.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Partial<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: PartialMetadata<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PartialMetadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    uid: &'a str,
    resource_version: &'a str,
}

// === impl Shape ===

impl Shape<'_> {
    /// The event of a change.
    pub(super) fn event(&self, change: &Change) -> Result<Event, Invalid> {
        let (kind, row, verb) = (&self.resource.kind, &change.row, change.verb.as_str());
        let mode = match self.mode {
            ObjectMode::Reference => "ref",
            ObjectMode::Resource => "resource",
        };
        let (data, is_partial) = self.data(change);
        let mut event = Event::builder(SpecVersion::V10)
            .attribute("id", &format!("{}.{}.{verb}", change.uid, row.version))
            .attribute("source", self.url)
            .attribute("type", &format!("dev.knative.apiserver.{mode}.{verb}"))
            .attribute("subject", &self.subject(change))
            .attribute("datacontenttype", "application/json")
            .attribute("kind", &kind.kind)
            .attribute("apiversion", &kind.api_version)
            .attribute("name", &row.name);
        if let Some(namespace) = &row.namespace {
            event = event.attribute("namespace", namespace);
        }
        for (name, is_so) in [(RECONSTRUCTED, change.is_reconstructed), (PARTIAL, is_partial)] {
            if is_so {
                event = event.attribute(name, "true");
            }
        }
        event.data(DataForm::Json, &data).build()
    }

    /// Whether the object of a change is larger than an event may be.
    pub(super) fn is_too_large(&self, change: &Change) -> bool {
        self.mode == ObjectMode::Resource
            && change
                .body
                .as_ref()
                .is_some_and(|body| body.len() > self.max_bytes)
    }

    /// As Knative writes it: also what lies elsewhere lies under `/apis/`.
    fn subject(&self, change: &Change) -> String {
        let (version, plural) = (&self.resource.kind.api_version, &self.resource.plural);
        let name = &change.row.name;
        match &change.row.namespace {
            Some(namespace) => format!("/apis/{version}/namespaces/{namespace}/{plural}/{name}"),
            None => format!("/apis/{version}/{plural}/{name}"),
        }
    }

    fn data(&self, change: &Change) -> (Bytes, bool) {
        let (kind, row) = (&self.resource.kind, &change.row);
        match (self.mode, &change.body) {
            (ObjectMode::Reference, _) => {
                let reference = Reference {
                    api_version: &kind.api_version,
                    kind: &kind.kind,
                    name: &row.name,
                    namespace: row.namespace.as_deref(),
                };
                (json(&reference), false)
            }
            (ObjectMode::Resource, Some(body)) if body.len() <= self.max_bytes => (body.clone(), false),
            (ObjectMode::Resource, _) => {
                let partial = Partial {
                    api_version: &kind.api_version,
                    kind: &kind.kind,
                    metadata: PartialMetadata {
                        name: &row.name,
                        namespace: row.namespace.as_deref(),
                        uid: &change.uid,
                        resource_version: &row.version,
                    },
                };
                (json(&partial), true)
            }
        }
    }
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value)
        .expect("invariant: texts can be written as JSON")
        .into()
}

/// What an event of this change is called in a message.
pub(super) fn shown(change: &Change) -> String {
    let row = &change.row;
    let verb = match change.verb {
        Verb::Add => "addition",
        Verb::Update => "update",
        Verb::Delete => "end",
    };
    match &row.namespace {
        Some(namespace) => format!("the {verb} of {namespace}/{}", row.name),
        None => format!("the {verb} of {}", row.name),
    }
}

#[cfg(test)]
mod tests {
    use millrace_model::source::api_server::ObjectKind;

    use super::super::table::Row;
    use super::*;

    fn resource(api_version: &str, kind: &str, plural: &str, is_namespaced: bool) -> Resource {
        Resource {
            kind: ObjectKind {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
            },
            plural: plural.to_owned(),
            is_namespaced,
        }
    }

    fn change(verb: Verb, namespace: Option<&str>, body: Option<&'static str>) -> Change {
        Change {
            verb,
            uid: "6c5d".to_owned(),
            row: Row {
                version: "42".to_owned(),
                namespace: namespace.map(str::to_owned),
                name: "rates".to_owned(),
            },
            body: body.map(|body| Bytes::from_static(body.as_bytes())),
            is_reconstructed: false,
        }
    }

    fn event(resource: &Resource, mode: ObjectMode, change: &Change) -> Event {
        let shape = Shape {
            url: "https://10.96.0.1:443",
            resource,
            mode,
            max_bytes: 40,
        };
        shape.event(change).unwrap()
    }

    fn attributes(event: &Event) -> Vec<String> {
        let all = event.attributes().skip(1);
        all.map(|(name, value)| format!("{name}={}", value.text))
            .collect()
    }

    #[test]
    fn a_reference_has_knatives_form_and_an_id_that_a_repeat_has_again() {
        let resource = resource("v1", "ConfigMap", "configmaps", true);
        let change = change(Verb::Add, Some("shop"), Some("{}"));
        let told = event(&resource, ObjectMode::Reference, &change);
        assert_eq!(
            attributes(&told),
            [
                "id=6c5d.42.add",
                "source=https://10.96.0.1:443",
                "type=dev.knative.apiserver.ref.add",
                "subject=/apis/v1/namespaces/shop/configmaps/rates",
                "datacontenttype=application/json",
                "kind=ConfigMap",
                "apiversion=v1",
                "name=rates",
                "namespace=shop",
            ]
        );
        let data = r#"{"apiVersion":"v1","kind":"ConfigMap","name":"rates","namespace":"shop"}"#;
        assert_eq!(told.data_ref(), Some(data.as_bytes()));
        assert_eq!(told, event(&resource, ObjectMode::Reference, &change));
    }

    #[test]
    fn a_resource_is_the_object_as_the_server_wrote_it() {
        let resource = resource("apps/v1", "Deployment", "deployments", true);
        let change = change(Verb::Update, Some("shop"), Some(r#"{"b":1.0, "a":2}"#));
        let told = event(&resource, ObjectMode::Resource, &change);
        assert_eq!(
            (told.ty(), told.data_ref()),
            (
                "dev.knative.apiserver.resource.update",
                Some(br#"{"b":1.0, "a":2}"#.as_slice())
            )
        );
        let subject = told.get("subject").unwrap().text;
        assert_eq!(subject, "/apis/apps/v1/namespaces/shop/deployments/rates");
        assert!(told.get(PARTIAL).is_none() && told.get(RECONSTRUCTED).is_none());
    }

    #[test]
    fn what_knows_no_namespace_has_none() {
        let resource = resource("v1", "Node", "nodes", false);
        let told = event(
            &resource,
            ObjectMode::Reference,
            &change(Verb::Delete, None, None),
        );
        assert_eq!(told.get("subject").unwrap().text, "/apis/v1/nodes/rates");
        assert!(told.get("namespace").is_none());
    }

    #[test]
    fn where_only_the_row_is_left_or_the_object_is_too_large_the_event_says_that_it_is_partial() {
        let resource = resource("v1", "ConfigMap", "configmaps", true);
        let large = r#"{"data":"0123456789012345678901234567890123456789"}"#;
        let lost = change(Verb::Delete, Some("shop"), None);
        let large = change(Verb::Update, Some("shop"), Some(large));
        for change in [lost, large] {
            let told = event(&resource, ObjectMode::Resource, &change);
            assert_eq!(told.get(PARTIAL).unwrap().text, "true");
            let data = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"rates","namespace":"shop","uid":"6c5d","resourceVersion":"42"}}"#;
            assert_eq!(told.data_ref(), Some(data.as_bytes()));
            assert!(
                event(&resource, ObjectMode::Reference, &change)
                    .get(PARTIAL)
                    .is_none()
            );
        }
    }

    #[test]
    fn what_was_found_by_comparing_says_so() {
        let resource = resource("v1", "ConfigMap", "configmaps", true);
        let change = Change {
            is_reconstructed: true,
            ..change(Verb::Add, Some("shop"), Some("{}"))
        };
        let told = event(&resource, ObjectMode::Reference, &change);
        assert_eq!(told.get(RECONSTRUCTED).unwrap().text, "true");
        assert_eq!(told.id(), "6c5d.42.add");
    }
}
