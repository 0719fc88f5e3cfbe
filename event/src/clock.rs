//! The one clock: wall time that tests can drive.
//!
//! Due times, retention and cron need dates that survive a restart, so time here is milliseconds since 1970 UTC and
//! not an `Instant`. Waiting goes through the clock too, so that a test that moves the time wakes who waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// The source of time. Cheap to clone; clones of a manual clock share their time.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's wall clock.
    #[default]
    System,
    /// A clock that stands still until a test moves it.
    Manual(Arc<Manual>),
}

/// The state of a manual clock.
#[derive(Debug, Default)]
pub struct Manual {
    now: AtomicI64,
    moved: Notify,
}

// === impl Timestamp ===

impl Timestamp {
    /// This time and a while; saturates instead of overflowing.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// This time less a while; saturates instead of overflowing.
    #[must_use]
    pub fn before(self, wait: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// How long from `earlier` to this time; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

// === impl Clock ===

impl Clock {
    /// A manual clock that stands at `start`.
    pub fn manual(start: Timestamp) -> Self {
        Self::Manual(Arc::new(Manual {
            now: AtomicI64::new(start.0),
            moved: Notify::new(),
        }))
    }

    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => {
                let since = std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .unwrap_or(Duration::ZERO);
                Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            }
            Self::Manual(manual) => Timestamp(manual.now.load(Ordering::Acquire)),
        }
    }

    /// Moves a manual clock on and wakes who waits for the new time; nothing happens to the system's clock.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(manual) = self {
            let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
            manual.now.fetch_add(by, Ordering::AcqRel);
            manual.moved.notify_waiters();
        }
    }

    /// Waits until `due`. A wall clock that is set back makes the wait at most an hour longer before it looks again.
    pub async fn sleep_until(&self, due: Timestamp) {
        loop {
            match self {
                Self::System => {
                    let left = due.since(self.now());
                    if left.is_zero() {
                        return;
                    }
                    tokio::time::sleep(left.min(Duration::from_secs(3600))).await;
                }
                Self::Manual(manual) => {
                    let moved = manual.moved.notified();
                    tokio::pin!(moved);
                    moved.as_mut().enable();
                    if self.now() >= due {
                        return;
                    }
                    moved.await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_for_a_time_is_woken_when_a_test_moves_the_clock_there() {
        let clock = Clock::manual(Timestamp(1_000));
        let waiter = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep_until(Timestamp(3_000)).await;
                clock.now()
            }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        clock.advance(Duration::from_secs(1));
        assert_eq!(waiter.await.unwrap(), Timestamp(3_000));
    }

    #[tokio::test]
    async fn a_time_that_is_past_is_not_waited_for() {
        Clock::manual(Timestamp(5)).sleep_until(Timestamp(5)).await;
        Clock::System.sleep_until(Timestamp(0)).await;
    }

    #[test]
    fn times_saturate_instead_of_overflowing() {
        assert_eq!(Timestamp(i64::MAX).after(Duration::MAX), Timestamp(i64::MAX));
        assert_eq!(Timestamp(i64::MIN).before(Duration::MAX), Timestamp(i64::MIN));
        assert_eq!(Timestamp(5_000).before(Duration::from_secs(2)), Timestamp(3_000));
        assert_eq!(Timestamp(5).since(Timestamp(10)), Duration::ZERO);
        assert_eq!(
            Timestamp(i64::MAX).since(Timestamp(i64::MIN)),
            Duration::from_millis(i64::MAX as u64)
        );
    }
}
