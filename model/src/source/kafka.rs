//! What a KafkaSource does: an event for each record of some topics.

use crate::DeliveryPolicy;
use crate::kafka::{Login, Tls};

/// An event for each record of some topics, read as a member of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// `host:port` of brokers to ask first; at least one.
    pub bootstrap_servers: Vec<String>,
    /// Names of topics.
    pub topics: Vec<String>,
    /// All topics whose name matches this regular expression, which begins with `^`, beside those named.
    pub topic_pattern: Option<String>,
    /// The consumer group, in which Kafka keeps what has been taken.
    pub group: String,
    /// Where a group begins that has not committed anything.
    pub initial_offset: InitialOffset,
    /// Whether the records of a partition are handed on one after the other.
    pub ordering: Ordering,
    /// How keys of records that are no CloudEvents are read.
    pub key_type: KeyType,
    /// Encryption; `None`: none.
    pub tls: Option<Tls>,
    /// Login; `None`: none.
    pub login: Option<Login>,
    /// How a sink that is a URL is tried, where the document says that.
    pub delivery: Option<Patience>,
}

/// How a sink that is a URL is tried. A Broker is offered its events until it takes them, whatever this says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Waits, timeout and format. Its `retry` does not count.
    pub policy: DeliveryPolicy,
    /// The number of retries after which a record is given up; `None`: never.
    pub retry: Option<u32>,
}

/// Where a group begins that has not committed anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InitialOffset {
    /// With what is oldest.
    Earliest,
    /// With what comes from now on.
    #[default]
    Latest,
}

/// Whether the records of a partition are handed on one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ordering {
    /// One after the other: a record that the sink does not take yet holds up its partition.
    #[default]
    Ordered,
    /// Several at once.
    Unordered,
}

/// How the key of a record is read (Knative's label `kafkasources.sources.knative.dev/key-type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyType {
    /// UTF-8.
    #[default]
    Text,
    /// A signed integer of 4 or 8 bytes, the highest first.
    Int,
    /// A floating-point number of 4 or 8 bytes, the highest first.
    Float,
    /// Octets, which are given in Base64.
    Bytes,
}
