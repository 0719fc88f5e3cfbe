//! The attempts that a lane has in hand: when each began, or what it waits for if it has not begun.
//!
//! An event that waits for something of our own has not been attempted. Nothing is written down about it:
//! after a restart it is read again, and no unclean stop is held against it.

use millrace_channel::WorkKey;
use millrace_event::Timestamp;
use millrace_model::Shortage;
use millrace_model::status::UnderWay;

use super::{Inner, Job};

/// An attempt in hand.
#[derive(Debug)]
pub(super) struct InHand {
    key: WorkKey,
    now: UnderWay,
}

impl Inner {
    pub(super) fn begin(&mut self, job: &Job, now: Timestamp) {
        self.in_hand.push(InHand {
            key: job.attempted.key,
            now: UnderWay {
                attempt: job.attempted.attempt,
                since: now,
                shortage: None,
            },
        });
    }

    pub(super) fn end(&mut self, key: &WorkKey) {
        if let Some(index) = self.in_hand.iter().position(|in_hand| in_hand.key == *key) {
            self.in_hand.swap_remove(index);
        }
    }

    /// Notes that the attempt has not begun, because of this shortage.
    pub(crate) fn wait_for(&mut self, job: &Job, shortage: Shortage, now: Timestamp) {
        if job.is_new {
            self.window.wait(job.attempted.key.position.offset);
        }
        self.note(job, Some(shortage), now);
    }

    /// What the job waited for may be there: the attempt is to be made now, with the present settings.
    /// `false`: the lane may not attempt anything now.
    pub(crate) fn go_on(&mut self, job: &mut Job, now: Timestamp) -> bool {
        if !self.may_attempt() {
            return false;
        }
        job.settings = self.settings.clone();
        if job.is_new {
            self.window.go_on(job.attempted.key.position.offset, now);
        }
        self.note(job, None, now);
        true
    }

    /// This worker will not make the attempt: the event is owed as if it had never been taken. For a lane
    /// that is halted, has no subscriber, or ends.
    ///
    /// Only the catch-up reader reads owed events again, so a live lane leaves the router, which is at
    /// `router`.
    pub(crate) fn give_back(&mut self, job: &Job, router: u64) {
        let key = job.attempted.key;
        self.end(&key);
        if job.is_new && self.window.give_back(key.position.offset) {
            self.leave_router(router);
        } else {
            self.taken.remove(&key);
            self.due_waiting = true;
        }
        self.dirty = true;
    }

    /// What some of the lane's events wait for.
    pub(crate) fn shortage(&self) -> Option<Shortage> {
        let of_one = self.in_hand.iter().find_map(|in_hand| in_hand.now.shortage);
        of_one.or(self.flight.waits.then_some(Shortage::Budget))
    }

    /// The attempt at the event of this position that is under way.
    pub(crate) fn under_way(&self, offset: u64) -> Option<UnderWay> {
        let of_event = |in_hand: &&InHand| in_hand.key.position.offset == offset;
        self.in_hand.iter().find(of_event).map(|in_hand| in_hand.now)
    }

    fn note(&mut self, job: &Job, shortage: Option<Shortage>, now: Timestamp) {
        let key = job.attempted.key;
        if let Some(in_hand) = self.in_hand.iter_mut().find(|in_hand| in_hand.key == key) {
            // A job that goes on waiting for the same shortage keeps its start time.
            if shortage.is_none() || in_hand.now.shortage != shortage {
                in_hand.now.since = now;
            }
            in_hand.now.shortage = shortage;
        }
    }
}
