//! From a kind to the path of its objects, as the API server says it.

use millrace_model::source::api_server::ObjectKind;
use serde::Deserialize;

use super::client::{Form, MAX_BODY, Origin, Trouble};

/// How the objects of a kind are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) kind: ObjectKind,
    /// `configmaps`.
    pub(super) plural: String,
    pub(super) is_namespaced: bool,
}

/// What a version of a group has.
#[derive(Deserialize)]
struct Listed {
    resources: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    kind: String,
    namespaced: bool,
    #[serde(default)]
    verbs: Vec<String>,
}

/// Looks a kind up.
///
/// # Errors
/// [`Trouble::Missing`] when the API server knows no such kind at this time.
pub(super) async fn discover(origin: &Origin, kind: &ObjectKind) -> Result<Resource, Trouble> {
    let body = match origin.get(&root(kind), Form::Answer, MAX_BODY).await {
        Err(Trouble::Missing(_)) => return Err(missing(kind)),
        answer => answer?,
    };
    let listed: Listed = serde_json::from_slice(&body)
        .map_err(|error| Trouble::Failed(format!("what the API server lists cannot be read: {error}")))?;
    pick(listed, kind)
}

fn pick(listed: Listed, kind: &ObjectKind) -> Result<Resource, Trouble> {
    // A name with a slash is a part of an object, as `pods/log`.
    let mut found = listed
        .resources
        .into_iter()
        .filter(|entry| entry.kind == kind.kind && !entry.name.contains('/'));
    let entry = found.next().ok_or_else(|| missing(kind))?;
    if let Some(verb) = ["list", "watch"]
        .into_iter()
        .find(|verb| !entry.verbs.iter().any(|known| known == verb))
    {
        let what = &kind.kind;
        return Err(Trouble::Failed(format!(
            "the API server has no `{verb}` for a {what}"
        )));
    }
    Ok(Resource {
        kind: kind.clone(),
        plural: entry.name,
        is_namespaced: entry.namespaced,
    })
}

fn missing(kind: &ObjectKind) -> Trouble {
    Trouble::Missing(format!(
        "the API server knows no {} of {}",
        kind.kind, kind.api_version
    ))
}

/// Where everything of this version of a group lies. Only the group `""` lies elsewhere.
fn root(kind: &ObjectKind) -> String {
    let version = &kind.api_version;
    let apis = if version.contains('/') { "apis" } else { "api" };
    format!("/{apis}/{version}")
}

// === impl Resource ===

impl Resource {
    /// The path of the objects of one namespace or, where none is given, of all of them.
    pub(super) fn path(&self, namespace: Option<&str>) -> String {
        let (root, plural) = (root(&self.kind), &self.plural);
        match namespace.filter(|_| self.is_namespaced) {
            Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}"),
            None => format!("{root}/{plural}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(api_version: &str, kind: &str) -> ObjectKind {
        ObjectKind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        }
    }

    fn listed(entries: &str) -> Listed {
        serde_json::from_str(&format!(
            r#"{{"kind":"APIResourceList","resources":[{entries}]}}"#
        ))
        .unwrap()
    }

    #[test]
    fn a_kind_is_found_by_its_own_name_and_not_by_that_of_a_part() {
        let entries = r#"{"name":"pods/log","kind":"Pod","namespaced":true,"verbs":["get"]},
            {"name":"pods","kind":"Pod","namespaced":true,"verbs":["get","list","watch"]},
            {"name":"nodes","kind":"Node","namespaced":false,"verbs":["list","watch"]},
            {"name":"bindings","kind":"Binding","namespaced":true,"verbs":["create"]}"#;
        let pod = pick(listed(entries), &kind("v1", "Pod")).unwrap();
        assert_eq!(pod.path(Some("shop")), "/api/v1/namespaces/shop/pods");
        assert_eq!(pod.path(None), "/api/v1/pods");
        let node = pick(listed(entries), &kind("v1", "Node")).unwrap();
        assert_eq!(node.path(Some("shop")), "/api/v1/nodes");
        let binding = pick(listed(entries), &kind("v1", "Binding")).unwrap_err();
        assert_eq!(binding.to_string(), "the API server has no `list` for a Binding");
        let wheel = pick(listed(entries), &kind("v1", "Wheel")).unwrap_err();
        assert!(matches!(wheel, Trouble::Missing(_)), "{wheel}");
    }

    #[test]
    fn named_groups_lie_apart_from_the_first() {
        let deployment = Resource {
            kind: kind("apps/v1", "Deployment"),
            plural: "deployments".to_owned(),
            is_namespaced: true,
        };
        assert_eq!(
            deployment.path(Some("a")),
            "/apis/apps/v1/namespaces/a/deployments"
        );
    }
}
