//! First attempts that are rows of work, in a lane that keeps the order.
//!
//! After an unclean stop events that are read again are written down before they are attempted, and due rows
//! take turns with new events. A lane with a parallelism of one keeps the order of the log in its first
//! attempts: its rows of first attempts come before later new events and before other rows of the same fetch.

use std::collections::BTreeSet;

use millrace_channel::{Stage, Work, WorkKey};
use millrace_event::Timestamp;

use super::Inner;

/// The rows whose first attempt is still to be made.
#[derive(Debug)]
pub(super) struct Firsts {
    /// Their positions.
    waiting: BTreeSet<u64>,
    /// The lane was opened at this time, and not all rows that were due then have been fetched.
    unread: Option<Timestamp>,
}

/// Whether it is a row of a first attempt.
pub(crate) fn is_first(work: &Work) -> bool {
    work.attempt == 0 && work.key.stage == Stage::Subscriber
}

// === impl Firsts ===

impl Firsts {
    /// Those of a lane as it was stored.
    pub(super) fn restore(stored: &millrace_channel::Lane, now: Timestamp) -> Self {
        Self {
            waiting: BTreeSet::new(),
            unread: stored.next_due.filter(|due| *due <= now).map(|_| now),
        }
    }

    pub(super) fn wrote_down(&mut self, key: &WorkKey) {
        self.waiting.insert(key.position.offset);
    }

    /// The attempt was made, or there is nothing left to attempt.
    pub(super) fn made(&mut self, key: &WorkKey) {
        if key.stage == Stage::Subscriber {
            self.waiting.remove(&key.position.offset);
        }
    }
}

// === impl Inner ===

impl Inner {
    /// Whether first attempts are made in the order of the log.
    pub(crate) fn keeps_order(&self) -> bool {
        self.settings.bounds.parallelism == 1
    }

    /// Whether the next event of the queue may be taken. A suspect always may: it is only written down.
    pub(super) fn may_take_new(&self) -> bool {
        let Some(next) = self.window.next().map(|queued| queued.offset) else {
            return false;
        };
        let earlier = self.firsts.waiting.first().is_some_and(|first| *first < next);
        let rows_come_first = self.keeps_order() && (self.firsts.unread.is_some() || earlier);
        !self.is_blocked() && (self.may_be_suspect(next) || !rows_come_first)
    }

    /// Whether the first attempt that is due has to wait, as an earlier event is queued that may be taken.
    pub(super) fn new_comes_first(&self) -> bool {
        let due = self.due.front().filter(|due| is_first(&due.work));
        let (Some(due), Some(next)) = (due, self.window.next()) else {
            return false;
        };
        self.keeps_order() && next.offset < due.work.key.position.offset && self.may_take_new()
    }

    /// Notes the first attempts among rows that are due, the earliest first. `all`: there are no more.
    pub(crate) fn note_firsts(&mut self, rows: &[Work], all: bool) {
        let Some(opened) = self.firsts.unread else {
            return;
        };
        // One that is taken was noted at an earlier fetch, or its attempt has been made.
        let firsts = rows
            .iter()
            .filter(|work| is_first(work) && !self.taken.contains(&work.key));
        self.firsts
            .waiting
            .extend(firsts.map(|work| work.key.position.offset));
        // A retry that became due since then holds up no new event.
        if all || rows.last().is_some_and(|last| last.due > opened) {
            self.firsts.unread = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use millrace_budget::Ledger;

    use super::*;
    use crate::budget::Budget;
    use crate::lane::Lane;
    use crate::lane::tests::{event, key, lane};
    use crate::next_step::tests::settings;
    use crate::settings::Settings;

    fn row(offset: u64, attempt: u32, due: i64) -> Work {
        Work {
            attempt,
            ..crate::next_step::Attempted::first(key(offset)).into_row(Timestamp(due), false)
        }
    }

    /// The lane of the tests is opened at 1 000.
    #[test]
    fn only_rows_that_were_due_at_the_opening_hold_up_new_events() {
        let lane = lane();
        let mut inner = lane.inner.lock();
        inner.firsts.unread = Some(Timestamp(1_000));
        inner.note_firsts(&[row(3, 0, 900), row(4, 1, 950)], false);
        assert!(inner.firsts.unread.is_some(), "more may have been due");
        inner.note_firsts(&[row(4, 1, 950), row(5, 0, 1_000), row(2, 2, 1_001)], false);
        assert!(inner.firsts.unread.is_none(), "the next one is a later retry");
        assert_eq!(
            inner.firsts.waiting,
            BTreeSet::from([3, 5]),
            "no retry is among them"
        );
        inner.note_firsts(&[row(7, 0, 900)], true);
        for offset in [3, 5] {
            assert!(!inner.firsts.waiting.is_empty());
            inner.firsts.made(&key(offset));
        }
        assert!(inner.firsts.waiting.is_empty(), "they were all, once and for all");
    }

    const NOW: Timestamp = Timestamp(1_000);

    fn budget() -> Budget {
        Budget::new(Arc::new(Ledger::new(1 << 20)), Arc::new(Ledger::new(1 << 20)))
    }

    /// A lane with a parallelism of one that has queued these events.
    fn ordered(queued: &[u64], budget: &Budget) -> Lane {
        let mut trigger = (*settings(0, None).trigger).clone();
        trigger.parallelism = 1;
        let lane = lane();
        {
            let mut inner = lane.inner.lock();
            inner.settings = Settings::alone(trigger).into();
            for offset in queued {
                assert!(inner.offer(*offset, &event(), budget));
            }
        }
        lane
    }

    #[test]
    fn a_first_attempt_that_is_due_waits_for_earlier_events_of_the_queue() {
        let budget = budget();
        let lane = ordered(&[8], &budget);
        let mut inner = lane.inner.lock();
        assert!(inner.offer_due(row(10, 0, 900), event(), &budget));
        for expected in [8, 10] {
            let job = lane.take(&mut inner, &budget, NOW).expect("something to attempt");
            assert_eq!(job.attempted.key, key(expected));
            inner.window.in_hand.end(&key(expected));
        }
    }

    #[test]
    fn an_event_that_is_given_back_is_attempted_before_those_queued_behind_it() {
        let budget = budget();
        let lane = ordered(&[5, 6, 7], &budget);
        let mut inner = lane.inner.lock();
        let job = lane.take(&mut inner, &budget, NOW).expect("something to attempt");
        assert_eq!(job.attempted.key, key(5));
        inner.give_back(&job, &budget, 8);
        assert!(
            lane.take(&mut inner, &budget, NOW).is_none(),
            "the others are owed too"
        );
        assert_eq!(inner.window.next_owed(), Some(5));
    }
}
