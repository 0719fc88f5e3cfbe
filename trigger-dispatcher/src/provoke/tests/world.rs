//! A dispatcher at work on a real channel, and the Broker that takes what it delivers.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millrace_channel::embedded::{ChannelOptions, Durability, OpenError, Store, StoreOptions};
use millrace_channel::{Channel, Class, Logs, Ownership, Parked, ParkedQuery};
use millrace_delivery::{Connector, ConnectorOptions};
use millrace_event::{Clock, DataForm, Event, Intake, ObjectName, Origin, Refusal, SpecVersion, Timestamp};
use millrace_filter::{Compiled, Filter, Turns};
use millrace_model::status::TriggerStatus;
use millrace_model::{Broker, DeliveryPolicy, Mesh, OnFull, Retention, StatusBoard, Target, Trigger};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::applied::Applied;
use crate::metrics::ServingMetrics;
use crate::provoke::testing::{Held, Provoked};
use crate::{Dispatcher, DispatcherOptions, Metrics, Parts};

/// The Broker to which the triggers deliver: what it accepted, and what it refuses at first.
#[derive(Debug)]
pub(super) struct Taker {
    pub(super) taken: Mutex<HashMap<ObjectName, Vec<String>>>,
    pub(super) refuses: Mutex<u32>,
    pub(super) open: Semaphore,
}

#[async_trait::async_trait]
impl Intake for Taker {
    async fn admit(&self, broker: &ObjectName, events: Vec<Event>, _: Origin) -> Result<(), Refusal> {
        let _open = self.open.acquire().await;
        let mut refuses = self.refuses.lock();
        if *refuses > 0 {
            *refuses -= 1;
            return Err(Refusal::UnknownBroker(broker.clone()));
        }
        let mut taken = self.taken.lock();
        let ids = taken.entry(broker.clone()).or_default();
        ids.extend(events.iter().map(|event| event.id().to_owned()));
        Ok(())
    }
}

/// A dispatcher at work on a real channel.
pub(super) struct World {
    pub(super) channel: Arc<dyn Channel>,
    pub(super) owned: Ownership,
    pub(super) taker: Arc<Taker>,
    pub(super) provoked: Arc<Provoked>,
    pub(super) board: Arc<StatusBoard>,
    pub(super) clock: Clock,
    pub(super) desired: watch::Sender<Arc<Mesh>>,
    pub(super) applied: watch::Receiver<Applied>,
    pub(super) stop: CancellationToken,
    pub(super) ended: JoinHandle<()>,
    pub(super) counts: ServingMetrics,
    pub(super) _folder: Option<TempDir>,
}

pub(super) fn name(name: &str) -> ObjectName {
    ObjectName::new("shop", name)
}

/// A trigger that delivers to the broker of its own name.
pub(super) fn trigger(own: &str, filters: Vec<Filter>) -> Trigger {
    Trigger {
        name: name(own),
        uid: None,
        resume: false,
        broker: name("default"),
        compiled: Arc::new(Compiled::new(&filters).expect("valid filters")),
        filters,
        subscriber: Ok(Target::Broker(name(own))),
        subscriber_auth: None,
        dead_letter_auth: None,
        dead_letter: None,
        delivery: DeliveryPolicy::default(),
        parallelism: 4,
        max_deferred: 1_000,
        max_parked: 1_000,
    }
}

pub(super) fn by_name<M: FromIterator<(ObjectName, Arc<Trigger>)>>(triggers: Vec<Trigger>) -> M {
    let named = triggers
        .into_iter()
        .map(|trigger| (trigger.name.clone(), Arc::new(trigger)));
    named.collect()
}

pub(super) fn event(id: &str) -> Event {
    let event = Event::builder(SpecVersion::V10)
        .attribute("id", id)
        .attribute("source", "/s")
        .attribute("type", "t");
    event.build().expect("a valid event")
}

/// Too much work for an allowance, so that `asks` is asked about it in turns.
pub(super) fn heavy(id: &str) -> Event {
    let data = format!(r#"[{}{{"name": 1}}]"#, "0,".repeat(100_000));
    let heavy = event(id)
        .edit()
        .attribute("datacontenttype", "application/json")
        .data(DataForm::Bytes, data.as_bytes())
        .build();
    heavy.expect("a valid event")
}

impl World {
    pub(super) async fn start(triggers: Vec<Trigger>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Clock::manual(Timestamp(1_000_000));
        let mut world = Self::start_in(folder.path(), clock, triggers).await;
        world._folder = Some(folder);
        world
    }

    pub(super) async fn start_in(folder: &Path, clock: Clock, triggers: Vec<Trigger>) -> Self {
        Self::start_with(folder, clock, triggers, DispatcherOptions::default()).await
    }

    pub(super) async fn start_with(
        folder: &Path,
        clock: Clock,
        triggers: Vec<Trigger>,
        dispatching: DispatcherOptions,
    ) -> Self {
        let options = StoreOptions {
            durability: Durability::Os,
            clock: clock.clone(),
            ..StoreOptions::default()
        };
        let mut tries = 6_000;
        let store = loop {
            tries -= 1;
            match Store::open(folder, options.clone()) {
                // The previous process is still ending.
                Err(OpenError::Locked(_)) if tries > 0 => tokio::time::sleep(Duration::from_millis(5)).await,
                opened => break opened.expect("a store"),
            }
        };
        let keeps = ChannelOptions {
            retention_age: Duration::from_secs(3_600),
            retention_bytes: 1 << 20,
            backlog_bytes: None,
            drop_oldest: false,
        };
        let channel = store.channel(&name("default"), keeps).await.expect("a channel");
        let (logs, owned) = (Logs::default(), Ownership::default());
        logs.insert(name("default"), channel.clone());
        owned.gain([(name("default"), channel.clone() as Arc<dyn Channel>)]);
        let broker = Broker {
            name: name("default"),
            uid: None,
            backend: millrace_model::Backend::Embedded,
            retention: Retention::default(),
            backlog_bytes: None,
            on_full: OnFull::Refuse,
        };
        let mesh = Mesh {
            revision: 1,
            brokers: [(name("default"), Arc::new(broker))].into(),
            triggers: by_name(triggers),
            ..Mesh::default()
        };
        let taker = Arc::new(Taker {
            taken: Mutex::default(),
            refuses: Mutex::new(0),
            open: Semaphore::new(100),
        });
        let board = Arc::new(StatusBoard::default());
        let metrics = Metrics::default();
        let counts = metrics.of(&name("default"));
        let (desired, wanted) = watch::channel(Arc::new(mesh));
        let dispatcher = Dispatcher::new(
            Parts {
                mesh: wanted,
                logs,
                owned: owned.clone(),
                connector: Connector::new(ConnectorOptions::default()),
                intake: taker.clone(),
                board: board.clone(),
                clock: clock.clone(),
                turns: Turns::new(1),
                observer: None,
                own_ingress: millrace_delivery::own_ingress::OwnIngress::default(),
                metrics,
            },
            dispatching,
        );
        let provoked = dispatcher.provoked();
        let mut applied = dispatcher.applied();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let ended = tokio::spawn(dispatcher.run(stopped));
        applied
            .wait_for(|applied| applied.has_all_of(1))
            .await
            .expect("it is served");
        Self {
            channel,
            owned,
            taker,
            provoked,
            board,
            clock,
            desired,
            applied,
            stop,
            ended,
            counts,
            _folder: None,
        }
    }

    /// Sets these triggers, and waits until they are in effect.
    pub(super) async fn apply(&self, triggers: Vec<Trigger>) {
        self.desired.send_modify(|mesh| {
            let mut newest = Mesh::clone(mesh);
            newest.revision += 1;
            newest.triggers = by_name(triggers);
            *mesh = Arc::new(newest);
        });
        let wanted = self.desired.borrow().revision;
        self.until("the documents to be in effect", async || {
            self.applied.borrow().has_all_of(wanted).then_some(())
        })
        .await;
    }

    pub(super) async fn until_reached(&self, held: &Held) {
        self.until("a task to stand still", async || held.reached.try_recv().ok())
            .await;
    }

    /// Stops as a process does on request; attempts in flight end.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.ended.await.expect("it ends");
    }

    pub(super) async fn append(&self, ids: &[&str]) {
        for id in ids {
            self.append_all(vec![event(id)]).await;
        }
    }

    pub(super) async fn append_all(&self, events: Vec<Event>) {
        let appended = self.channel.log().append(events, Class::Producer).await;
        appended.expect("they are stored");
    }

    /// Waits, while the wall clock runs fast.
    pub(super) async fn until<T>(&self, what: &str, condition: impl AsyncFn() -> Option<T>) -> T {
        for _ in 0..6_000 {
            if let Some(found) = condition().await {
                return found;
            }
            self.clock.advance(Duration::from_millis(100));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("waited in vain for {what}");
    }

    pub(super) fn taken(&self, trigger: &str) -> Vec<String> {
        let mut ids = self
            .taker
            .taken
            .lock()
            .get(&name(trigger))
            .cloned()
            .unwrap_or_default();
        ids.sort();
        ids
    }

    pub(super) async fn parked(&self) -> Vec<Parked> {
        let all = ParkedQuery {
            limit: 100,
            ..ParkedQuery::default()
        };
        self.channel.parked(all).await.expect("they are listed")
    }

    pub(super) fn status(&self, trigger: &str) -> TriggerStatus {
        let all = self.board.triggers_of(&name("default"), &|_| true);
        all.get(&name(trigger)).cloned().unwrap_or_default()
    }

    /// Waits until nothing is left to do, in memory and in the stored state.
    pub(super) async fn until_settled(&self, trigger: &str) {
        self.until("the trigger to settle everything", async || {
            let status = self.status(trigger);
            let idle = status.queued == 0 && status.deferred == 0 && status.backlog == 0;
            let stored = self.channel.router().await.ok()?;
            (idle && status.cursor == self.channel.head().offset && stored == self.channel.head())
                .then_some(())
        })
        .await;
    }

    pub(super) async fn until_panicked(&self) {
        self.until("the panic", async || (self.provoked.left() == 0).then_some(()))
            .await;
        let told = self.board.brokers();
        let told = told
            .get(&name("default"))
            .and_then(|status| status.reason.clone());
        assert!(
            told.is_some_and(|told| told.contains("provoke.rs:") && !told.contains("provoked in")),
            "its place is in the status, without its words"
        );
    }
}

pub(super) fn all_of(ids: &[&str]) -> Vec<String> {
    let mut ids: Vec<_> = ids.iter().map(|id| (*id).to_owned()).collect();
    ids.sort();
    ids
}
