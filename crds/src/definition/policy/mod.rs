//! Admission policies: what a schema cannot see. Annotations, which are no part of a schema
//! ([`annotations`]); filters with `jsonpath`, whose type is free; and fields that are a text or a mapping.
//! [`validating`] refuses, and [`mutating`] writes defaults that look at other fields.
//!
//! They need no webhook: the API server itself evaluates them. They are for clusters in which the kinds are
//! ours, because Knative's own webhooks refuse the same there.

mod annotations;
mod mutating;
mod validating;

pub(super) use self::annotations::{ANNOTATION_RULES, INJECTION, OURS, known, unknown};

use serde_json::{Value, json};

use self::mutating::{class, namespaces};
use self::validating::{brokers, sinks, sources, triggers};
use super::manifest::Manifest;

/// The group of admission policies.
const ADMISSION: &str = "admissionregistration.k8s.io/v1";

/// The class of a Broker was changed; these are Knative's words.
pub(super) const CLASS_CHANGED: &str = "Immutable annotations changed (-old +new): annotations";

/// A Trigger of another Broker than `default` asks for a Broker to be made; these are Knative's words.
pub(super) const NOT_DEFAULT: &str = "The provided injection annotation is only used for default broker, but \
                                      non-default broker specified here";

/// A login names something of Millrace's own process.
pub(super) const ONLY_SECRETS: &str = "a text or a secretKeyRef is expected";

/// A filter has several dialects; these are Knative's words.
pub(super) const MANY_DIALECTS: &str = "multiple dialects found, filters can have only one dialect set";

/// The manifests of policies.
pub(super) fn manifests() -> Vec<Manifest> {
    let manifest = |path: &str, says: &str, objects| Manifest {
        path: format!("policies/{path}.yaml"),
        says: says.to_owned(),
        objects,
    };
    vec![
        manifest(
            "validating",
            "What a schema cannot see is refused: annotations, filters with jsonpath. Only where the kinds are ours.",
            [brokers(), triggers(), sources(), sinks()].concat(),
        ),
        manifest(
            "defaults",
            "References without a namespace get that of their object, as in Knative. For Kubernetes 1.36 and later.",
            namespaces(),
        ),
        manifest(
            "default-class",
            "A Broker without a class gets ours. Only where Millrace is the default; for Kubernetes 1.36 and later.",
            class(),
        ),
    ]
}

/// Requests for a resource of Knative's group.
fn eventing(resource: &str, operations: &[&str]) -> Value {
    json!({"apiGroups": ["eventing.knative.dev"], "apiVersions": ["v1"], "resources": [resource], "operations": operations})
}

/// The name and labels of a policy or binding.
fn metadata(name: &str) -> Value {
    json!({"name": name, "labels": {"app.kubernetes.io/name": "millrace"}})
}
