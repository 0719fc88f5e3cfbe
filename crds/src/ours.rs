//! Which documents are Millrace's own. What others have in theirs (tags, doubled keys, templates' leftovers)
//! is their business.

use millrace_model::SourceKind;

use crate::destination::EVENTING_V1;
use crate::found::Kind;
use crate::node::{self, Node};
use crate::problem::Mark;
use crate::source::SOURCES_V1ALPHA1;
use crate::suggest;

/// What a document is to Millrace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
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
    (SOURCES_V1ALPHA1, Kind::Source(SourceKind::GitWebhook)),
    (SOURCES_V1ALPHA1, Kind::Source(SourceKind::Cron)),
    (SOURCES_V1ALPHA1, Kind::Source(SourceKind::Kafka)),
    (SOURCES_V1ALPHA1, Kind::Source(SourceKind::ApiServer)),
];

/// What a document of this version and kind is to Millrace.
pub(crate) fn kind(version: &str, kind: &str) -> Standing {
    match (version, kind) {
        ("v1", "Secret") => return Standing::Ours(Kind::Secret),
        ("v1", "List") => return Standing::List,
        _ => {}
    }
    match of_group(version).find(|(_, known)| known.as_str() == kind) {
        Some((known, kind)) if known == version => Standing::Ours(kind),
        Some((known, _)) => Standing::OtherVersion(known),
        None => Standing::Foreign,
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
    if standing(root) != Some(Standing::List) {
        return may_be(root);
    }
    let Some(node::Kind::List(items)) = root.get("items").map(|items| &items.kind) else {
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
    standing(document) != Some(Standing::Foreign)
}

/// What a document is; `None` if it does not say, or says two things.
fn standing(document: &Node) -> Option<Standing> {
    let node::Kind::Map(entries) = &document.kind else {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_belongs_to_its_group_and_to_no_other_that_begins_like_it() {
        let cases = [
            ("eventing.knative.dev/v1", "Broker", Standing::Ours(Kind::Broker)),
            (
                "eventing.knative.dev/v1beta1",
                "Broker",
                Standing::OtherVersion(EVENTING_V1),
            ),
            (
                "eventing.knative.dev",
                "Trigger",
                Standing::OtherVersion(EVENTING_V1),
            ),
            ("eventing.knative.develop/v1", "Broker", Standing::Foreign),
            ("eventing.knative.dev/v1", "CronSource", Standing::Foreign),
            (
                "sources.millrace.dev/v1alpha1",
                "CronSource",
                Standing::Ours(Kind::Source(SourceKind::Cron)),
            ),
            (
                "sources.millrace.dev/v1",
                "KafkaSource",
                Standing::OtherVersion(SOURCES_V1ALPHA1),
            ),
            ("sources.knative.dev/v1", "KafkaSource", Standing::Foreign),
            ("sources.millrace.dev/v1alpha1", "Broker", Standing::Foreign),
            ("v1", "Secret", Standing::Ours(Kind::Secret)),
            ("v1", "List", Standing::List),
            ("v1", "ConfigMap", Standing::Foreign),
            ("v2", "Secret", Standing::Foreign),
        ];
        for (version, word, standing) in cases {
            assert_eq!(kind(version, word), standing, "{version} {word}");
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
