//! The one clock: two times, both of which tests can drive.
//!
//! *Wall time* is what the machine shows. People, files, cron and other machines use it, and anybody with the
//! right may set it. *Steady time* is the wall time at which the process began, plus what CLOCK_BOOTTIME has
//! counted since: nobody can set it, and it counts while the machine is suspended. The process waits and
//! measures by steady time alone, so a jump of the wall clock neither delays nor hastens anything. Both are
//! milliseconds since 1970 UTC, and equal until the wall clock jumps.
//!
//! The files are the parts: reading the machine's clocks (`machine`), a clock for tests (`manual`), and the
//! look once a second that notices jumps and wakes waiting tasks ([`watch`]).

mod machine;
mod manual;
pub mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::Receiver;

pub use manual::Manual;
pub use watch::Noticed;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// One look at both times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// What the wall clock shows: for people and for other systems.
    pub wall: Timestamp,
    /// The time that nobody can set: for waiting and measuring.
    pub steady: Timestamp,
}

/// The source of time. Cheap to clone; clones of a manual clock share their times.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clocks.
    #[default]
    System,
    /// Clocks that stand still until a test moves them.
    Manual(Arc<Manual>),
}

/// Waiting tasks look at the clock at least this often, even if [`Clock::watch`] does not run.
const PIECE: Duration = Duration::from_secs(60);

// === impl Timestamp ===

impl Timestamp {
    /// This time and a while; saturates instead of overflowing.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(millis(wait)))
    }

    /// This time less a while; saturates instead of overflowing.
    #[must_use]
    pub fn before(self, wait: Duration) -> Self {
        Self(self.0.saturating_sub(millis(wait)))
    }

    /// How long from `earlier` to this time; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

// === impl Clock ===

impl Clock {
    /// A manual clock whose two times stand at `start`.
    pub fn manual(start: Timestamp) -> Self {
        Self::Manual(Arc::new(Manual::new(start)))
    }

    /// The wall time now.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => machine::wall(),
            Self::Manual(manual) => manual.wall(),
        }
    }

    /// The steady time now.
    pub fn steady(&self) -> Timestamp {
        match self {
            Self::System => machine::steady(),
            Self::Manual(manual) => manual.steady(),
        }
    }

    /// Both times now.
    pub fn moment(&self) -> Moment {
        Moment {
            wall: self.now(),
            steady: self.steady(),
        }
    }

    /// By how many milliseconds the wall time is ahead of the steady time, as far as [`Clock::watch`] has
    /// noticed. It changes by whole jumps only, not by the small differences between two looks.
    pub fn ahead(&self) -> i64 {
        match self {
            Self::System => machine::ahead(),
            Self::Manual(manual) => manual.wall().0.saturating_sub(manual.steady().0),
        }
    }

    /// What the wall clock will show at a steady time, unless it jumps before.
    pub fn shown(&self, steady: Timestamp) -> Timestamp {
        Timestamp(steady.0.saturating_add(self.ahead()))
    }

    /// Changes whenever the clock jumped or the machine slept. For a manual clock it changes with every move.
    pub fn moves(&self) -> Receiver<u64> {
        match self {
            Self::System => machine::moves(),
            Self::Manual(manual) => manual.moves(),
        }
    }

    /// Waits until the steady time is `due`.
    pub async fn sleep_until(&self, due: Timestamp) {
        self.sleep(due, Self::steady).await;
    }

    /// Waits until the wall time is `time`, however the clock gets there.
    pub async fn sleep_until_wall(&self, time: Timestamp) {
        self.sleep(time, Self::now).await;
    }

    /// Waits in pieces: the runtime's timers stand still while the machine is suspended, and do not see the
    /// wall clock.
    async fn sleep(&self, until: Timestamp, now: fn(&Self) -> Timestamp) {
        loop {
            // Subscribed before looking at the time, so that a move in between is not missed.
            let mut moves = self.moves();
            let left = until.since(now(self));
            if left.is_zero() {
                return;
            }
            // The sender of a clock's moves lives as long as the clock, so this either changes or never
            // returns.
            match self {
                Self::System => drop(tokio::time::timeout(left.min(PIECE), moves.changed()).await),
                Self::Manual(_) => drop(moves.changed().await),
            }
        }
    }

    /// Lets time pass on a manual clock, on a machine that is suspended too; nothing happens to the system's
    /// clock.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(manual) = self {
            manual.advance(by);
        }
    }

    /// Sets the wall time of a manual clock, as `date --set` does; nothing happens to the system's clock.
    pub fn set(&self, wall: Timestamp) {
        if let Self::Manual(manual) = self {
            manual.set(wall);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const YEAR: Duration = Duration::from_secs(365 * 86_400);

    async fn settle() {
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
    }

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
        settle().await;
        clock.advance(Duration::from_secs(1));
        settle().await;
        assert!(!waiter.is_finished());
        clock.advance(Duration::from_secs(1));
        assert_eq!(waiter.await.unwrap(), Timestamp(3_000));
    }

    #[tokio::test]
    async fn a_time_that_is_past_is_not_waited_for() {
        Clock::manual(Timestamp(5)).sleep_until(Timestamp(5)).await;
        Clock::System.sleep_until(Timestamp(0)).await;
        Clock::System.sleep_until_wall(Timestamp(0)).await;
    }

    #[tokio::test]
    async fn a_wait_is_as_long_whatever_the_wall_clock_does_meanwhile() {
        let start = Timestamp(1_790_000_000_000);
        for set in [
            start.before(2 * HOUR),
            start.after(2 * HOUR),
            start.before(30 * YEAR),
            start.after(70 * YEAR),
            Timestamp(i64::MIN),
            Timestamp(i64::MAX),
        ] {
            let clock = Clock::manual(start);
            let due = clock.steady().after(HOUR);
            let waiting = clock.clone();
            let waiter = tokio::spawn(async move { waiting.sleep_until(due).await });
            settle().await;
            clock.set(set);
            settle().await;
            assert!(!waiter.is_finished(), "{set:?} hastens nothing");
            clock.advance(HOUR);
            waiter.await.unwrap();
        }
    }

    #[tokio::test]
    async fn who_waits_for_the_wall_clock_follows_it() {
        let clock = Clock::manual(Timestamp(10_000_000));
        let waiting = clock.clone();
        let waiter = tokio::spawn(async move { waiting.sleep_until_wall(Timestamp(20_000_000)).await });
        settle().await;
        clock.set(Timestamp(1_000_000));
        clock.advance(Duration::from_secs(15_000));
        settle().await;
        assert!(!waiter.is_finished(), "the clock was set back");
        clock.set(Timestamp(20_000_000));
        waiter.await.unwrap();
    }

    #[test]
    fn a_steady_time_is_shown_as_the_wall_clock_stands() {
        let clock = Clock::manual(Timestamp(1_000));
        clock.advance(Duration::from_secs(1));
        assert_eq!(
            (clock.ahead(), clock.shown(Timestamp(2_500))),
            (0, Timestamp(2_500))
        );
        clock.set(Timestamp(92_000));
        assert_eq!(
            clock.moment(),
            Moment {
                wall: Timestamp(92_000),
                steady: Timestamp(2_000)
            }
        );
        assert_eq!(
            (clock.ahead(), clock.shown(Timestamp(2_500))),
            (90_000, Timestamp(92_500))
        );
    }

    #[test]
    fn the_machines_two_times_run_together() {
        let before = Clock::System.moment();
        let after = Clock::System.moment();
        assert!(before.steady <= after.steady);
        assert!(after.wall.since(after.steady) < HOUR && after.steady.since(after.wall) < HOUR);
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
