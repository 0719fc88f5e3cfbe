//! References from one resource to another, and why one leads nowhere.
//!
//! That is data, so that a command, a log line, an API and a condition can each decide on it. The sentences
//! for people are the `Display` of these types, and stand nowhere else.

use std::fmt;

use millrace_event::ObjectName;

use crate::{MissingSecret, NoSecret};

/// What tells one resource from all others, as another resource refers to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// The group and version: `eventing.knative.dev/v1`.
    pub api_version: String,
    /// The kind: `Broker`.
    pub kind: String,
    /// `namespace/name`.
    pub name: ObjectName,
}

/// Why a reference leads to no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// There is no resource of that name.
    NotFound,
    /// There is no such kind.
    KindNotFound,
    /// The resource has several ports, and nothing tells which one takes events.
    Ambiguous {
        /// The ports.
        ports: Vec<u16>,
    },
    /// Millrace may not read the resource.
    Forbidden,
    /// It is in another namespace than the document, and the operator does not allow that.
    OtherNamespace,
    /// The resource has no address.
    NotAddressable,
    /// The resource has addresses, and none of this name (`ref.address`).
    NoSuchAddress(Box<OtherAddresses>),
    /// What the resource says of its address names certificates that cannot be used (`CACerts`): in words.
    BadCertificates(String),
    /// The resource sends no events by a name that is known here.
    NotASender,
    /// The resource is a Broker or KafkaSink whose document is invalid.
    Invalid,
    /// It is a KafkaSink, and this build has no Kafka.
    WithoutKafka,
    /// It has not been looked up yet. Unlike the others, this says nothing about the resource.
    Pending,
    /// Only Kubernetes knows the addresses of such resources, and there is none here.
    NeedsKubernetes,
}

/// The addresses of a resource, none of which has the name that a document asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherAddresses {
    /// The name.
    pub wanted: String,
    /// The names that there are.
    pub names: Vec<String>,
}

/// Why there is no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoTarget {
    /// The document refers to a resource, and the reference leads to no address.
    Unresolved(Reference, Unresolved),
    /// A secret that deliveries there need cannot be found: nothing is sent without it.
    NoSecret(MissingSecret),
    /// The document of a source names no sink.
    NotNamed,
    /// The process has sources but no Brokers, and the sink is a Broker, or there is none for that reason.
    NoBrokersHere(Result<ObjectName, Box<NoTarget>>),
}

// === impl Reference ===

impl fmt::Display for Reference {
    /// `Service shop/ship (v1)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            api_version,
            kind,
            name,
        } = self;
        write!(f, "{kind} {name} ({api_version})")
    }
}

// === impl OtherAddresses ===

impl From<OtherAddresses> for Unresolved {
    fn from(other: OtherAddresses) -> Self {
        Self::NoSuchAddress(Box::new(other))
    }
}

// === impl NoTarget ===

impl NoTarget {
    /// Whether this says nothing about the target: something of it has not been looked up yet.
    pub fn is_pending(&self) -> bool {
        match self {
            Self::Unresolved(_, why) => *why == Unresolved::Pending,
            Self::NoSecret(missing) => missing.why == NoSecret::Pending,
            Self::NotNamed | Self::NoBrokersHere(_) => false,
        }
    }
}

impl fmt::Display for NoTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved(reference, why) => why.write(reference, f),
            Self::NoSecret(missing) => write!(f, "{missing}"),
            Self::NotNamed => f.write_str("it has no `sink`"),
            Self::NoBrokersHere(sink) => {
                match sink {
                    Ok(broker) => write!(f, "its sink is the Broker {broker}"),
                    Err(why) => write!(f, "{why}"),
                }?;
                f.write_str(
                    ": `millrace sources` has no Brokers. Set K_SINK to the URL of one, or give the source a `sink.uri`",
                )
            }
        }
    }
}

// === impl Unresolved ===

impl Unresolved {
    fn write(&self, reference: &Reference, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reference {
            api_version,
            kind,
            name,
        } = reference;
        match self {
            Self::NotFound => write!(f, "there is no {kind} {name}"),
            Self::KindNotFound => write!(f, "{reference} cannot be found: this cluster has no such kind"),
            Self::Ambiguous { ports } => {
                let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
                let ports = ports.join(" and ");
                write!(
                    f,
                    "the {kind} {name} has the ports {ports}: name one of them `http` (`https` where there are `CACerts`), or \
                     write a `uri`"
                )
            }
            Self::Forbidden => write!(
                f,
                "Millrace may not read the {kind} {name}: its ServiceAccount needs get, list and watch for this \
                 kind of {api_version}"
            ),
            Self::OtherNamespace => write!(
                f,
                "the {kind} {name} is in another namespace, and this Millrace follows no reference out of a \
                 namespace (--refs same-namespace)"
            ),
            Self::NotAddressable => write!(f, "the {kind} {name} has no address (`status.address.url`)"),
            Self::NoSuchAddress(other) => {
                let OtherAddresses { wanted, names } = &**other;
                write!(
                    f,
                    "the {kind} {name} has no address of the name `{wanted}` (`ref.address`): "
                )?;
                match names.as_slice() {
                    [] => f.write_str("its addresses have no names"),
                    names => write!(f, "it has {}", list(names)),
                }
            }
            Self::BadCertificates(why) => write!(
                f,
                "the {kind} {name} names certificates for its address (`CACerts`) that cannot be used: {why}"
            ),
            Self::NotASender => write!(
                f,
                "who {reference} is cannot be told: only Triggers and the sources of Millrace can be named by `ref`; \
                 name others by `sub`"
            ),
            Self::Invalid => write!(f, "the {kind} {name} is invalid, as its own status says"),
            Self::WithoutKafka => write!(
                f,
                "the {kind} {name} cannot be written to: this millrace was built without the feature `kafka`"
            ),
            Self::Pending => write!(f, "the {kind} {name} has not been looked up yet"),
            Self::NeedsKubernetes => write!(
                f,
                "the address of {reference} is known to Kubernetes only; without it, write a `uri`"
            ),
        }
    }
}

/// `a`, `b` and `c`.
fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_sentence() {
        let service = Reference {
            api_version: "v1".to_owned(),
            kind: "Service".to_owned(),
            name: ObjectName::new("shop", "ship"),
        };
        let of = |why: Unresolved| NoTarget::Unresolved(service.clone(), why).to_string();
        let ports = vec![8080, 9090];
        for (why, sentence) in [
            (Unresolved::NotFound, "there is no Service shop/ship"),
            (
                Unresolved::KindNotFound,
                "Service shop/ship (v1) cannot be found: this cluster has no such kind",
            ),
            (
                Unresolved::Ambiguous { ports },
                "the Service shop/ship has the ports 8080 and 9090: name one of them `http` (`https` where there are \
                 `CACerts`), or write a `uri`",
            ),
            (
                Unresolved::Forbidden,
                "Millrace may not read the Service shop/ship: its ServiceAccount needs get, list and watch for \
                 this kind of v1",
            ),
            (
                Unresolved::OtherNamespace,
                "the Service shop/ship is in another namespace, and this Millrace follows no reference out of a \
                 namespace (--refs same-namespace)",
            ),
            (
                Unresolved::NotAddressable,
                "the Service shop/ship has no address (`status.address.url`)",
            ),
            (
                OtherAddresses {
                    wanted: "inner".to_owned(),
                    names: ["a", "b", "c"].map(str::to_owned).to_vec(),
                }
                .into(),
                "the Service shop/ship has no address of the name `inner` (`ref.address`): it has `a`, `b` and `c`",
            ),
            (
                OtherAddresses {
                    wanted: "inner".to_owned(),
                    names: Vec::new(),
                }
                .into(),
                "the Service shop/ship has no address of the name `inner` (`ref.address`): its addresses have no \
                 names",
            ),
            (
                Unresolved::BadCertificates("certificate 2 cannot be read".to_owned()),
                "the Service shop/ship names certificates for its address (`CACerts`) that cannot be used: \
                 certificate 2 cannot be read",
            ),
            (
                Unresolved::NotASender,
                "who Service shop/ship (v1) is cannot be told: only Triggers and the sources of Millrace can be named \
                 by `ref`; name others by `sub`",
            ),
            (
                Unresolved::Invalid,
                "the Service shop/ship is invalid, as its own status says",
            ),
            (
                Unresolved::WithoutKafka,
                "the Service shop/ship cannot be written to: this millrace was built without the feature `kafka`",
            ),
            (
                Unresolved::Pending,
                "the Service shop/ship has not been looked up yet",
            ),
            (
                Unresolved::NeedsKubernetes,
                "the address of Service shop/ship (v1) is known to Kubernetes only; without it, write a `uri`",
            ),
        ] {
            assert_eq!(of(why), sentence);
        }
        assert_eq!(NoTarget::NotNamed.to_string(), "it has no `sink`");
        let elsewhere = NoTarget::NoBrokersHere(Err(Box::new(NoTarget::NotNamed))).to_string();
        assert!(
            elsewhere.starts_with("it has no `sink`: `millrace sources` has no Brokers."),
            "{elsewhere}"
        );
    }
}
