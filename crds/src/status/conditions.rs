//! How a document stands, as Kubernetes' conditions with Knative's types and reasons.

use std::fmt;

use millrace_event::ObjectName;
use millrace_model::{ConfigLack, MissingSecret, NoSecret, NoTarget, Reference, Target, Unresolved};

use super::{Configured, Draft, Standing};
use crate::document::destination::is_broker;
use crate::document::kafka_sink::is_kafka_sink;
use crate::problem::Problem;

macro_rules! words {
    ($(#[$head:meta])+ $name:ident { $($(#[$doc:meta])+ $variant:ident,)+ }) => {
        $(#[$head])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])+ $variant,)+ }

        impl $name {
            /// The word, as in a status.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// The types of conditions, in the order of their words, as Knative sorts them.
    ConditionType {
        /// The Broker that a Trigger reads is there and valid.
        BrokerReady,
        /// The channel of a Broker is kept as its `config` says.
        ChannelReady,
        /// The dead-letter sink has an address, or there is none.
        DeadLetterSinkResolved,
        /// The policies that are bound to a Broker are ready.
        EventPoliciesReady,
        /// All the others are true.
        Ready,
        /// The secrets of a source or KafkaSink are there.
        SecretsResolved,
        /// The sink of a source has an address.
        SinkProvided,
        /// All whom a policy names are known.
        SubjectsResolved,
        /// The subscriber has an address.
        SubscriberResolved,
    }
}

words! {
    /// Whether a condition is met.
    ConditionStatus {
        /// It is.
        True,
        /// It is not.
        False,
        /// It is not known yet.
        Unknown,
    }
}

words! {
    /// Why a condition is as it is.
    Reason {
        /// A filter is invalid.
        InvalidFilter,
        /// Something else in the document is invalid.
        InvalidSpec,
        /// The Broker that the Trigger reads does not exist.
        BrokerDoesNotExist,
        /// The Broker that the Trigger reads is invalid.
        BrokerInvalid,
        /// The ConfigMap that a Broker names does not exist.
        ConfigNotFound,
        /// The ConfigMap that a Broker names is invalid.
        ConfigInvalid,
        /// Millrace may not read the ConfigMap that a Broker names.
        ConfigForbidden,
        /// A policy that is bound to the Broker is not ready.
        EventPoliciesNotReady,
        /// Somebody whom a policy names is of a kind that has no name as a sender.
        SubjectNotKnown,
        /// There is no dead-letter sink, so it needs no address.
        DeadLetterSinkNotConfigured,
        /// The source names no sink.
        SinkNotConfigured,
        /// A Broker that events go to does not exist.
        BrokerNotFound,
        /// A KafkaSink does not exist.
        KafkaSinkNotFound,
        /// A KafkaSink is invalid.
        KafkaSinkInvalid,
        /// A Service does not exist.
        ServiceNotFound,
        /// Another resource does not exist.
        NotFound,
        /// A kind does not exist.
        KindNotFound,
        /// A Service has several ports, and nothing tells which one is meant.
        AmbiguousPort,
        /// Millrace may not read a resource.
        Forbidden,
        /// A resource is in another namespace, which the operator does not allow.
        OtherNamespace,
        /// A resource has no address.
        NotAddressable,
        /// A resource has addresses, but none of the name that is asked for.
        AddressNotFound,
        /// A resource names certificates for its address that cannot be used.
        InvalidCertificates,
        /// A resource has not been looked up yet.
        NotResolvedYet,
        /// It is a KafkaSink, and this build has no Kafka.
        WithoutKafka,
        /// Only Kubernetes knows the address.
        NeedsKubernetes,
        /// The process has sources only, and the sink is a Broker.
        NoBrokersHere,
        /// A Secret does not exist.
        SecretNotFound,
        /// A Secret has no such entry.
        SecretEntryNotFound,
        /// A Secret is invalid.
        SecretInvalid,
        /// Millrace may not read a Secret.
        SecretForbidden,
    }
}

/// One condition. When it changed is for the writer to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What it is about.
    pub ty: ConditionType,
    /// Whether it is met.
    pub status: ConditionStatus,
    /// Why; always there unless it is met.
    pub reason: Option<Reason>,
    /// The same for people; empty where there is nothing to say.
    pub message: String,
}

// === impl Draft ===

impl Draft {
    /// The conditions, in the order of their types, with `Ready` as far as this draft tells.
    pub fn conditions(&self) -> Vec<Condition> {
        let mut conditions = match &self.standing {
            Standing::Invalid(problems) => vec![invalid(problems)],
            Standing::Broker {
                dead_letter,
                policies,
                configured,
                ..
            } => with_ready(vec![
                Condition::of(ConditionType::ChannelReady, no_channel(configured)),
                dead_letter_sink(dead_letter.as_ref()),
                Condition::of(ConditionType::EventPoliciesReady, lost_policy(policies)),
            ]),
            Standing::EventPolicy { missing, .. } => with_ready(vec![Condition::of(
                ConditionType::SubjectsResolved,
                worst(missing.iter().map(no_target)),
            )]),
            Standing::Trigger {
                broker,
                subscriber,
                dead_letter,
                ..
            } => with_ready(vec![
                Condition::of(ConditionType::BrokerReady, broker.as_ref().err().map(lost_broker)),
                resolved(ConditionType::SubscriberResolved, subscriber),
                dead_letter_sink(dead_letter.as_ref()),
            ]),
            Standing::Source { sink, missing, .. } => with_ready(vec![
                resolved(ConditionType::SinkProvided, sink),
                Condition::of(
                    ConditionType::SecretsResolved,
                    worst(missing.iter().map(no_secret)),
                ),
            ]),
            Standing::KafkaSink { missing } => with_ready(vec![Condition::of(
                ConditionType::SecretsResolved,
                worst(missing.iter().map(no_secret)),
            )]),
        };
        conditions.sort_by_key(|condition| condition.ty);
        conditions
    }
}

/// What keeps a condition from being met.
struct Lack(ConditionStatus, Reason, String);

/// The first lack that is known, else the first that may be one.
fn worst(lacks: impl Iterator<Item = Lack>) -> Option<Lack> {
    let mut lacks: Vec<Lack> = lacks.collect();
    let known = lacks.iter().position(|lack| lack.0 == ConditionStatus::False);
    (!lacks.is_empty()).then(|| lacks.swap_remove(known.unwrap_or(0)))
}

// === impl Condition ===

impl Condition {
    /// A condition that is met unless something is lacking.
    fn of(ty: ConditionType, lack: Option<Lack>) -> Self {
        let (status, reason, message) = match lack {
            Some(Lack(status, reason, message)) => (status, Some(reason), message),
            None => (ConditionStatus::True, None, String::new()),
        };
        Self {
            ty,
            status,
            reason,
            message,
        }
    }
}

/// The conditions and `Ready`: not met like the first that is not, else unknown like the first that is
/// unknown.
fn with_ready(mut conditions: Vec<Condition>) -> Vec<Condition> {
    let first = |status| conditions.iter().find(|condition| condition.status == status);
    let ready = match first(ConditionStatus::False).or_else(|| first(ConditionStatus::Unknown)) {
        Some(unhappy) => Condition {
            ty: ConditionType::Ready,
            ..unhappy.clone()
        },
        None => Condition::of(ConditionType::Ready, None),
    };
    conditions.push(ready);
    conditions
}

fn invalid(problems: &[Problem]) -> Condition {
    let lack = problems.first().map(|problem| {
        let reason = if problem.path.starts_with("spec.filter") {
            Reason::InvalidFilter
        } else {
            Reason::InvalidSpec
        };
        let mut message = problem.to_string();
        if problems.len() > 1 {
            message.push_str(&format!("; and {} more", problems.len() - 1));
        }
        Lack(ConditionStatus::False, reason, message)
    });
    Condition::of(ConditionType::Ready, lack)
}

fn dead_letter_sink(sink: Option<&Result<Target, NoTarget>>) -> Condition {
    let ty = ConditionType::DeadLetterSinkResolved;
    match sink {
        Some(sink) => {
            let lack = sink.as_ref().err().map(no_target);
            let parked =
                |Lack(status, reason, why)| Lack(status, reason, format!("dead letters are parked: {why}"));
            Condition::of(ty, lack.map(parked))
        }
        None => Condition {
            reason: Some(Reason::DeadLetterSinkNotConfigured),
            ..Condition::of(ty, None)
        },
    }
}

fn resolved(ty: ConditionType, target: &Result<Target, NoTarget>) -> Condition {
    Condition::of(ty, target.as_ref().err().map(no_target))
}

/// Why nobody knows where a Broker's channel is kept, or cannot log in there.
fn no_channel(configured: &Configured) -> Option<Lack> {
    let lack = match configured {
        Configured::AsWritten | Configured::Ignored(_) => return None,
        Configured::NoSecret(missing) => return Some(no_secret(missing)),
        Configured::NoConfig(lack) => lack,
    };
    let (status, reason) = match lack.why {
        ConfigLack::Pending => (ConditionStatus::Unknown, Reason::NotResolvedYet),
        ConfigLack::NotFound => (ConditionStatus::False, Reason::ConfigNotFound),
        ConfigLack::Forbidden => (ConditionStatus::False, Reason::ConfigForbidden),
        ConfigLack::Invalid(_) => (ConditionStatus::False, Reason::ConfigInvalid),
    };
    Some(Lack(status, reason, lack.to_string()))
}

/// The first policy of a Broker that is not ready.
fn lost_policy(policies: &[(ObjectName, bool)]) -> Option<Lack> {
    let (name, _) = policies.iter().find(|(_, is_ready)| !is_ready)?;
    Some(Lack(
        ConditionStatus::False,
        Reason::EventPoliciesNotReady,
        format!("EventPolicy {name} is not ready: not everybody whom it names is known"),
    ))
}

/// Why the Broker that a Trigger reads is not ready.
fn lost_broker(why: &NoTarget) -> Lack {
    let (reason, message) = match why {
        NoTarget::Unresolved(_, Unresolved::NotFound) => (
            Reason::BrokerDoesNotExist,
            format!("{why}; the Trigger waits for it"),
        ),
        _ => (Reason::BrokerInvalid, why.to_string()),
    };
    Lack(ConditionStatus::False, reason, message)
}

fn no_target(why: &NoTarget) -> Lack {
    let (status, reason) = match why {
        NoTarget::Unresolved(_, Unresolved::Pending) => (ConditionStatus::Unknown, Reason::NotResolvedYet),
        NoTarget::Unresolved(reference, why) => (ConditionStatus::False, unresolved(reference, why)),
        NoTarget::NoSecret(missing) => return no_secret(missing),
        NoTarget::NotNamed => (ConditionStatus::False, Reason::SinkNotConfigured),
        NoTarget::NoBrokersHere(_) => (ConditionStatus::False, Reason::NoBrokersHere),
    };
    Lack(status, reason, why.to_string())
}

fn unresolved(reference: &Reference, why: &Unresolved) -> Reason {
    let is_service = reference.kind == "Service" && reference.api_version == "v1";
    match why {
        Unresolved::NotFound if is_broker(reference) => Reason::BrokerNotFound,
        Unresolved::NotFound if is_kafka_sink(reference) => Reason::KafkaSinkNotFound,
        Unresolved::NotFound if is_service => Reason::ServiceNotFound,
        Unresolved::NotFound => Reason::NotFound,
        Unresolved::KindNotFound => Reason::KindNotFound,
        Unresolved::Ambiguous { .. } => Reason::AmbiguousPort,
        Unresolved::Forbidden => Reason::Forbidden,
        Unresolved::OtherNamespace => Reason::OtherNamespace,
        Unresolved::NotAddressable => Reason::NotAddressable,
        Unresolved::NoSuchAddress(_) => Reason::AddressNotFound,
        Unresolved::BadCertificates(_) => Reason::InvalidCertificates,
        Unresolved::NotASender => Reason::SubjectNotKnown,
        Unresolved::Invalid if is_kafka_sink(reference) => Reason::KafkaSinkInvalid,
        Unresolved::Invalid => Reason::BrokerInvalid,
        Unresolved::WithoutKafka => Reason::WithoutKafka,
        Unresolved::Pending => Reason::NotResolvedYet,
        Unresolved::NeedsKubernetes => Reason::NeedsKubernetes,
    }
}

fn no_secret(missing: &MissingSecret) -> Lack {
    let (status, reason) = match missing.why {
        NoSecret::Pending => (ConditionStatus::Unknown, Reason::NotResolvedYet),
        NoSecret::NotFound | NoSecret::NotInFiles => (ConditionStatus::False, Reason::SecretNotFound),
        NoSecret::NoEntry => (ConditionStatus::False, Reason::SecretEntryNotFound),
        NoSecret::Invalid => (ConditionStatus::False, Reason::SecretInvalid),
        NoSecret::Forbidden => (ConditionStatus::False, Reason::SecretForbidden),
    };
    Lack(status, reason, missing.to_string())
}
