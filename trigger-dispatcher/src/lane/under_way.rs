//! What happens to an attempt that waits for something of our own: it goes on, or the lane owes its event
//! again.

use millrace_channel::Stage;
use millrace_event::Timestamp;
use millrace_model::Shortage;
use millrace_model::status::UnderWay;

use super::{Inner, Job};
use crate::budget::Budget;

impl Inner {
    /// Notes that the attempt has not begun, because of this shortage.
    pub(crate) fn wait_for(&mut self, job: &Job, shortage: Shortage, now: Timestamp) {
        self.window.in_hand.wait(&job.attempted.key, shortage, now);
    }

    /// What the job waited for may be there: the attempt is to be made now, with the present settings.
    /// `false`: the lane may not attempt anything now.
    pub(crate) fn go_on(&mut self, job: &mut Job, now: Timestamp) -> bool {
        if !self.may_attempt() {
            return false;
        }
        job.settings = self.settings.clone();
        self.window.in_hand.go_on(&job.attempted.key, now);
        true
    }

    /// This worker will not make the attempt: the event is owed as if it had never been taken. For a lane
    /// that is halted, has no subscriber, or ends.
    ///
    /// Only the catch-up reader reads owed events again, so a live lane leaves the router, which is at
    /// `router`. In a lane that keeps the order, what is queued is owed again too, or it would be attempted
    /// first.
    pub(crate) fn give_back(&mut self, job: &Job, budget: &Budget, router: u64) {
        let key = job.attempted.key;
        if !self.window.give_back(&key) {
            self.taken.remove(&key);
            self.due_waiting = true;
            if job.attempted.attempt == 0 && key.stage == Stage::Subscriber {
                self.firsts.wrote_down(&key);
            }
        } else if self.keeps_order() {
            self.drop_queue(budget, router);
        } else {
            self.leave_router(router);
        }
        self.dirty = true;
    }

    /// What some of the lane's events wait for.
    pub(crate) fn shortage(&self) -> Option<Shortage> {
        let of_one = self.window.in_hand.shortage();
        of_one.or(self.flight.waits.then_some(Shortage::Budget))
    }

    /// The attempt at the event of this position that is under way.
    pub(crate) fn under_way(&self, offset: u64) -> Option<UnderWay> {
        self.window.in_hand.of_event(offset)
    }
}
