//! Watches the clock in every role: jumps and sleeps are logged and shown, and waiting tasks are woken.

use std::sync::Arc;
use std::time::Duration;

use millrace_event::Clock;
use millrace_event::clock::Noticed;
use millrace_model::StatusBoard;
use tokio_util::sync::CancellationToken;

/// Watches `clock` until `shutdown`.
pub(crate) async fn watch(clock: Clock, board: Arc<StatusBoard>, shutdown: CancellationToken) {
    let told = clock.clone();
    let watch = clock.watch(move |noticed| match noticed {
        Noticed::Set(by) => {
            board.clock_was_set(by, told.now());
            let direction = if by < 0 { "back" } else { "forward" };
            let amount = Duration::from_millis(by.unsigned_abs());
            tracing::warn!(
                ?amount,
                "the machine's clock was set {direction}; what waits in memory goes on by time that really passes"
            );
        }
        Noticed::Slept(time) => tracing::info!(?time, "the machine was suspended; what fell due meanwhile is done now"),
    });
    tokio::select! {
        () = watch => {}
        () = shutdown.cancelled() => {}
    }
}
