//! Blocking work for one Broker, on a thread of the runtime: its log lines stand in the Broker's span.

use tokio::task::JoinHandle;
use tracing::Span;

/// Runs blocking work in a span.
pub(super) fn blocking<T: Send + 'static>(
    span: Span,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    tokio::task::spawn_blocking(move || span.in_scope(work))
}
