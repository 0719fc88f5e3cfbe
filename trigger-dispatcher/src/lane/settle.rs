//! What an outcome changes: rows put, moved, completed or parked, waiting for the next commit.

use millrace_channel::{Change, WorkKey};
use millrace_event::{Clock, Timestamp};

use super::{Inner, is_first};
use crate::budget::Remembered;
use crate::next_step::{Attempted, Next};

impl Inner {
    /// Whether this position may have been attempted before an unclean stop. It counts only once its row is
    /// put.
    pub(crate) fn may_be_suspect(&self, offset: u64) -> bool {
        self.suspects_left > 0 && offset < self.suspects_below
    }

    /// An event that may have been attempted before an unclean stop is written down before it is attempted
    /// again.
    pub(super) fn put_suspect(&mut self, key: WorkKey, now: Timestamp) {
        self.put_row(Attempted::first(key), now);
    }

    /// The same for an event of which it is unknown whether it matches.
    pub(super) fn put_undecided(&mut self, key: WorkKey, now: Timestamp) {
        self.window.name_below(key.position.offset + 1);
        self.put_row(
            Attempted {
                undecided: true,
                ..Attempted::first(key)
            },
            now,
        );
    }

    fn put_row(&mut self, attempted: Attempted, now: Timestamp) {
        if self.may_be_suspect(attempted.key.position.offset) {
            self.suspects_left -= 1;
        }
        self.firsts.wrote_down(&attempted.key);
        self.deferred.add(1);
        self.uncommitted += 1;
        self.dirty = true;
        let suspect = Attempted {
            suspect: true,
            ..attempted
        };
        self.put(Change::Put(suspect.into_row(now, false)));
    }

    pub(super) fn put(&mut self, change: Change) {
        if let Change::Put(work) | Change::Advance { to: work, .. } = &change {
            self.next_due = Some(self.next_due.map_or(work.due, |due| due.min(work.due)));
        }
        self.pending.push(change);
    }

    /// Puts what comes next after an attempt into the next commit. The clock tells when an event is parked.
    pub(crate) fn settle(&mut self, key: WorkKey, next: Next, clock: &Clock) {
        let has_row = self.window.in_hand.end(&key);
        self.uncommitted += 1;
        self.dirty = true;
        if has_row {
            self.released.push(key);
        }
        // It may have been put off instead.
        if !matches!(&next, Next::Put(work) if work.key == key && is_first(work)) {
            self.firsts.made(&key);
        }
        match next {
            Next::Done if has_row => {
                self.deferred.add(-1);
                self.pending.push(Change::Complete(key));
            }
            Next::Done => {}
            Next::Put(work) => {
                self.deferred.add(i64::from(!has_row));
                let moves = has_row && work.key != key;
                self.put(if moves {
                    Change::Advance { from: key, to: *work }
                } else {
                    Change::Put(*work)
                });
            }
            Next::Park {
                reason,
                attempts,
                failures,
                body,
            } => {
                self.deferred.add(-i64::from(has_row));
                self.parked.add(1);
                self.pending.push(Change::Park {
                    key,
                    reason,
                    since: clock.now(),
                    attempts,
                    failures,
                    body,
                });
            }
        }
    }

    /// The next commit holds the failures of this row.
    pub(crate) fn remember(&mut self, remembered: Option<Remembered>) {
        self.remembered.extend(remembered);
    }

    /// The snapshot is durable: its rows may be fetched again, its outcomes no longer count.
    pub(crate) fn committed(&mut self, outcomes: usize, released: &[WorkKey]) {
        self.uncommitted -= outcomes;
        self.deferred.end_commit();
        self.parked.end_commit();
        match &mut self.freed_while_fetching {
            Some(freed) => freed.extend_from_slice(released),
            None => released.iter().for_each(|key| {
                self.taken.remove(key);
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use millrace_budget::{Ledger, Use as _};
    use millrace_event::Timestamp;

    use crate::budget::Budget;
    use crate::lane::tests::{event, key, lane_with_suspects_below};
    use crate::lane::{MAX_UNCOMMITTED, bytes_of};

    #[test]
    fn a_lane_without_room_for_a_row_uses_up_no_suspicion_and_is_not_hungry() {
        let now = Timestamp(1_000);
        let lane = lane_with_suspects_below(10);
        let mut inner = lane.inner.lock();
        let left = inner.suspects_left;

        inner.uncommitted = MAX_UNCOMMITTED;
        for _ in 0..3 {
            assert!(!lane.owe_undecided(&mut inner, 4, now), "there is no room");
            assert!(inner.may_be_suspect(4));
        }
        assert!(!inner.is_hungry(), "it would be fed in vain");
        assert_eq!(inner.suspects_left, left);

        inner.committed(MAX_UNCOMMITTED, &[]);
        assert!(inner.is_hungry());
        assert!(lane.owe_undecided(&mut inner, 4, now));
        assert_eq!(inner.suspects_left, left - 1);
        assert!(
            lane.owe_undecided(&mut inner, 10, now),
            "which no stop throws doubt on"
        );
        assert_eq!(inner.suspects_left, left - 1);
        assert!(!inner.may_be_suspect(10));
    }

    #[test]
    fn a_suspect_is_written_down_without_bytes_in_flight_for_which_others_wait() {
        let event = event();
        let in_flight = Arc::new(Ledger::new(0));
        let budget = Budget::new(Arc::new(Ledger::new(1 << 20)), in_flight.clone());
        let lane = lane_with_suspects_below(10);
        let mut inner = lane.inner.lock();
        for offset in [8, 9, 10, 11] {
            assert!(inner.offer(offset, &event, &budget));
        }
        let job = lane.take(&mut inner, &budget, Timestamp(1_000));
        assert_eq!(job.map(|job| job.attempted.key), Some(key(10)));
        assert_eq!(inner.uncommitted, 2, "the suspects have their rows");
        assert_eq!(in_flight.used(), bytes_of(&event));
        assert!(lane.take(&mut inner, &budget, Timestamp(1_000)).is_none());
        assert!(inner.flight.waits, "the second one has no room");
        // A suspect behind it would need none.
        assert_eq!(inner.window.queued(), 1);
    }
}
