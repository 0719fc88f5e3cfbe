//! A part of the process that runs beside the others and is ended by itself, in the order that its role wants.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// A part with its own end.
pub(crate) struct Part {
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
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

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a part of the process ended badly");
        }
    }

    /// Asks it to end, and leaves it alone if it has not in a while: it has nothing in hand that anybody would miss.
    pub(crate) async fn stop_within(self, within: Duration) {
        if tokio::time::timeout(within, self.stop()).await.is_err() {
            tracing::warn!("a part of the process does not end in time and is left to itself");
        }
    }
}
