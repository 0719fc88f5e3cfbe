//! The tasks of one partition: from their beginning until they end, or until the partition is lost.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use millrace_channel::{Channel, ChannelError};
use millrace_event::ObjectName;
use millrace_model::Mesh;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::dispatcher::Parts;
use crate::serving::{Common, Routes, Serving};
use crate::watched::{Panics, Task, watched};
use crate::{admission, catch_up, due, orphans, progress, provoke, router};

/// How often progress is written down while attempts in flight end.
const DRAIN_COMMIT: Duration = Duration::from_secs(1);

/// One partition's serving with its tasks.
pub(crate) struct Served {
    pub(crate) serving: Arc<Serving>,
    /// Whether it has lanes, as the newest mesh left it: thousands of Brokers may have none.
    pub(crate) has_lanes: bool,
    tasks: TaskTracker,
}

// === impl Served ===

impl Served {
    pub(crate) async fn begin(
        broker: &ObjectName,
        channel: Arc<dyn Channel>,
        common: &Common,
        parts: &Parts,
        mesh: &Mesh,
    ) -> Result<Self, ChannelError> {
        let position = channel.router().await?.offset;
        let suspects_below = if channel.recovered_uncleanly() {
            channel.head().offset
        } else {
            0
        };
        let serving = Arc::new(Serving {
            broker: broker.clone(),
            span: tracing::error_span!(parent: None, "broker", %broker),
            partition: channel.partition(),
            channel,
            common: common.clone(),
            metrics: parts.metrics.of(broker),
            gate: tokio::sync::Mutex::default(),
            routes: Mutex::new(Routes {
                position,
                ..Routes::default()
            }),
            dirty: Mutex::default(),
            dirty_waker: Notify::new(),
            commit_now: Notify::new(),
            committing: tokio::sync::Mutex::default(),
            hungry: Mutex::default(),
            hungry_waker: Notify::new(),
            due: Mutex::default(),
            due_waker: Notify::new(),
            workers: TaskTracker::new(),
            stop: CancellationToken::new(),
            stopped: AtomicBool::new(false),
            was_unheld: AtomicBool::new(false),
            suspects_below,
            panics: Mutex::new(Panics::default()),
            began: common.clock.steady(),
            since: Instant::now(),
            gone: Mutex::default(),
            orphaned: AtomicBool::new(false),
        });
        // The lanes come before the router: it passes nothing that they should have seen.
        admission::apply(&serving, mesh).await?;
        orphans::sweep(&serving).await?;
        let tasks = TaskTracker::new();
        tasks.spawn(watched(serving.clone(), Task::Router, router::run));
        tasks.spawn(watched(serving.clone(), Task::CatchUp, catch_up::run));
        tasks.spawn(watched(serving.clone(), Task::Due, due::run));
        tasks.spawn(watched(serving.clone(), Task::Progress, progress::run));
        tasks.spawn(watched(serving.clone(), Task::Commands, watch_commands));
        Ok(Self {
            has_lanes: has_lanes(&serving),
            serving,
            tasks,
        })
    }

    /// Makes the lanes what the mesh says.
    pub(crate) async fn apply(&mut self, mesh: &Mesh) -> Result<(), ChannelError> {
        let applied = admission::apply(&self.serving, mesh).await;
        self.has_lanes = has_lanes(&self.serving);
        applied
    }

    /// Ends what is in flight, up to the drain timeout, writing progress down meanwhile and at the end.
    pub(crate) async fn end(self, drain_timeout: Duration) {
        let serving = self.serving;
        serving.end();
        self.tasks.close();
        self.tasks.wait().await;
        serving.workers.close();
        let drained = async {
            while tokio::time::timeout(DRAIN_COMMIT, serving.workers.wait())
                .await
                .is_err()
            {
                write_down(&serving).await;
            }
        };
        if tokio::time::timeout(drain_timeout, drained).await.is_err() {
            serving.span.in_scope(|| {
                tracing::warn!(
                    "attempts are still in flight after the drain timeout; they will be made again"
                )
            });
        }
        write_down(&serving).await;
        give_memory_back(&serving);
    }

    /// Ends without writing anything down: another process owns the partition. Attempts in flight end by
    /// themselves, and their outcomes count for nothing.
    pub(crate) async fn lose(self) {
        self.serving.lose();
        self.tasks.close();
        self.tasks.wait().await;
        give_memory_back(&self.serving);
    }
}

fn has_lanes(serving: &Serving) -> bool {
    !serving.routes.lock().lanes.is_empty()
}

fn give_memory_back(serving: &Serving) {
    for lane in serving.routes.lock().lanes.values() {
        let mut inner = lane.inner.lock();
        inner.give_up(&serving.common.budget, serving.steady());
    }
}

async fn write_down(serving: &Arc<Serving>) {
    match progress::commit(serving).await {
        Ok(()) | Err(ChannelError::NotOwner) => {}
        Err(error) => {
            serving
                .span
                .in_scope(|| tracing::error!(%error, "progress cannot be written down"));
        }
    }
}

/// Takes over what commands changed in the stored state.
async fn watch_commands(serving: Arc<Serving>) {
    let mut commands = serving.channel.commands();
    // A command that came before anybody watched would be missed.
    commands.mark_changed();
    loop {
        tokio::select! {
            biased;
            () = serving.stop.cancelled() => return,
            changed = commands.changed() => if changed.is_err() { return },
        }
        provoke::at(&serving, Task::Commands, None);
        if let Err(error) = admission::refresh(&serving).await {
            serving
                .span
                .in_scope(|| tracing::error!(%error, "a command cannot be taken over"));
        }
    }
}
