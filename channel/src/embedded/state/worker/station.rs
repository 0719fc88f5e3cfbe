//! The worker's place in the pool: whoever holds it works, one at a time.

use std::time::Duration;

use parking_lot::Mutex;

use super::Worker;
use crate::embedded::pool::{self, Seat};

/// The worker's place in the pool.
pub(in crate::embedded::state) struct Station {
    seat: Seat,
    /// None once it has ended.
    worker: Mutex<Option<Worker>>,
}

// === impl Station ===

impl Station {
    pub(in crate::embedded::state) fn new(worker: Worker) -> Self {
        Self {
            seat: Seat::new(),
            worker: Mutex::new(Some(worker)),
        }
    }

    /// Closes the database until there is more to write; `false`: that is now, or it must not. Blocking.
    pub(in crate::embedded::state) fn rest(&self, may_rest: impl FnOnce() -> bool) -> bool {
        let mut held = self.worker.lock();
        let rests = held.as_mut().is_some_and(|worker| worker.rest(may_rest));
        drop(held);
        if rests {
            self.seat.stir();
        }
        rests
    }

    /// Ends if it rests and nothing waits: then there is nothing left to be done. Blocking.
    pub(in crate::embedded::state) fn end_resting(&self) -> bool {
        let mut held = self.worker.lock();
        let rests = held
            .as_ref()
            .is_none_or(|worker| worker.db.is_none() && worker.orders.is_empty());
        if rests {
            *held = None;
            self.seat.stir();
        }
        rests
    }

    /// Does what still waits, and closes the database. Blocking.
    pub(in crate::embedded::state) fn end(&self) {
        let _span = self.seat.enter();
        let mut worker = self.worker.lock();
        while worker.as_mut().is_some_and(Worker::work) {}
        *worker = None;
        self.seat.stir();
    }
}

impl pool::Station for Station {
    fn seat(&self) -> &Seat {
        &self.seat
    }

    fn turn(&self) -> bool {
        self.worker.lock().as_mut().is_some_and(Worker::work)
    }

    fn patience(&self) -> Option<Duration> {
        let works = |worker: &Worker| worker.db.is_some();
        let stays = self.worker.lock().as_ref().is_some_and(works);
        (!stays).then_some(Duration::ZERO)
    }

    /// What waits is answered as closed.
    fn broken(&self) {
        drop(self.worker.lock().take());
    }
}

impl std::fmt::Debug for Station {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Station")
            .field("seat", &self.seat)
            .finish_non_exhaustive()
    }
}
