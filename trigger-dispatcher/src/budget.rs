//! The memory that events on their way out may take, process-wide: queued in lanes, and in flight. However many lanes stand
//! still and however large their events are, memory is bounded.
//!
//! # Shares
//! Each lane can always have one attempt under way. Beyond it an attempt begins when its event fits. While lanes wait for
//! that, a lane that has more in flight than one of them begins nothing new, and what is given back goes to the one that
//! has least. So hung subscribers with large events hold what they hold, and the others go on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use millrace_budget::{Ledger, Use as _};
use parking_lot::Mutex;

use crate::lane::Lane;
use crate::serving::Serving;

/// Bytes of events queued in lanes, and of those in flight.
#[derive(Debug)]
pub(crate) struct Budget {
    queued: Arc<Ledger>,
    in_flight: Arc<Ledger>,
    /// How many lanes wait for bytes; so that nothing is locked while none does.
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

// === impl Budget ===

impl Budget {
    pub(crate) fn new(queued: Arc<Ledger>, in_flight: Arc<Ledger>) -> Self {
        Self {
            queued,
            in_flight,
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

    /// An event is queued no more.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.queued.give_back(bytes);
    }

    /// Whether queues that stand still should be dropped now: three quarters are used.
    pub(crate) fn is_tight(&self) -> bool {
        self.queued.used() > self.queued.limit() / 4 * 3
    }

    /// Takes `bytes` for an attempt of a lane that has so many attempts and bytes in flight; `false`: it has to wait.
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

    /// What was taken for an attempt is not needed after all.
    pub(crate) fn undo(&self, bytes: usize) {
        self.in_flight.give_back(bytes);
    }

    /// The lane waits, with so many bytes in flight, until some are given back.
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
    }

    /// An attempt has ended. No lane may be locked.
    pub(crate) fn end(&self, bytes: usize) {
        self.in_flight.give_back(bytes);
        self.wake_next();
    }

    /// Wakes the lane that waits with least, if any does and something is free; what it leaves over it passes on. No lane may
    /// be locked.
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
            return;
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

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting")
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // Those that wait are gone: they are passed over.
        budget.end(10);
        assert!(budget.begin(10, 1, 40));
    }
}
