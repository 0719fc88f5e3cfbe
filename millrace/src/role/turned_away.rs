//! Who was not let in is told to those who follow. Strangers, and those who do not keep to a limit, can call
//! as often as they like, so that a few of them a second must do: otherwise they would push out what happens
//! to events.

use std::sync::Arc;
use std::time::Duration;

use millrace_admin::TailFeed;
use millrace_broker::TurnedAway;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Those of a kind that are told of in each second.
const TOLD: u32 = 10;

/// How many were told of since when.
#[derive(Debug)]
struct Bounded {
    since: Instant,
    told: u32,
}

/// Tells those who follow `feed`.
pub(super) fn tell(feed: TailFeed) -> TurnedAway {
    // Apart, so that neither hides the other.
    let (strangers, senders) = (Mutex::new(Bounded::new()), Mutex::new(Bounded::new()));
    Arc::new(move |broker, away| {
        if !feed.is_followed() {
            return;
        }
        let who = away.who();
        let bounded = if who.is_some() { &senders } else { &strangers };
        if !away.is_unbounded() || bounded.lock().may_be_told() {
            feed.turned_away(broker, away.code(), who);
        }
    })
}

// === impl Bounded ===

impl Bounded {
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
        self.told <= TOLD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_a_second_are_told_of() {
        let mut bounded = Bounded::new();
        let mut told = || (0..100).filter(|_| bounded.may_be_told()).count();
        assert_eq!((told(), told()), (10, 0));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(told(), 10);
    }
}
