//! The admission policies, and what the API server itself asks of the head of an object.

use super::{Refusal, refusal};
use crate::definition::Definition;
use crate::definition::parts::LEVELS;
use crate::definition::policy::{
    self, CLASS_CHANGED, INJECTION, MANY_DIALECTS, NOT_DEFAULT, ONLY_SECRETS, OURS,
};
use crate::document::broker::CLASS;
use crate::document::filters::DIALECTS;
use crate::problem::shown;
use crate::tree::{Entry, Node, ReadsAs, Shape};

/// Labels and annotations are texts.
pub(super) fn metadata(root: &Node, out: &mut Vec<Refusal>) {
    for name in ["labels", "annotations"] {
        let entries = root.get("metadata").and_then(|metadata| metadata.get(name));
        for entry in entries.map(entries_of).unwrap_or_default() {
            let is_text =
                matches!(&entry.value.shape, Shape::Scalar(scalar) if scalar.reads_as == ReadsAs::Text);
            if !is_text {
                let path = format!("metadata.{name}[{}]", shown(&entry.key.text));
                let message = format!("must be of type string, and this is {}", entry.value.what());
                out.push(refusal(entry.value.at, &path, message));
            }
        }
    }
}

fn entries_of(node: &Node) -> &[Entry] {
    match &node.shape {
        Shape::Map(entries) => entries,
        Shape::Scalar(_) | Shape::List(_) => &[],
    }
}

fn annotation<'a>(root: &'a Node, name: &str) -> Option<&'a Node> {
    root.get("metadata")?.get("annotations")?.get(name)
}

/// The rules of the policies.
pub(super) fn policies(definition: &Definition, root: &Node, before: Option<&Node>, out: &mut Vec<Refusal>) {
    let kind = definition.kind;
    annotations(kind, root, out);
    let spec = root.get("spec");
    match kind {
        "Broker" => class(root, before, out),
        "Trigger" => {
            if let Some(injection) = annotation(root, INJECTION)
                && spec.and_then(|spec| spec.get("broker")).and_then(Node::text) != Some("default")
            {
                out.push(refusal(
                    injection.at,
                    &format!("metadata.annotations[{INJECTION}]"),
                    NOT_DEFAULT,
                ));
            }
            filters(
                spec.and_then(|spec| spec.get("filters")),
                "spec.filters",
                LEVELS,
                out,
            );
        }
        "KafkaSource" | "KafkaSink" => login(spec, out),
        _ => {}
    }
}

fn annotations(kind: &str, root: &Node, out: &mut Vec<Refusal>) {
    let all = root
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"));
    for entry in all.map(entries_of).unwrap_or_default() {
        let name = entry.key.text.as_str();
        let path = format!("metadata.annotations[{}]", shown(name));
        let ours = name.strip_prefix(OURS);
        if ours.is_some_and(|name| !policy::known(kind).contains(&name)) {
            out.push(refusal(entry.value.at, &path, policy::unknown(kind)));
        }
        let rules = policy::ANNOTATION_RULES.iter();
        for rule in rules.filter(|rule| rule.kind == kind && rule.name == name) {
            if entry.value.text().is_some_and(|text| !rule.pattern.is_in(text)) {
                out.push(refusal(entry.value.at, &path, &*rule.message));
            }
        }
    }
}

/// The class of a Broker does not change.
fn class(root: &Node, before: Option<&Node>, out: &mut Vec<Refusal>) {
    let class = |root| annotation(root, CLASS.0).and_then(Node::text).unwrap_or_default();
    if before.is_some_and(|before| class(before) != class(root)) {
        out.push(refusal(root.at, "metadata.annotations", CLASS_CHANGED));
    }
}

/// One dialect a filter, `jsonpath` among them.
fn filters(list: Option<&Node>, path: &str, levels: u32, out: &mut Vec<Refusal>) {
    let Some(Shape::List(items)) = list.map(|list| &list.shape) else {
        return;
    };
    for (i, item) in items.iter().enumerate() {
        filter(item, &format!("{path}[{i}]"), levels, out);
    }
}

fn filter(element: &Node, path: &str, levels: u32, out: &mut Vec<Refusal>) {
    let Some(below) = levels.checked_sub(1) else {
        return;
    };
    if DIALECTS.iter().filter(|word| element.get(word).is_some()).count() > 1 {
        out.push(refusal(element.at, path, MANY_DIALECTS));
    }
    for list in ["all", "any"] {
        filters(element.get(list), &format!("{path}.{list}"), below, out);
    }
    if let Some(inner) = element.get("not") {
        filter(inner, &format!("{path}.not"), below, out);
    }
}

/// A login names Secrets, and nothing of Millrace's own process.
fn login(spec: Option<&Node>, out: &mut Vec<Refusal>) {
    let sasl = spec.and_then(|spec| spec.get("net")?.get("sasl"));
    for name in ["type", "user"] {
        let Some(value) = sasl.and_then(|sasl| sasl.get(name)) else {
            continue;
        };
        let is_good = match &value.shape {
            Shape::Scalar(scalar) => scalar.reads_as == ReadsAs::Text,
            Shape::Map(entries) => entries.iter().all(|entry| entry.key.text == "secretKeyRef"),
            Shape::List(_) => false,
        };
        if !is_good {
            out.push(refusal(value.at, &format!("spec.net.sasl.{name}"), ONLY_SECRETS));
        }
    }
}
