//! How far a run has come when its clock is set, by the rule of Debian's cron.
//!
//! If the clock is set back by up to three hours, to a time whose ticks were sent, the run waits for it, so
//! that nothing is sent twice. If it is set back by more, it was wrong for long, and its new time counts. If
//! it leaps ahead, `catchUp` decides about the times left out. Sent ticks lie in [`Stretch`]es. When a leap
//! turns out to be wrong, the run continues in the stretch before the leap. When the clock really comes to
//! the stretch beyond, the run skips the ticks it sent there.

use std::time::Duration;

use millrace_event::{Moment, Timestamp};

/// The longest wait for a clock that was set back to a time whose ticks were sent.
const WAITED_FOR: Duration = Duration::from_secs(3 * 3600);
/// A run that has not looked at the clock for this long was not at work, or the clock has leapt.
const LAPSE: Duration = Duration::from_secs(120);
/// A clock that is behind by less is not reported: the clock of another instance may be a little ahead.
const SPOKEN_OF: Duration = Duration::from_secs(60);
/// The most other stretches that are remembered: the nearest to the clock.
const REMEMBERED: usize = 4;
/// Earlier than any time.
const EVER: Timestamp = Timestamp(i64::MIN);

/// How far this run has come.
#[derive(Debug)]
pub(super) struct Horizon {
    /// When it was last known to be at work: the farthest wall time, and its steady time. `None` at the
    /// start.
    seen: Option<Moment>,
    /// The stretch in which the run sends.
    current: Stretch,
    /// The stretches in which it sent when the clock stood elsewhere.
    others: Vec<Stretch>,
}

/// A stretch of time, after one end and up to the other, whose ticks are all done.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    after: Timestamp,
    /// The last tick that was sent.
    until: Timestamp,
    /// The clock's latest time while the run was at work in the stretch.
    seen: Timestamp,
}

/// The result of a look at the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Time has passed as usual.
    On,
    /// The clock shows a time whose ticks were sent. The run waits until the clock passes this time.
    Behind(Timestamp),
    /// A leap ahead was undone: the times that it left out are open again, and those up to this time are
    /// done. Another look must follow.
    Undone(Timestamp),
    /// The clock was set back too far to wait for it. Ticks up to this time no longer count as done.
    SetBack(Timestamp),
    /// Times passed while this run was not at work: it starts, the machine slept, or the clock leapt ahead.
    /// Those up to `done` are done all the same: they were sent before the clock was set back.
    Lapsed {
        /// The last time that is done; `None`: only the ledger knows.
        done: Option<Timestamp>,
    },
}

// === impl Horizon ===

impl Default for Horizon {
    fn default() -> Self {
        Self {
            seen: None,
            current: Stretch {
                after: EVER,
                until: EVER,
                seen: EVER,
            },
            others: Vec::new(),
        }
    }
}

impl Horizon {
    /// Looks at the clock, when everything up to `done` is done.
    pub(super) fn look(&mut self, now: Moment, done: Timestamp) -> Look {
        if self.seen.is_none() {
            // Which ticks an earlier run sent and which it left out is unknown: none is sent again.
            self.current.until = done;
        }
        let seen = self.seen.map(|seen| seen.wall);
        let reached = seen.map_or(done, |seen| seen.max(done));
        if reached.since(now.wall) > SPOKEN_OF {
            return self.look_back(now, reached);
        }
        let lapsed = seen.is_none_or(|seen| now.wall.since(seen) > LAPSE);
        let look = if lapsed {
            self.look_ahead(now.wall)
        } else {
            Look::On
        };
        self.see(now, now.wall.max(seen.unwrap_or(now.wall)));
        if !lapsed {
            self.current.seen = now.wall;
        }
        look
    }

    /// Handles a clock that is behind.
    fn look_back(&mut self, now: Moment, reached: Timestamp) -> Look {
        if now.wall <= self.current.after {
            return self.undo(now);
        }
        let until = self.current.until;
        if until <= now.wall {
            // Nothing was sent for the times that come again.
            self.see(now, now.wall);
            return Look::On;
        }
        if until.since(now.wall) <= WAITED_FOR {
            self.see(now, reached);
            return Look::Behind(until);
        }
        // A tick that an earlier run stored may never have been sent.
        if self.seen.is_some() {
            let beyond = Stretch {
                after: now.wall,
                until,
                seen: reached,
            };
            self.remember(beyond, now.wall);
        }
        self.current.until = now.wall;
        self.see(now, now.wall);
        Look::SetBack(reached)
    }

    /// Continues in the stretch that a leap had left.
    fn undo(&mut self, now: Moment) -> Look {
        let here = Stretch {
            after: EVER,
            until: now.wall,
            seen: now.wall,
        };
        let before = (0..self.others.len())
            .filter(|at| self.others[*at].after < now.wall)
            .max_by_key(|at| self.others[*at].after);
        let before = before.map_or(here, |at| self.others.remove(at));
        let beyond = std::mem::replace(&mut self.current, before);
        self.remember(beyond, now.wall);
        self.see(now, before.seen);
        Look::Undone(before.until)
    }

    /// Handles a clock that is ahead: it may be in a stretch that the run has been in before.
    fn look_ahead(&mut self, now: Timestamp) -> Look {
        let current = self.current;
        let (joined, others): (Vec<_>, Vec<_>) = self.others.drain(..).partition(|other| {
            current.after < other.after && other.after <= current.until && other.after < now
        });
        self.others = others;
        let mut done = None;
        for other in joined {
            let far = other.until.since(now) > WAITED_FOR;
            let until = if far { now } else { other.until };
            if far {
                self.others.push(Stretch { after: now, ..other });
            }
            self.sent(until);
            done = done.max(Some(until));
        }
        match done {
            Some(until) if until.since(now) > SPOKEN_OF => Look::Behind(until),
            done => Look::Lapsed { done },
        }
    }

    fn see(&mut self, now: Moment, wall: Timestamp) {
        self.seen = Some(Moment { wall, ..now });
    }

    /// Remembers a stretch if anything was sent in it. If there are too many, the farthest from the clock is
    /// forgotten.
    fn remember(&mut self, stretch: Stretch, now: Timestamp) {
        if stretch.until <= stretch.after {
            return;
        }
        self.others.push(stretch);
        if self.others.len() > REMEMBERED {
            let distance = |at: &usize| {
                let seen = self.others[*at].seen;
                seen.since(now).max(now.since(seen))
            };
            let farthest = (0..self.others.len()).max_by_key(distance);
            self.others.remove(farthest.unwrap_or(0));
        }
    }

    /// Notes that a tick was sent, by this run or another instance.
    pub(super) fn sent(&mut self, tick: Timestamp) {
        self.current.until = self.current.until.max(tick);
    }

    /// Notes that ticks up to `until` were left out: later ticks belong to another stretch.
    pub(super) fn left_out(&mut self, until: Timestamp, now: Timestamp) {
        let next = Stretch {
            after: until,
            until,
            seen: now,
        };
        let before = std::mem::replace(&mut self.current, next);
        self.remember(before, now);
    }

    /// The end of the stretch in which a due tick was already sent, before a leap ahead was undone. A stretch
    /// of more than three hours does not count: its ticks are sent again.
    pub(super) fn skip(&mut self, tick: Timestamp) -> Option<Timestamp> {
        let holds = |other: &Stretch| {
            other.after < tick && tick <= other.until && other.until.since(other.after) <= WAITED_FOR
        };
        let at = self.others.iter().position(holds)?;
        let until = self.others.remove(at).until;
        self.sent(until);
        Some(until)
    }

    /// Notes that the run was busy until now. The clock may have been set meanwhile, which the next look
    /// finds, so only the time that really passed counts.
    pub(super) fn was_at_work(&mut self, now: Moment) {
        if let Some(seen) = self.seen {
            let passed = now.steady.since(seen.steady);
            self.seen = Some(Moment {
                wall: seen.wall.after(passed),
                ..now
            });
        }
    }

    /// Ticks up to this time are due: the clock's, unless the clock is behind.
    pub(super) fn reached(&self, now: Timestamp) -> Timestamp {
        self.seen.map_or(now, |seen| seen.wall.max(now))
    }

    /// The time up to which nothing was missed, if the run is at work.
    pub(super) fn at_work(&self, now: Timestamp) -> Option<Timestamp> {
        let seen = self.seen?.wall;
        (now.since(seen) <= LAPSE).then_some(seen.max(now))
    }
}

#[cfg(test)]
mod tests;
