//! How a document stands: the draft of its status, as far as the documents and what they refer to tell.
//!
//! [`conditions`] says it as Kubernetes' conditions, for a cluster; [`remarks`] as sentences with a place,
//! for files. Both are made of the same data, [`Standing`].

mod conditions;
pub(crate) mod remarks;

pub use conditions::{Condition, ConditionStatus, ConditionType, Reason};

use millrace_event::ObjectName;
use millrace_model::auth::AccountToken;
use millrace_model::{MissingSecret, NoConfig, NoTarget, Target};

use crate::document::kinds::Key;
use crate::problem::Problem;

/// The draft of a status. What only the data plane knows is not in it: whether the mesh with this document is
/// in effect, and the Broker's own address.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Whose status it is.
    pub key: Key,
    /// The uid that the cluster gave the object; `None` from a file.
    pub uid: Option<String>,
    /// The generation that was read, for `observedGeneration`; `None` from a file.
    pub generation: Option<i64>,
    /// How it stands.
    pub standing: Standing,
}

/// Whether deliveries show a token of a ServiceAccount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ShownToken {
    /// None: the target names no audience, is no URL, or is not known.
    #[default]
    NoAudience,
    /// None: what the target's status names as its audience is not taken from it.
    AudienceRefused(AudienceRefused),
    /// None for this audience: no ServiceAccount of the namespace may be used for that.
    NoAccount(String),
    /// None for this audience: the document names other credentials.
    OtherCredentials(String),
    /// This one.
    Of(Box<AccountToken>),
}

/// Why the audience of a target's status does not count. A document can name it, as its author's own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudienceRefused {
    /// The target is in another namespace.
    OtherNamespace,
    /// It is that of a Broker, and the target is not that Broker.
    OtherBroker,
}

/// The tokens that the targets of a Trigger are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TriggerTokens {
    /// The subscriber.
    pub subscriber: ShownToken,
    /// The dead-letter sink.
    pub dead_letter: ShownToken,
}

/// What comes of the `spec.config` of a Broker, which says where its channel is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Configured {
    /// The channel is kept as it says; or there is none, and the channel is on the local disk.
    #[default]
    AsWritten,
    /// What it names is not Millrace's, for this reason. The channel is on the local disk.
    Ignored(String),
    /// The ConfigMap says nothing.
    NoConfig(NoConfig),
    /// The Secret with the login is missing.
    NoSecret(MissingSecret),
}

/// How a document stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// It is invalid, and not in the mesh: these are its problems.
    Invalid(Vec<Problem>),
    /// A Broker.
    Broker {
        /// Its dead-letter sink, if it names one.
        dead_letter: Option<Result<Target, NoTarget>>,
        /// The token that this sink is shown.
        dead_letter_token: ShownToken,
        /// The policies that are bound to it, and whether all whom each names are known.
        policies: Vec<(ObjectName, bool)>,
        /// What comes of its `spec.config`.
        configured: Configured,
    },
    /// An EventPolicy.
    EventPolicy {
        /// Whom it allows, by name.
        from: Vec<String>,
        /// Whom it names and nobody knows.
        missing: Vec<NoTarget>,
    },
    /// A Trigger.
    Trigger {
        /// The Broker that it reads.
        broker: Result<ObjectName, NoTarget>,
        /// Where its events go.
        subscriber: Result<Target, NoTarget>,
        /// Where events go that are given up: its own sink, or its Broker's.
        dead_letter: Option<Result<Target, NoTarget>>,
        /// The tokens that these are shown.
        tokens: Box<TriggerTokens>,
    },
    /// A source.
    Source {
        /// Where its events go.
        sink: Result<Target, NoTarget>,
        /// The token that the sink is shown.
        token: ShownToken,
        /// The secrets that it lacks.
        missing: Vec<MissingSecret>,
    },
    /// A KafkaSink.
    KafkaSink {
        /// The secrets that it lacks.
        missing: Vec<MissingSecret>,
    },
}

// === impl ShownToken ===

impl ShownToken {
    /// The audience of the target.
    pub fn audience(&self) -> Option<&str> {
        match self {
            Self::NoAudience | Self::AudienceRefused(_) => None,
            Self::NoAccount(audience) | Self::OtherCredentials(audience) => Some(audience),
            Self::Of(token) => Some(&token.audience),
        }
    }
}
