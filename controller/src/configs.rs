//! The ConfigMaps that Brokers name: where their channels are kept. Each is watched by its name, as Secrets
//! are.
//!
//! # Contract
//! One is gone only when its deletion is seen, or when a complete list has it not. What stands on the disk
//! since an earlier run counts until then. What an invalid one means is for others to say: here it is a
//! document like any other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::core::DynamicObject;
use millrace_crds::{Document, Kind};
use millrace_model::{ConfigLack, ObjectName};
use serde_json::Value;

use crate::objects::{Declared, Standing, essence, name_of};
use crate::watch::{News, Trouble};

/// The ConfigMaps that Brokers name.
#[derive(Debug, Default)]
pub(crate) struct Configs {
    standings: BTreeMap<ObjectName, Standing>,
    found: BTreeMap<ObjectName, Declared>,
}

// === impl Configs ===

impl Configs {
    /// Those that an earlier run has accepted.
    pub(crate) fn remembered(objects: &[Arc<Value>]) -> Self {
        let read = objects.iter().map(|object| Declared::read(Value::clone(object)));
        let valid = read.filter(|said| said.document.is_valid());
        let found = valid.filter_map(|said| Some((said.document.key.clone()?.name, said)));
        Self {
            standings: BTreeMap::new(),
            found: found.collect(),
        }
    }

    /// Takes in what the watch of one says.
    pub(crate) fn see(&mut self, config: ObjectName, news: News) {
        let standing = self.standings.entry(config.clone()).or_default();
        let found = match news {
            News::Listed(objects) => {
                *standing = Standing::Complete;
                let is_it = |object: &DynamicObject| name_of(object).as_ref() == Some(&config);
                objects.into_iter().find(is_it)
            }
            News::Applied(object) => Some(*object),
            News::Deleted(_) => None,
            News::Failed(trouble) => return standing.fail(trouble),
            News::Reviewed(_) => return,
        };
        match found {
            Some(object) => drop(self.found.insert(config, Declared::read(essence(&object)))),
            None => drop(self.found.remove(&config)),
        }
    }

    /// Forgets those that no Broker names any more.
    pub(crate) fn keep(&mut self, wanted: &BTreeSet<ObjectName>) {
        self.standings.retain(|config, _| wanted.contains(config));
        self.found.retain(|config, _| wanted.contains(config));
    }

    /// Those that are there.
    pub(crate) fn documents(&self) -> impl Iterator<Item = &Document> {
        self.found.values().map(|said| &*said.document)
    }

    /// One that is there.
    pub(crate) fn get(&self, config: &ObjectName) -> Option<&Document> {
        self.found.get(config).map(|said| &*said.document)
    }

    /// What is the matter with one that is not there.
    pub(crate) fn lack(&self, config: &ObjectName) -> ConfigLack {
        match self.standings.get(config) {
            Some(Standing::Complete) => ConfigLack::NotFound,
            Some(Standing::Failed(Trouble::Forbidden)) => ConfigLack::Forbidden,
            Some(Standing::Failed(_) | Standing::Pending) | None => ConfigLack::Pending,
        }
    }

    /// Whether nothing is known of one, not even that it cannot be known.
    pub(crate) fn is_unread(&self, config: &ObjectName) -> bool {
        let standing = self.standings.get(config);
        matches!(standing, None | Some(Standing::Pending)) && !self.found.contains_key(config)
    }

    /// The valid ones, for the disk.
    pub(crate) fn accepted(&self) -> Vec<Arc<Value>> {
        let valid = self.found.values().filter(|said| {
            let key = said.document.key.as_ref();
            said.document.is_valid() && key.is_some_and(|key| key.kind == Kind::Config)
        });
        valid.map(|said| said.object.clone()).collect()
    }
}
