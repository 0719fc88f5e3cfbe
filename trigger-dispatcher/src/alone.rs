//! Lets events that are strongly suspected of ending the process be attempted one at a time, in the whole
//! process.
//!
//! Whatever is open when the process ends is counted. Events that are attempted beside the guilty one would
//! be counted each time too, and given up on with it: so those that were open at more than one unclean end
//! take turns, and the outcome of one is durable before the next one's turn begins.
//!
//! A process that ends soon after each start for another reason (too little memory, a deployment in trouble)
//! would meet the same first suspects each time. So the next attempt waits until the process has lived for a
//! while, longer with each end: what is guilty ends it then too, and what is not has long been delivered or
//! was not open.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::progress;
use crate::serving::Serving;

/// Unclean ends during attempts of an event from which on it is attempted alone. One alone says little:
/// everything that was in flight was open then.
const ALONE_FROM: u32 = 2;

/// How long the process must have lived before the first attempt alone; four times as long before each later
/// one.
const CALM: Duration = Duration::from_millis(500);

/// The longest wait of a suspect at one time.
pub(crate) const LONGEST_CALM: Duration = Duration::from_secs(10);

/// When a suspect asks for its turn again that has not got it, at the earliest; chance adds as much. No
/// worker waits for a turn: an attempt may take its whole timeout, and the lane has others to see to.
const AGAIN: Duration = Duration::from_millis(300);

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

    /// The turn of an event that was open at so many unclean ends. `None`: another event has it, and this one
    /// must ask again after [`Alone::again`].
    pub(crate) fn turn(&self, crashes: u32) -> Option<Turn<'_>> {
        if crashes < ALONE_FROM {
            return Some(Turn(None));
        }
        Some(Turn(Some(self.0.try_acquire().ok()?)))
    }

    /// How long the process must have lived before it attempts an event that was open at so many unclean
    /// ends.
    pub(crate) fn calm(crashes: u32) -> Duration {
        match crashes.checked_sub(ALONE_FROM) {
            Some(alone) => CALM.saturating_mul(4_u32.saturating_pow(alone)),
            None => Duration::ZERO,
        }
    }

    /// How long one that did not get its turn waits, by a chance from 0 to 1.
    pub(crate) fn again(chance: f64) -> Duration {
        AGAIN + AGAIN.mul_f64(chance)
    }
}

// === impl Turn ===

impl Turn<'_> {
    /// Its outcome is settled: makes it durable, and lets the next one.
    pub(crate) async fn end(self, serving: &Arc<Serving>) {
        if self.0.is_some()
            && let Err(error) = progress::commit(serving).await
        {
            // It is tried again with whatever comes next; at worst the next crash is counted against this one
            // too.
            serving.span.in_scope(
                || tracing::warn!(%error, "the outcome of a suspected event is not written down yet"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::next_step::MAX_CRASHES;

    #[test]
    fn suspects_take_turns_and_the_others_need_none() {
        let alone = Alone::new();
        let first = alone.turn(ALONE_FROM);
        assert!(first.is_some());
        assert!(alone.turn(ALONE_FROM).is_none(), "one at a time");
        assert!(alone.turn(ALONE_FROM - 1).is_some());
        drop(first);
        assert!(alone.turn(ALONE_FROM).is_some());
    }

    #[test]
    fn the_more_an_event_is_suspected_the_longer_the_process_has_to_live_before_it() {
        let seconds: Vec<_> = (0..MAX_CRASHES)
            .map(|crashes| Alone::calm(crashes).as_secs_f64())
            .collect();
        assert_eq!(seconds, [0.0, 0.0, 0.5, 2.0, 8.0]);
        assert!(seconds.iter().all(|calm| *calm < LONGEST_CALM.as_secs_f64()));
    }
}
