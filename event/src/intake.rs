//! The one door of a broker: the HTTP ingress, sources and replies all hand events to it.

use std::fmt;
use std::time::Duration;

use crate::{Event, ObjectName};

/// Where an event that asks for admission comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A source. As producers outside it is turned away first when room gets short.
    Producer(InnerSender),
    /// The answer of a subscriber, or a delivery to a Broker of this mesh. It may use the reserve,
    /// so that a full disk drains by itself.
    Mesh(InnerSender),
}

/// What sends events within the process: a source, or the Trigger whose deliveries they are. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InnerSender {
    /// The kind: `Trigger`, `CronSource`.
    pub kind: &'static str,
    /// Its name.
    pub name: ObjectName,
}

/// Why a broker did not take an event. `code` is stable and documented in `docs/reference/errors.md`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such broker here.
    #[error("there is no broker {0}")]
    UnknownBroker(ObjectName),
    /// The event (or its batch) is larger than the limit.
    #[error("{0}")]
    TooLarge(String),
    /// The event went round through brokers more often than `knativebrokerttl` allows.
    #[error("the event has passed through too many brokers (knativebrokerttl is used up)")]
    Looping,
    /// Whoever sends it may not send it to this broker.
    #[error("{reason}")]
    NotAllowed {
        /// A stable word: `no-policy-allows`, `denied-by-default`.
        code: &'static str,
        /// A sentence for people.
        reason: String,
    },
    /// No room now: try again after the given time.
    #[error("{reason}")]
    Full {
        /// A stable word: `backlog-full`, `disk-full`, `append-queue-full`, `backend-unavailable`,
        /// `broker-rate-limited`.
        code: &'static str,
        /// A sentence for people.
        reason: String,
        /// When to come back.
        retry_after: Duration,
    },
    /// The event could not be made durable, or the process is about to end. Nothing was stored: try again.
    #[error("{reason}")]
    Unavailable {
        /// A stable word: `storage-failed`, `shutting-down`, `broker-not-ready`.
        code: &'static str,
        /// A sentence for people.
        reason: String,
    },
}

/// The door of the brokers.
///
/// # Guarantees
/// When `admit` returns `Ok`, every event given is durable in the broker's channel (to the degree the
/// channel's durability setting promises), in the order given, and will be offered to every trigger of that
/// broker. A batch is taken as a whole or not at all.
///
/// When `admit` returns an error, nothing of the call will be delivered. The one exception is a failure of
/// the disk after the write: then the event may turn up although it was refused. The caller may repeat with
/// the same `id`.
#[async_trait::async_trait]
pub trait Intake: Send + Sync {
    /// Takes `events` into `broker`, all or none.
    async fn admit(&self, broker: &ObjectName, events: Vec<Event>, origin: Origin) -> Result<(), Refusal>;
}

// === impl Refusal ===

impl Refusal {
    /// The stable code, as in problem+json and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownBroker(_) => "unknown-broker",
            Self::TooLarge(_) => "too-large",
            Self::Looping => "looping",
            Self::Full { code, .. } | Self::Unavailable { code, .. } | Self::NotAllowed { code, .. } => code,
        }
    }

    /// Whether the same event may be taken later: this is the one place that decides it, for sources, for
    /// deliveries and for replies. A Broker that is gone may come back with the next change of the documents.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Full { .. } | Self::Unavailable { .. } | Self::UnknownBroker(_) => true,
            Self::TooLarge(_) | Self::Looping | Self::NotAllowed { .. } => false,
        }
    }
}

// === impl InnerSender ===

impl InnerSender {
    /// A Trigger, whose replies, hops and dead letters have its name.
    pub fn trigger(name: &ObjectName) -> Self {
        Self {
            kind: "Trigger",
            name: name.clone(),
        }
    }
}

impl fmt::Display for InnerSender {
    /// As policies name it: `system:millrace:trigger:shop:ship`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, name) = (self.name.namespace(), self.name.name());
        write!(
            f,
            "system:millrace:{}:{namespace}:{name}",
            self.kind.to_ascii_lowercase()
        )
    }
}

impl Origin {
    /// Who sends it.
    pub fn sender(&self) -> &InnerSender {
        match self {
            Self::Producer(sender) | Self::Mesh(sender) => sender,
        }
    }
}
