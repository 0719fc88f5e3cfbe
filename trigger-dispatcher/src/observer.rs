//! Observers of events on their way: `millrace dev` prints them, `millrace tail` asks for them. This costs
//! next to nothing while nobody watches.

use std::fmt;
use std::sync::Arc;

use millrace_channel::{Attempt, Position};
use millrace_event::{Event, ObjectName};

/// What happened to an event.
#[derive(Clone, Debug)]
pub enum Observation<'a> {
    /// The router read it; these triggers want it.
    Matched {
        /// The broker.
        broker: &'a ObjectName,
        /// Where the event stands.
        position: Position,
        /// The event.
        event: &'a Event,
        /// The triggers whose filter it passed.
        triggers: &'a [ObjectName],
    },
    /// An attempt ended, or the event was given up on without one.
    Attempted {
        /// The broker.
        broker: &'a ObjectName,
        /// The event.
        event: &'a Event,
        /// The target that was tried; empty without an attempt.
        target: &'a str,
        /// The attempt, as the history has it.
        attempt: &'a Attempt,
    },
}

/// A function that is told what happens while somebody wants to know. It must return quickly: it runs on the
/// event's way.
#[derive(Clone)]
pub struct Observer {
    tell: Arc<dyn Fn(&Observation<'_>) + Send + Sync>,
    is_wanted: Arc<dyn Fn() -> bool + Send + Sync>,
}

// === impl Observer ===

impl Observer {
    /// An observer that calls `tell` while `is_wanted`, which is asked for each batch of events and each
    /// attempt.
    pub fn new(
        tell: impl Fn(&Observation<'_>) + Send + Sync + 'static,
        is_wanted: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            tell: Arc::new(tell),
            is_wanted: Arc::new(is_wanted),
        }
    }

    /// Whether there is anybody to be told.
    pub(crate) fn is_wanted(&self) -> bool {
        (self.is_wanted)()
    }

    pub(crate) fn tell(&self, observation: &Observation<'_>) {
        (self.tell)(observation);
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
