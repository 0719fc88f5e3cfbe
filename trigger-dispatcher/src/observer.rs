//! Who watches events on their way: `millrace dev` prints them. Costs nothing where nobody watches.

use std::fmt;
use std::sync::Arc;

use millrace_event::{Event, ObjectName};

/// What happened to an event.
#[derive(Clone, Debug)]
pub enum Observation<'a> {
    /// The router read it; these triggers want it.
    Matched {
        /// The event.
        event: &'a Event,
        /// The triggers whose filter it passed.
        triggers: &'a [ObjectName],
    },
    /// An attempt ended.
    Attempted {
        /// The event.
        event: &'a Event,
        /// The trigger.
        trigger: &'a ObjectName,
        /// The number of the attempt in its stage, from 0.
        attempt: u32,
        /// The target that was tried.
        target: &'a str,
        /// A few words: `202`, `503 Service Unavailable, again in 0.4 s`, ...
        outcome: &'a str,
        /// How long it took, in milliseconds.
        millis: u64,
    },
}

/// A function that is told what happens. It must return quickly: it runs on the event's way.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(&Observation<'_>) + Send + Sync>);

// === impl Observer ===

impl Observer {
    /// An observer that calls `tell`.
    pub fn new(tell: impl Fn(&Observation<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(crate) fn tell(&self, observation: &Observation<'_>) {
        (self.0)(observation);
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
