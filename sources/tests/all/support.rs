//! What the tests of sources share: a sink and a store whose faults are scripted, and the supervisor on a
//! manual clock.

use std::sync::Arc;
use std::time::Duration;

use millrace_budget::Ledger;
use millrace_delivery::{Connector, ConnectorOptions};
use millrace_event::{Clock, Event, Intake, ObjectName, Origin, Refusal, Timestamp};
use millrace_filter::Turns;
use millrace_model::source::{CatchUp, Cron, Schedule};
use millrace_model::status::SourceStatus;
use millrace_model::{Mesh, Source, SourceKey, SourceKind, SourceSpec, StatusBoard, Target};
use millrace_secrets::{SecretReader, SecretRule};
use millrace_serve::{BodyBudget, Part};
use millrace_sources::{Lookups, Metrics, Parts, Sources, Webhooks};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use crate::store::Store;

/// A Broker that records what it takes, and refuses as it is told.
#[derive(Default)]
pub(crate) struct Broker {
    pub(crate) taken: Mutex<Vec<Event>>,
    pub(crate) offers: Mutex<usize>,
    /// What to answer to the next offers, first to last; then everything is taken.
    pub(crate) refusals: Mutex<Vec<Script>>,
}

/// What to do with one offer.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    Refuse(Refusal),
    /// No answer ever.
    Hang,
    Panic,
}

/// The supervisor of one process.
pub(crate) struct Process {
    pub(crate) board: Arc<StatusBoard>,
    registry: Registry,
    pub(crate) mesh: watch::Sender<Arc<Mesh>>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

#[async_trait::async_trait]
impl Intake for Broker {
    async fn admit(&self, _: &ObjectName, events: Vec<Event>, _: Origin) -> Result<(), Refusal> {
        *self.offers.lock() += 1;
        let script = {
            let mut scripts = self.refusals.lock();
            (!scripts.is_empty()).then(|| scripts.remove(0))
        };
        match script {
            None => self.taken.lock().extend(events),
            Some(Script::Refuse(refusal)) => return Err(refusal),
            Some(Script::Hang) => std::future::pending().await,
            Some(Script::Panic) => panic!("a defect, on purpose"),
        }
        Ok(())
    }
}

impl Broker {
    pub(crate) fn ids(&self) -> Vec<String> {
        self.taken
            .lock()
            .iter()
            .map(|event| event.id().to_owned())
            .collect()
    }

    pub(crate) fn refuse(&self, scripts: impl IntoIterator<Item = Script>) {
        self.refusals.lock().extend(scripts);
    }
}

/// Starts the supervisor with one source, `tick`, which ticks every minute.
pub(crate) fn minutely(
    catch_up: CatchUp,
    broker: &Arc<Broker>,
    store: &Arc<Store>,
    clock: &Clock,
) -> Process {
    Process::start(
        [source("tick", spec("* * * * *", catch_up))],
        broker,
        store,
        clock,
    )
}

impl Process {
    /// Starts the supervisor with these sources.
    pub(crate) fn start(
        sources: impl IntoIterator<Item = Source>,
        broker: &Arc<Broker>,
        store: &Arc<Store>,
        clock: &Clock,
    ) -> Self {
        let board = Arc::new(StatusBoard::default());
        let mut registry = Registry::default();
        let mesh = watch::Sender::new(Arc::new(mesh(sources).succeeding(&Mesh::default())));
        let sources = Sources::new(Parts {
            mesh: mesh.subscribe(),
            intake: broker.clone(),
            connector: Connector::new(ConnectorOptions::default()),
            checkpoints: store.clone(),
            board: board.clone(),
            secrets: SecretReader::new(SecretRule::default()),
            webhooks: Arc::new(Webhooks::new(BodyBudget::new(Part::new(0, 1 << 20)))),
            metrics: Metrics::register(&mut registry),
            clock: clock.clone(),
            turns: Turns::new(1),
            lookups: Lookups::default(),
            read_ahead: Arc::new(Ledger::new(16 << 20)),
            max_event_bytes: 1 << 20,
            sink_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(5),
        });
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(sources.run(shutdown.clone()));
        Self {
            board,
            registry,
            mesh,
            shutdown,
            task,
        }
    }

    /// As a change of the documents does.
    pub(crate) fn reload(&self, sources: impl IntoIterator<Item = Source>) {
        self.mesh
            .send_modify(|before| *before = Arc::new(mesh(sources).succeeding(before)));
    }

    /// How the CronSource of this name stands.
    pub(crate) fn status(&self, name: &str) -> SourceStatus {
        self.status_of(SourceKind::Cron, name)
    }

    pub(crate) fn status_of(&self, kind: SourceKind, name: &str) -> SourceStatus {
        let key = SourceKey {
            kind,
            name: ObjectName::new("shop", name),
        };
        self.board.source(&key).lock().clone()
    }

    /// What `/metrics` shows.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("a text");
        text
    }

    /// SIGTERM.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.expect("the supervisor does not panic");
    }

    /// `kill -9`: nothing more is done.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
        settle().await;
    }
}

fn mesh(sources: impl IntoIterator<Item = Source>) -> Mesh {
    let sources = sources.into_iter().map(|source| (source.key(), Arc::new(source)));
    Mesh {
        sources: sources.collect(),
        ..Mesh::default()
    }
}

/// A schedule in UTC and what becomes of missed ticks.
pub(crate) fn spec(expression: &str, catch_up: CatchUp) -> Cron {
    Cron {
        schedule: Schedule::parse(expression, "UTC").expect("a schedule"),
        content_type: Some("application/json".to_owned()),
        data: Some(br#"{"job":"tidy"}"#.as_slice().into()),
        jitter: Duration::ZERO,
        catch_up,
        catch_up_max_age: Duration::from_secs(86_400),
    }
}

/// A source `shop/<name>` into the Broker.
pub(crate) fn source(name: &str, spec: Cron) -> Source {
    Source {
        name: ObjectName::new("shop", name),
        sink_auth: None,
        sink: Ok(Target::Broker(ObjectName::new("shop", "default"))),
        overrides: Vec::new(),
        spec: SourceSpec::Cron(Box::new(spec)),
    }
}

/// A clock that stands at this time.
pub(crate) fn clock(at: &str) -> Clock {
    Clock::manual(instant(at))
}

pub(crate) fn instant(at: &str) -> Timestamp {
    Timestamp(at.parse::<jiff::Timestamp>().expect("a time").as_millisecond())
}

/// Lets every task do what it can at this time. Tokio's own time is paused in these tests and moves on only
/// when nobody has anything to do, so the shortest sleep is enough.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Moves the clock as time does: in small steps.
pub(crate) async fn pass(clock: &Clock, time: Duration) {
    settle().await;
    let mut left = time;
    while !left.is_zero() {
        let step = left.min(Duration::from_secs(30));
        clock.advance(step);
        settle().await;
        left -= step;
    }
}
