//! The memory for events on their way out, in the whole process: queued in lanes, and in flight. It is
//! bounded however many lanes stand still and however large their events are.
//!
//! # Shares
//! Each lane can always have one attempt under way. A further attempt begins when its event fits. While lanes
//! wait for room, a lane that has more in flight than one of them begins nothing new, and freed bytes go to
//! the waiting lane that has least. So hung subscribers with large events keep what they hold, and the other
//! lanes go on.
//!
//! # Failures
//! A row of work remembers its last failures, each with the beginning of the answer. Thousands of rows in
//! hand would need far more memory for that than for their events, so it is bounded too, beside the budget.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Weak};

use millrace_budget::{Ledger, Use as _};
use millrace_channel::FailedAttempt;
use parking_lot::Mutex;

use crate::lane::Lane;
use crate::serving::Serving;

/// Bytes of the failures that rows in hand remember, in the whole process. Each lane may have one row beyond
/// it: at most 20 failures of somewhat more than 1 KiB.
const REMEMBERED: usize = 16 << 20;

/// Bytes of events queued in lanes, and of those in flight.
#[derive(Debug)]
pub(crate) struct Budget {
    queued: Arc<Ledger>,
    in_flight: Arc<Ledger>,
    remembered: Arc<Ledger>,
    /// How many lanes wait for bytes. Kept apart, so that nothing is locked while none waits.
    waiting: AtomicUsize,
    lanes: Mutex<Vec<Waiting>>,
}

/// A lane that could attempt more if there were room.
struct Waiting {
    serving: Weak<Serving>,
    lane: Weak<Lane>,
    /// Bytes that it had in flight when it began to wait.
    held: usize,
}

/// The bytes of the failures that a row remembers, from when it is read until its outcome is committed. They
/// are given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Remembered {
    of_all: Arc<Ledger>,
    of_lane: Arc<Ledger>,
    bytes: usize,
}

// === impl Budget ===

impl Budget {
    pub(crate) fn new(queued: Arc<Ledger>, in_flight: Arc<Ledger>) -> Self {
        Self {
            queued,
            in_flight,
            remembered: Arc::new(Ledger::new(REMEMBERED)),
            waiting: AtomicUsize::new(0),
            lanes: Mutex::default(),
        }
    }

    /// Takes `bytes` for an event to be queued, if there is room.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        self.queued.take(bytes)
    }

    /// Takes `bytes` even beyond the limit: for what a lane must have to go on at all.
    pub(crate) fn take_anyway(&self, bytes: usize) {
        self.queued.take_anyway(bytes);
    }

    /// Gives back the bytes of an event that is no longer queued.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.queued.give_back(bytes);
    }

    /// Whether queues that stand still should be dropped now: three quarters are used.
    pub(crate) fn is_tight(&self) -> bool {
        self.queued.used() > self.queued.limit() / 4 * 3
    }

    /// Takes the bytes of a row's failures; `None`: the lane has to wait. One that remembers nothing never
    /// waits, so that each can have a row in hand.
    pub(crate) fn remember(&self, failures: &[FailedAttempt], of_lane: &Arc<Ledger>) -> Option<Remembered> {
        let bytes = failures.iter().map(FailedAttempt::bytes).sum();
        if bytes == 0 || of_lane.used() == 0 {
            self.remembered.take_anyway(bytes);
        } else if !self.remembered.take(bytes) {
            return None;
        }
        of_lane.take_anyway(bytes);
        Some(Remembered {
            of_all: self.remembered.clone(),
            of_lane: of_lane.clone(),
            bytes,
        })
    }

    /// Whether a lane may remember more failures.
    pub(crate) fn may_remember(&self, of_lane: &Ledger) -> bool {
        of_lane.used() == 0 || self.remembered.used() < self.remembered.limit()
    }

    /// Takes `bytes` for an attempt of a lane that has so many attempts and bytes in flight; `false`: it has
    /// to wait.
    pub(crate) fn begin(&self, bytes: usize, attempts: usize, held: usize) -> bool {
        if attempts == 0 {
            self.in_flight.take_anyway(bytes);
            return true;
        }
        let is_above = || self.lanes.lock().iter().any(|waiting| waiting.held < held);
        if self.waiting.load(Ordering::Acquire) > 0 && is_above() {
            return false;
        }
        self.in_flight.take(bytes)
    }

    /// The lane, with so many bytes in flight, waits until some are given back. The caller must try once more
    /// after this call: bytes that were given back before it woke nobody.
    pub(crate) fn wait(&self, serving: &Arc<Serving>, lane: &Arc<Lane>, held: usize) {
        let mut lanes = self.lanes.lock();
        let known = lanes
            .iter_mut()
            .find(|waiting| std::ptr::eq(waiting.lane.as_ptr(), Arc::as_ptr(lane)));
        match known {
            Some(waiting) => waiting.held = held,
            None => lanes.push(Waiting {
                serving: Arc::downgrade(serving),
                lane: Arc::downgrade(lane),
                held,
            }),
        }
        self.waiting.store(lanes.len(), Ordering::Release);
        drop(lanes);
        // Whoever gives bytes back from now on sees the lane here. The other half of this handshake is in
        // `end`.
        fence(Ordering::SeqCst);
    }

    /// The lane stops waiting, because another try succeeded.
    pub(crate) fn leave(&self, lane: &Arc<Lane>) {
        let mut lanes = self.lanes.lock();
        lanes.retain(|waiting| !std::ptr::eq(waiting.lane.as_ptr(), Arc::as_ptr(lane)));
        self.waiting.store(lanes.len(), Ordering::Release);
    }

    /// Ends an attempt. The caller must not hold a lane's lock.
    pub(crate) fn end(&self, bytes: usize) {
        self.in_flight.give_back(bytes);
        // The other half of this handshake is in `wait`.
        fence(Ordering::SeqCst);
        self.wake_next();
    }

    /// Wakes the waiting lane that has least in flight, if anything is free; that lane passes on what it does
    /// not need. A lane that has nothing to attempt any more is passed over. The caller must not hold a
    /// lane's lock.
    pub(crate) fn wake_next(&self) {
        if self.waiting.load(Ordering::Acquire) == 0 || self.in_flight.used() >= self.in_flight.limit() {
            return;
        }
        while let Some(next) = self.next() {
            let (Some(serving), Some(lane)) = (next.serving.upgrade(), next.lane.upgrade()) else {
                continue;
            };
            let mut inner = lane.inner.lock();
            inner.flight.waits = false;
            serving.stir(&lane, &mut inner);
            if inner.has_work() && serving.may_begin() {
                return;
            }
        }
    }

    fn next(&self) -> Option<Waiting> {
        let mut lanes = self.lanes.lock();
        let least = (0..lanes.len()).min_by_key(|index| lanes[*index].held)?;
        let next = lanes.remove(least);
        self.waiting.store(lanes.len(), Ordering::Release);
        Some(next)
    }
}

// === impl Remembered ===

impl Drop for Remembered {
    fn drop(&mut self) {
        self.of_lane.give_back(self.bytes);
        self.of_all.give_back(self.bytes);
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting")
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use millrace_channel::Stage;
    use millrace_event::{Clock, Timestamp};

    use super::*;
    use crate::lane::Inner;
    use crate::lane::tests::{event, key, lane};
    use crate::next_step::{Attempted, Next};

    fn budget() -> Budget {
        Budget::new(Arc::new(Ledger::new(100)), Arc::new(Ledger::new(100)))
    }

    #[test]
    fn queues_are_tight_when_three_quarters_are_used() {
        let budget = budget();
        assert!(budget.take(60));
        assert!(!budget.take(50));
        assert!(!budget.is_tight());
        assert!(budget.take(40));
        assert!(budget.is_tight());
        budget.give_back(100);
        assert!(budget.take(100));
    }

    /// A failure whose answer had so many bytes.
    fn failure(bytes: usize) -> FailedAttempt {
        FailedAttempt {
            at: Timestamp(0),
            stage: Stage::Subscriber,
            attempt: 0,
            target: String::new(),
            status: Some(500),
            reason: String::new(),
            body: vec![b'.'; bytes],
            millis: 1,
        }
    }

    #[test]
    fn a_lane_without_memory_for_failures_has_one_row_until_its_outcome_is_committed() {
        let (budget, lane, now) = (budget(), lane(), Timestamp(1_000));
        let event = event();
        let row = |offset| {
            let failures = vec![failure(10)];
            let attempted = Attempted {
                failures,
                ..Attempted::first(key(offset))
            };
            attempted.into_row(now, false)
        };
        let mut inner = lane.inner.lock();
        let offer = |inner: &mut Inner, offset| inner.offer_due(row(offset), event.clone(), &budget);
        budget.remembered.take_anyway(REMEMBERED);
        assert!(offer(&mut inner, 1));
        assert!(!offer(&mut inner, 2), "one is held");
        let mut job = lane.take(&mut inner, &budget, now).expect("the row");
        assert!(!offer(&mut inner, 2), "it is in flight");
        assert!(!inner.wants_due(&budget), "they would be fetched in vain");
        inner.settle(job.attempted.key, Next::Done, &Clock::manual(now));
        inner.remember(job.remembered.take());
        assert!(!offer(&mut inner, 2), "its outcome is not committed");
        drop(lane.snapshot(&mut inner, 0));
        assert!(inner.wants_due(&budget));
        assert!(offer(&mut inner, 2));
        assert!(!offer(&mut inner, 3));
        budget.remembered.give_back(REMEMBERED);
        assert!(inner.wants_due(&budget), "there is room again");
    }

    #[test]
    fn failures_are_remembered_while_there_is_room_and_of_one_row_of_each_lane_always() {
        let (budget, half) = (budget(), vec![failure(1024); 8 << 10]);
        let lanes: [Arc<Ledger>; 3] = std::array::from_fn(|_| Arc::new(Ledger::new(0)));
        let first = budget.remember(&half, &lanes[0]).expect("its first row");
        assert!(lanes[0].used() > REMEMBERED / 2);
        assert!(budget.may_remember(&lanes[0]), "there is room");
        assert!(budget.remember(&half, &lanes[0]).is_none(), "but not so much");
        let second = budget.remember(&half, &lanes[1]).expect("of each lane one row");
        let third = budget.remember(&half, &lanes[2]).expect("of each lane one row");
        assert!(!budget.may_remember(&lanes[0]));
        let none = budget.remember(&[], &lanes[0]);
        assert!(none.is_some(), "a row without failures needs no room");
        drop((second, third));
        let more = budget.remember(&half[..100], &lanes[0]);
        assert!(more.is_some());
        drop((first, none, more));
        assert_eq!((lanes[0].used(), budget.remembered.used()), (0, 0));
    }

    #[test]
    fn each_lane_can_have_one_attempt_and_more_while_there_is_room() {
        let budget = budget();
        assert!(budget.begin(60, 0, 0));
        assert!(budget.begin(40, 1, 60), "who is alone may use all");
        assert!(!budget.begin(1, 2, 100));
        assert!(budget.begin(60, 0, 0), "the first of a lane always");
        budget.end(160);
        assert!(budget.begin(100, 3, 7));
    }

    #[test]
    fn while_a_lane_waits_one_with_more_begins_nothing_new() {
        let budget = budget();
        let waits = |held| {
            budget.lanes.lock().push(Waiting {
                serving: Weak::new(),
                lane: Weak::new(),
                held,
            });
            budget.waiting.fetch_add(1, Ordering::Release);
        };
        waits(30);
        assert!(!budget.begin(10, 1, 40));
        assert!(budget.begin(10, 1, 30));
        assert!(budget.begin(10, 1, 10));
        // The waiting lanes are gone: they are skipped.
        budget.end(10);
        assert!(budget.begin(10, 1, 40));
    }
}
