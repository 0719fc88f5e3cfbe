//! Why a partition is not open.

use millrace_channel::ChannelError;

/// Why a partition could not be opened. Each may go away by itself or by an operator: it is tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No server can be reached, or none lets us in.
    #[error("the Kafka servers cannot be reached: {0}")]
    Unreachable(String),
    /// The cluster does not let us do what is needed, or leads where we must not go.
    #[error("{0}")]
    Unsuitable(String),
    /// A topic of that name exists in another shape.
    #[error("the topic {topic} exists in another shape and is left as it is: {reason}")]
    OtherShape {
        /// The topic.
        topic: String,
        /// What is different.
        reason: String,
    },
    /// There are events without state.
    #[error(
        "the topic {events} has events, but the state of its Broker is gone from {state}: restore it, or begin \
         anew at the oldest event with --rebuild-state"
    )]
    StateLost {
        /// The topic of the events.
        events: String,
        /// The topic of the state.
        state: String,
    },
    /// The document demands more than the topics give.
    #[error("{0}")]
    NotDurableEnough(String),
    /// The claim failed.
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

/// An error of the client or of a server, as the channel tells it.
pub(crate) fn storage(error: impl std::fmt::Display) -> ChannelError {
    ChannelError::Storage(format!("Kafka: {error}"))
}
