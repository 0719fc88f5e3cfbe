//! Brings a mesh into effect in the order that loses nothing: channels open, then triggers' start positions
//! are durable, then the door opens. A Broker that is gone is given back in the opposite order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use millrace_channel::embedded::{Store, close_all};
use millrace_channel::{Channel, Logs, Ownership};
use millrace_delivery::Connector;
use millrace_event::ObjectName;
use millrace_model::Mesh;
use millrace_trigger_dispatcher::{Applied, Release};
use parking_lot::Mutex;
use tokio::sync::{MutexGuard, watch};

use super::backends::Refused;
#[cfg(feature = "kubernetes")]
use super::channels::ChannelsSeen;
use super::open::options_of_gone;

/// What a change of the mesh goes through.
#[derive(Debug)]
pub(crate) struct Effect {
    /// Held while Brokers come or go: one that comes back is never given back at the same time.
    pub(super) changing: tokio::sync::Mutex<()>,
    pub(super) store: Arc<Store>,
    pub(super) logs: Logs,
    pub(super) owned: Ownership,
    /// Brokers that are not where their documents say.
    pub(super) refused: Refused,
    /// The Brokers on servers.
    #[cfg(any(feature = "jetstream", feature = "kafka"))]
    remote: super::remote::Remote,
    /// What the dispatcher is to serve.
    pub(super) desired: watch::Sender<Arc<Mesh>>,
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
    pub(super) each_alone: bool,
}

/// When a Broker that could not be opened is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

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
    #[cfg(any(feature = "jetstream", feature = "kafka"))]
    pub(crate) rebuild_state: bool,
    /// What other processes of the same Broker are told of this one.
    #[cfg(feature = "jetstream")]
    pub(crate) myself: super::remote::Myself,
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
            #[cfg(any(feature = "jetstream", feature = "kafka"))]
            remote: super::remote::Remote::new(
                parts.logs.clone(),
                parts.owned.clone(),
                parts.desired.subscribe(),
                parts.rebuild_state,
                parts.connector.guard().clone(),
                #[cfg(feature = "jetstream")]
                parts.release.clone(),
                #[cfg(feature = "jetstream")]
                parts.myself,
            ),
            store: Arc::new(parts.store),
            logs: parts.logs,
            owned: parts.owned,
            refused: Refused::default(),
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

    /// Where it is looked up how channels stand.
    #[cfg(feature = "kubernetes")]
    pub(super) fn channels(&self) -> ChannelsSeen {
        ChannelsSeen {
            logs: self.logs.clone(),
            refused: self.refused.clone(),
        }
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
        let mesh = match self.each_alone {
            true => self.settle_backends(mesh)?,
            false => mesh,
        };
        let mesh = Arc::new(mesh.succeeding(&before));
        if mesh.revision == before.revision {
            self.has_begun.store(true, Ordering::Relaxed);
            return Ok(self.current());
        }
        // One that was deleted and made anew may be on servers no longer, and its name has one channel.
        #[cfg(any(feature = "jetstream", feature = "kafka"))]
        if self.each_alone {
            self.remote.let_go(&mesh).await;
        }
        self.open_channels(&mesh).await?;
        // Before anything is delivered that relies on it.
        if mesh.authorities != before.authorities {
            self.connector.trust(mesh.authorities.as_ref());
        }
        #[cfg(any(feature = "jetstream", feature = "kafka"))]
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
    #[cfg_attr(
        not(any(feature = "jetstream", feature = "kafka")),
        expect(
            clippy::unused_self,
            reason = "without such servers there is nothing to wait for"
        )
    )]
    pub(crate) fn end_soon(&self) {
        #[cfg(any(feature = "jetstream", feature = "kafka"))]
        self.remote.end_soon();
    }

    /// Closes every channel: what was accepted is durable and the stop counts as clean.
    pub(crate) async fn close(&self) -> anyhow::Result<()> {
        #[cfg(any(feature = "jetstream", feature = "kafka"))]
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
