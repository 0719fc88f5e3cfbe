//! A mesh whose documents are the objects of a cluster: the objects as a test writes them, and what their
//! status says.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use kube::runtime::watcher::watch_object;
use serde_json::{Value, json};

use super::Kube;
use crate::mesh::{Mesh, Setup};
use crate::wait::DEADLINE;
use crate::{process, wait_until};

/// The group of Brokers and Triggers, with its version.
pub const EVENTING: &str = "eventing.knative.dev/v1";
/// The group of sources, with its version.
pub const SOURCES: &str = "sources.millrace.dev/v1alpha1";

/// The pause before a watch is opened again that has failed.
const PAUSE: Duration = Duration::from_millis(50);

/// An object of the namespace `shop`.
pub fn object(api_version: &str, kind: &str, name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "shop"},
    });
    object["spec"] = spec;
    object
}

/// A Broker of our class.
pub fn broker(name: &str, spec: Value) -> Value {
    of_class(object(EVENTING, "Broker", name, spec), "Millrace")
}

/// The same Broker of another class.
pub fn of_class(mut broker: Value, class: &str) -> Value {
    broker["metadata"]["annotations"] = json!({"eventing.knative.dev/broker.class": class});
    broker
}

/// A Trigger of the Broker `default` for everything to that URL.
pub fn trigger(name: &str, uri: &str) -> Value {
    let spec = json!({"broker": "default", "subscriber": {"uri": uri}});
    object(EVENTING, "Trigger", name, spec)
}

/// A Service with these ports.
pub fn service(name: &str, ports: &[u16]) -> Value {
    let ports: Vec<Value> = ports
        .iter()
        .map(|port| json!({"name": format!("p{port}"), "port": port, "protocol": "TCP"}))
        .collect();
    object(
        "v1",
        "Service",
        name,
        json!({"ports": ports, "selector": {"app": "nobody"}}),
    )
}

/// A condition of a status: `True`, or `False BrokerDoesNotExist`.
pub fn condition(object: &Value, ty: &str) -> String {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let found = conditions.clone().find(|one| one["type"] == ty);
    let Some(found) = found else { return String::new() };
    let text = |field: &str| found[field].as_str().unwrap_or_default();
    match (text("status"), text("reason")) {
        ("True", _) => "True".to_owned(),
        (status, reason) => format!("{status} {reason}"),
    }
}

/// The manifests of these names, or the definitions of all kinds, as `millrace crds` prints them.
///
/// # Errors
/// When it prints none.
pub async fn manifests(names: &[&str]) -> anyhow::Result<Vec<Value>> {
    let args = [&["crds", "--output", "json"], names].concat();
    let printed = process::run(Path::new("."), &args, "").await?;
    let said = String::from_utf8_lossy(&printed.stderr);
    anyhow::ensure!(printed.status.success(), "{said}");
    let mut list: Value = serde_json::from_slice(&printed.stdout)?;
    Ok(serde_json::from_value(list["items"].take())?)
}

// === impl Kube ===

impl Kube {
    /// Starts the API with the kinds that Millrace reads, and a namespace `shop`; `None` when a peer is not
    /// there and not required.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn with_kinds() -> anyhow::Result<Option<Self>> {
        let Some(kube) = Self::start().await? else {
            return Ok(None);
        };
        kube.define_kinds().await?;
        kube.namespace("shop").await?;
        Ok(Some(kube))
    }

    /// Defines the kinds that Millrace reads.
    ///
    /// # Errors
    /// When the API does not serve them before the deadline.
    pub async fn define_kinds(&self) -> anyhow::Result<()> {
        for definition in manifests(&[]).await? {
            self.define(&definition).await?;
        }
        for policy in manifests(&["policies/validating"]).await? {
            self.apply(&policy).await?;
        }
        Ok(())
    }

    /// Adds the policies that fill in the namespace of references and the class of Brokers. They hold a
    /// little later.
    ///
    /// # Errors
    /// When the API refuses them.
    pub async fn define_defaults(&self) -> anyhow::Result<()> {
        for mut object in manifests(&["policies/defaults", "policies/default-class"]).await? {
            // This API server has them as a beta, and Kubernetes 1.36 as they are.
            object["apiVersion"] = json!("admissionregistration.k8s.io/v1beta1");
            self.apply(&object).await?;
        }
        Ok(())
    }

    /// An object as it is now.
    ///
    /// # Errors
    /// When there is none, or the API does not answer.
    pub async fn seen(&self, object: &Value) -> anyhow::Result<Value> {
        let found = self.find(object).await?.context("it is gone")?;
        Ok(serde_json::to_value(found)?)
    }

    /// How `millrace run --kubernetes` is started for this cluster.
    ///
    /// # Errors
    /// When no folder can be made.
    pub fn served(&self) -> anyhow::Result<Setup> {
        Ok(Setup::new("")?.cluster(&self.kubeconfig()))
    }

    /// Waits until a condition of an object is as given, for its newest generation; gives the object. It is
    /// watched: who asks again and again takes the processor from what is waited for.
    ///
    /// # Errors
    /// When that is not so before the deadline.
    pub async fn until(&self, object: &Value, ty: &str, wanted: &str) -> anyhow::Result<Value> {
        let mut last = "it was not seen".to_owned();
        let watching = async {
            loop {
                match self.watch_until(object, ty, wanted, &mut last).await {
                    Ok(Some(found)) => return found,
                    Ok(None) => {}
                    Err(error) => last = format!("{error:#}"),
                }
                // The API is away, or does not know the kind yet.
                tokio::time::sleep(PAUSE).await;
            }
        };
        let found = tokio::time::timeout(DEADLINE, watching).await;
        found.map_err(|_| {
            let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
            let waited = DEADLINE.as_secs();
            anyhow::anyhow!("waited {waited} s for: {kind} {name} to be {ty} {wanted}; last: {last}")
        })
    }

    /// Watches an object until a condition is as given; `None` when the watch ends before.
    async fn watch_until(
        &self,
        object: &Value,
        ty: &str,
        wanted: &str,
        last: &mut String,
    ) -> anyhow::Result<Option<Value>> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let mut seen = std::pin::pin!(watch_object(self.api(object).await?, name));
        while let Some(found) = seen.next().await {
            let Some(found) = found? else {
                "it is not there".clone_into(last);
                continue;
            };
            let found = serde_json::to_value(found)?;
            let is_current = found["status"]["observedGeneration"] == found["metadata"]["generation"];
            let said = condition(&found, ty);
            if is_current && said == wanted {
                return Ok(Some(found));
            }
            *last = format!("{said}: {}", found["status"]);
        }
        Ok(None)
    }

    /// Applies an object, and waits until it is ready.
    ///
    /// # Errors
    /// When it is not before the deadline.
    pub async fn ready(&self, object: &Value) -> anyhow::Result<Value> {
        self.apply(object).await?;
        self.until(object, "Ready", "True").await
    }
}

/// The path of an object's address, if it lies at that listener.
pub fn path_at(object: &Value, listen: SocketAddr) -> Option<String> {
    let url = object["status"]["address"]["url"].as_str()?;
    url.strip_prefix(&format!("http://{listen}")).map(str::to_owned)
}

/// Whether a mesh serves that many Triggers.
///
/// # Errors
/// When that is not so before the deadline.
pub async fn until_triggers(mesh: &Mesh, count: usize) -> anyhow::Result<()> {
    let admin = mesh.admin();
    wait_until(&format!("{count} triggers to be served"), || async {
        let mesh = admin.get("mesh").await?;
        anyhow::ensure!(mesh["triggers"] == count, "{mesh}");
        Ok(Some(()))
    })
    .await
}
