//! What a Trigger waits for beside its Broker and subscriber: the object that its annotation
//! `knative.dev/dependency` names. `Ready` is True only once that is ready.

use millrace_crds::Kind;
use millrace_model::{NoTarget, ObjectName, Reference, Unresolved};
use serde::Deserialize;
use serde_json::Value;

use crate::condition::Shown;
use crate::objects::Entry;
use crate::resolve::{is_broker, is_kafka_sink};
use crate::status::Scene;
use crate::targets;

/// The annotation.
const DEPENDENCY: &str = "/metadata/annotations/knative.dev~1dependency";

/// A reference as Kubernetes' own objects have it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    api_version: String,
    kind: String,
    name: String,
    #[serde(default)]
    namespace: String,
}

/// The source that a Trigger waits for (`knative.dev/dependency`); `None`: for none.
///
/// # Errors
/// What is wrong with the annotation.
pub(crate) fn named(entry: &Entry) -> Option<Result<Reference, String>> {
    let text = entry.current.object.pointer(DEPENDENCY).and_then(Value::as_str)?;
    let namespace = entry.key.name.namespace();
    Some(match serde_json::from_str::<Named>(text) {
        Ok(named) if named.namespace.is_empty() || named.namespace == namespace => Ok(Reference {
            api_version: named.api_version,
            kind: named.kind,
            name: ObjectName::new(namespace, named.name),
        }),
        Ok(_) => Err("the annotation knative.dev/dependency names another namespace".to_owned()),
        Err(_) => Err(
            "the annotation knative.dev/dependency is to be a JSON object with kind, name and apiVersion"
                .to_owned(),
        ),
    })
}

/// Whether that object is ready, as a condition.
pub(crate) fn condition(entry: &Entry, scene: &Scene<'_>) -> Shown {
    const TYPE: &str = "DependencyReady";
    let reference = match named(entry) {
        None => return Shown::met(TYPE, "DependencyNotConfigured"),
        Some(Err(message)) => return Shown::unmet(TYPE, "ReferenceError", message),
        Some(Ok(reference)) => reference,
    };
    let name = format!("{} {}", reference.kind, reference.name);
    match is_ready(&reference, scene) {
        Ok(Some(true)) => Shown::met(TYPE, "DependencyReady"),
        Ok(Some(false)) => Shown::unmet(TYPE, "DependencyNotReady", format!("the {name} is not ready")),
        Ok(None) => {
            let message = format!("the {name} does not say yet whether it is ready");
            Shown::unknown(TYPE, "DependencyNotConfigured", message)
        }
        Err(Unresolved::Pending) => {
            let message = format!("the {name} has not been looked up yet");
            Shown::unknown(TYPE, "NotResolvedYet", message)
        }
        Err(why) => {
            let message = NoTarget::Unresolved(reference, why).to_string();
            Shown::unmet(TYPE, "DependencyDoesNotExist", message)
        }
    }
}

/// What the object says of its newest generation; `None`: nothing yet.
fn is_ready(reference: &Reference, scene: &Scene<'_>) -> Result<Option<bool>, Unresolved> {
    let own = if is_broker(reference) {
        Kind::Broker
    } else if is_kafka_sink(reference) {
        Kind::KafkaSink
    } else {
        return scene.targets.get(reference).map(|target| target.ready);
    };
    match scene.objects.get(own, &reference.name) {
        Some(entry) => Ok(targets::ready(&entry.status, Some(entry.generation))),
        None if scene.objects.is_answered(own, &scene.options.scopes()) => Err(Unresolved::NotFound),
        None => Err(Unresolved::Pending),
    }
}
