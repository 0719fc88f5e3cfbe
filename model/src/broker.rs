//! A broker as it should be.

use std::time::Duration;

use millrace_event::ObjectName;

use crate::Backend;

/// A broker: a durable channel with a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its name.
    pub name: ObjectName,
    /// The uid that Kubernetes gave it; `None` from a file.
    pub uid: Option<String>,
    /// Where its channel is kept.
    pub backend: Backend,
    /// How long settled events are kept.
    pub retention: Retention,
    /// Bytes of unsettled events from which producers are turned away (`millrace.dev/backlog-bytes`); `None`:
    /// only the disk bounds it.
    pub backlog_bytes: Option<u64>,
    /// What happens when the backlog or the disk is full (`millrace.dev/on-full`).
    pub on_full: OnFull,
}

/// How long settled events stay readable for replay and explain. Whichever bound is met first applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// `millrace.dev/retention-age`; 24 h by default.
    pub age: Duration,
    /// `millrace.dev/retention-bytes`; 1 GiB by default.
    pub bytes: u64,
}

/// What a full broker does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// Producers get 503 with Retry-After.
    #[default]
    Refuse,
    /// The hindmost lanes skip forward; counted, explained, in status.
    DropOldest,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(24 * 3600),
            bytes: 1 << 30,
        }
    }
}
