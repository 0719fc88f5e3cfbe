//! A part of the process that runs beside the others and is ended by itself, in the order that its role
//! wants.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

/// A part with its own end.
pub(crate) struct Part {
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// Two, so that one slow request does not hold up the next.
const THREADS_APART: usize = 2;

/// The threads of a part. Dropping a runtime may block, which is not allowed on threads of another.
struct Apart(Option<Runtime>);

// === impl Apart ===

impl Drop for Apart {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

// === impl Part ===

impl Part {
    /// Runs what takes a token until that is cancelled.
    pub(crate) fn start<F>(shutdown: CancellationToken, run: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = tokio::spawn(run(shutdown.clone()));
        Self { shutdown, task }
    }

    /// The same on threads of its own: it runs whatever keeps all other threads busy.
    pub(crate) fn start_apart<F>(
        name: &str,
        shutdown: CancellationToken,
        run: impl FnOnce(CancellationToken) -> F,
    ) -> anyhow::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS_APART)
            .thread_name(name)
            .enable_all()
            .build()?;
        let task = runtime.spawn(run(shutdown.clone()));
        let apart = Apart(Some(runtime));
        let task = tokio::spawn(async move {
            // Its threads end with it.
            let _apart = apart;
            if let Err(error) = task.await {
                tracing::error!(%error, "a part of the process ended badly");
            }
        });
        Ok(Self { shutdown, task })
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a part of the process ended badly");
        }
    }

    /// Asks it to end, and stops waiting after a while: its work may be lost without harm.
    pub(crate) async fn stop_within(self, within: Duration) {
        if tokio::time::timeout(within, self.stop()).await.is_err() {
            tracing::warn!("a part of the process does not end in time and is left to itself");
        }
    }
}
