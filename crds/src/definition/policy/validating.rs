//! Policies that refuse.

use serde_json::{Value, json};

use super::annotations::{ANNOTATION_RULES, INJECTION, OURS, known, unknown};
use super::{ADMISSION, CLASS_CHANGED, MANY_DIALECTS, NOT_DEFAULT, ONLY_SECRETS, eventing, metadata};
use crate::document::broker::CLASS;
use crate::document::filters::DIALECTS;

/// All annotations of an object, of which there may be none.
const ALL_ANNOTATIONS: &str = "has(object.metadata.annotations) ? object.metadata.annotations : {}";

/// Brokers: the class stays, and annotations make sense.
pub(super) fn brokers() -> Vec<Value> {
    let class = |object: &str| {
        let annotations = format!("{object}.metadata.annotations");
        format!(
            "(has({annotations}) && '{0}' in {annotations} ? {annotations}['{0}'] : '')",
            CLASS.0
        )
    };
    let mut validations = vec![validation(
        format!(
            "request.operation != 'UPDATE' || {} == {}",
            class("object"),
            class("oldObject")
        ),
        CLASS_CHANGED,
    )];
    validations.extend(of_annotations("Broker"));
    let variables = vec![variable("annotations", ALL_ANNOTATIONS)];
    validating(
        "millrace-brokers",
        &eventing("brokers", &["CREATE", "UPDATE"]),
        &variables,
        &validations,
    )
}

/// Triggers: one dialect a filter, and annotations make sense.
pub(super) fn triggers() -> Vec<Value> {
    let dialects = DIALECTS
        .iter()
        .map(|word| format!("'{word}'"))
        .collect::<Vec<_>>()
        .join(", ");
    let is_one = |filter: &str| format!("[{dialects}].filter(word, word in {filter}).size() <= 1");
    let filters = |of: &str, name: &str| format!("('{name}' in {of} ? {of}.{name} : [])");
    let message = MANY_DIALECTS;
    let nested = ["all", "any"].map(|list| {
        let inner = format!("{}.all(inner, {})", filters("filter", list), is_one("inner"));
        validation(format!("variables.filters.all(filter, {inner})"), message)
    });
    let mut validations = vec![
        validation(
            format!("variables.filters.all(filter, {})", is_one("filter")),
            message,
        ),
        validation(
            format!(
                "variables.filters.all(filter, !('not' in filter) || {})",
                is_one("filter.not")
            ),
            message,
        ),
    ];
    validations.extend(nested);
    validations.extend(of_annotations("Trigger"));
    validations.push(validation(
        format!(
            "!('{INJECTION}' in variables.annotations) || (has(object.spec.broker) && object.spec.broker == 'default')"
        ),
        NOT_DEFAULT,
    ));
    let variables = vec![
        variable("annotations", ALL_ANNOTATIONS),
        variable("filters", "has(object.spec.filters) ? object.spec.filters : []"),
    ];
    validating(
        "millrace-triggers",
        &eventing("triggers", &["CREATE", "UPDATE"]),
        &variables,
        &validations,
    )
}

/// Sources have no annotations of ours, and a login names Secrets and nothing else.
pub(super) fn sources() -> Vec<Value> {
    of_logins("millrace-sources", "sources.millrace.dev", "Source")
}

/// The same of KafkaSinks.
pub(super) fn sinks() -> Vec<Value> {
    of_logins("millrace-sinks", "sinks.millrace.dev", "KafkaSink")
}

fn of_logins(policy: &str, group: &str, kind: &str) -> Vec<Value> {
    let mut validations = of_annotations(kind);
    for field in ["type", "user"] {
        let value = format!("object.spec.net.sasl.{field}");
        let is_there = format!("has(object.spec.net) && has(object.spec.net.sasl) && has({value})");
        validations.push(validation(
            format!("!({is_there}) || type({value}) == string || {value}.all(name, name == 'secretKeyRef')"),
            format!("spec.net.sasl.{field}: {ONLY_SECRETS}"),
        ));
    }
    let variables = vec![variable("annotations", ALL_ANNOTATIONS)];
    let rules = json!({
        "apiGroups": [group], "apiVersions": ["v1alpha1"], "resources": ["*"],
        "operations": ["CREATE", "UPDATE"],
    });
    validating(policy, &rules, &variables, &validations)
}

/// The rules about the annotations of a kind.
fn of_annotations(kind: &str) -> Vec<Value> {
    let known: Vec<String> = known(kind).iter().map(|name| format!("'{OURS}{name}'")).collect();
    let known = known.join(", ");
    let mut validations = vec![validation(
        format!("variables.annotations.all(name, !name.startsWith('{OURS}') || name in [{known}])"),
        unknown(kind),
    )];
    let of_kind = ANNOTATION_RULES
        .iter()
        .filter(|annotation| annotation.kind == kind);
    validations.extend(of_kind.map(|annotation| {
        let name = &annotation.name;
        let matches = annotation
            .pattern
            .cel(&format!("variables.annotations['{name}']"));
        validation(
            format!("!('{name}' in variables.annotations) || {matches}"),
            &*annotation.message,
        )
    }));
    validations
}

/// A policy and its binding.
fn validating(name: &str, rules: &Value, variables: &[Value], validations: &[Value]) -> Vec<Value> {
    let policy = json!({
        "apiVersion": ADMISSION,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": metadata(name),
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rules]},
            "variables": variables,
            "validations": validations,
        },
    });
    let binding = json!({
        "apiVersion": ADMISSION,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": metadata(name),
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    vec![policy, binding]
}

fn variable(name: &str, expression: impl Into<String>) -> Value {
    json!({"name": name, "expression": expression.into()})
}

fn validation(expression: impl Into<String>, message: impl Into<String>) -> Value {
    json!({"expression": expression.into(), "message": message.into(), "reason": "Invalid"})
}
