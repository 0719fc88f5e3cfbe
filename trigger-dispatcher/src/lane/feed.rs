//! How a lane's queue is filled and given up: by the router, by the catch-up reader, within the bounds.

use millrace_event::{Event, Timestamp};

use super::{Halt, Inner, MAX_QUEUED, MAX_QUEUED_BYTES, MAX_UNCOMMITTED, Place};
use crate::budget::Budget;

impl Inner {
    /// Whether the catch-up reader should feed it.
    pub(crate) fn is_hungry(&self) -> bool {
        matches!(self.place, Place::Behind { .. })
            && self.may_attempt()
            && !self.is_blocked()
            && self.uncommitted < MAX_UNCOMMITTED
            && (self.window.queued() == 0 || !self.short)
            && self.window.queued() <= MAX_QUEUED / 2
            && self.window.queued_bytes() <= MAX_QUEUED_BYTES / 2
    }

    /// Whether a row or a parked event stands for this position already: it is passed, and not offered.
    pub(crate) fn is_covered(&self, offset: u64) -> bool {
        !self.covered.is_empty() && self.covered.contains(&offset)
    }

    /// Passes a position that is covered: progress says so next.
    pub(crate) fn pass(&mut self, offset: u64) {
        self.window.name_below(offset + 1);
        self.dirty = true;
    }

    /// Queues an event if there is room; `false`: the lane is full.
    pub(crate) fn offer(&mut self, offset: u64, event: &Event, budget: &Budget) -> bool {
        let bytes = event.stored().len();
        if self.window.queued() == 0 {
            // One event at least, or a lane could never go on while others hold the budget.
            budget.take_anyway(bytes);
        } else {
            let room =
                self.window.queued() < MAX_QUEUED && self.window.queued_bytes() + bytes <= MAX_QUEUED_BYTES;
            if self.short || !room || !budget.take(bytes) {
                self.short = true;
                return false;
            }
        }
        self.window.push(offset, event.clone());
        self.dirty = true;
        true
    }

    /// How many events to look for: a lane that is short of room takes them one by one.
    pub(crate) fn room(&self) -> usize {
        if self.short {
            1
        } else {
            (MAX_QUEUED - self.window.queued().min(MAX_QUEUED)).max(1)
        }
    }

    /// Gives the queue up: what it held is read again later. A live lane leaves the router at `router`.
    pub(crate) fn drop_queue(&mut self, budget: &Budget, router: u64) {
        budget.give_back(self.window.queued_bytes());
        self.window.drop_queue();
        self.short = true;
        self.leave_router(router);
    }

    /// A live lane leaves the router: it reads on from `at_position` by itself.
    pub(crate) fn leave_router(&mut self, at_position: u64) {
        if let Place::Live { from } = self.place {
            self.place = Place::Behind {
                cursor: from.max(at_position),
            };
            self.dirty = true;
        }
    }

    /// The lane is gone: nothing more is attempted, and its share of the budget is given back.
    pub(crate) fn give_up(&mut self, budget: &Budget, now: Timestamp) {
        self.halt = Some(Halt::Orphaned(now));
        budget.give_back(self.window.queued_bytes());
        self.window.drop_queue();
        self.drop_due(budget);
    }

    /// Whether it has not taken anything of what it holds since `then`.
    pub(crate) fn stands_still_since(&self, then: Timestamp) -> bool {
        (self.window.queued() > 1 || self.due.len() > 1) && self.last_taken <= then
    }

    /// Gives memory back that a burst needed.
    pub(crate) fn shrink(&mut self) {
        self.window.shrink();
        self.due.shrink_to_fit();
        self.taken.shrink_to_fit();
    }
}
