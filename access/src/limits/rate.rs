//! One token bucket. What it has let through is a number that the caller keeps, so that judging changes
//! nothing and an identity costs a few bytes.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock as Ticks;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use millrace_event::Timestamp;

use super::Fits;

/// The most events or bytes a second. More is no limit.
pub(super) const MOST: u64 = 1 << 40;
/// What may come at once is at most what comes in this time.
pub(super) const LONGEST_BURST: u64 = 3_600;

/// So many a second, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    per_second: u64,
    burst: u64,
    quota: Quota,
    /// How many events or bytes are one cell of the quota. Governor counts in whole nanoseconds a cell and in
    /// 32 bits: cells of one byte would make 1 GB/s out of 600 MB/s. A request has whole cells, so that it
    /// costs a millionth of a second of such a rate at least.
    unit: u64,
}

/// What has been let through: the steady time at which the bucket is full again, in nanoseconds. 0: it is
/// full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spent(u64);

/// The state that governor reads and writes while it judges.
struct Slot(Cell<u64>);

/// The time that governor sees: 0 while a limiter is made, so that what is spent is counted from there.
struct Hand(Cell<u64>);

/// At most this many cells a second: governor's nanoseconds then are right to a thousandth.
const CELLS_A_SECOND: u64 = 1_000_000;

// === impl Rate ===

impl Rate {
    /// So many a second, of which `burst` at once, which is at least one and at most what comes in an hour;
    /// `None` for another.
    pub(crate) fn new(per_second: u64, burst: u64) -> Option<Self> {
        let most = per_second.saturating_mul(LONGEST_BURST);
        if per_second == 0 || per_second > MOST || burst == 0 || burst > most {
            return None;
        }
        let unit = per_second.div_ceil(CELLS_A_SECOND);
        let cells = NonZeroU32::new(u32::try_from(burst.div_ceil(unit)).ok()?)?;
        let each = u64::try_from(u128::from(unit) * 1_000_000_000 / u128::from(per_second)).ok()?;
        let quota = Quota::with_period(Duration::from_nanos(each))?.allow_burst(cells);
        Some(Self {
            per_second,
            burst,
            quota,
            unit,
        })
    }

    /// So many a minute.
    pub(crate) fn per_minute(self) -> u64 {
        self.per_second.saturating_mul(60)
    }

    /// Judges `amount` at a steady time. Returns what will have been spent.
    ///
    /// # Errors
    /// It does not fit, now or ever.
    pub(super) fn judge(self, spent: Spent, amount: u64, now: Timestamp) -> Result<Spent, Fits> {
        let cells = amount.div_ceil(self.unit);
        if cells == 0 {
            return Ok(spent);
        }
        let never = Fits::Never(self.burst);
        let cells = u32::try_from(cells).ok().and_then(NonZeroU32::new).ok_or(never)?;
        let limiter: RateLimiter<NotKeyed, Slot, Hand> =
            RateLimiter::new(self.quota, Slot(Cell::new(spent.0)), Hand(Cell::new(0)));
        let now = Nanos::from(nanos(now));
        limiter.clock().0.set(now.as_u64());
        match limiter.check_n(cells) {
            Ok(Ok(())) => Ok(Spent(limiter.into_state_store().0.get())),
            Ok(Err(until)) => Err(Fits::After(until.wait_time_from(now))),
            Err(_) => Err(never),
        }
    }

    /// Judges what comes from within the process, where nobody can make it smaller: it needs room for the
    /// least, and what comes next waits for all of it. If it had to find room for all, it would wait for ever
    /// beside senders of single events.
    ///
    /// # Errors
    /// It does not fit now.
    pub(super) fn judge_whole(self, spent: Spent, amount: u64, now: Timestamp) -> Result<Spent, Fits> {
        let least = self.judge(spent, amount.min(self.unit), now)?;
        let each = nanos_of(self.quota.replenish_interval());
        let more = amount.div_ceil(self.unit).saturating_sub(1).saturating_mul(each);
        Ok(Spent(least.0.saturating_add(more.min(LONGEST_DEBT))))
    }

    /// What counts as spent once `amount`, which was let through and came to nothing, is given back.
    pub(super) fn give_back(self, spent: Spent, amount: u64) -> Spent {
        let each = nanos_of(self.quota.replenish_interval());
        let cells = amount.div_ceil(self.unit);
        let more = cells.saturating_sub(1).saturating_mul(each).min(LONGEST_DEBT);
        Spent(spent.0.saturating_sub(cells.min(1) * each).saturating_sub(more))
    }

    /// What counts as spent when this rate takes the place of another: no more than this one's whole bucket.
    pub(super) fn carry(self, spent: Spent, now: Timestamp) -> Spent {
        let whole = nanos_of(self.quota.burst_size_replenished_in());
        Spent(spent.0.min(nanos(now).saturating_add(whole)))
    }
}

// === impl Slot and Hand ===

impl StateStore for Slot {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, judge: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let before = (self.0.get() > 0).then(|| Nanos::from(self.0.get()));
        let (outcome, after) = judge(before)?;
        self.0.set(after.as_u64());
        Ok(outcome)
    }
}

impl Ticks for Hand {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.get())
    }
}

/// So that whatever governor adds to it does not overflow: the year 2116.
const LATEST: u64 = 1 << 62;
/// What a batch from within may owe: an hour.
const LONGEST_DEBT: u64 = 3_600 * 1_000_000_000;

fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.0)
        .unwrap_or(0)
        .saturating_mul(1_000_000)
        .min(LATEST)
}

fn nanos_of(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_900_000_000_000;

    fn at(millis: i64) -> Timestamp {
        Timestamp(NOW + millis)
    }

    fn rate(per_second: u64, burst: u64) -> Rate {
        Rate::new(per_second, burst).expect("a rate")
    }

    #[test]
    fn a_burst_comes_at_once_and_then_so_many_a_second() {
        let rate = rate(10, 20);
        let spent = rate.judge(Spent::default(), 20, at(0)).expect("the burst");
        let soon = |millis| Fits::After(Duration::from_millis(millis));
        assert_eq!(rate.judge(spent, 1, at(0)), Err(soon(100)));
        assert_eq!(rate.judge(spent, 5, at(100)), Err(soon(400)));
        assert_eq!(rate.judge(spent, 21, at(0)), Err(Fits::Never(20)));
        let spent = rate.judge(spent, 5, at(500)).expect("half a second");
        assert_eq!(rate.judge(spent, 1, at(500)), Err(soon(100)));
        assert!(rate.judge(spent, 20, at(2_500)).is_ok(), "two seconds fill it");
        assert_eq!(rate.judge(spent, 0, at(500)), Ok(spent));
    }

    #[test]
    fn what_is_let_through_over_a_while_is_right_to_a_thousandth() {
        for (per_second, piece) in [
            (1, 1),
            (7, 1),
            (1_000, 3),
            (999_999, 100),
            (600_000_000, 600 * 200),
            (1_500_000_000, 1_500 * 200),
            (MOST, MOST.div_ceil(CELLS_A_SECOND) * 1_000),
        ] {
            let rate = rate(per_second, per_second);
            let mut spent = rate
                .judge(Spent::default(), per_second, at(0))
                .expect("the burst");
            let mut through = 0_u64;
            for millis in (0..=10_000).step_by(5) {
                while let Ok(after) = rate.judge(spent, piece, at(millis)) {
                    spent = after;
                    through += piece;
                }
            }
            let wanted = per_second * 10;
            let within = wanted / 1_000 + piece;
            assert!(through.abs_diff(wanted) <= within, "{per_second}: {through}");
        }
    }

    #[test]
    fn huge_numbers_overflow_nowhere() {
        for (per_second, burst) in [(1, 3_600), (MOST, MOST * 3_600), (MOST, 1), (1, 1)] {
            let rate = rate(per_second, burst);
            for now in [i64::MIN, 0, NOW, i64::MAX] {
                for spent in [0, 1, LATEST, LATEST + LONGEST_DEBT * 2] {
                    for amount in [1, u64::from(u32::MAX), u64::MAX] {
                        let judged = rate.judge(Spent(spent), amount, Timestamp(now));
                        assert_ne!(judged, Err(Fits::Never(0)));
                        let judged = rate.judge_whole(Spent(spent), amount, Timestamp(now));
                        assert!(!matches!(judged, Err(Fits::Never(_))), "{judged:?}");
                    }
                    rate.carry(Spent(spent), Timestamp(now));
                    assert!(rate.give_back(Spent(spent), u64::MAX).0 <= spent);
                }
            }
        }
        for (per_second, burst) in [(0, 1), (1, 0), (1, 3_601), (MOST + 1, 1), (u64::MAX, u64::MAX)] {
            assert_eq!(Rate::new(per_second, burst), None, "{per_second} {burst}");
        }
    }

    #[test]
    fn a_batch_from_within_needs_room_for_one_and_the_next_waits_for_all_of_it() {
        let rate = rate(10, 10);
        let spent = rate
            .judge_whole(Spent::default(), 50, at(0))
            .expect("a full bucket");
        let wait = Fits::After(Duration::from_millis(4_100));
        assert_eq!(rate.judge_whole(spent, 1, at(0)), Err(wait));
        assert_eq!(rate.judge(spent, 1, at(0)), Err(wait));
        let again = rate.judge_whole(spent, 50, at(4_100)).expect("room for one");
        let wait = Fits::After(Duration::from_millis(5_000));
        assert_eq!(rate.judge_whole(again, 50, at(4_100)), Err(wait));
        assert_eq!(rate.judge_whole(spent, 0, at(0)), Ok(spent));
    }

    #[test]
    fn what_is_given_back_can_be_spent_again_and_no_more_than_that() {
        for (per_second, burst) in [(10, 50), (7, 7), (MOST, MOST)] {
            let rate = rate(per_second, burst);
            let before = rate.judge(Spent::default(), 1, at(0)).expect("a full bucket");
            for amount in [0, 1, 5] {
                let spent = rate.judge(before, amount, at(0)).expect("the burst");
                assert_eq!(rate.give_back(spent, amount), before, "{per_second} {amount}");
            }
            for amount in [1, burst * 2, u64::MAX] {
                let spent = rate.judge_whole(before, amount, at(0)).expect("room for one");
                assert_eq!(rate.give_back(spent, amount), before, "{per_second} {amount}");
            }
            // More than was spent makes it full, and no fuller.
            let full = rate.give_back(before, u64::MAX);
            let spent = rate.judge(full, burst, at(0)).expect("a full bucket");
            assert!(rate.judge(spent, 1, at(0)).is_err());
            assert_eq!(rate.give_back(Spent::default(), u64::MAX), Spent::default());
        }
    }

    #[test]
    fn another_rate_takes_over_what_was_spent_but_no_more_than_its_own_bucket() {
        let slow = rate(1, 3_600);
        let spent = slow.judge(Spent::default(), 3_600, at(0)).expect("the burst");
        let fast = rate(100, 100);
        let spent = fast.carry(spent, at(0));
        assert_eq!(
            fast.judge(spent, 1, at(0)),
            Err(Fits::After(Duration::from_millis(10)))
        );
        assert!(fast.judge(spent, 100, at(1_000)).is_ok());
        assert_eq!(fast.carry(Spent::default(), at(0)), Spent::default());
    }
}
