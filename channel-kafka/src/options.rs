//! What is asked of the backend for one Broker.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use millrace_event::{Clock, ObjectName};
use millrace_kafka::Access;
use rdkafka::metadata::Metadata;
use tokio_util::sync::CancellationToken;

/// How a Broker is kept on Kafka.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Broker.
    pub broker: ObjectName,
    /// What the names of topics begin with.
    pub mesh: String,
    /// The servers to ask first, each `host:port`.
    pub servers: Vec<String>,
    /// How connections are encrypted, and who we are.
    pub access: Arc<Access>,
    /// Judges the servers that a cluster names.
    pub judge: Judge,
    /// Replicas of each topic that is made, and the least of one that is there.
    pub replicas: u32,
    /// How long settled events are kept.
    pub retention_age: Duration,
    /// What the Broker's document demands; `None`: whatever the topics have.
    pub durability: Option<Durability>,
    /// Lanes begin anew if the state is gone though there are events.
    pub rebuild_state: bool,
    /// The clock of the process.
    pub clock: Clock,
    /// The channel is to be closed: what has no answer is given up after 5 s.
    pub ending: CancellationToken,
}

/// Whether the servers that a cluster names may be connected to; an error says why not.
#[derive(Clone)]
pub struct Judge(pub Arc<Verdict>);

/// What [`Judge`] asks.
pub type Verdict = dyn Fn(&Metadata) -> Result<(), String> + Send + Sync;

/// What a 202 rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Each of several servers has synced the event to its disk.
    Synced,
    /// At least two of at least three servers have it.
    Replicated,
    /// One server may be the only one to have it.
    SingleCopy,
}

// === impl Durability ===

impl Durability {
    /// The word in documents and in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Replicated => "replicated",
            Self::SingleCopy => "single-copy",
        }
    }
}

// === impl Judge ===

impl Judge {
    /// One that lets everything pass.
    pub fn none() -> Self {
        Self(Arc::new(|_| Ok(())))
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}
