//! Keeps one serving per partition that this process owns.

mod look_over;
mod options;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use millrace_channel::{Channel, ChannelError, Logs, Ownership};
use millrace_delivery::Connector;
use millrace_delivery::own_ingress::OwnIngress;
use millrace_event::{Clock, Intake, ObjectName};
use millrace_filter::Turns;
use millrace_model::status::TriggerStatus;
use millrace_model::{Mesh, StatusBoard, TriggerState};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::alone::Alone;
use crate::applied::Applied;
use crate::budget::Budget;
use crate::metrics::Metrics;
use crate::observer::Observer;
use crate::orphans;
use crate::release::{Asked, Release, What};
use crate::served::Served;
use crate::serving::Common;
use crate::watched::note_places;
use options::LOOK_OVER;
pub use options::{DispatcherOptions, sweep_interval};

/// How soon something that could not be applied is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How long attempts at events of a Broker that is forgotten may take to end.
const RELEASE_DRAIN: Duration = Duration::from_secs(1);

/// What the dispatcher works with.
#[derive(Clone)]
pub struct Parts {
    /// The mesh as it should be. Logs of its brokers are open before it says so.
    pub mesh: watch::Receiver<Arc<Mesh>>,
    /// The open logs.
    pub logs: Logs,
    /// The partitions to serve.
    pub owned: Ownership,
    /// Makes connections.
    pub connector: Connector,
    /// Takes replies, and deliveries to Brokers of this mesh.
    pub intake: Arc<dyn Intake>,
    /// Where states are shown.
    pub board: Arc<StatusBoard>,
    /// The clock.
    pub clock: Clock,
    /// Runs filters that need much work, off the I/O threads.
    pub turns: Turns,
    /// Is told what happens to events.
    pub observer: Option<Observer>,
    /// The addresses of our own ingress: a URL of them counts as a Broker of the mesh.
    pub own_ingress: OwnIngress,
    /// The metrics.
    pub metrics: Metrics,
}

/// The dispatcher of all brokers.
pub struct Dispatcher {
    parts: Parts,
    common: Common,
    applied: watch::Sender<Applied>,
    /// The newest mesh.
    newest: Arc<Mesh>,
    /// By broker and partition. Their order is the same in each run, as that of
    /// [`Lanes`](crate::serving::Lanes).
    served: HashMap<(ObjectName, u32), Served, BuildHasherDefault<DefaultHasher>>,
    release: Release,
    releases: mpsc::Receiver<Asked>,
    /// A mesh of which something could not be applied, and when it is tried again.
    unapplied: Option<(Arc<Mesh>, Instant)>,
}

// === impl Dispatcher ===

impl Dispatcher {
    /// A dispatcher that does nothing yet. From now on this process records where panics happen.
    pub fn new(parts: Parts, options: DispatcherOptions) -> Self {
        note_places();
        let common = Common {
            connector: parts.connector.clone(),
            intake: parts.intake.clone(),
            clock: parts.clock.clone(),
            budget: Arc::new(Budget::new(options.queued.clone(), options.in_flight.clone())),
            alone: Arc::new(Alone::new()),
            options: Arc::new(options),
            turns: parts.turns.clone(),
            observer: parts.observer.clone(),
            own_ingress: parts.own_ingress,
            #[cfg(test)]
            provoked: Arc::default(),
        };
        let (release, releases) = Release::new();
        Self {
            parts,
            common,
            applied: watch::Sender::default(),
            newest: Arc::default(),
            served: HashMap::default(),
            release,
            releases,
            unapplied: None,
        }
    }

    /// Ends serving Brokers that are forgotten.
    pub fn release(&self) -> Release {
        self.release.clone()
    }

    /// How much of the newest mesh is in effect.
    pub fn applied(&self) -> watch::Receiver<Applied> {
        self.applied.subscribe()
    }

    /// The panics that tests provoke.
    #[cfg(test)]
    pub(crate) fn provoked(&self) -> Arc<crate::provoke::testing::Provoked> {
        self.common.provoked.clone()
    }

    /// Serves until `shutdown`; then ends what is in flight, up to the drain timeout, and writes down what is
    /// settled.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut mesh = self.parts.mesh.clone();
        mesh.mark_changed();
        let mut ownership = self.parts.owned.changes();
        let mut look_over = tokio::time::interval(LOOK_OVER);
        look_over.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut sweep = tokio::time::interval(sweep_interval(self.common.options.orphan_grace));
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                changed = mesh.changed() => match changed {
                    Ok(()) => {
                        let newest = mesh.borrow_and_update().clone();
                        self.apply(newest, &shutdown).await;
                    }
                    Err(_) => break,
                },
                Ok(()) = ownership.changed() => self.follow_ownership(&shutdown).await,
                // Before the timers, which may always be due.
                Some(asked) = self.releases.recv() => match asked.what {
                    What::Forget => self.release_broker(asked),
                    What::LetGo { partition, drain } => self.let_go(asked, partition, drain),
                },
                mesh = again(self.unapplied.clone()) => {
                    self.unapplied = None;
                    self.apply(mesh, &shutdown).await;
                }
                _ = look_over.tick() => self.look_over(),
                _ = sweep.tick() => self.sweep_orphans().await,
            }
        }
        self.end(self.common.options.drain_timeout).await;
    }

    /// Ends serving everything, all at the same time.
    async fn end(&mut self, drain_timeout: Duration) {
        let mut ending = JoinSet::new();
        for ((broker, partition), served) in self.served.drain() {
            self.parts.board.detach(&broker, partition);
            ending.spawn(served.end(drain_timeout));
        }
        while ending.join_next().await.is_some() {}
    }

    /// Ends serving a Broker that is forgotten, beside everything else. Its partitions are this process's no
    /// longer, so nothing serves them again.
    fn release_broker(&mut self, Asked { broker, done, .. }: Asked) {
        let released: Vec<Served> = self
            .served
            .extract_if(|(of, _), _| *of == broker)
            .map(|(_, served)| served)
            .collect();
        for channel in self.parts.owned.of(&broker) {
            self.parts.board.detach(&broker, channel.partition());
            self.parts.owned.lose(&broker, channel.partition());
        }
        let metrics = self.parts.metrics.clone();
        drop(tokio::spawn(async move {
            for served in released {
                orphans::forget_all(&served.serving).await;
                served.end(RELEASE_DRAIN).await;
            }
            metrics.forget(&broker);
            // Whoever asked may have given up.
            let _ = done.send(());
        }));
    }

    /// Ends serving a partition that another process is to serve, beside everything else.
    fn let_go(&mut self, Asked { broker, done, .. }: Asked, partition: u32, drain: Duration) {
        self.parts.board.detach(&broker, partition);
        self.parts.owned.lose(&broker, partition);
        let served = self.served.remove(&(broker, partition));
        drop(tokio::spawn(async move {
            if let Some(served) = served {
                served.end(drain).await;
            }
            // Whoever asked may have given up.
            let _ = done.send(());
        }));
    }

    /// Makes what is served match the mesh, and says which of its Brokers are not served by it: an event that
    /// is admitted afterwards must find the lanes that want it. One Broker holds no other up.
    async fn apply(&mut self, mesh: Arc<Mesh>, shutdown: &CancellationToken) {
        self.newest = mesh.clone();
        let mut failed = BTreeSet::new();
        for broker in mesh.brokers.keys().filter(|broker| !self.parts.logs.has(broker)) {
            // Said once, and not with each try.
            if !self.applied.borrow().unserved.contains(broker) {
                let _span = tracing::error_span!("broker", %broker).entered();
                tracing::error!("the broker's channel is not open; trying again in a second");
            }
            failed.insert(broker.clone());
        }
        // Also those of no document any more: the debts of their triggers are kept for the grace period.
        let owned = self.parts.owned.all();
        let Some(unserved) = self.serve_all(owned, &mesh, shutdown).await else {
            return;
        };
        failed.extend(unserved);
        self.show_unserved(&mesh);
        self.unapplied = (!failed.is_empty()).then(|| (mesh.clone(), Instant::now() + TRY_AGAIN));
        failed.retain(|broker| mesh.brokers.contains_key(broker));
        let applied = Applied {
            revision: mesh.revision,
            unserved: failed,
        };
        // Another try that changed nothing is no news.
        self.applied.send_if_modified(|last| {
            let is_new = *last != applied;
            *last = applied;
            is_new
        });
    }

    /// Ends serving what was lost, and serves what was gained of Brokers in the mesh. The partitions of other
    /// Brokers wait for the next mesh: it may name them, and until then their triggers are not gone.
    async fn follow_ownership(&mut self, shutdown: &CancellationToken) {
        let owned = &self.parts.owned;
        let lost = self
            .served
            .extract_if(|(broker, _), served| !owned.has(broker, &served.serving.channel));
        for ((broker, partition), served) in lost {
            self.parts.board.detach(&broker, partition);
            tokio::spawn(served.lose());
        }
        let (mesh, mut gained) = (self.newest.clone(), owned.all());
        gained.retain(|(broker, channel)| {
            let key = (broker.clone(), channel.partition());
            mesh.brokers.contains_key(broker) && !self.served.contains_key(&key)
        });
        let failed = self.serve_all(gained, &mesh, shutdown).await;
        if failed.is_some_and(|failed| !failed.is_empty()) {
            self.unapplied.get_or_insert((mesh, Instant::now() + TRY_AGAIN));
        }
    }

    /// Serves these partitions by the mesh; gives the Brokers that cannot be served. A shutdown is noticed
    /// between two: `None`.
    async fn serve_all(
        &mut self,
        owned: Vec<(ObjectName, Arc<dyn Channel>)>,
        mesh: &Mesh,
        shutdown: &CancellationToken,
    ) -> Option<BTreeSet<ObjectName>> {
        let mut failed = BTreeSet::new();
        for (broker, channel) in owned {
            if shutdown.is_cancelled() {
                return None;
            }
            match self.serve(&broker, channel, mesh).await {
                // Whoever owns it now serves it.
                Ok(()) | Err(ChannelError::NotOwner) => {}
                Err(error) => {
                    // Said once, and not with each try.
                    if !self.applied.borrow().unserved.contains(&broker) {
                        tracing::error_span!("broker", %broker).in_scope(
                            || tracing::error!(%error, "the broker's triggers cannot be served; trying again each second"),
                        );
                    }
                    failed.insert(broker);
                }
            }
        }
        Some(failed)
    }

    async fn serve(
        &mut self,
        broker: &ObjectName,
        channel: Arc<dyn Channel>,
        mesh: &Mesh,
    ) -> Result<(), ChannelError> {
        let key = (broker.clone(), channel.partition());
        if let Some(served) = self.served.get_mut(&key)
            && Arc::ptr_eq(&served.serving.channel, &channel)
        {
            return served.apply(mesh).await;
        }
        if let Some(served) = self.served.remove(&key) {
            // The partition was lost and gained again: what served it then serves nothing.
            self.parts.board.detach(broker, key.1);
            tokio::spawn(served.lose());
        }
        let served = Served::begin(broker, channel, &self.common, &self.parts, mesh).await?;
        self.parts.board.attach(broker, key.1, served.serving.clone());
        self.served.insert(key, served);
        Ok(())
    }

    /// Triggers whose broker is not here are shown all the same.
    fn show_unserved(&self, mesh: &Mesh) {
        let unserved: BTreeMap<_, _> = mesh
            .triggers
            .values()
            .filter(|trigger| !mesh.brokers.contains_key(&trigger.broker))
            .map(|trigger| {
                let reason = Some(format!("there is no broker {}", trigger.broker));
                (
                    trigger.lane(),
                    TriggerStatus {
                        state: TriggerState::NotReady,
                        reason,
                        ..TriggerStatus::default()
                    },
                )
            })
            .collect();
        self.parts.board.set_unserved(unserved);
    }

    /// Looks over the lanes of all Brokers that have some.
    fn look_over(&self) {
        let (now, is_tight) = (self.common.clock.steady(), self.common.budget.is_tight());
        for served in self.served.values().filter(|served| served.has_lanes) {
            look_over::lanes(&served.serving, now, is_tight);
        }
    }

    async fn sweep_orphans(&self) {
        for served in self.served.values() {
            if let Err(error) = orphans::sweep(&served.serving).await {
                served
                    .serving
                    .span
                    .in_scope(|| tracing::error!(%error, "orphaned triggers cannot be looked at"));
            }
        }
    }
}

/// The mesh that could not be applied, once it is to be tried again. Other things that happen meanwhile do
/// not put it off.
async fn again(unapplied: Option<(Arc<Mesh>, Instant)>) -> Arc<Mesh> {
    match unapplied {
        Some((mesh, at)) => {
            tokio::time::sleep_until(at).await;
            mesh
        }
        None => std::future::pending().await,
    }
}
