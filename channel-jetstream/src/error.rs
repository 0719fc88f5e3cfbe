//! Why a partition is not open.

use millrace_channel::ChannelError;

/// Why a partition could not be opened. Each may go away by itself or by an operator: it is tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No server can be reached, or none lets us in.
    #[error("the NATS servers cannot be reached: {0}")]
    Unreachable(String),
    /// The servers are too old, or lack something.
    #[error("{0}")]
    Unsuitable(String),
    /// A stream of that name exists in another shape.
    #[error("the stream {stream} exists in another shape and is left as it is: {reason}")]
    OtherShape {
        /// The stream.
        stream: String,
        /// What is different.
        reason: String,
    },
    /// The Broker was made with another number of partitions.
    #[error(
        "the broker {broker} has {there} partition(s) on the NATS servers, and its config says {wanted}: the \
         number cannot be changed, since it decides in which partition each key has its events. Write the old \
         number, or give the new broker another name"
    )]
    OtherPartitions {
        /// The Broker.
        broker: String,
        /// How many there are.
        there: u32,
        /// How many its document wants.
        wanted: u32,
    },
    /// There are events without state.
    #[error(
        "the stream {events} has events, but the state of its Broker is gone from {state}: restore it, or begin \
         anew at the oldest event with --rebuild-state"
    )]
    StateLost {
        /// The stream of the events.
        events: String,
        /// The stream of the state.
        state: String,
    },
    /// The document demands more than the streams give.
    #[error("{0}")]
    NotDurableEnough(String),
    /// The claim failed.
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

/// An error of the client or of a server, as the channel tells it.
pub(crate) fn storage(error: impl std::fmt::Display) -> ChannelError {
    ChannelError::Storage(format!("NATS: {error}"))
}
