//! Brings a mesh into effect in the order that loses nothing: channels open, then triggers' start positions
//! are durable, then the door opens.

use std::sync::Arc;

use anyhow::Context as _;
use millrace_channel::Channels;
use millrace_channel::embedded::{ChannelOptions, Store};
use millrace_event::ObjectName;
use millrace_model::{Broker, Mesh, OnFull, Retention};
use tokio::sync::watch;

/// What a change of the mesh goes through.
pub(crate) struct Effect {
    store: Store,
    channels: Channels,
    /// What the dispatcher is to serve.
    desired: watch::Sender<Arc<Mesh>>,
    /// What the dispatcher serves: its revision.
    applied: watch::Receiver<u64>,
    /// What intake lets in.
    admitted: watch::Sender<Arc<Mesh>>,
}

// === impl Effect ===

impl Effect {
    pub(crate) fn new(
        store: Store,
        channels: Channels,
        desired: watch::Sender<Arc<Mesh>>,
        applied: watch::Receiver<u64>,
        admitted: watch::Sender<Arc<Mesh>>,
    ) -> Self {
        Self {
            store,
            channels,
            desired,
            applied,
            admitted,
        }
    }

    /// The mesh in effect.
    pub(crate) fn current(&self) -> Arc<Mesh> {
        self.admitted.borrow().clone()
    }

    /// Makes `mesh` the one in effect. An error leaves the one that was.
    pub(crate) async fn take(&mut self, mesh: Mesh) -> anyhow::Result<Arc<Mesh>> {
        let before = self.current();
        let mesh = Arc::new(mesh.succeeding(&before));
        if mesh.revision == before.revision {
            return Ok(mesh);
        }
        let is_open = |broker: &&Arc<Broker>| self.channels.get(&broker.name).is_some();
        let (open, closed): (Vec<_>, Vec<_>) = mesh.brokers.values().partition(is_open);
        for broker in closed {
            self.open(&broker.name, options(broker)).await?;
        }
        self.open_orphans().await?;
        // Only now: if a channel cannot be opened, those that run keep the options that they have.
        for broker in open {
            self.open(&broker.name, options(broker)).await?;
        }
        self.desired.send_replace(mesh.clone());
        self.applied
            .wait_for(|revision| *revision >= mesh.revision)
            .await
            .context("the dispatcher has ended")?;
        self.admitted.send_replace(mesh.clone());
        Ok(mesh)
    }

    /// Opens the channels of brokers that are in no document any more: parked events can be read there, and
    /// what their triggers are owed waits for their return, up to the grace period.
    async fn open_orphans(&self) -> anyhow::Result<()> {
        for broker in self.store.brokers()? {
            if self.channels.get(&broker).is_none() {
                let retention = Retention::default();
                let options = ChannelOptions {
                    retention_age: retention.age,
                    retention_bytes: retention.bytes,
                    backlog_bytes: None,
                    drop_oldest: false,
                };
                self.open(&broker, options).await?;
            }
        }
        Ok(())
    }

    /// Opens a channel, or applies new options to an open one.
    async fn open(&self, broker: &ObjectName, options: ChannelOptions) -> anyhow::Result<()> {
        let channel = self.store.channel(broker, options).await;
        let channel = channel.with_context(|| format!("the channel of broker {broker} cannot be opened"))?;
        self.channels.insert(broker.clone(), channel);
        Ok(())
    }

    /// Closes every channel: what was accepted is durable and the stop counts as clean.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        let mut closed = Ok(());
        for (broker, channel) in self.channels.all() {
            let context = || format!("the channel of broker {broker} cannot be closed");
            // One that cannot be closed must not keep the others from it.
            closed = closed.and(channel.close().await.with_context(context));
        }
        closed
    }
}

fn options(broker: &Broker) -> ChannelOptions {
    ChannelOptions {
        retention_age: broker.retention.age,
        retention_bytes: broker.retention.bytes,
        backlog_bytes: broker.backlog_bytes,
        drop_oldest: broker.on_full == OnFull::DropOldest,
    }
}
