//! Whom the gate refused is told to those who follow. Strangers can call as often as they like, so that a few
//! of them a second must do: otherwise they would push out what happens to events.

use std::sync::Arc;
use std::time::Duration;

use millrace_admin::TailFeed;
use millrace_broker::TurnedAway;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Strangers that are told of in each second.
const STRANGERS: u32 = 10;

/// How many strangers were told of since when.
#[derive(Debug)]
struct Strangers {
    since: Instant,
    told: u32,
}

/// Tells those who follow `feed`.
pub(super) fn tell(feed: TailFeed) -> TurnedAway {
    let strangers = Mutex::new(Strangers::new());
    Arc::new(move |broker, refusal| {
        if !feed.is_followed() {
            return;
        }
        let who = refusal.identity().map(ToString::to_string);
        if who.is_some() || strangers.lock().may_be_told() {
            feed.turned_away(broker, refusal.code(), who);
        }
    })
}

// === impl Strangers ===

impl Strangers {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            told: 0,
        }
    }

    /// Counts one; returns whether it is one of the first in this second.
    fn may_be_told(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            *self = Self::new();
        }
        self.told = self.told.saturating_add(1);
        self.told <= STRANGERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_strangers_a_second_are_told_of() {
        let mut strangers = Strangers::new();
        let mut told = || (0..100).filter(|_| strangers.may_be_told()).count();
        assert_eq!((told(), told()), (10, 0));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(told(), 10);
    }
}
