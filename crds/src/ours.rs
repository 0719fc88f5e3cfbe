//! Which documents are Millrace's own. What others have in theirs (tags, doubled keys, templates' leftovers)
//! is their business.

use crate::destination::EVENTING_V1;
use crate::node::{Kind, Node};
use crate::problem::Mark;
use crate::source;

/// The kinds of ours, for suggestions.
pub(crate) const KINDS: &[&str] = &[
    "Broker",
    "Trigger",
    "GitWebhookSource",
    "CronSource",
    "KafkaSource",
    "ApiServerSource",
];

/// The groups of these kinds.
pub(crate) const GROUPS: &[&str] = &["eventing.knative.dev", "sources.millrace.dev"];

/// Whether a fault at that place is a fault of documents that Millrace reads: what has no kind may have been
/// meant as one.
pub(crate) fn concerns(root: &Node, at: Mark) -> bool {
    let concerns = |document| !is_foreign(document) || is_at_its_kind(document, at);
    if !is_list(root) {
        return concerns(root);
    }
    let Some(Kind::List(items)) = root.get("items").map(|items| &items.kind) else {
        return true;
    };
    match items.iter().rev().find(|item| item.at <= at) {
        Some(item) => concerns(item),
        None => true,
    }
}

fn is_list(root: &Node) -> bool {
    root.get("apiVersion").and_then(Node::text) == Some("v1")
        && root.get("kind").and_then(Node::text) == Some("List")
}

/// Whether the fault is at the fields that say of which kind the document is: of a doubled `kind` one may be
/// ours.
fn is_at_its_kind(document: &Node, at: Mark) -> bool {
    let Kind::Map(entries) = &document.kind else {
        return false;
    };
    let names = |key: &str| key == "kind" || key == "apiVersion";
    entries
        .iter()
        .any(|entry| entry.key_at == at && names(&entry.key.text))
}

/// Whether it says that it is of a kind that is not ours.
fn is_foreign(root: &Node) -> bool {
    let text = |name| root.get(name).and_then(Node::text);
    let (Some(version), Some(kind)) = (text("apiVersion"), text("kind")) else {
        return false;
    };
    match (version, kind) {
        ("v1", "Secret" | "List") => false,
        (version, "Broker" | "Trigger") => group(version) != group(EVENTING_V1),
        (version, kind) => {
            let is_source = source::kind(kind).is_some();
            !(is_source && group(version) == group(source::SOURCES_V1ALPHA1))
        }
    }
}

fn group(version: &str) -> &str {
    version.split('/').next().unwrap_or_default()
}
