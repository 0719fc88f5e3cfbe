//! Opens the channels of Brokers that are kept on the local disk: all that a mesh needs or none, or each by
//! itself.

use std::sync::Arc;

use anyhow::Context as _;
use millrace_channel::Channel;
use millrace_channel::embedded::{ChannelOptions, Embedded, OpenError};
use millrace_event::ObjectName;
use millrace_model::{Broker, Mesh, OnFull, Retention};

use super::effect::Effect;

/// A Broker, and how its channel is to be opened.
type WithOptions = (ObjectName, ChannelOptions);

// === impl Effect ===

impl Effect {
    /// Opens the channels that the mesh needs, and applies its options to those that are open: all or none,
    /// unless each stands alone. One of no document that cannot be opened holds nothing up.
    pub(super) async fn open_channels(&self, mesh: &Mesh) -> anyhow::Result<()> {
        let is_open = |name: &ObjectName| self.logs.has(name);
        if !self.each_alone {
            self.check_backends(mesh)?;
        }
        let all = mesh
            .brokers
            .values()
            .filter(|broker| broker.backend.is_embedded());
        let (open, closed): (Vec<_>, Vec<_>) = all
            .map(|broker| (broker.name.clone(), options(broker)))
            .partition(|(name, _)| is_open(name));
        // Those of no document any more: parked events can be read there, and what their triggers are owed
        // waits for their return, up to the grace period.
        let mut gone = self.store.brokers()?;
        gone.retain(|name| !is_open(name) && !mesh.brokers.contains_key(name));
        if self.each_alone {
            let tried_again = |error: OpenError| tracing::error!(%error, "the channel of the broker cannot be opened; it is tried again, and the others are served");
            self.open_each(closed, tried_again).await;
            self.open_each(open, tried_again).await;
        } else {
            self.open_all(closed, open).await?;
        }
        let gone = gone.into_iter().map(|name| (name, options_of_gone()));
        self.open_each(gone.collect(), |error| {
            tracing::error!(%error, "the channel of a broker that is gone cannot be opened; it is tried again with the next change");
        })
        .await;
        Ok(())
    }

    async fn open_all(&self, closed: Vec<WithOptions>, open: Vec<WithOptions>) -> anyhow::Result<()> {
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

    /// Opens those that can be opened, and gives the errors of the others, each in its Broker's span.
    async fn open_each(&self, brokers: Vec<WithOptions>, failed: impl Fn(OpenError)) {
        // Several at a time, which gives all or none.
        if let Ok(opened) = self.store.channels(brokers.clone()).await {
            return self.make_known(opened);
        }
        for (broker, options) in brokers {
            match self.store.channel(&broker, options).await {
                Ok(channel) => self.make_known([(broker, channel)]),
                Err(error) => tracing::error_span!("broker", %broker).in_scope(|| failed(error)),
            }
        }
    }

    /// Whoever has the data folder owns the partition of each Broker in it.
    pub(super) fn make_known(&self, opened: impl IntoIterator<Item = (ObjectName, Arc<Embedded>)>) {
        let known = opened.into_iter().map(|(broker, channel)| {
            self.logs.insert(broker.clone(), channel.clone());
            (broker, channel as Arc<dyn Channel>)
        });
        self.owned.gain(known);
    }

    /// Tries those Brokers again that could not be opened. The dispatcher looks for them by itself.
    pub(super) async fn open_closed(&self) {
        let is_closed = |broker: &Broker| broker.backend.is_embedded() && !self.logs.has(&broker.name);
        let is_any = |mesh: &Mesh| mesh.brokers.values().any(|broker| is_closed(broker));
        if !is_any(&self.desired.borrow()) {
            return;
        }
        let _one = self.changing.lock().await;
        let desired = self.desired.borrow().clone();
        let closed = desired.brokers.values().filter(|broker| is_closed(broker));
        let closed = closed.map(|broker| (broker.name.clone(), options(broker)));
        // The log has said why, when it was tried first.
        self.open_each(
            closed.collect(),
            |error| tracing::debug!(%error, "the broker still cannot be opened"),
        )
        .await;
    }
}

fn unopened(broker: &ObjectName) -> String {
    format!("the channel of broker {broker} cannot be opened")
}

/// A Broker that is gone keeps what it has by the defaults.
pub(super) fn options_of_gone() -> ChannelOptions {
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
