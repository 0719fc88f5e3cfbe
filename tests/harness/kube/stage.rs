//! A mesh whose documents are the objects of a cluster, with a subscriber beside it.

use serde_json::{Value, json};

use super::Kube;
use super::served::{broker, trigger};
use crate::{Mesh, Sink};

/// An API server with the mesh that serves it, and a subscriber.
#[derive(Debug)]
pub struct Stage {
    /// The API.
    pub kube: Kube,
    /// The mesh. Brokers without a class are its own.
    pub mesh: Mesh,
    /// The subscriber.
    pub sink: Sink,
}

// === impl Stage ===

impl Stage {
    /// Starts all three; `None` when a peer is not there and not required.
    ///
    /// # Errors
    /// When one of them does not start.
    pub async fn start() -> anyhow::Result<Option<Self>> {
        let Some(kube) = Kube::with_kinds().await? else {
            return Ok(None);
        };
        let mesh = kube.served()?.args(&["--default-class"]).start().await?;
        let sink = Sink::start().await?;
        Ok(Some(Self { kube, mesh, sink }))
    }

    /// The Broker `default` and these Triggers, once all are ready.
    ///
    /// # Errors
    /// When one of them is not before the deadline.
    pub async fn with(&self, broker_spec: Value, triggers: &[Value]) -> anyhow::Result<()> {
        self.kube.ready(&broker("default", broker_spec)).await?;
        for trigger in triggers {
            self.kube.ready(trigger).await?;
        }
        Ok(())
    }

    /// A Trigger whose events come to the path of its name, with these fields of `spec` more.
    pub fn trigger(&self, name: &str, more: &Value) -> Value {
        let mut trigger = trigger(name, &self.sink.url(&format!("/{name}")));
        for (field, value) in more.as_object().into_iter().flatten() {
            trigger["spec"][field] = value.clone();
        }
        trigger
    }

    /// Quick retries with a dead-letter sink at `dead`.
    pub fn delivery(&self, retry: u32, dead: &str) -> Value {
        json!({
            "retry": retry, "backoffPolicy": "linear", "backoffDelay": "PT0.01S",
            "deadLetterSink": {"uri": self.sink.url(dead)},
        })
    }
}
