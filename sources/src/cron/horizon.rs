//! How far a run has come, whatever the clock does: the rule of Debian's cron for clocks that are set.
//!
//! A clock that is set back by up to three hours is waited for, so that nothing is sent twice. One that is set back by more
//! was wrong for long, and its new time counts. A clock that leaps ahead leaves times out, which `catchUp` decides on.

use std::time::Duration;

use millrace_event::{Moment, Timestamp};

/// A clock that is set back by at most this is waited for.
const WAITED_FOR: Duration = Duration::from_secs(3 * 3600);
/// Who has not looked at the clock for so long was not at work, or the clock has leapt.
const LAPSE: Duration = Duration::from_secs(120);
/// A clock that is behind by less need not be spoken of: that of another instance may be a little ahead.
const SPOKEN_OF: Duration = Duration::from_secs(60);

/// How far this run has come.
#[derive(Debug, Default)]
pub(super) struct Horizon {
    /// When it was last known to be at work: the farthest wall time, and its steady time. `None` at the start.
    seen: Option<Moment>,
    /// How far it had come before the clock was set back by more than is waited for.
    before: Option<Timestamp>,
}

/// What a look at the clock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The time has gone on as it does.
    On,
    /// The clock was set back: what comes up to this time is done, and is waited for.
    Behind(Timestamp),
    /// The clock was set back too far to wait for it: what was done up to this time is forgotten.
    SetBack(Timestamp),
    /// Times passed without this run at work: it starts, the machine slept, or the clock leapt ahead. Those up to `done`
    /// are done all the same: they had been sent before the clock was set back.
    Lapsed {
        /// The last that is done; nothing else than the ledger says when it is `None`.
        done: Option<Timestamp>,
    },
}

// === impl Horizon ===

impl Horizon {
    /// Looks at the clock, when everything up to `done` is done.
    pub(super) fn look(&mut self, now: Moment, done: Timestamp) -> Look {
        let seen = self.seen.map(|seen| seen.wall);
        let reached = seen.map_or(done, |seen| seen.max(done));
        let look = if reached.since(now.wall) > WAITED_FOR {
            self.before = Some(self.before.map_or(reached, |before| before.max(reached)));
            Look::SetBack(reached)
        } else if reached.since(now.wall) > SPOKEN_OF {
            Look::Behind(reached)
        } else if seen.is_none_or(|seen| now.wall.since(seen) > LAPSE) {
            let before = self.before.take_if(|before| *before <= now.wall);
            Look::Lapsed { done: before }
        } else {
            Look::On
        };
        let wall = match look {
            Look::SetBack(_) => now.wall,
            _ => now.wall.max(seen.unwrap_or(now.wall)),
        };
        self.seen = Some(Moment { wall, ..now });
        look
    }

    /// It has been at work until now, with something that took its time. The clock may have been set meanwhile, which the
    /// next look finds: so only what really passed counts.
    pub(super) fn was_at_work(&mut self, now: Moment) {
        if let Some(seen) = self.seen {
            let passed = now.steady.since(seen.steady);
            self.seen = Some(Moment {
                wall: seen.wall.after(passed),
                ..now
            });
        }
    }

    /// What is due up to here is due: the clock, unless it is behind.
    pub(super) fn reached(&self, now: Timestamp) -> Timestamp {
        self.seen.map_or(now, |seen| seen.wall.max(now))
    }

    /// The time up to which nothing was missed, if it is at work.
    pub(super) fn at_work(&self, now: Timestamp) -> Option<Timestamp> {
        let seen = self.seen?.wall;
        (now.since(seen) <= LAPSE).then_some(seen.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_790_000_000_000);
    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;
    const YEAR: i64 = 365 * 24 * HOUR;

    /// So long after the start, with the clock set by as much since.
    fn at(passed: i64, set: i64) -> Moment {
        Moment {
            wall: Timestamp(START.0 + passed + set),
            steady: Timestamp(START.0 + passed),
        }
    }

    fn begun() -> Horizon {
        let mut horizon = Horizon::default();
        assert_eq!(horizon.look(at(0, 0), START), Look::Lapsed { done: None });
        assert_eq!(horizon.look(at(MINUTE, 0), START), Look::On);
        horizon
    }

    #[test]
    fn a_clock_that_is_set_by_a_little_is_waited_for_and_by_more_is_believed() {
        let reached = Timestamp(START.0 + MINUTE);
        let lapsed = Look::Lapsed { done: None };
        let cases = [
            (0, Look::On),
            (-1_000, Look::On),
            (-30_000, Look::On),
            (-2 * MINUTE, Look::Behind(reached)),
            (-HOUR, Look::Behind(reached)),
            (-3 * HOUR, Look::Behind(reached)),
            (-3 * HOUR - MINUTE, Look::SetBack(reached)),
            (-56 * YEAR, Look::SetBack(reached)),
            (MINUTE, Look::On),
            (2 * MINUTE, lapsed),
            (2 * HOUR, lapsed),
            (70 * YEAR, lapsed),
        ];
        for (set, expected) in cases {
            assert_eq!(begun().look(at(MINUTE + 1_000, set), START), expected, "{set}");
        }
    }

    #[test]
    fn set_right_again_it_goes_on_as_if_nothing_had_been() {
        let mut horizon = begun();
        for second in 0..75 {
            let look = horizon.look(at(MINUTE + second * 1_000, -2 * HOUR), START);
            assert_eq!(look, Look::Behind(Timestamp(START.0 + MINUTE)));
        }
        let now = at(MINUTE + 75_000, 0);
        assert_eq!(horizon.look(now, START), Look::On, "75 s are no lapse");
        assert_eq!(horizon.reached(now.wall), now.wall);
    }

    #[test]
    fn what_was_sent_before_a_day_was_set_back_is_not_sent_again_when_it_is_right_again() {
        let mut horizon = begun();
        let reached = Timestamp(START.0 + MINUTE);
        let day = -24 * HOUR;
        assert_eq!(horizon.look(at(2 * MINUTE, day), START), Look::SetBack(reached));
        let done = Timestamp(START.0 + day);
        assert_eq!(horizon.look(at(3 * MINUTE, day), done), Look::On, "it goes on");
        let look = horizon.look(at(4 * MINUTE, 0), done);
        assert_eq!(look, Look::Lapsed { done: Some(reached) });
        let look = horizon.look(at(9 * MINUTE, 0), reached);
        assert_eq!(look, Look::Lapsed { done: None }, "told once");
    }

    #[test]
    fn a_tick_of_the_year_2099_frees_itself_at_the_start() {
        let future = Timestamp(START.0 + 73 * YEAR);
        let mut horizon = Horizon::default();
        assert_eq!(horizon.look(at(0, 0), future), Look::SetBack(future));
        assert_eq!(horizon.look(at(1_000, 0), START), Look::On);
    }

    #[test]
    fn a_clock_that_leaps_while_the_sink_takes_nothing_is_found_afterwards() {
        let mut horizon = begun();
        horizon.was_at_work(at(9 * HOUR, 0));
        assert_eq!(
            horizon.look(at(9 * HOUR, 0), START),
            Look::On,
            "nothing was missed"
        );
        horizon.was_at_work(at(10 * HOUR, YEAR));
        assert_eq!(
            horizon.look(at(10 * HOUR, YEAR), START),
            Look::Lapsed { done: None }
        );
    }
}
