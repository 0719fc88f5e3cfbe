//! Lets events that are strongly suspected of ending the process be attempted one at a time, in the whole process.
//!
//! Whatever is open when the process ends is counted. Events that are attempted beside the guilty one would be counted each
//! time too, and given up on with it: so those that were open at more than one unclean end take turns, and the outcome of
//! one is durable before the next one's turn begins.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::progress;
use crate::serving::Serving;

/// Unclean ends during attempts of an event from which on it is attempted alone. One alone says little: everything that was in
/// flight was open then.
const ALONE_FROM: u32 = 2;

/// How long a worker waits for a turn. Then it does something else: an attempt may take its whole timeout.
const PATIENCE: Duration = Duration::from_secs(1);

/// The one place in which a suspect is attempted.
#[derive(Debug)]
pub(crate) struct Alone(Semaphore);

/// The turn of one suspect, or none where none is needed.
#[derive(Debug)]
pub(crate) struct Turn<'a>(Option<SemaphorePermit<'a>>);

// === impl Alone ===

impl Alone {
    pub(crate) fn new() -> Self {
        Self(Semaphore::new(1))
    }

    /// Waits for the turn of an event that was open at so many unclean ends. `None`: others took too long.
    pub(crate) async fn turn(&self, crashes: u32) -> Option<Turn<'_>> {
        if crashes < ALONE_FROM {
            return Some(Turn(None));
        }
        let permit = tokio::time::timeout(PATIENCE, self.0.acquire()).await.ok()?;
        Some(Turn(permit.ok()))
    }
}

// === impl Turn ===

impl Turn<'_> {
    /// Its outcome is settled: makes it durable, and lets the next one.
    pub(crate) async fn end(self, serving: &Arc<Serving>) {
        if self.0.is_some()
            && let Err(error) = progress::commit(serving).await
        {
            // It is tried again with whatever comes next; at worst the next crash is counted against this one too.
            tracing::warn!(broker = %serving.broker, %error, "the outcome of a suspected event is not written down yet");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn suspects_take_turns_and_the_others_need_none() {
        let alone = Alone::new();
        let first = alone.turn(ALONE_FROM).await;
        assert!(first.is_some());
        let mut second = std::pin::pin!(alone.turn(ALONE_FROM));
        tokio::select! {
            biased;
            _ = &mut second => panic!("one at a time"),
            () = tokio::task::yield_now() => {}
        }
        assert!(alone.turn(ALONE_FROM - 1).await.is_some());
        drop(first);
        assert!(second.await.is_some());
    }
}
