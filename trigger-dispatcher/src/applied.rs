//! How much of the newest mesh is in effect.

use std::collections::BTreeSet;

use millrace_event::ObjectName;

/// What the dispatcher serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The revision of the mesh: its triggers' start positions are durable.
    pub revision: u64,
    /// But for the triggers of these brokers of the mesh. They are served as before, if at all, and are tried
    /// again every second.
    pub unserved: BTreeSet<ObjectName>,
}

// === impl Applied ===

impl Applied {
    /// Whether all of the mesh with this revision, or of a newer one, is in effect.
    pub fn has_all_of(&self, revision: u64) -> bool {
        self.revision >= revision && self.unserved.is_empty()
    }
}
