//! What the API of Kubernetes gives is read like files, each object by itself; and what objects refer to is
//! looked up by whoever knows the cluster. This file has what the parts share.

mod addresses;
mod alone;
mod bounds;
mod cases;
mod equal;
mod references;

use std::collections::BTreeMap;

use http::Uri;
use millrace_crds::{Address, Condition, ConditionType, Document, Draft, Resolve, Wanted};
use millrace_model::{NoSecret, ObjectName, Unresolved};
use serde_json::{Value, json};

/// What a test knows of the cluster, by `Service shop/ship (v1)` and by `shop/secret key`. Of all else there
/// is nothing.
#[derive(Default)]
struct Known {
    addresses: BTreeMap<String, Result<Uri, Unresolved>>,
    secrets: BTreeMap<String, Result<Box<[u8]>, NoSecret>>,
}

impl Resolve for Known {
    fn address(&self, wanted: &Wanted) -> Result<Address, Unresolved> {
        let known = self.addresses.get(&wanted.resource.to_string()).cloned();
        known.unwrap_or(Err(Unresolved::NotFound)).map(Address::from)
    }

    fn secret(&self, secret: &ObjectName, key: &str) -> Result<Box<[u8]>, NoSecret> {
        let known = self.secrets.get(&format!("{secret} {key}")).cloned();
        known.unwrap_or(Err(NoSecret::NotFound))
    }
}

/// An object as the API of Kubernetes gives it: with all that the cluster adds.
fn object(api_version: &str, kind: &str, name: &str, annotations: Value, spec: Value) -> Value {
    let (namespace, name) = name.split_once('/').expect("namespace/name");
    let mut object = json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": format!("uid-of-{name}"),
            "generation": 3,
            "resourceVersion": "4711",
            "creationTimestamp": "2026-11-28T12:00:00Z",
            "deletionTimestamp": null,
            "finalizers": ["foregroundDeletion"],
            "labels": {"eventing.knative.dev/broker": "default"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "x"}],
            "managedFields": [{
                "manager": "kubectl", "operation": "Apply", "apiVersion": api_version,
                "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:broker": {}}},
            }],
        },
        "status": {
            "observedGeneration": 2,
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-28T12:00:00Z"}],
            "address": {"url": "http://broker/", "name": "http"},
            "annotations": {},
        },
    });
    object["metadata"]["annotations"] = annotations;
    object["spec"] = spec;
    object
}

const EVENTING: &str = "eventing.knative.dev/v1";
const SOURCES: &str = "sources.millrace.dev/v1alpha1";

fn broker(name: &str, spec: Value) -> Document {
    Document::of_object(&object(EVENTING, "Broker", name, json!({}), spec))
}

fn trigger(name: &str, spec: Value) -> Document {
    Document::of_object(&object(EVENTING, "Trigger", name, json!({}), spec))
}

fn name(text: &str) -> ObjectName {
    text.parse().expect("a name")
}

/// The condition of that type.
fn condition(draft: &Draft, ty: ConditionType) -> Condition {
    let all = draft.conditions();
    let found = all.iter().find(|condition| condition.ty == ty);
    found.unwrap_or_else(|| panic!("{ty}: {all:?}")).clone()
}

/// A condition in one line: `Ready=False BrokerDoesNotExist: there is no Broker`.
fn line(condition: &Condition) -> String {
    let Condition {
        ty,
        status,
        reason,
        message,
    } = condition;
    let reason = reason.map(|reason| format!(" {reason}")).unwrap_or_default();
    let message = if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    };
    format!("{ty}={status}{reason}{message}")
}
