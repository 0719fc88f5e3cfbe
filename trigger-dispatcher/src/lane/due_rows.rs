//! A lane's due rows of work: held with their events until a worker takes them, each only once.

use millrace_channel::{Change, Work, WorkKey};
use millrace_event::{Event, Timestamp};

use super::{DueJob, Inner, Job, MAX_DUE, MAX_DUE_BYTES, MAX_UNCOMMITTED, bytes_of};
use crate::budget::Budget;
use crate::next_step::Attempted;

impl Inner {
    pub(super) fn take_due(&mut self, budget: &Budget, now: Timestamp) -> Option<Job> {
        if self.uncommitted >= MAX_UNCOMMITTED || self.new_comes_first() {
            return None;
        }
        let event = &self.due.front()?.event;
        let bytes = event.stored().len();
        if !self.flight.begin(bytes_of(event), budget) {
            return None;
        }
        let DueJob {
            work,
            event,
            remembered,
        } = self.due.pop_front()?;
        self.due_bytes -= bytes;
        budget.give_back(bytes);
        self.window.in_hand.begin(work.key, work.attempt, false, now);
        let due = Some(work.due);
        let attempted = Attempted {
            key: work.key,
            attempt: work.attempt,
            crashes: work.crashes,
            suspect: work.suspect,
            undecided: work.undecided,
            failures: work.failures,
            body: work.body,
        };
        Some(Job {
            attempted,
            event,
            due,
            remembered: Some(remembered),
            settings: self.settings.clone(),
        })
    }

    /// Whether a fetched row is not already held, and there is room for it.
    pub(crate) fn has_room_for_due(&self) -> bool {
        self.due.len() < MAX_DUE && self.due_bytes < MAX_DUE_BYTES
    }

    /// Whether due rows should be fetched: there are more, they may be attempted, half of the room is free,
    /// and so is memory for their failures.
    pub(crate) fn wants_due(&self, budget: &Budget) -> bool {
        self.due_waiting
            && self.may_attempt()
            && self.due.len() <= MAX_DUE / 2
            && self.due_bytes <= MAX_DUE_BYTES / 2
            && budget.may_remember(&self.remembers)
    }

    pub(crate) fn is_taken(&self, key: &WorkKey) -> bool {
        self.taken.contains(key)
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.len()
    }

    /// Holds a due row with its event until a worker takes it; `false`: memory for it is used up. One row at
    /// least.
    pub(crate) fn offer_due(&mut self, work: Work, event: Event, budget: &Budget) -> bool {
        let bytes = event.stored().len();
        let Some(remembered) = budget.remember(&work.failures, &self.remembers) else {
            self.due_waiting = true;
            return false;
        };
        if self.due.is_empty() {
            budget.take_anyway(bytes);
        } else if !budget.take(bytes) {
            self.due_waiting = true;
            return false;
        }
        self.due_bytes += bytes;
        self.taken.insert(work.key);
        self.due.push_back(DueJob {
            work,
            event,
            remembered,
        });
        true
    }

    /// A due row whose event is gone for good.
    pub(crate) fn lose_due(&mut self, key: WorkKey) {
        self.deferred.add(-1);
        self.firsts.made(&key);
        self.taken.insert(key);
        self.released.push(key);
        self.pending.push(Change::Complete(key));
        self.dirty = true;
    }

    /// Gives the held rows back: they are fetched again when they are wanted.
    pub(crate) fn drop_due(&mut self, budget: &Budget) {
        budget.give_back(self.due_bytes);
        self.due_bytes = 0;
        for job in self.due.drain(..) {
            self.taken.remove(&job.work.key);
        }
        self.due_waiting = true;
    }

    /// Due rows are about to be read: what is taken from now on stays so until [`Inner::end_fetch`].
    pub(crate) fn begin_fetch(&mut self) {
        // This fetch also frees what an unfinished fetch left behind.
        self.freed_while_fetching.get_or_insert_default();
    }

    /// The rows that were read are held. Those freed meanwhile are fetched again when they are due: their
    /// commit has set the timer.
    pub(crate) fn end_fetch(&mut self) {
        for key in self.freed_while_fetching.take().unwrap_or_default() {
            self.taken.remove(&key);
        }
    }
}
