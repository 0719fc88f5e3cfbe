//! Why state could not be read or changed.

use millrace_event::ObjectName;

use crate::ChannelError;

/// Why state could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// SQLite failed.
    #[error("the state database failed: {0}")]
    Sql(#[from] rusqlite::Error),
    /// The log could not be made durable first.
    #[error("the log could not be made durable before state: {0}")]
    Barrier(String),
    /// The database holds a value that Millrace never writes.
    #[error("the state database is corrupt: {0}")]
    Damaged(String),
    /// The lane of a parked event is gone.
    #[error("the trigger {0} is gone")]
    LaneGone(ObjectName),
    /// One of its files was removed, renamed or replaced while it was open.
    #[error("{0}")]
    Gone(String),
    /// It could not be opened again after the Broker was idle.
    #[error("the state database cannot be opened now: {0}")]
    Shut(String),
    /// The state has been closed.
    #[error("the state database is closed")]
    Closed,
}

// === impl StateError ===

impl From<StateError> for ChannelError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::LaneGone(trigger) => Self::LaneGone(trigger),
            StateError::Closed => Self::Closed,
            StateError::Sql(_)
            | StateError::Barrier(_)
            | StateError::Damaged(_)
            | StateError::Gone(_)
            | StateError::Shut(_) => Self::Storage(error.to_string()),
        }
    }
}
