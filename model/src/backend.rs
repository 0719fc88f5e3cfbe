//! Where a Broker's channel is kept.

use std::collections::BTreeMap;
use std::fmt;

use millrace_event::ObjectName;

use crate::{MissingSecret, Secret};

/// Where a Broker's channel is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// On the local disk.
    #[default]
    Embedded,
    /// On NATS JetStream.
    JetStream(Box<JetStream>),
    /// On Kafka.
    Kafka(Box<KafkaTopics>),
    /// Nobody knows where, for that reason: it is not opened.
    Unknown(String),
}

/// A ConfigMap that a Broker of a cluster names, and that says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoConfig {
    /// The ConfigMap.
    pub config: ObjectName,
    /// Why it says nothing.
    pub why: ConfigLack,
}

/// Why a ConfigMap says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigLack {
    /// It has not been looked up yet. Unlike the others, this says nothing about the ConfigMap.
    Pending,
    /// There is none of that name.
    NotFound,
    /// Millrace may not read it.
    Forbidden,
    /// What it says is wrong, for this reason.
    Invalid(String),
}

/// A channel on NATS JetStream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JetStream {
    /// URLs of servers to ask first; at least one.
    pub servers: Vec<String>,
    /// Partitions of its log.
    pub partitions: u32,
    /// Copies of each stream that is made.
    pub replicas: u32,
    /// Bytes of the event streams that are made, all together.
    pub max_bytes: u64,
    /// What a 202 has to rest on; `None`: whatever the streams give.
    pub durability: Option<DurabilityWanted>,
    /// The entries of the Secret that the configuration names: a login, and what encryption needs. Each is by
    /// its name one of [`JetStream::SECRETS`].
    pub secrets: BTreeMap<&'static str, Secret>,
    /// The Secret cannot be found: the channel is not opened.
    pub missing: Option<MissingSecret>,
}

/// A channel on Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaTopics {
    /// `host:port` of servers to ask first; at least one.
    pub servers: Vec<String>,
    /// Copies of each topic that is made, and the least of one that is there.
    pub replicas: u32,
    /// What a 202 has to rest on; `None`: whatever the topics give.
    pub durability: Option<DurabilityWanted>,
    /// Connections are encrypted also where the Secret names no certificates.
    pub tls: bool,
    /// The entries of the Secret that the configuration names: a login, and what encryption needs. Each is by
    /// its name one of [`KafkaTopics::SECRETS`].
    pub secrets: BTreeMap<&'static str, Secret>,
    /// The Secret cannot be found: the channel is not opened.
    pub missing: Option<MissingSecret>,
}

/// What a 202 has to rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurabilityWanted {
    /// Several servers have each synced the event.
    Synced,
    /// A majority of several servers has the event.
    Replicated,
    /// One server has the event.
    SingleCopy,
}

// === impl Backend ===

impl Backend {
    /// Whether the channel is on the local disk.
    pub fn is_embedded(&self) -> bool {
        matches!(self, Self::Embedded)
    }

    /// Partitions of its log.
    pub fn partitions(&self) -> u32 {
        match self {
            Self::Embedded | Self::Kafka(_) | Self::Unknown(_) => 1,
            Self::JetStream(jetstream) => jetstream.partitions,
        }
    }

    /// The word in documents and in status.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::JetStream(_) => "jetstream",
            Self::Kafka(_) => "kafka",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Why the channel cannot be opened, for people: nobody knows where it is, or the Secret with its login
    /// is missing.
    pub fn lack(&self) -> Option<String> {
        match self {
            Self::Embedded => None,
            Self::JetStream(on) => on.missing.as_ref().map(ToString::to_string),
            Self::Kafka(on) => on.missing.as_ref().map(ToString::to_string),
            Self::Unknown(why) => Some(why.clone()),
        }
    }
}

impl fmt::Display for NoConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, why } = self;
        match why {
            ConfigLack::Pending => write!(f, "the ConfigMap {config} has not been looked up yet"),
            ConfigLack::NotFound => write!(f, "there is no ConfigMap {config}"),
            ConfigLack::Forbidden => write!(
                f,
                "Millrace may not read the ConfigMap {config}: its ServiceAccount needs a Role with get and watch for it"
            ),
            ConfigLack::Invalid(why) => write!(f, "the ConfigMap {config} is invalid: {why}"),
        }
    }
}

// === impl JetStream ===

impl JetStream {
    /// The entries that a Secret may have.
    pub const SECRETS: [&'static str; 7] = [
        "user",
        "password",
        "token",
        "credentials",
        "ca.crt",
        "tls.crt",
        "tls.key",
    ];

    /// The most partitions that a document may ask for.
    pub const MAX_PARTITIONS: u32 = 64;

    /// Bytes of the event streams where the document does not say.
    pub const MAX_BYTES: u64 = 4 << 30;
}

// === impl KafkaTopics ===

impl KafkaTopics {
    /// The entries that a Secret may have.
    pub const SECRETS: [&'static str; 6] = [
        "user",
        "password",
        "sasl.mechanism",
        "ca.crt",
        "tls.crt",
        "tls.key",
    ];
}
