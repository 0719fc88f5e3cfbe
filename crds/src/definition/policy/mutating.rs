//! Policies that write what is missing. Kubernetes has them from 1.36 on.

use serde_json::{Value, json};

use super::{ADMISSION, eventing, metadata};
use crate::document::broker::CLASS;

/// A reference without a namespace gets that of its object.
pub(super) fn namespaces() -> Vec<Value> {
    let sink = ["spec", "delivery", "deadLetterSink", "ref"];
    [
        namespace(
            "millrace-trigger-subscribers",
            "triggers",
            &["spec", "subscriber", "ref"],
        ),
        namespace("millrace-trigger-dead-letters", "triggers", &sink),
        namespace("millrace-broker-dead-letters", "brokers", &sink),
        namespace("millrace-broker-config", "brokers", &["spec", "config"]),
    ]
    .concat()
}

/// A Broker without a class gets ours.
pub(super) fn class() -> Vec<Value> {
    let (name, ours) = CLASS;
    let annotations = "object.metadata.annotations";
    mutating(
        "millrace-broker-class",
        &eventing("brokers", &["CREATE"]),
        &format!("!has({annotations}) || !('{name}' in {annotations})"),
        &format!("Object{{metadata: Object.metadata{{annotations: {{'{name}': '{ours}'}}}}}}"),
    )
}

fn namespace(name: &str, resource: &str, path: &[&str]) -> Vec<Value> {
    let rules = eventing(resource, &["CREATE", "UPDATE"]);
    mutating(name, &rules, &lacks_namespace(path), &with_namespace(path))
}

/// Whether a reference has no namespace. It is found by these names, one below the other.
fn lacks_namespace(path: &[&str]) -> String {
    let mut here = "object".to_owned();
    let mut all = Vec::new();
    for name in path {
        here = format!("{here}.{name}");
        all.push(format!("has({here})"));
    }
    all.push(format!("(!has({here}.namespace) || {here}.namespace == '')"));
    all.join(" && ")
}

/// The same reference with the namespace of its object, as a configuration to be applied.
fn with_namespace(path: &[&str]) -> String {
    let ty = |depth: usize| format!("Object.{}", path[..depth].join("."));
    let innermost = format!("{}{{namespace: object.metadata.namespace}}", ty(path.len()));
    let inner = (1..path.len()).rev().fold(innermost, |inner, depth| {
        format!("{}{{{}: {inner}}}", ty(depth), path[depth])
    });
    format!("Object{{{}: {inner}}}", path[0])
}

/// A policy that writes something, and its binding.
fn mutating(name: &str, rules: &Value, condition: &str, expression: &str) -> Vec<Value> {
    let policy = json!({
        "apiVersion": ADMISSION,
        "kind": "MutatingAdmissionPolicy",
        "metadata": metadata(name),
        "spec": {
            // What it would have written has the same meaning when it is missing.
            "failurePolicy": "Ignore",
            "reinvocationPolicy": "IfNeeded",
            "matchConstraints": {"resourceRules": [rules]},
            "matchConditions": [{"name": "is-missing", "expression": condition}],
            "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}],
        },
    });
    let binding = json!({
        "apiVersion": ADMISSION,
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": metadata(name),
        "spec": {"policyName": name},
    });
    vec![policy, binding]
}
