//! How many calls a source takes in a second.

use std::time::Duration;

use millrace_event::Timestamp;
use parking_lot::Mutex;

/// So many calls a second on average, and as many at once. A caller that comes too early is told when to come
/// back.
#[derive(Debug)]
pub(super) struct Rate {
    /// Microseconds between two calls.
    interval: i64,
    /// When the next call would be due if all came evenly, in microseconds.
    next: Mutex<i64>,
}

/// How far ahead of the even pace calls may come, in microseconds.
const BURST: i64 = 1_000_000;

// === impl Rate ===

impl Rate {
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            interval: BURST / i64::from(per_second.max(1)),
            next: Mutex::new(i64::MIN),
        }
    }

    /// Counts a call at a steady time.
    ///
    /// # Errors
    /// How long to wait, if there are too many calls.
    pub(super) fn take(&self, now: Timestamp) -> Result<(), Duration> {
        let now = now.0.saturating_mul(1_000);
        let mut next = self.next.lock();
        let due = (*next).max(now);
        let ahead = due - now + self.interval;
        if ahead > BURST {
            return Err(Duration::from_micros(u64::try_from(ahead - BURST).unwrap_or(0)));
        }
        *next = due + self.interval;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(rate: &Rate, now: i64, calls: usize) -> usize {
        (0..calls).filter(|_| rate.take(Timestamp(now)).is_ok()).count()
    }

    #[test]
    fn a_seconds_worth_may_come_at_once_and_then_one_at_a_time() {
        let rate = Rate::new(10);
        assert_eq!(taken(&rate, 5_000, 25), 10);
        assert_eq!(rate.take(Timestamp(5_000)), Err(Duration::from_millis(100)));
        assert_eq!(taken(&rate, 5_099, 5), 0);
        assert_eq!(taken(&rate, 5_100, 5), 1);
        assert_eq!(taken(&rate, 5_400, 5), 3);
        assert_eq!(taken(&rate, 60_000, 50), 10);
    }
}
