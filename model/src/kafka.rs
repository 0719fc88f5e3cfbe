//! What clients of Kafka need to know: a cluster and how to get into it, and a topic that events are written
//! to.

use crate::{Format, ObjectName, Secret};

/// A cluster, and how clients get into it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KafkaCluster {
    /// `host:port` of brokers to ask first; at least one.
    pub bootstrap_servers: Vec<String>,
    /// Encryption; `None`: none.
    pub tls: Option<Tls>,
    /// Login; `None`: none.
    pub login: Option<Login>,
}

/// A topic that events are written to (KafkaSink).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KafkaSink {
    /// Its name.
    pub name: ObjectName,
    /// The cluster. Sinks of equal clusters share a client.
    pub cluster: KafkaCluster,
    /// The topic.
    pub topic: String,
    /// The content mode of its records.
    pub format: Format,
}

/// Encryption on the way to the brokers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tls {
    /// PEM of the authorities to trust; `None`: those that the system trusts.
    pub authorities: Option<Secret>,
    /// PEM of a certificate of our own and of its key, for brokers that ask for one.
    pub identity: Option<(Secret, Secret)>,
}

/// How to log in (SASL).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Login {
    /// The mechanism.
    pub mechanism: Mechanism,
    /// The user.
    pub user: Secret,
    /// The password.
    pub password: Secret,
}

/// The mechanism of a login.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// `PLAIN`.
    Plain,
    /// `SCRAM-SHA-256`.
    ScramSha256,
    /// `SCRAM-SHA-512`.
    ScramSha512,
    /// The name of one of these is a secret, as in Knative's documents.
    Named(Secret),
}

// === impl Mechanism ===

impl Mechanism {
    /// The mechanism of that name.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "PLAIN" => Some(Self::Plain),
            "SCRAM-SHA-256" => Some(Self::ScramSha256),
            "SCRAM-SHA-512" => Some(Self::ScramSha512),
            _ => None,
        }
    }

    /// Its name, where it does not have to be looked up.
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Self::Plain => Some("PLAIN"),
            Self::ScramSha256 => Some("SCRAM-SHA-256"),
            Self::ScramSha512 => Some("SCRAM-SHA-512"),
            Self::Named(_) => None,
        }
    }
}
