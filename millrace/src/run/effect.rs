//! Brings a mesh into effect in the order that loses nothing: channels open, then triggers' start positions
//! are durable, then the door opens.

use std::sync::Arc;

use anyhow::Context as _;
use millrace_channel::embedded::{ChannelOptions, Embedded, Store, close_all};
use millrace_channel::{Channel, Logs, Ownership};
use millrace_event::ObjectName;
use millrace_model::{Broker, Mesh, OnFull, Retention};
use tokio::sync::watch;

/// What a change of the mesh goes through.
pub(crate) struct Effect {
    store: Arc<Store>,
    logs: Logs,
    owned: Ownership,
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
        logs: Logs,
        owned: Ownership,
        desired: watch::Sender<Arc<Mesh>>,
        applied: watch::Receiver<u64>,
        admitted: watch::Sender<Arc<Mesh>>,
    ) -> Self {
        Self {
            store: Arc::new(store),
            logs,
            owned,
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
        self.open_channels(&mesh).await?;
        self.desired.send_replace(mesh.clone());
        self.applied
            .wait_for(|revision| *revision >= mesh.revision)
            .await
            .context("the dispatcher has ended")?;
        self.admitted.send_replace(mesh.clone());
        Ok(mesh)
    }

    /// Opens the channels that the mesh needs, all or none, and applies its options to those that are open.
    async fn open_channels(&self, mesh: &Mesh) -> anyhow::Result<()> {
        let is_open = |name: &ObjectName| self.logs.has(name);
        let all = mesh.brokers.values();
        let (open, mut closed): (Vec<_>, Vec<_>) = all
            .map(|broker| (broker.name.clone(), options(broker)))
            .partition(|(name, _)| is_open(name));
        // Those of no document any more: parked events can be read there, and what their triggers are owed
        // waits for their return, up to the grace period.
        let mut gone = self.store.brokers()?;
        gone.retain(|name| !is_open(name) && !mesh.brokers.contains_key(name));
        closed.extend(gone.into_iter().map(|name| (name, options_of_gone())));
        let opened = self.store.channels(closed).await;
        let opened =
            opened.map_err(|(broker, error)| anyhow::Error::new(error).context(unopened(&broker)))?;
        self.make_known(opened);
        // Only now: if a channel cannot be opened, those that run keep the options that they have.
        for (broker, options) in open {
            let changed = self.store.channel(&broker, options).await;
            let channel = changed.with_context(|| unopened(&broker))?;
            self.make_known([(broker, channel)]);
        }
        Ok(())
    }

    /// Whoever has the data folder owns the partition of each Broker in it.
    fn make_known(&self, opened: impl IntoIterator<Item = (ObjectName, Arc<Embedded>)>) {
        let known = opened.into_iter().map(|(broker, channel)| {
            self.logs.insert(broker.clone(), channel.clone());
            (broker, channel as Arc<dyn Channel>)
        });
        self.owned.gain(known);
    }

    /// Closes every channel: what was accepted is durable and the stop counts as clean.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        for (broker, closed) in close_all(self.owned.all()).await {
            let context = || format!("the channel of broker {broker} cannot be closed");
            // One that cannot be closed must not keep the others from it.
            outcome = outcome.and(closed.with_context(context));
        }
        outcome
    }
}

fn unopened(broker: &ObjectName) -> String {
    format!("the channel of broker {broker} cannot be opened")
}

/// A Broker that is gone keeps what it has by the defaults.
fn options_of_gone() -> ChannelOptions {
    let retention = Retention::default();
    ChannelOptions {
        retention_age: retention.age,
        retention_bytes: retention.bytes,
        backlog_bytes: None,
        drop_oldest: false,
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
