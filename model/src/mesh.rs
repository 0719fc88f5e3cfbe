//! The whole mesh as one snapshot: who wants to know the newest holds a `watch::Receiver<Arc<Mesh>>`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Broker, ObjectName, Trigger};

/// Everything that should be, at one moment. Parts that did not change are shared with the snapshot before (`Arc`).
#[derive(Clone, Debug, Default)]
pub struct Mesh {
    /// Counts up with each change, from 1; 0 is the empty mesh before the first load.
    pub revision: u64,
    /// The brokers by name.
    pub brokers: BTreeMap<ObjectName, Arc<Broker>>,
    /// The triggers by name, also those whose broker is not here or that are not ready.
    pub triggers: BTreeMap<ObjectName, Arc<Trigger>>,
}

// === impl Mesh ===

impl Mesh {
    /// The triggers of one broker.
    pub fn triggers_of<'a>(&'a self, broker: &'a ObjectName) -> impl Iterator<Item = &'a Arc<Trigger>> {
        self.triggers.values().filter(move |trigger| trigger.broker == *broker)
    }
}
