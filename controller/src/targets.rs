//! What documents refer to beside our own kinds: Services, and any object with an address. One watch a kind,
//! opened with the first reference and closed with the last; of each object only its address is held.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::DynamicObject;
use millrace_crds::{Address, Wanted, authorities};
use millrace_model::{ObjectName, OtherAddresses, Reference, Unresolved};
use serde_json::{Value, json};

use crate::objects::{Standing, name_of};
use crate::service;
use crate::watch::{News, Trouble, Watched, What};

/// A kind, as references name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TargetKind {
    pub(crate) api_version: String,
    pub(crate) kind: String,
}

/// The addresses, by kind and name.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    shelves: BTreeMap<TargetKind, Shelf>,
}

/// The addresses of one kind.
#[derive(Debug, Default)]
struct Shelf {
    standings: BTreeMap<Option<String>, Standing>,
    found: BTreeMap<ObjectName, Target>,
}

/// An object that is referred to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) addresses: Addresses,
    /// Its own condition `Ready`; `None` where it has none, or not yet for its newest generation.
    pub(crate) ready: Option<bool>,
}

/// The addresses of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Addresses {
    /// A Service's by `http`, and by `https`.
    Service(Box<[Result<Address, Unresolved>; 2]>),
    /// Those that the object says, with their names.
    Said(Vec<(Option<String>, Address)>),
}

// === impl Shelf ===

impl Shelf {
    /// Forgets what was known of kinds and namespaces that are not watched any more: it may have changed
    /// when they are watched again.
    fn keep(&mut self, is_watched: impl Fn(Option<String>) -> bool) {
        let Self { standings, found } = self;
        standings.retain(|namespace, _| is_watched(namespace.clone()));
        let is_everywhere = standings.get(&None) == Some(&Standing::Complete);
        found.retain(|name, _| is_everywhere || standings.contains_key(&Some(name.namespace().to_owned())));
    }
}

// === impl TargetKind ===

impl TargetKind {
    pub(crate) fn of(reference: &Reference) -> Self {
        Self {
            api_version: reference.api_version.clone(),
            kind: reference.kind.clone(),
        }
    }

    fn is_service(&self) -> bool {
        self.api_version == "v1" && self.kind == "Service"
    }
}

// === impl Targets ===

impl Targets {
    /// Takes in what a watch of a kind says.
    pub(crate) fn see(&mut self, kind: &TargetKind, scope: Option<&str>, news: News, domain: &str) {
        let shelf = self.shelves.entry(kind.clone()).or_default();
        let read = |object: DynamicObject| {
            let name = name_of(&object)?;
            let target = Target::read(kind, &name, &object.data, object.metadata.generation, domain);
            Some((name, target))
        };
        match news {
            News::Listed(objects) => {
                let is_elsewhere = |name: &ObjectName| scope.is_some_and(|scope| name.namespace() != scope);
                shelf.found.retain(|name, _| is_elsewhere(name));
                shelf.found.extend(objects.into_iter().filter_map(read));
                shelf
                    .standings
                    .insert(scope.map(str::to_owned), Standing::Complete);
            }
            News::Applied(object) => shelf.found.extend(read(*object)),
            News::Deleted(object) => {
                if let Some(name) = name_of(&object) {
                    shelf.found.remove(&name);
                }
            }
            News::Failed(trouble) => {
                let standing = shelf.standings.entry(scope.map(str::to_owned)).or_default();
                standing.fail(trouble);
            }
            News::Reviewed(_) => {}
        }
    }

    /// What to watch for these references; forgets the kinds that nothing refers to any more. A
    /// kind is watched in the whole cluster if that is allowed and nobody asked for less, else in the
    /// namespaces that are referred to.
    pub(crate) fn want(&mut self, references: &BTreeSet<Reference>, is_scoped: bool) -> BTreeSet<Watched> {
        let kinds: BTreeSet<TargetKind> = references.iter().map(TargetKind::of).collect();
        self.shelves.retain(|kind, _| kinds.contains(kind));
        let mut watched = BTreeSet::new();
        for reference in references {
            let kind = TargetKind::of(reference);
            let everywhere = self
                .shelves
                .get(&kind)
                .and_then(|shelf| shelf.standings.get(&None));
            let is_forbidden = everywhere == Some(&Standing::Failed(Trouble::Forbidden));
            let what = What::Target(kind);
            if !is_scoped {
                // Also where it is forbidden: it may be allowed later.
                watched.insert(Watched {
                    what: what.clone(),
                    namespace: None,
                });
            }
            if is_scoped || is_forbidden {
                let namespace = Some(reference.name.namespace().to_owned());
                watched.insert(Watched { what, namespace });
            }
        }
        for (kind, shelf) in &mut self.shelves {
            shelf.keep(|namespace| {
                watched.contains(&Watched {
                    what: What::Target(kind.clone()),
                    namespace,
                })
            });
        }
        watched
    }

    /// What is known of an object.
    ///
    /// # Errors
    /// Why nothing is.
    pub(crate) fn get(&self, reference: &Reference) -> Result<&Target, Unresolved> {
        let shelf = self
            .shelves
            .get(&TargetKind::of(reference))
            .ok_or(Unresolved::Pending)?;
        let own = Some(reference.name.namespace().to_owned());
        let known = [None, own].map(|scope| shelf.standings.get(&scope));
        let has = |standing: &Standing| known.contains(&Some(standing));
        if has(&Standing::Complete) {
            return shelf.found.get(&reference.name).ok_or(Unresolved::NotFound);
        }
        Err(if has(&Standing::Failed(Trouble::Missing)) {
            Unresolved::KindNotFound
        } else if known[1] == Some(&Standing::Failed(Trouble::Forbidden)) {
            Unresolved::Forbidden
        } else {
            Unresolved::Pending
        })
    }
}

// === impl Target ===

impl Target {
    fn read(
        kind: &TargetKind,
        name: &ObjectName,
        object: &Value,
        generation: Option<i64>,
        domain: &str,
    ) -> Self {
        let status = &object["status"];
        let addresses = if kind.is_service() {
            let by = |tls| service::address(name, object, domain, tls).map(Address::from);
            Addresses::Service(Box::new([by(false), by(true)]))
        } else {
            Addresses::of(status)
        };
        Self {
            addresses,
            ready: ready(status, generation),
        }
    }
}

// === impl Addresses ===

impl Addresses {
    /// The addresses in the status of an object: the list of them, else the one.
    pub(crate) fn of(status: &Value) -> Self {
        let list = status["addresses"].as_array().filter(|list| !list.is_empty());
        let said = match list {
            Some(list) => list.iter().collect(),
            None => vec![&status["address"]],
        };
        Self::Said(said.into_iter().filter_map(address).collect())
    }

    /// The address that is wanted: that of the name, else the first.
    pub(crate) fn get(&self, wanted: &Wanted) -> Result<Address, Unresolved> {
        let said = match self {
            // As in Knative: a Service has no named addresses, so a name says nothing.
            Self::Service(by) => return by[usize::from(wanted.secured)].clone(),
            Self::Said(said) => said,
        };
        let first = said.first().ok_or(Unresolved::NotAddressable)?;
        let Some(name) = &wanted.address else {
            return Ok(first.1.clone());
        };
        let found = said.iter().find(|(named, _)| named.as_ref() == Some(name));
        let found = found.map(|(_, address)| address.clone());
        found.ok_or_else(|| {
            let names = said.iter().filter_map(|(name, _)| name.clone());
            Unresolved::from(OtherAddresses {
                wanted: name.clone(),
                names: names.collect(),
            })
        })
    }
}

/// One address of a status, with its name.
fn address(said: &Value) -> Option<(Option<String>, Address)> {
    let url: http::Uri = said["url"].as_str()?.parse().ok()?;
    if url.host().is_none() || url.scheme().is_none() {
        return None;
    }
    let text = |field: &str| said[field].as_str().filter(|text| !text.is_empty());
    let authorities = text("CACerts").map(authorities).transpose();
    let found = Address {
        url,
        authorities,
        audience: text("audience").map(str::to_owned),
    };
    Some((text("name").map(str::to_owned), found))
}

/// What a status says of `Ready`, if it is about that generation.
pub(crate) fn ready(status: &Value, generation: Option<i64>) -> Option<bool> {
    let observed = status["observedGeneration"].as_i64();
    let is_current = observed.is_none_or(|observed| Some(observed) == generation);
    let conditions = status["conditions"].as_array().filter(|_| is_current)?;
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
    match ready["status"].as_str()? {
        "True" => Some(true),
        "False" => Some(false),
        _ => None,
    }
}

/// Takes away what no address is read from.
pub(crate) fn strip(object: &mut DynamicObject) {
    let metadata = std::mem::take(&mut object.metadata);
    object.metadata.name = metadata.name;
    object.metadata.namespace = metadata.namespace;
    object.metadata.uid = metadata.uid;
    object.metadata.generation = metadata.generation;
    let mut kept = json!({});
    for (part, fields) in [
        (
            "status",
            ["address", "addresses", "conditions", "observedGeneration"].as_slice(),
        ),
        ("spec", ["ports"].as_slice()),
    ] {
        for field in fields {
            if let Some(value) = object.data.get(part).and_then(|part| part.get(*field)) {
                kept[part][*field] = value.clone();
            }
        }
    }
    object.data = kept;
}
