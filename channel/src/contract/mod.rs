//! The channel contract: what every backend promises. The conformance suite tests each sentence of it.
//!
//! It is split by who asks. Any process may hold a broker's [`Log`] and append to it or read it. A broker's
//! log has partitions, and each has one owner among the processes: the owner holds its [`Channel`], which is
//! the log's partition with its lanes, rows of work, progress, parked events and history. [`Logs`] and
//! [`Ownership`] are what one process has of both. The embedded backend has one partition, and the process
//! that has the data folder always owns it.

mod change;
mod channel;
mod log;
mod ownership;

use millrace_event::ObjectName;

pub use change::{Change, LaneProgress, Progress};
pub use channel::{Channel, Forgotten, Usage};
pub use log::{AppendError, Class, Durability, Ends, Guarantees, Log, Reader};
pub use ownership::{Elsewhere, Logs, Ownership};

/// Why the channel could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// The disk, the state database or the server behind it failed.
    #[error("{0}")]
    Storage(String),
    /// A redrive for a trigger that is gone.
    #[error("the trigger {0} is gone; its parked events can only be read or dropped")]
    LaneGone(ObjectName),
    /// Another process owns the partition now. At most the first chunks of the call were stored before that,
    /// and nothing will be that this channel is asked to store later.
    #[error("another process has taken over this part of the broker")]
    NotOwner,
    /// The channel is being closed.
    #[error("the channel is being closed")]
    Closed,
}
