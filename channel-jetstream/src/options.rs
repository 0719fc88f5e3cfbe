//! What is asked of the backend for one Broker.

use std::fmt;
use std::time::Duration;

use millrace_event::{Clock, ObjectName};
use tokio_util::sync::CancellationToken;

/// How a Broker is kept on JetStream.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Broker.
    pub broker: ObjectName,
    /// What the names of streams and subjects begin with.
    pub mesh: String,
    /// The servers' URLs, `nats://…` or `tls://…`.
    pub servers: Vec<String>,
    /// Who we are there.
    pub login: Option<Login>,
    /// How connections are encrypted, where they are; `None`: as the URLs say, with the system's roots.
    pub tls: Option<rustls::ClientConfig>,
    /// Partitions of its log. The number of a Broker that is there cannot be changed.
    pub partitions: u32,
    /// Copies of each stream that is made.
    pub replicas: usize,
    /// Bytes of the event streams that are made, all together.
    pub max_bytes: u64,
    /// How long settled events are kept.
    pub retention_age: Duration,
    /// What the Broker's document demands; `None`: whatever the streams have.
    pub durability: Option<Durability>,
    /// Lanes begin anew if the state is gone though there are events.
    pub rebuild_state: bool,
    /// The clock of the process.
    pub clock: Clock,
    /// The channel is to be closed: what has no answer is given up after 5 s.
    pub ending: CancellationToken,
}

/// A login.
#[derive(Clone)]
pub enum Login {
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
    /// The content of a credentials file: a JWT and the seed of its key.
    Credentials(String),
}

/// What a 202 rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Each of several servers has synced the event to its disk.
    Synced,
    /// A majority of at least three servers has it.
    Replicated,
    /// One server has it, and its operating system writes it down later.
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

    /// What it means, for people.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Synced => "each of several servers has synced an accepted event to its disk",
            Self::Replicated => {
                "a majority of the servers has an accepted event; when each of them syncs it to its disk cannot \
                 be seen from here"
            }
            Self::SingleCopy => {
                "one server has an accepted event; what its operating system has not written when the machine \
                 stops is lost, and when the server syncs cannot be seen from here"
            }
        }
    }
}

// === impl Login ===

impl fmt::Debug for Login {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password",
            Self::Token(_) => "Token",
            Self::Credentials(_) => "Credentials",
        })
    }
}
