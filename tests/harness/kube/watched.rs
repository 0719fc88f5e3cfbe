//! An ApiServerSource as the suites set it up, and what it has told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::documents::{Documents, Trigger};
use crate::{Event, Mesh, Sink, wait_until};

/// Where its events go.
pub const SINK: &str = "/events";

/// Broker, a Trigger for everything to the sink, and a source with this `spec`.
pub fn documents(sink: &Sink, kubeconfig: &Path, spec: &str) -> String {
    let mesh = Documents::broker().trigger(&Trigger::new("all", &sink.url(SINK)));
    format!("{}{}", mesh.text(), source("watched", kubeconfig, spec))
}

/// A source `shop/<name>` with this `spec`.
pub fn source(name: &str, kubeconfig: &Path, spec: &str) -> String {
    format!(
        "---\napiVersion: sources.millrace.dev/v1alpha1\nkind: ApiServerSource\n\
         metadata: {{name: {name}, namespace: shop}}\nspec:\n  kubeconfig: {}\n  \
         sink: {{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}}}\n  {}\n",
        kubeconfig.display(),
        spec.replace('\n', "\n  ")
    )
}

/// The ConfigMap `shop/<name>` with a value.
pub fn config_map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"},
        "data": {"value": value},
    })
}

/// Waits until the source `shop/watched` is as `wanted` says of its state and reason.
///
/// # Errors
/// When that is not so before the deadline.
pub async fn until(mesh: &Mesh, what: &str, wanted: impl Fn(&str, &str) -> bool) -> anyhow::Result<()> {
    let admin = mesh.admin();
    wait_until(&format!("the source: {what}"), || async {
        let sources = admin.get("sources").await?;
        let source = &sources[0];
        let text = |name: &str| source[name].as_str().unwrap_or_default().to_owned();
        anyhow::ensure!(wanted(&text("state"), &text("reason")), "{sources}");
        Ok(Some(()))
    })
    .await
}

/// Waits until it is ready with nothing to say.
///
/// # Errors
/// When that is not so before the deadline.
pub async fn until_ready(mesh: &Mesh) -> anyhow::Result<()> {
    until(mesh, "ready", |state, reason| {
        state == "ready" && reason.is_empty()
    })
    .await
}

/// The events that came to the sink by their ids. One that came again must be the same.
///
/// # Panics
/// When it is another.
pub fn told(sink: &Sink) -> BTreeMap<String, Event> {
    let mut told = BTreeMap::new();
    for received in sink.received(SINK) {
        let event = received.event();
        let earlier = told.insert(event.id().to_owned(), event.clone());
        assert!(earlier.is_none_or(|earlier| earlier == event), "{event:?}");
    }
    told
}

/// The id of what became of an object.
pub fn id(object: &DynamicObject, verb: &str) -> String {
    let metadata = &object.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    format!(
        "{}.{}.{verb}",
        text(&metadata.uid),
        text(&metadata.resource_version)
    )
}

/// Ids without the version of an end, which the API does not tell to the client that deletes.
pub fn without_end(id: &str) -> String {
    let parts: Vec<&str> = id.split('.').collect();
    match parts.as_slice() {
        [uid, _, "delete"] => format!("{uid}.delete"),
        _ => id.to_owned(),
    }
}

/// The id of its end without that version.
pub fn end(object: &DynamicObject) -> String {
    format!("{}.delete", object.metadata.uid.clone().unwrap_or_default())
}

/// Waits until exactly these ids have come. An end may be given with its version or, as [`end`] does,
/// without.
///
/// # Errors
/// When that is not so before the deadline.
pub async fn until_told(sink: &Sink, expected: &BTreeSet<String>) -> anyhow::Result<()> {
    wait_until("the events", || async {
        let as_expected = |id: String| {
            if expected.contains(&id) {
                id
            } else {
                without_end(&id)
            }
        };
        let ids: BTreeSet<String> = told(sink).into_keys().map(as_expected).collect();
        let missing: Vec<_> = expected.difference(&ids).take(5).collect();
        anyhow::ensure!(missing.is_empty(), "missing {missing:?}; {} came", ids.len());
        let others: Vec<_> = ids.difference(expected).take(5).collect();
        anyhow::ensure!(others.is_empty(), "nobody expected {others:?}");
        Ok(Some(()))
    })
    .await
}
