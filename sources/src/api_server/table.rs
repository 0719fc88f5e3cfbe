//! What has been told: the objects that exist as far as the events go, each with the version that was told
//! last.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::object::Object;

/// The most objects of one kind in one place. Some 300 bytes of memory and 110 bytes of disk each.
pub(super) const MAX_OBJECTS: usize = 100_000;

/// The known objects by uid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Table {
    rows: HashMap<String, Row>,
}

/// What is known of an object: as much as an event of its end needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    #[serde(rename = "v")]
    pub(super) version: String,
    #[serde(rename = "ns", default, skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    #[serde(rename = "n")]
    pub(super) name: String,
}

// === impl Table ===

impl Table {
    pub(super) fn get(&self, uid: &str) -> Option<&Row> {
        self.rows.get(uid)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Row)> {
        self.rows.iter().map(|(uid, row)| (uid.as_str(), row))
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Puts what is known of an object in its place; `None`: it is no longer there.
    pub(super) fn set(&mut self, uid: &str, row: Option<Row>) {
        match row {
            Some(row) => self.rows.insert(uid.to_owned(), row),
            None => self.rows.remove(uid),
        };
    }
}

// === impl Row ===

impl Row {
    pub(super) fn of(object: &Object) -> Self {
        Self {
            version: object.version.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
        }
    }

    /// What the row takes when it is written down, about.
    pub(super) fn size(&self) -> usize {
        self.version.len() + self.name.len() + self.namespace.as_ref().map_or(0, String::len) + 64
    }
}
