//! The whole of Millrace in one process: behind the front that every role has, the dispatcher and the
//! Brokers' channels.

use std::collections::HashSet;
#[cfg(feature = "kubernetes")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "kubernetes")]
use millrace_access::Gate;
use millrace_admin::{LogFilter, ReloadState};
use millrace_channel::embedded::Store;
use millrace_channel::{Logs, Ownership};
#[cfg(feature = "kubernetes")]
use millrace_delivery::AccountTokens;
use millrace_event::{Clock, ObjectName};
use millrace_model::Mesh;
#[cfg(feature = "kubernetes")]
use millrace_model::StatusBoard;
use millrace_trigger_dispatcher::{Dispatcher, DispatcherOptions, Parts};
use prometheus_client::registry::Registry;
use tokio::sync::watch as latest;
use tokio_util::sync::CancellationToken;

#[cfg(feature = "kubernetes")]
use super::channels::ChannelsSeen;
use super::effect::{self, Effect};
use super::keeper::{self, Asks, Keeper};
use super::watch;
use crate::dev::show::Show;
use crate::role::config::{RoleConfig, SINK_TIMEOUT};
use crate::role::front::{ADMIN_END, Front, Given, OpenFront};
use crate::role::part::Part;
#[cfg(feature = "kubernetes")]
use crate::role::vouching::PublicCa;
use crate::role::{Addresses, Live, Role};

/// A node whose parts are wired and whose addresses are bound; nothing is served yet.
pub(crate) struct Node {
    front: Front,
    dispatcher: Dispatcher,
    effect: Effect,
    asks: Asks,
    orphan_grace: Duration,
}

/// A node at work.
pub(crate) struct Running {
    front: OpenFront,
    dispatcher: Part,
    effect: Arc<Effect>,
    keeper: Part,
}

// === impl Node ===

impl Node {
    /// Opens the data folder, binds the addresses and wires the parts, with room for the Brokers of `mesh`.
    /// `show` prints what passes, `log` is the filter of the process's log.
    pub(crate) fn build(
        config: &RoleConfig,
        show: Option<Show>,
        log: Arc<dyn LogFilter>,
        mesh: &Mesh,
    ) -> anyhow::Result<Self> {
        let store = Store::open(&config.data, config.store())?;
        // Those of the documents, and those that are gone but still owe something.
        let mut brokers: HashSet<ObjectName> = store.brokers()?.into_iter().collect();
        brokers.extend(mesh.brokers.keys().cloned());
        let mut registry = Registry::default();
        store.register(&mut registry);
        let (logs, owned) = (Logs::default(), Ownership::default());
        let desired = latest::Sender::new(Arc::new(Mesh::default()));
        let admitted = latest::Sender::new(Arc::new(Mesh::default()));
        let (desk, asks) = keeper::desk();
        let mut front = Front::build(
            config,
            Given {
                mesh: admitted.subscribe(),
                admitted: admitted.subscribe(),
                logs: logs.clone(),
                owned: owned.clone(),
                brokers: brokers.len(),
                keeper: Some(desk),
                checkpoints: store.checkpoints(),
                sink_timeout: SINK_TIMEOUT,
                registry,
                log_filter: log,
            },
        )?;
        let dispatcher = Dispatcher::new(
            Parts {
                mesh: desired.subscribe(),
                logs: logs.clone(),
                owned: owned.clone(),
                connector: front.connector.clone(),
                intake: front.admission.clone(),
                board: front.board.clone(),
                clock: Clock::System,
                turns: front.turns.clone(),
                observer: Some(watch::observer(front.feed.clone(), show)),
                own_ingress: front.addresses().own_ingress(),
                metrics: millrace_trigger_dispatcher::Metrics::register(&mut front.registry),
            },
            DispatcherOptions {
                orphan_grace: config.orphan_grace,
                drain_timeout: config.drain_timeout,
                queued: front.memory.queued.clone(),
                in_flight: front.memory.in_flight.clone(),
                readers: front.memory.readers.clone(),
                ..DispatcherOptions::default()
            },
        );
        let effect = Effect::new(effect::Parts {
            store,
            logs,
            owned,
            desired,
            applied: dispatcher.applied(),
            release: dispatcher.release(),
            connector: front.connector.clone(),
            admitted,
            #[cfg(any(feature = "jetstream", feature = "kafka"))]
            rebuild_state: config.rebuild_state,
            #[cfg(feature = "jetstream")]
            myself: super::remote::Myself::new(&config.data, front.addresses().admin_url()),
        });
        Ok(Self {
            front,
            dispatcher,
            effect,
            asks,
            orphan_grace: config.orphan_grace,
        })
    }
}

#[cfg(feature = "kubernetes")]
impl Node {
    /// Lets a Broker that cannot be opened hold up no other, not even at the start.
    pub(super) fn with_each_broker_alone(mut self) -> Self {
        self.effect = self.effect.with_each_alone();
        self
    }

    /// Every metric of the process, for who counts beside its parts.
    pub(super) fn registry(&mut self) -> &mut Registry {
        &mut self.front.registry
    }

    /// Where its parts say how they stand.
    pub(super) fn board(&self) -> Arc<StatusBoard> {
        self.front.board.clone()
    }

    /// Who may come in; `None`: anybody.
    pub(super) fn gate(&self) -> Option<Arc<Gate>> {
        self.front.gate()
    }

    /// Who vouches for the listeners' certificate, as that file says at the time.
    #[cfg(feature = "kubernetes")]
    pub(super) fn show_authorities(&mut self, file: PathBuf) -> anyhow::Result<Arc<PublicCa>> {
        self.front.show_authorities(file)
    }

    /// Asks that cluster for the tokens of its ServiceAccounts that deliveries show.
    pub(super) fn ask_cluster(&self, cluster: Arc<dyn AccountTokens>) {
        self.front.connector.ask_cluster(cluster);
    }

    /// Where it is looked up how channels stand.
    pub(super) fn channels(&self) -> ChannelsSeen {
        self.effect.channels()
    }

    /// The partitions that this process owns.
    pub(super) fn owned(&self) -> Ownership {
        self.effect.owned()
    }
}

impl Role for Node {
    type Live = Running;

    fn addresses(&self) -> Addresses {
        self.front.addresses()
    }

    async fn start(self, first: impl Future<Output = Mesh>) -> anyhow::Result<Running> {
        let dispatcher = Part::start(CancellationToken::new(), |shutdown| self.dispatcher.run(shutdown));
        let effect = Arc::new(self.effect);
        let front = self.front.open(async { effect.take(first.await).await }).await?;
        drop(tokio::spawn(effect.clone().follow()));
        // Only now is it known which Brokers are gone.
        let keeper = Keeper::new(effect.clone(), self.orphan_grace, self.asks);
        let keeper = Part::start(CancellationToken::new(), |shutdown| keeper.run(shutdown));
        Ok(Running {
            front,
            dispatcher,
            effect,
            keeper,
        })
    }
}

// === impl Running ===

impl Live for Running {
    fn current(&self) -> Arc<Mesh> {
        self.effect.current()
    }

    async fn take(&mut self, mesh: Mesh) -> anyhow::Result<Arc<Mesh>> {
        self.effect.take(mesh).await
    }

    fn told(&self) -> &latest::Sender<ReloadState> {
        self.front.told()
    }

    /// Stops accepting and finishes the work in hand, all parts at the same time and each within the drain
    /// timeout; then makes everything durable.
    async fn stop(self) -> anyhow::Result<()> {
        self.effect.end_soon();
        let (admin, (), ()) = tokio::join!(self.front.close(), self.dispatcher.stop(), self.keeper.stop());
        self.effect.close().await?;
        admin.stop_within(ADMIN_END).await;
        Ok(())
    }
}
