//! The loop: what the watches see is taken in; when it has stood still for a moment, all objects become a
//! mesh; when that is in effect, the statuses say so. [`observe`] takes in how what runs stands.

mod observe;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use millrace_event::Clock;
use millrace_model::status::ChannelStatus;
use millrace_model::{Mesh, ObjectName};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::build::{Built, injected};
use crate::channels::Channels;
use crate::connect::{self, Connection};
use crate::deletions::{self, Deletions, Gone};
use crate::due;
use crate::ensure::Injections;
use crate::events::Events;
use crate::index::Index;
use crate::kept::{self, Kept};
use crate::lanes::Lanes;
use crate::metrics::Metrics;
use crate::options::{DoorsSaid, Options};
use crate::running::Running;
use crate::sinks::Sinks;
use crate::status::Scene;
use crate::troubles::Troubles;
use crate::watch::Sighting;
use crate::watches::Watches;
use crate::write::{Write, Writer};

/// How long nothing may change before a mesh is made, and how long that waits at most.
const QUIET: Duration = Duration::from_millis(50);
const AT_MOST: Duration = Duration::from_millis(500);
/// How long the last write to the disk may take.
const WRITING: Duration = Duration::from_secs(5);
/// Deletions that wait for their Events of Kubernetes.
const DROPPED: usize = 256;
/// The first pause before a mesh is tried again that could not be brought into effect, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How the channels of all Brokers in effect stand.
pub type AllChannels = BTreeMap<ObjectName, ChannelStatus>;

/// The origin of the mesh in a cluster. Dropping it ends its watches.
pub struct Controller {
    client: Client,
    metrics: Metrics,
    watches: Watches,
    sightings: mpsc::Receiver<Sighting>,
    index: Index,
    /// The first mesh can be made.
    is_known: bool,
    /// It can be made of what was kept on the disk.
    is_remembered: bool,
    /// Something was seen since the last mesh was made.
    is_stale: bool,
    running: Running,
    sinks: Sinks,
    channels: Channels,
    lanes: Lanes,
    built: Built,
    applied: HashSet<(String, i64)>,
    /// The mesh in effect.
    in_effect: Arc<Mesh>,
    /// When the mesh is tried again, and after which pause.
    again: Option<(Instant, Duration)>,
    delay: String,
    /// What statuses said of the ingress last.
    doors: DoorsSaid,
    deletions: Deletions,
    injections: Injections,
    account: Option<String>,
    asked: Option<oneshot::Receiver<Option<String>>>,
    /// What was said of the watches.
    troubles: Troubles,
    writes: watch::Sender<Arc<Vec<Write>>>,
    dropped: mpsc::Sender<(Gone, u64)>,
    keeping: watch::Sender<Option<Arc<Kept>>>,
    keeper: JoinHandle<()>,
    _tasks: JoinSet<()>,
}

// === impl Controller ===

impl Controller {
    /// Reads what an earlier run has kept, and begins to watch.
    pub async fn start(connection: Connection, mut options: Options, metrics: Metrics) -> Self {
        let Connection { client } = connection;
        let own = || client.default_namespace().to_owned();
        options.own_namespace.get_or_insert_with(own);
        let folder = options.kept.clone();
        let kept = tokio::task::spawn_blocking(move || kept::read(&folder)).await;
        let kept = kept.unwrap_or_default();
        let (watches, sightings) = Watches::new();
        let writes = watch::Sender::new(Arc::default());
        let keeping = watch::Sender::new(None);
        let mut tasks = JoinSet::new();
        let writer = Writer::new(client.clone(), Clock::System, metrics.clone());
        tasks.spawn(writer.run(writes.subscribe()));
        let (dropped, telling) = mpsc::channel(DROPPED);
        tasks.spawn(deletions::tell(Events::new(client.clone()), telling));
        let keeper = tokio::spawn(kept::keep(options.kept.clone(), keeping.subscribe()));
        if let Some(broker) = options.ensure_broker.clone() {
            tasks.spawn(crate::ensure::ensure(client.clone(), broker));
        }
        let (answer, asked) = oneshot::channel();
        let asking = client.clone();
        tasks.spawn(async move { drop(answer.send(connect::account(&asking).await)) });
        let mut controller = Self {
            client,
            metrics,
            watches,
            sightings,
            index: Index::new(options, kept),
            is_known: false,
            is_remembered: false,
            is_stale: false,
            running: Running::default(),
            sinks: Sinks::default(),
            channels: Channels::default(),
            lanes: Lanes::default(),
            built: Built::default(),
            applied: HashSet::new(),
            in_effect: Arc::default(),
            again: None,
            delay: String::new(),
            doors: DoorsSaid::default(),
            deletions: Deletions::default(),
            injections: Injections::default(),
            account: None,
            asked: Some(asked),
            troubles: Troubles::default(),
            writes,
            dropped,
            keeping,
            keeper,
            _tasks: tasks,
        };
        controller.remember();
        controller.open_watches();
        controller
    }

    /// Begins with what an earlier run has kept, if there is something.
    fn remember(&mut self) {
        let objects = self.index.objects.all().count();
        self.is_known = objects > 0 && self.index.has_ensured();
        self.is_remembered = self.is_known;
        self.deletions.begin(self.index.triggers());
        if self.is_known {
            tracing::info!(
                objects,
                "serving what the last run has accepted, until the API server has listed everything"
            );
        }
    }

    /// The next mesh, when something has changed. It may be dropped at any time, and called again.
    pub async fn next(&mut self) -> Mesh {
        while !std::mem::take(&mut self.is_remembered) {
            self.until_changed().await;
            self.open_watches();
            self.is_known = self.is_known || self.index.is_listed();
            if let Some((broker, class)) = self.index.foreign_ensured().filter(|_| !self.is_known) {
                self.troubles.note_foreign(broker, class);
            }
            self.is_stale = false;
            if self.is_known && !self.index.is_waiting() {
                break;
            }
        }
        self.inject();
        self.make()
    }

    /// Asks for the Brokers that Triggers want to be made. Only a complete view says which are missing.
    fn inject(&mut self) {
        if self.index.is_complete() {
            let brokers = injected(&self.index.objects, &self.index.options);
            self.injections.want(&self.client, brokers);
        }
    }

    /// Gives what is in effect after the mesh of the last [`Controller::next`] and how the channels of its
    /// Brokers stand, or says why that is not. Then it is tried again after a pause.
    pub fn took(&mut self, outcome: Result<Arc<Mesh>, String>, channels: AllChannels) {
        self.channels.observe(channels);
        match outcome {
            Ok(mesh) => {
                self.applied = self.built.in_effect(&mesh);
                self.sinks.keep(&mesh);
                self.in_effect = mesh;
                self.again = None;
                self.delay.clear();
                self.deletions.note(self.index.triggers(), &self.in_effect);
                self.keep();
            }
            Err(why) => {
                let pause = self
                    .again
                    .map_or(PAUSES.0, |(_, pause)| (pause * 2).min(PAUSES.1));
                self.again = Some((Instant::now() + pause, pause));
                self.delay = format!(": {why}");
            }
        }
        self.write();
    }

    /// Says that the mesh of the last [`Controller::next`] takes its time: the statuses then say so.
    pub fn waits(&mut self) {
        self.write();
    }

    /// Gives what is in effect now, and how the channels of its Brokers stand: what could not be served at
    /// once may be by now.
    pub fn see_effect(&mut self, mesh: Arc<Mesh>, channels: AllChannels) {
        let is_news = self.channels.observe(channels);
        if Arc::ptr_eq(&self.in_effect, &mesh) {
            if is_news {
                self.write();
            }
        } else {
            self.applied = self.built.in_effect(&mesh);
            self.sinks.keep(&mesh);
            self.in_effect = mesh;
            self.deletions.note(self.index.triggers(), &self.in_effect);
            self.write();
        }
    }

    /// The Triggers whose deletion is in effect, and those whose place nobody can take over any more, each
    /// once. What they were owed can go.
    pub fn gone(&mut self) -> Vec<Gone> {
        self.deletions.take()
    }

    /// Says how many events that waited for another attempt were dropped with a Trigger. An Event of
    /// Kubernetes tells it, where the namespace still stands.
    pub fn dropped(&self, gone: &Gone, events: u64) {
        // So many at once are a clean-up. The log has each of them.
        if self.dropped.try_send((gone.clone(), events)).is_err() {
            tracing::debug!(trigger = %gone.trigger, "there is no Event of Kubernetes about what was dropped");
        }
    }

    /// Ends the watches, and writes down what is in effect.
    pub async fn stop(self) {
        let Self { keeping, keeper, .. } = self;
        drop(keeping);
        if tokio::time::timeout(WRITING, keeper).await.is_err() {
            tracing::warn!(
                "what is in effect is not written down in time; the next start begins with an older state"
            );
        }
    }

    /// Waits for a change, and until nothing has changed for a moment.
    async fn until_changed(&mut self) {
        if !self.is_stale && !self.until_seen().await {
            return;
        }
        let latest = Instant::now() + AT_MOST;
        loop {
            let until = (Instant::now() + QUIET).min(latest);
            match timeout_at(until, self.sightings.recv()).await {
                Ok(Some(sighting)) => self.see(sighting),
                Ok(None) | Err(_) => return,
            }
            if Instant::now() >= latest {
                return;
            }
        }
    }

    /// Waits until something is seen; `false`: it is time to make a mesh without that.
    async fn until_seen(&mut self) -> bool {
        // While something is looked up, no mesh is made anyway.
        let again = self.again.filter(|_| !self.index.is_waiting());
        let again = again.map(|(at, _)| at);
        let seen = match self.index.waits_until().into_iter().chain(again).min() {
            Some(at) => timeout_at(at, self.sightings.recv()).await.unwrap_or_default(),
            None => self.sightings.recv().await,
        };
        match seen {
            Some(sighting) => self.see(sighting),
            None => return false,
        }
        true
    }

    fn see(&mut self, sighting: Sighting) {
        if self.watches.is_open(&sighting.watched) {
            self.is_stale = true;
            let account = self.account.as_deref();
            self.troubles
                .note(&sighting.watched, &sighting.news, account, &self.metrics);
            self.index.see(sighting);
        }
    }

    fn open_watches(&mut self) {
        let watched = self.index.watched();
        self.watches.want(&self.client, &watched);
    }

    fn make(&mut self) -> Mesh {
        self.metrics.builds.inc();
        self.built = self.index.build();
        self.built.mesh.clone()
    }

    /// Keeps what is in effect on the disk.
    fn keep(&mut self) {
        let kept = self.index.keep();
        self.keeping.send_if_modified(|last| {
            let is_new = last.as_deref() != Some(&kept);
            if is_new {
                *last = Some(Arc::new(kept));
            }
            is_new
        });
    }

    /// Hands the statuses to the writer.
    fn write(&mut self) {
        if let Some(Ok(account)) = self.asked.as_mut().map(oneshot::Receiver::try_recv) {
            (self.account, self.asked) = (account, None);
        }
        // Before everything is listed nobody knows what is missing.
        if !self.index.is_complete() {
            return;
        }
        let scene = Scene {
            options: &self.index.options,
            objects: &self.index.objects,
            targets: &self.index.targets,
            reviews: &self.index.reviews,
            running: &self.running,
            sinks: &self.sinks,
            channels: &self.channels,
            lanes: &self.lanes,
            applied: &self.applied,
            delay: &self.delay,
            account: self.account.as_deref(),
        };
        let writes = due::writes(&self.built.drafts, &self.in_effect, &scene);
        self.writes.send_replace(Arc::new(writes));
    }
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller")
            .field("watches", &self.watches)
            .finish_non_exhaustive()
    }
}
