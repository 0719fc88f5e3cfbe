//! How far a run has come, whatever the clock does: the rule of Debian's cron for clocks that are set.
//!
//! A clock that is set back to a time whose ticks were sent is waited for up to three hours, so that nothing is sent twice.
//! One that is set back by more was wrong for long, and its new time counts. A clock that leaps ahead leaves times out,
//! which `catchUp` decides on. So what was sent lies in [`Stretch`]es: when a leap turns out to be wrong, the run goes on
//! in the stretch before the leap, and skips what it sent beyond when the clock really comes there.

use std::time::Duration;

use millrace_event::{Moment, Timestamp};

/// Ticks that were sent are waited for up to this.
const WAITED_FOR: Duration = Duration::from_secs(3 * 3600);
/// Who has not looked at the clock for so long was not at work, or the clock has leapt.
const LAPSE: Duration = Duration::from_secs(120);
/// A clock that is behind by less need not be spoken of: that of another instance may be a little ahead.
const SPOKEN_OF: Duration = Duration::from_secs(60);
/// So many other stretches are remembered, the nearest to the clock.
const REMEMBERED: usize = 4;
/// Nothing is before this.
const EVER: Timestamp = Timestamp(i64::MIN);

/// How far this run has come.
#[derive(Debug)]
pub(super) struct Horizon {
    /// When it was last known to be at work: the farthest wall time, and its steady time. `None` at the start.
    seen: Option<Moment>,
    /// What the run sends on with.
    current: Stretch,
    /// What was sent when the clock stood elsewhere.
    others: Vec<Stretch>,
}

/// A stretch of time whose ticks are done, after one end and up to the other. None of them was left out.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    after: Timestamp,
    /// The last tick that was sent.
    until: Timestamp,
    /// The run was at work in it until the clock showed this.
    seen: Timestamp,
}

/// What a look at the clock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The time has gone on as it does.
    On,
    /// The clock shows a time whose ticks were sent, and what comes up to this one is done: it is waited for.
    Behind(Timestamp),
    /// A leap ahead was undone: what the leap left out is open again, and what comes up to this time is done. To be
    /// followed by another look.
    Undone(Timestamp),
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
            // Which ticks an earlier run sent and which it left out is not known: none is sent again.
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

    /// The clock is behind.
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
        // What an earlier run has stored was perhaps never sent.
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

    /// Goes on in the stretch that was left by a leap.
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

    /// The clock is ahead of what was seen: perhaps in a time that had been reached before.
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

    /// Remembers a stretch if anything was sent in it. Of too many, the farthest from the clock is forgotten.
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

    /// A tick was sent, by this run or another instance.
    pub(super) fn sent(&mut self, tick: Timestamp) {
        self.current.until = self.current.until.max(tick);
    }

    /// Ticks were left out up to here: what is sent from now on is another stretch.
    pub(super) fn left_out(&mut self, until: Timestamp, now: Timestamp) {
        let next = Stretch {
            after: until,
            until,
            seen: now,
        };
        let before = std::mem::replace(&mut self.current, next);
        self.remember(before, now);
    }

    /// The end of the stretch in which a tick was sent that is due again: after a leap ahead that was undone. What was sent
    /// for more than three hours is not waited for.
    pub(super) fn skip(&mut self, tick: Timestamp) -> Option<Timestamp> {
        let holds = |other: &Stretch| {
            other.after < tick && tick <= other.until && other.until.since(other.after) <= WAITED_FOR
        };
        let at = self.others.iter().position(holds)?;
        let until = self.others.remove(at).until;
        self.sent(until);
        Some(until)
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
mod tests;
