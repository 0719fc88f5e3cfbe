//! Which documents are Millrace's own. What others have in theirs (tags, doubled keys, templates' leftovers)
//! is their business.

use std::fmt;

use millrace_event::ObjectName;
use millrace_model::SourceKind;

use super::kafka_sink::SINKS_V1ALPHA1;
use super::source::SOURCES_V1ALPHA1;
use crate::problem::Mark;
use crate::suggest;
use crate::tree::{Node, Shape};

/// The group and version of Brokers and Triggers.
pub(crate) const EVENTING_V1: &str = "eventing.knative.dev/v1";

/// The group and version of EventPolicies.
pub(crate) const EVENTING_V1ALPHA1: &str = "eventing.knative.dev/v1alpha1";

/// The kinds that Millrace reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `Broker`.
    Broker,
    /// `Trigger`.
    Trigger,
    /// `EventPolicy`.
    EventPolicy,
    /// A source.
    Source(SourceKind),
    /// `KafkaSink`.
    KafkaSink,
    /// `Secret`.
    Secret,
    /// A `ConfigMap` that says where Brokers keep their channels.
    Config,
}

/// What tells one document from all others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The kind.
    pub kind: Kind,
    /// `namespace/name`.
    pub name: ObjectName,
}

/// Whose a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// It is of a kind that Millrace reads.
    Ours(Kind),
    /// It is of such a kind, in a version that does not exist. This is the version that does.
    OtherVersion(&'static str),
    /// It is a list of documents.
    List,
    /// It is of another kind.
    Foreign,
}

/// The kinds of Millrace's groups, with their versions.
const KINDS: &[(&str, Kind)] = &[
    (EVENTING_V1, Kind::Broker),
    (EVENTING_V1, Kind::Trigger),
    (EVENTING_V1ALPHA1, Kind::EventPolicy),
    (SOURCES_V1ALPHA1, Kind::Source(SourceKind::GitWebhook)),
    (SOURCES_V1ALPHA1, Kind::Source(SourceKind::Cron)),
    (SOURCES_V1ALPHA1, Kind::Source(SourceKind::Kafka)),
    (SOURCES_V1ALPHA1, Kind::Source(SourceKind::ApiServer)),
    (SINKS_V1ALPHA1, Kind::KafkaSink),
];

/// What a document of this version and kind is to Millrace.
pub(crate) fn kind(version: &str, kind: &str) -> Whose {
    match (version, kind) {
        ("v1", "Secret") => return Whose::Ours(Kind::Secret),
        ("v1", "List") => return Whose::List,
        _ => {}
    }
    match of_group(version).find(|(_, known)| known.as_str() == kind) {
        Some((known, kind)) if known == version => Whose::Ours(kind),
        Some((known, _)) => Whose::OtherVersion(known),
        None => Whose::Foreign,
    }
}

/// The kind of the version's group that a word most likely means.
pub(crate) fn nearest(version: &str, word: &str) -> Option<&'static str> {
    let names: Vec<&'static str> = of_group(version).map(|(_, kind)| kind.as_str()).collect();
    suggest::nearest(word, &names)
}

/// Millrace's kinds in the group of that version.
fn of_group(version: &str) -> impl Iterator<Item = (&'static str, Kind)> {
    let group = |version: &str| version.split('/').next().unwrap_or_default().to_owned();
    let wanted = group(version);
    KINDS
        .iter()
        .copied()
        .filter(move |(known, _)| group(known) == wanted)
}

/// Whether a fault at that place is a fault of a document that Millrace may read.
pub(crate) fn concerns(root: &Node, at: Mark) -> bool {
    if whose(root) != Some(Whose::List) {
        return may_be(root);
    }
    let Some(Shape::List(items)) = root.get("items").map(|items| &items.shape) else {
        return true;
    };
    match items.iter().rev().find(|item| item.at <= at) {
        Some(item) => may_be(item),
        None => true,
    }
}

/// Whether Millrace may read a document, or a part of it. One that does not say what it is may have been
/// meant as one of Millrace's.
pub(crate) fn may_be(document: &Node) -> bool {
    whose(document) != Some(Whose::Foreign)
}

/// Whether a document is a list of documents, by the first version and kind that it names.
pub(crate) fn is_list(document: &Node) -> bool {
    let text = |name| document.get(name).and_then(Node::text);
    matches!((text("apiVersion"), text("kind")), (Some(version), Some(word)) if kind(version, word) == Whose::List)
}

/// What a document is; `None` if it does not say, or says two things.
fn whose(document: &Node) -> Option<Whose> {
    let Shape::Map(entries) = &document.shape else {
        return None;
    };
    let once = |name: &str| {
        let mut entries = entries.iter().filter(|entry| entry.key.text == name);
        match (entries.next(), entries.next()) {
            (Some(entry), None) => entry.value.text(),
            _ => None,
        }
    };
    Some(kind(once("apiVersion")?, once("kind")?))
}

// === impl Kind, Key ===

impl Kind {
    /// The kind as in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Broker => "Broker",
            Self::Trigger => "Trigger",
            Self::KafkaSink => "KafkaSink",
            Self::EventPolicy => "EventPolicy",
            Self::Secret => "Secret",
            Self::Config => "ConfigMap",
            Self::Source(kind) => kind.as_str(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Key {
    /// `Trigger shop/ship`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_belongs_to_its_group_and_to_no_other_that_begins_like_it() {
        let cases = [
            ("eventing.knative.dev/v1", "Broker", Whose::Ours(Kind::Broker)),
            (
                "eventing.knative.dev/v1beta1",
                "Broker",
                Whose::OtherVersion(EVENTING_V1),
            ),
            (
                "eventing.knative.dev",
                "Trigger",
                Whose::OtherVersion(EVENTING_V1),
            ),
            ("eventing.knative.develop/v1", "Broker", Whose::Foreign),
            ("eventing.knative.dev/v1", "CronSource", Whose::Foreign),
            (
                "sources.millrace.dev/v1alpha1",
                "CronSource",
                Whose::Ours(Kind::Source(SourceKind::Cron)),
            ),
            (
                "sources.millrace.dev/v1",
                "KafkaSource",
                Whose::OtherVersion(SOURCES_V1ALPHA1),
            ),
            ("sources.knative.dev/v1", "KafkaSource", Whose::Foreign),
            (
                "sinks.millrace.dev/v1alpha1",
                "KafkaSink",
                Whose::Ours(Kind::KafkaSink),
            ),
            (
                "sinks.millrace.dev/v1",
                "KafkaSink",
                Whose::OtherVersion(SINKS_V1ALPHA1),
            ),
            ("sources.millrace.dev/v1alpha1", "Broker", Whose::Foreign),
            ("v1", "Secret", Whose::Ours(Kind::Secret)),
            ("v1", "List", Whose::List),
            ("v1", "ConfigMap", Whose::Foreign),
            ("v2", "Secret", Whose::Foreign),
        ];
        for (version, word, whose) in cases {
            assert_eq!(kind(version, word), whose, "{version} {word}");
        }
    }

    #[test]
    fn a_kind_is_suggested_only_from_the_same_group() {
        let cases = [
            ("eventing.knative.dev/v1", "Triger", Some("Trigger")),
            ("eventing.knative.dev/v1beta1", "broker", Some("Broker")),
            ("eventing.knative.develop/v1", "Triger", None),
            ("sources.millrace.dev/v1alpha1", "CronSorce", Some("CronSource")),
            ("sources.millrace.dev/v1alpha1", "Triger", None),
            ("v1", "Triger", None),
        ];
        for (version, word, near) in cases {
            assert_eq!(nearest(version, word), near, "{version} {word}");
        }
    }
}
