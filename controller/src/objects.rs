//! The objects of our kinds, by kind and name: what each says, and what its status says so far.
//!
//! # Contract
//! An object goes only when its deletion is seen, or when it is not in a complete list of its scope. An
//! object whose newest generation is invalid keeps its last valid one in the mesh. What stands on the disk
//! since an earlier run counts until the first complete list.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::core::DynamicObject;
use millrace_crds::{Document, Key, Kind};
use millrace_model::ObjectName;
use serde_json::{Value, json};

use crate::kinds::{CLASS_ANNOTATION, MANAGER};
use crate::watch::{News, Trouble};

/// The objects of all our kinds.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    shelves: BTreeMap<Kind, Shelf>,
}

/// The objects of one kind.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    standings: BTreeMap<Option<String>, Standing>,
    entries: BTreeMap<ObjectName, Entry>,
}

/// What is known of a scope of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing yet.
    #[default]
    Pending,
    /// Everything.
    Complete,
    /// Nothing, and why.
    Failed(Trouble),
}

/// One object.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) uid: String,
    /// Its `resourceVersion`; empty when it is known from the disk only.
    pub(crate) version: String,
    pub(crate) generation: i64,
    /// Its newest generation.
    pub(crate) current: Declared,
    /// The newest generation that is valid.
    pub(crate) valid: Option<Declared>,
    /// Its status, as the API server has it.
    pub(crate) status: Value,
    /// Whether its status was written by us, or by an earlier run.
    pub(crate) is_written: bool,
    /// Whether somebody else writes its status.
    pub(crate) is_shared: bool,
}

/// What an object says.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    /// The object without its status and without what the API server adds.
    pub(crate) object: Arc<Value>,
    /// The same, read.
    pub(crate) document: Arc<Document>,
}

// === impl Objects ===

impl Objects {
    /// Takes in what a watch of a kind says.
    pub(crate) fn see(&mut self, kind: Kind, scope: Option<&str>, news: News) {
        self.shelves.entry(kind).or_default().see(kind, scope, news);
    }

    /// Takes in an object that was kept on the disk.
    pub(crate) fn remember(&mut self, object: Value) {
        let Some(entry) = Entry::kept(object) else { return };
        let shelf = self.shelves.entry(entry.key.kind).or_default();
        shelf.entries.insert(entry.key.name.clone(), entry);
    }

    /// The objects of a kind.
    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        let shelf = self.shelves.get(&kind).into_iter();
        shelf.flat_map(|shelf| shelf.entries.values())
    }

    /// Every object.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.shelves.values().flat_map(|shelf| shelf.entries.values())
    }

    /// One object.
    pub(crate) fn get(&self, kind: Kind, name: &ObjectName) -> Option<&Entry> {
        self.shelves.get(&kind)?.entries.get(name)
    }

    /// Whether these scopes of a kind have been listed completely.
    pub(crate) fn is_complete(&self, kind: Kind, scopes: &[Option<String>]) -> bool {
        scopes
            .iter()
            .all(|scope| self.standing(kind, scope) == Some(&Standing::Complete))
    }

    /// Whether these scopes of a kind have been listed, or cannot be.
    pub(crate) fn is_answered(&self, kind: Kind, scopes: &[Option<String>]) -> bool {
        let is_pending = |scope| matches!(self.standing(kind, scope), None | Some(Standing::Pending));
        !scopes.iter().any(is_pending)
    }

    /// What is known of a scope of a kind.
    pub(crate) fn standing(&self, kind: Kind, scope: &Option<String>) -> Option<&Standing> {
        self.shelves.get(&kind)?.standings.get(scope)
    }
}

// === impl Shelf ===

impl Shelf {
    fn see(&mut self, kind: Kind, scope: Option<&str>, news: News) {
        match news {
            News::Listed(objects) => {
                let read: Vec<Entry> = objects
                    .iter()
                    .filter_map(|object| self.read(kind, object))
                    .collect();
                let is_elsewhere = |name: &ObjectName| scope.is_some_and(|scope| name.namespace() != scope);
                self.entries.retain(|name, _| is_elsewhere(name));
                let named = read.into_iter().map(|entry| (entry.key.name.clone(), entry));
                self.entries.extend(named);
                self.standings
                    .insert(scope.map(str::to_owned), Standing::Complete);
            }
            News::Applied(object) => {
                if let Some(entry) = self.read(kind, &object) {
                    self.entries.insert(entry.key.name.clone(), entry);
                }
            }
            News::Deleted(object) => {
                let (Some(name), uid) = (name_of(&object), object.metadata.uid) else {
                    return;
                };
                if self
                    .entries
                    .get(&name)
                    .is_some_and(|entry| uid.as_ref() == Some(&entry.uid))
                {
                    self.entries.remove(&name);
                }
            }
            News::Failed(trouble) => {
                let standing = self.standings.entry(scope.map(str::to_owned)).or_default();
                standing.fail(trouble);
            }
            News::Reviewed(_) => {}
        }
    }

    fn read(&self, kind: Kind, object: &DynamicObject) -> Option<Entry> {
        let name = name_of(object)?;
        Entry::read(kind, name.clone(), object, self.entries.get(&name))
    }
}

// === impl Standing ===

impl Standing {
    /// Notes that a list failed. What was known once counts on.
    pub(crate) fn fail(&mut self, trouble: Trouble) {
        if *self != Self::Complete {
            *self = Self::Failed(trouble);
        }
    }
}

// === impl Entry ===

impl Entry {
    /// Reads an object; what was read `before` of the same is not read again.
    fn read(kind: Kind, name: ObjectName, object: &DynamicObject, before: Option<&Self>) -> Option<Self> {
        let metadata = &object.metadata;
        let (uid, version) = (metadata.uid.clone()?, metadata.resource_version.clone()?);
        let generation = metadata.generation.unwrap_or_default();
        let fields = metadata.managed_fields.iter().flatten();
        let of_status = fields.filter(|one| one.subresource.as_deref() == Some("status"));
        let (ours, others): (Vec<_>, Vec<_>) =
            of_status.partition(|one| one.manager.as_deref() == Some(MANAGER));
        let status = object.data.get("status").cloned().unwrap_or(Value::Null);
        let object = essence(object);
        let before = before.filter(|before| before.uid == uid);
        let current = match before {
            Some(before) if *before.current.object == object => before.current.clone(),
            _ => Declared::read(object),
        };
        let valid = if current.document.is_valid() {
            Some(current.clone())
        } else {
            before.and_then(|before| before.valid.clone())
        };
        Some(Self {
            key: Key { kind, name },
            uid,
            version,
            generation,
            current,
            valid,
            status,
            is_written: !ours.is_empty(),
            is_shared: !others.is_empty(),
        })
    }

    /// An object that an earlier run has accepted.
    fn kept(object: Value) -> Option<Self> {
        let said = Declared::read(object);
        let document = &said.document;
        if !document.is_valid() {
            return None;
        }
        Some(Self {
            key: document.key.clone()?,
            uid: document.uid.clone()?,
            version: String::new(),
            generation: document.generation?,
            valid: Some(said.clone()),
            current: said,
            status: Value::Null,
            is_written: false,
            is_shared: false,
        })
    }

    /// The document that counts in the mesh; an invalid one only where there never was a valid one.
    pub(crate) fn document(&self) -> &Document {
        let said = self.valid.as_ref().unwrap_or(&self.current);
        &said.document
    }

    /// Its status, as the API server has it; `None` when the object is known from the disk only.
    pub(crate) fn status(&self) -> Option<&Value> {
        (!self.version.is_empty()).then_some(&self.status)
    }

    /// The class of a Broker.
    pub(crate) fn class(&self) -> Option<&str> {
        let annotations = self.current.object.pointer("/metadata/annotations")?;
        annotations.get(CLASS_ANNOTATION)?.as_str()
    }

    /// The Broker that a Trigger names, also where the Trigger is invalid otherwise.
    pub(crate) fn broker(&self) -> Option<ObjectName> {
        let spec = self.current.object.get("spec")?;
        let named = spec.get("broker").and_then(Value::as_str);
        let named = named.filter(|name| !name.is_empty());
        let name = named.or_else(|| spec.pointer("/brokerRef/name").and_then(Value::as_str))?;
        Some(ObjectName::new(self.key.name.namespace(), name))
    }

    /// What identifies what is in the mesh of it: its uid and the generation that counts.
    pub(crate) fn identity(&self) -> (String, i64) {
        (
            self.uid.clone(),
            self.document().generation.unwrap_or(self.generation),
        )
    }
}

// === impl Declared ===

impl Declared {
    pub(crate) fn read(object: Value) -> Self {
        Self {
            document: Arc::new(Document::of_object(&object)),
            object: Arc::new(object),
        }
    }
}

/// The name of an object that has one.
pub(crate) fn name_of(object: &DynamicObject) -> Option<ObjectName> {
    let metadata = &object.metadata;
    Some(ObjectName::new(
        metadata.namespace.clone()?,
        metadata.name.clone()?,
    ))
}

/// What an object says, and who it is.
pub(crate) fn essence(object: &DynamicObject) -> Value {
    let metadata = &object.metadata;
    let mut head = json!({
        "name": metadata.name,
        "namespace": metadata.namespace,
        "uid": metadata.uid,
        "generation": metadata.generation.unwrap_or_default(),
    });
    if let Some(annotations) = &metadata.annotations {
        // What kubectl notes for itself is as large as the object.
        let said = annotations
            .iter()
            .filter(|(name, _)| *name != "kubectl.kubernetes.io/last-applied-configuration");
        head["annotations"] = said.map(|(name, value)| (name.clone(), json!(value))).collect();
    }
    let mut all = match &object.data {
        Value::Object(data) => data.clone(),
        _ => serde_json::Map::new(),
    };
    all.remove("status");
    let (api_version, kind) = object
        .types
        .as_ref()
        .map(|types| (types.api_version.clone(), types.kind.clone()))
        .unwrap_or_default();
    all.insert("apiVersion".to_owned(), json!(api_version));
    all.insert("kind".to_owned(), json!(kind));
    all.insert("metadata".to_owned(), head);
    Value::Object(all)
}
