//! Brings a mesh into effect in the order that loses nothing: channels open, then triggers' start positions
//! are durable, then the door opens. A Broker that is gone is given back in the opposite order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use millrace_channel::embedded::{ChannelOptions, Embedded, OpenError, Store, close_all};
use millrace_channel::{Channel, Logs, Ownership};
use millrace_delivery::Connector;
use millrace_event::ObjectName;
use millrace_model::{Broker, Mesh, OnFull, Retention};
use millrace_trigger_dispatcher::{Applied, Release};
use parking_lot::Mutex;
use tokio::sync::{MutexGuard, watch};

/// What a change of the mesh goes through.
#[derive(Debug)]
pub(crate) struct Effect {
    /// Held while Brokers come or go: one that comes back is never given back at the same time.
    changing: tokio::sync::Mutex<()>,
    store: Arc<Store>,
    logs: Logs,
    owned: Ownership,
    /// The Brokers on servers.
    #[cfg(feature = "jetstream")]
    remote: super::remote::Remote,
    /// What the dispatcher is to serve.
    desired: watch::Sender<Arc<Mesh>>,
    /// What the dispatcher serves.
    applied: watch::Receiver<Applied>,
    /// Ends the serving of a Broker.
    release: Release,
    /// Makes the connections to targets.
    connector: Connector,
    /// What intake lets in. Held while it is made from the two before.
    admitted: Mutex<watch::Sender<Arc<Mesh>>>,
    /// A mesh has been taken.
    has_begun: AtomicBool,
    /// A Broker that cannot be opened holds up no other, not even at the start.
    each_alone: bool,
}

/// When a Broker that could not be opened is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// A Broker, and how its channel is to be opened.
type WithOptions = (ObjectName, ChannelOptions);

/// What a change of the mesh reaches.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) logs: Logs,
    pub(crate) owned: Ownership,
    pub(crate) desired: watch::Sender<Arc<Mesh>>,
    pub(crate) applied: watch::Receiver<Applied>,
    pub(crate) release: Release,
    pub(crate) connector: Connector,
    pub(crate) admitted: watch::Sender<Arc<Mesh>>,
    /// A Broker whose state is gone begins anew at its oldest event.
    #[cfg(feature = "jetstream")]
    pub(crate) rebuild_state: bool,
}

/// The right to change which Brokers there are.
pub(super) struct Changing<'a> {
    effect: &'a Effect,
    _one: MutexGuard<'a, ()>,
}

// === impl Effect ===

impl Effect {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            changing: tokio::sync::Mutex::default(),
            #[cfg(feature = "jetstream")]
            remote: super::remote::Remote::new(
                parts.logs.clone(),
                parts.owned.clone(),
                parts.desired.subscribe(),
                parts.rebuild_state,
                parts.connector.guard().clone(),
            ),
            store: Arc::new(parts.store),
            logs: parts.logs,
            owned: parts.owned,
            desired: parts.desired,
            applied: parts.applied,
            release: parts.release,
            connector: parts.connector,
            admitted: Mutex::new(parts.admitted),
            has_begun: AtomicBool::new(false),
            each_alone: false,
        }
    }

    /// Lets each Broker stand alone: those that cannot be opened are tried again, and the others are served
    /// meanwhile. In a cluster they belong to different people.
    #[cfg(feature = "kubernetes")]
    pub(super) fn with_each_alone(mut self) -> Self {
        self.each_alone = true;
        self
    }

    /// The mesh in effect.
    pub(crate) fn current(&self) -> Arc<Mesh> {
        self.admitted.lock().borrow().clone()
    }

    /// The partitions that this process owns.
    #[cfg(feature = "kubernetes")]
    pub(super) fn owned(&self) -> Ownership {
        self.owned.clone()
    }

    /// Makes `mesh` the one in effect, and gives what is in effect then. A Broker that cannot be served by it
    /// stays as it was until it can be; only the first mesh waits for all, unless each stands alone. An error
    /// leaves the mesh that was.
    pub(crate) async fn take(&self, mesh: Mesh) -> anyhow::Result<Arc<Mesh>> {
        let _one = self.changing.lock().await;
        let before = self.desired.borrow().clone();
        let mesh = Arc::new(mesh.succeeding(&before));
        if mesh.revision == before.revision {
            self.has_begun.store(true, Ordering::Relaxed);
            return Ok(self.current());
        }
        self.open_channels(&mesh).await?;
        // Before anything is delivered that relies on it.
        if mesh.authorities != before.authorities {
            self.connector.trust(mesh.authorities.as_ref());
        }
        #[cfg(feature = "jetstream")]
        self.remote.follow(&mesh).await;
        self.desired.send_replace(mesh.clone());
        let waits_for_all = !self.has_begun.load(Ordering::Relaxed) && !self.each_alone;
        let mut applied = self.applied.clone();
        applied
            .wait_for(|applied| match waits_for_all {
                true => applied.has_all_of(mesh.revision),
                false => applied.revision >= mesh.revision,
            })
            .await
            .context("the dispatcher has ended")?;
        self.has_begun.store(true, Ordering::Relaxed);
        Ok(self.admit())
    }

    /// Lets intake in what the dispatcher serves.
    fn admit(&self) -> Arc<Mesh> {
        let admitted = self.admitted.lock();
        let (applied, desired) = (self.applied.borrow().clone(), self.desired.borrow().clone());
        // Else a newer mesh is on its way.
        if applied.revision == desired.revision {
            let mesh = match applied.unserved.is_empty() {
                true => desired,
                false => Arc::new(desired.keeping(&applied.unserved, &admitted.borrow())),
            };
            admitted.send_replace(mesh);
        }
        admitted.borrow().clone()
    }

    /// Lets in what can be served later than the rest, until the dispatcher ends.
    pub(super) async fn follow(self: Arc<Self>) {
        let mut applied = self.applied.clone();
        loop {
            tokio::select! {
                changed = applied.changed() => match changed {
                    Ok(()) => drop(self.admit()),
                    Err(_) => return,
                },
                () = tokio::time::sleep(TRY_AGAIN), if self.each_alone => self.open_closed().await,
            }
        }
    }

    /// Tries those Brokers again that could not be opened. The dispatcher looks for them by itself.
    async fn open_closed(&self) {
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

    /// Opens the channels that the mesh needs, and applies its options to those that are open: all or none,
    /// unless each stands alone. One of no document that cannot be opened holds nothing up.
    async fn open_channels(&self, mesh: &Mesh) -> anyhow::Result<()> {
        let is_open = |name: &ObjectName| self.logs.has(name);
        self.check_backends(mesh)?;
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

    /// A Broker stays where its channel is, on the local disk or on servers: what its Triggers are owed would
    /// be left behind.
    fn check_backends(&self, mesh: &Mesh) -> anyhow::Result<()> {
        let (before, on_disk) = (self.desired.borrow().clone(), self.store.brokers()?);
        let was_remote = |name: &ObjectName| {
            let before = before.brokers.get(name);
            before.is_some_and(|before| !before.backend.is_embedded())
        };
        for broker in mesh.brokers.values() {
            let (name, backend) = (&broker.name, broker.backend.as_str());
            if cfg!(not(feature = "jetstream")) && !broker.backend.is_embedded() {
                anyhow::bail!("the broker {name} is on NATS, which this build has not (feature `jetstream`)");
            }
            let there = match broker.backend.is_embedded() {
                true if was_remote(name) => "on NATS servers",
                false if on_disk.contains(name) => "on the local disk",
                _ => continue,
            };
            anyhow::bail!(
                "the broker {name} is kept {there}, and its config says `{backend}`: its events would be left \
                 behind. Give the new one another name, or remove the old one from the documents first (one on \
                 the disk is then forgotten by `millrace brokers forget {name}`)"
            );
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
    fn make_known(&self, opened: impl IntoIterator<Item = (ObjectName, Arc<Embedded>)>) {
        let known = opened.into_iter().map(|(broker, channel)| {
            self.logs.insert(broker.clone(), channel.clone());
            (broker, channel as Arc<dyn Channel>)
        });
        self.owned.gain(known);
    }

    /// The Brokers that are open although no document has them any more.
    pub(super) fn gone(&self) -> Vec<ObjectName> {
        let open = self.owned.all().into_iter().map(|(broker, _)| broker);
        open.filter(|broker| !self.is_wanted(broker)).collect()
    }

    /// Whether a document has that Broker, also one that is not served yet, or whose reload was cut off by
    /// the end of the process.
    fn is_wanted(&self, broker: &ObjectName) -> bool {
        let has_it = |mesh: &Mesh| mesh.brokers.contains_key(broker);
        has_it(&self.current()) || has_it(&self.desired.borrow())
    }

    /// Whether a Broker's channel is open.
    pub(super) fn is_open(&self, broker: &ObjectName) -> bool {
        self.logs.has(broker)
    }

    /// Waits for the right to change which Brokers there are.
    pub(super) async fn change(&self) -> Changing<'_> {
        Changing {
            effect: self,
            _one: self.changing.lock().await,
        }
    }

    /// Opens a Broker's channel again that could not be given back, and has it served as before.
    pub(super) async fn take_back(&self, broker: &ObjectName) {
        match self.store.channel(broker, options_of_gone()).await {
            Ok(channel) => {
                self.make_known([(broker.clone(), channel)]);
                // The dispatcher serves it by the mesh, as one that is gone.
                self.desired.send_modify(|_| ());
            }
            Err(error) => {
                tracing::error!(%error, "the channel of a broker that is gone cannot be opened again; it is tried again");
            }
        }
    }

    /// The process is about to end: servers that do not answer are not waited for any more.
    pub(crate) fn end_soon(&self) {
        #[cfg(feature = "jetstream")]
        self.remote.end_soon();
    }

    /// Closes every channel: what was accepted is durable and the stop counts as clean.
    pub(crate) async fn close(&self) -> anyhow::Result<()> {
        #[cfg(feature = "jetstream")]
        self.remote.close().await;
        let mut outcome = Ok(());
        for (broker, closed) in close_all(self.owned.all()).await {
            let context = || format!("the channel of broker {broker} cannot be closed");
            // One that cannot be closed must not keep the others from it.
            outcome = outcome.and(closed.with_context(context));
        }
        outcome
    }
}

// === impl Changing ===

impl Changing<'_> {
    /// Whether a document has that Broker.
    pub(super) fn is_wanted(&self, broker: &ObjectName) -> bool {
        self.effect.is_wanted(broker)
    }

    /// The channel of a Broker that no document has any more.
    pub(super) fn gone(&self, broker: &ObjectName) -> Option<Arc<dyn Channel>> {
        let channel = self.effect.owned.of(broker).into_iter().next()?;
        (!self.is_wanted(broker)).then_some(channel)
    }

    /// Gives the folder of a Broker back that is gone; says at which position it ended. After an error it is
    /// there as it was, but for what its Triggers were owed.
    pub(super) async fn give_back(
        &self,
        broker: &ObjectName,
        channel: Arc<dyn Channel>,
    ) -> anyhow::Result<u64> {
        let Effect {
            logs,
            owned,
            release,
            store,
            ..
        } = self.effect;
        logs.remove(broker);
        release.broker(broker).await;
        // The dispatcher has done it, unless it has ended.
        owned.lose(broker, channel.partition());
        if let Err(error) = channel.close().await {
            tracing::warn!(%error, "the channel of a broker that is forgotten was not closed cleanly");
        }
        let end = channel.head();
        let given = store.give_back(broker, end).await;
        if given.is_err() {
            // Whoever holds it holds a closed one.
            drop(channel);
            self.effect.take_back(broker).await;
        }
        given.with_context(|| format!("the folder of the broker {broker} cannot be given back"))?;
        Ok(end.offset)
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
