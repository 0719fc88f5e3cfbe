//! Starts and stops sources: those of the newest mesh run, each by itself, and one that fails is started
//! again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use millrace_budget::Ledger;
use millrace_delivery::Connector;
use millrace_event::{Checkpoint, Clock, Intake};
use millrace_filter::Turns;
use millrace_model::{Mesh, Source, SourceKey, SourceKind, SourceSpec, StatusBoard};
use millrace_secrets::SecretReader;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use crate::waits::Waits;
use crate::{
    Context, Feed, Lookups, Memory, Metrics, Outlet, Report, SourceError, Webhooks, cron, git_webhook,
};

/// What the sources are given. Inert data.
#[derive(Clone)]
pub struct Parts {
    /// The mesh whose sources run. It is to name only Brokers that `intake` lets in already.
    pub mesh: watch::Receiver<Arc<Mesh>>,
    /// The door of the Brokers.
    pub intake: Arc<dyn Intake>,
    /// Makes connections to sinks that are URLs.
    pub connector: Connector,
    /// Where sources remember.
    pub checkpoints: Arc<dyn Checkpoint>,
    /// Where they say how they stand.
    pub board: Arc<StatusBoard>,
    /// Reads the files and variables that their documents name, under the operator's rule.
    pub secrets: SecretReader,
    /// Where origins call in.
    pub webhooks: Arc<Webhooks>,
    /// What is counted.
    pub metrics: Metrics,
    /// What time it is.
    pub clock: Clock,
    /// Where filters and mappings run that take long.
    pub turns: Turns,
    /// Room for lookups of names, which may hang.
    pub lookups: Lookups,
    /// Memory for what their clients read ahead.
    pub read_ahead: Arc<Ledger>,
    /// The most data that one event may have, in bytes.
    pub max_event_bytes: usize,
    /// How long one request to a sink that is a URL may take.
    pub sink_timeout: Duration,
    /// How long a source may take to end what is in hand; then it is dropped, which loses nothing.
    pub drain_timeout: Duration,
}

/// All sources of a process.
#[derive(Debug)]
pub struct Sources {
    parts: Parts,
    running: BTreeMap<SourceKey, Running>,
}

/// A source at work.
#[derive(Debug)]
struct Running {
    source: Arc<Source>,
    shutdown: CancellationToken,
    /// Log lines of its work stand in it.
    span: Span,
    task: AbortOnDrop<()>,
}

/// How long an aborted task may take to end.
const ABORTED: Duration = Duration::from_secs(1);
/// The first wait before a source that failed is run again, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

// === impl Sources ===

impl Sources {
    /// The sources of these parts; none runs yet.
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            running: BTreeMap::new(),
        }
    }

    /// Runs the sources of the newest mesh until `shutdown`, then ends them.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let mesh = self.parts.mesh.borrow_and_update().clone();
            tokio::select! {
                // One that is about to end need not end twice: what does not hurry is dropped.
                () = shutdown.cancelled() => break,
                () = self.apply(&mesh) => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = self.parts.mesh.changed() => if changed.is_err() { break },
            }
        }
        self.parts.webhooks.end();
        let all = std::mem::take(&mut self.running);
        stop(all.into_values(), self.parts.drain_timeout).await;
    }

    /// Starts what is new, ends what is gone or changed, then starts what is changed. What is the same goes
    /// on untouched.
    async fn apply(&mut self, mesh: &Mesh) {
        let called = mesh
            .sources
            .keys()
            .filter(|key| key.kind == SourceKind::GitWebhook);
        self.parts
            .webhooks
            .expect(called.map(|key| key.name.clone()).collect());
        let goes_on = |key: &SourceKey, running: &mut Running| {
            mesh.sources
                .get(key)
                .is_some_and(|source| Arc::ptr_eq(source, &running.source))
        };
        let mut ended = BTreeMap::new();
        let mut kept = BTreeMap::new();
        for (key, mut running) in std::mem::take(&mut self.running) {
            if goes_on(&key, &mut running) {
                kept.insert(key, running)
            } else {
                ended.insert(key, running)
            };
        }
        self.running = kept;
        // What is new does not wait for what takes its time to end.
        self.start_missing(mesh, |key| !ended.contains_key(key));
        let gone: Vec<SourceKey> = ended
            .keys()
            .filter(|key| !mesh.sources.contains_key(key))
            .cloned()
            .collect();
        // Each begins anew as soon as its own predecessor has ended: a webhook does not wait for a sink that
        // hangs elsewhere.
        let mut ending = JoinSet::new();
        for (key, running) in ended {
            let within = self.parts.drain_timeout;
            ending.spawn(async move {
                stop(std::iter::once(running), within).await;
                key
            });
        }
        while let Some(ended) = ending.join_next().await {
            let Ok(key) = ended else { continue };
            if gone.contains(&key) {
                self.parts.board.forget_source(&key);
                self.parts.metrics.forget(&key);
            }
            self.start_missing(mesh, |this| *this == key);
        }
    }

    /// Starts those that should run and do not, as far as `these` says so.
    fn start_missing(&mut self, mesh: &Mesh, these: impl Fn(&SourceKey) -> bool) {
        for (key, source) in &mesh.sources {
            if !self.running.contains_key(key) && these(key) {
                self.running
                    .insert(key.clone(), start(source.clone(), &self.parts));
            }
        }
    }
}

fn start(source: Arc<Source>, parts: &Parts) -> Running {
    let shutdown = CancellationToken::new();
    let span = tracing::error_span!(parent: None, "source", source = %source.key());
    let run = keep_running(source.clone(), parts.clone(), shutdown.clone());
    let task = AbortOnDrop(tokio::spawn(run.instrument(span.clone())));
    Running {
        source,
        shutdown,
        span,
        task,
    }
}

/// Ends sources, all at once.
async fn stop(all: impl Iterator<Item = Running>, within: Duration) {
    let all: Vec<Running> = all.collect();
    all.iter().for_each(|running| running.shutdown.cancel());
    let deadline = tokio::time::Instant::now() + within;
    for mut running in all {
        if tokio::time::timeout_at(deadline, &mut running.task.0)
            .await
            .is_err()
        {
            running
                .span
                .in_scope(|| tracing::warn!("the source did not end in time and is dropped"));
            running.task.0.abort();
            // An aborted task ends at its next await. A task that blocks never does, and is not waited for.
            let _ = tokio::time::timeout(ABORTED, &mut running.task.0).await;
        }
    }
}

/// Runs one source until `shutdown`, again and again where it fails.
async fn keep_running(source: Arc<Source>, parts: Parts, shutdown: CancellationToken) {
    let key = source.key();
    let metrics = Arc::new(parts.metrics.source(&key));
    let report = Report::new(parts.board.begin_source(&source), metrics, parts.clock.clone());
    let target = match &source.sink {
        Ok(target) => target,
        Err(why) => {
            report.not_ready(why.to_string());
            return shutdown.cancelled().await;
        }
    };
    let mut waits = Waits::new(WAITS);
    while !shutdown.is_cancelled() {
        let overrides = source.overrides.clone();
        let outlet = Outlet::new(
            target,
            &key,
            overrides,
            parts.intake.clone(),
            parts.connector.share(),
            parts.sink_timeout,
            report.clone(),
        )
        .with_patience(source.spec.patience().cloned())
        .with_auth(source.sink_auth.as_ref().map(|auth| parts.connector.auth(auth)));
        let context = Context {
            name: source.name.clone(),
            outlet: Arc::new(outlet),
            memory: Memory::new(parts.checkpoints.clone(), &key),
            report: report.clone(),
            clock: parts.clock.clone(),
            secrets: parts.secrets.clone(),
            guard: parts.connector.guard().clone(),
            webhooks: parts.webhooks.clone(),
            turns: parts.turns.clone(),
            lookups: parts.lookups.clone(),
            read_ahead: parts.read_ahead.clone(),
            max_event_bytes: parts.max_event_bytes,
        };
        let began = report.last_event();
        let reason = match run_once(&source, context, shutdown.clone()).await {
            Ok(()) if shutdown.is_cancelled() => break,
            Ok(()) => "the source has ended by itself".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(reason, "the source does not go on; it is run again");
        report.not_ready(reason);
        if report.last_event() != began {
            waits.begin_anew();
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(waits.next()) => {}
        }
    }
}

/// One run in a task of its own, so that a panic is a failure of this source and of nothing else.
async fn run_once(
    source: &Arc<Source>,
    context: Context,
    shutdown: CancellationToken,
) -> Result<(), SourceError> {
    let source = source.clone();
    let run = async move { feed(&source).run(&context, shutdown).await };
    let mut task = AbortOnDrop(tokio::spawn(run.in_current_span()));
    match (&mut task.0).await {
        Ok(result) => result,
        Err(error) => Err(SourceError::Unusable(format!("the source broke down: {error}"))),
    }
}

/// What the source does.
fn feed(source: &Source) -> Box<dyn Feed> {
    match &source.spec {
        SourceSpec::GitWebhook(spec) => Box::new(git_webhook::GitWebhookFeed::new(spec.as_ref().clone())),
        SourceSpec::Cron(spec) => Box::new(cron::CronFeed::new(spec.as_ref().clone())),
        #[cfg(feature = "kafka")]
        SourceSpec::Kafka(spec) => Box::new(crate::kafka::KafkaFeed::new(spec.as_ref().clone())),
        #[cfg(not(feature = "kafka"))]
        SourceSpec::Kafka(_) => Box::new(crate::left_out::LeftOut("kafka")),
        #[cfg(feature = "kubernetes")]
        SourceSpec::ApiServer(spec) => Box::new(crate::api_server::ApiServerFeed::new(spec.as_ref().clone())),
        #[cfg(not(feature = "kubernetes"))]
        SourceSpec::ApiServer(_) => Box::new(crate::left_out::LeftOut("kubernetes")),
    }
}

/// A task that ends with its owner.
#[derive(Debug)]
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("webhooks", &self.webhooks)
            .finish_non_exhaustive()
    }
}
