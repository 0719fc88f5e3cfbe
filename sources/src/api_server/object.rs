//! One object as the API server wrote it, and the little of it that is read.

use bytes::Bytes;
use millrace_model::source::api_server::ObjectKind;
use serde::Deserialize;
use serde_json::value::RawValue;

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) uid: String,
    /// Its `resourceVersion`.
    pub(super) version: String,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    /// The kind of the object that controls it.
    pub(super) controller: Option<ObjectKind>,
    /// All of it, as JSON.
    pub(super) body: Bytes,
}

/// A page of a list.
pub(super) struct Page {
    /// The objects, and how many could not be read.
    pub(super) objects: Vec<Object>,
    pub(super) unread: usize,
    /// The version of the whole list.
    pub(super) version: String,
    /// Where the next page begins.
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: Option<String>,
    kind: Option<String>,
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    uid: String,
    resource_version: String,
    namespace: Option<String>,
    name: String,
    #[serde(default)]
    owner_references: Vec<Owner>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Owner {
    api_version: String,
    kind: String,
    #[serde(default)]
    controller: bool,
}

#[derive(Deserialize)]
struct RawPage<'a> {
    metadata: PageMetadata,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    resource_version: String,
    #[serde(rename = "continue", default)]
    next: String,
}

// === impl Object ===

impl Object {
    /// Reads an object; a list leaves out the kind of its items, which is put in its place.
    pub(super) fn read(text: &str, kind: &ObjectKind) -> Result<Self, serde_json::Error> {
        let Head {
            api_version,
            kind: own,
            metadata,
        } = serde_json::from_str(text)?;
        let body = match text.strip_prefix('{') {
            Some(rest) if api_version.is_none() && own.is_none() => Bytes::from(format!(
                r#"{{"apiVersion":"{}","kind":"{}",{rest}"#,
                kind.api_version, kind.kind
            )),
            _ => Bytes::copy_from_slice(text.as_bytes()),
        };
        let controller = metadata
            .owner_references
            .into_iter()
            .find(|owner| owner.controller);
        Ok(Self {
            uid: metadata.uid,
            version: metadata.resource_version,
            namespace: metadata.namespace.filter(|namespace| !namespace.is_empty()),
            name: metadata.name,
            controller: controller.map(|owner| ObjectKind {
                api_version: owner.api_version,
                kind: owner.kind,
            }),
            body,
        })
    }
}

// === impl Page ===

impl Page {
    pub(super) fn read(body: &[u8], kind: &ObjectKind) -> Result<Self, serde_json::Error> {
        let RawPage { metadata, items } = serde_json::from_slice(body)?;
        let items = items.unwrap_or_default();
        let objects: Vec<Object> = items
            .iter()
            .filter_map(|item| Object::read(item.get(), kind).ok())
            .collect();
        Ok(Self {
            unread: items.len() - objects.len(),
            objects,
            version: metadata.resource_version,
            next: Some(metadata.next).filter(|next| !next.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config_map() -> ObjectKind {
        ObjectKind {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
        }
    }

    #[test]
    fn an_object_keeps_the_bytes_that_the_server_wrote() {
        let text = r#"{"kind":"ConfigMap", "apiVersion":"v1","data":{"b":"2","a":1.0},"metadata":{"name":"x","namespace":"shop","uid":"u","resourceVersion":"7",
            "ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"n","uid":"1"},{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"2","controller":true}]}}"#;
        let object = Object::read(text, &config_map()).unwrap();
        assert_eq!(object.body, text);
        assert_eq!(
            (object.uid.as_str(), object.version.as_str(), object.name.as_str()),
            ("u", "7", "x")
        );
        assert_eq!(object.namespace.as_deref(), Some("shop"));
        let controller = object.controller.unwrap();
        assert_eq!(
            (controller.api_version.as_str(), controller.kind.as_str()),
            ("apps/v1", "ReplicaSet")
        );
    }

    #[test]
    fn the_items_of_a_list_get_their_kind_back() {
        let page = br#"{"kind":"ConfigMapList","metadata":{"resourceVersion":"9","continue":"abc"},"items":[
            {"metadata":{"name":"x","uid":"u","resourceVersion":"7"},"data":{}}, {"metadata":{}}]}"#;
        let page = Page::read(page, &config_map()).unwrap();
        assert_eq!(
            (page.version.as_str(), page.next.as_deref(), page.unread),
            ("9", Some("abc"), 1)
        );
        let expected = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","uid":"u","resourceVersion":"7"},"data":{}}"#;
        assert_eq!(page.objects[0].body, expected);
    }

    #[test]
    fn a_list_of_nothing_is_a_list() {
        let page = br#"{"metadata":{"resourceVersion":"9"},"items":null}"#;
        let page = Page::read(page, &config_map()).unwrap();
        assert_eq!((page.objects.len(), page.next), (0, None));
    }
}
