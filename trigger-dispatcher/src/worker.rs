//! A worker: takes from its lane, makes the attempt on a connection of its own, settles; ends when there is nothing to do.

use std::sync::Arc;

use crate::deliver::{self, Attempt};
use crate::lane::Lane;
use crate::provoke;
use crate::serving::Serving;
use crate::watched::{Task, caught, wait_after};

/// The place of a worker in its lane, given back however the worker ends.
struct Seat {
    serving: Arc<Serving>,
    lane: Arc<Lane>,
    /// Whether it counts as waiting for something to take.
    idle: bool,
}

/// Works until the lane has had nothing to take for the linger time, or the broker is no longer served. A
/// panic outside of an attempt ends it. It then keeps its place for a while, so that the next worker does not
/// panic at once.
pub(crate) async fn run(serving: Arc<Serving>, lane: Arc<Lane>) {
    let mut seat = Seat {
        serving: serving.clone(),
        lane: lane.clone(),
        idle: false,
    };
    match caught(work(&serving, &lane, &mut seat)).await {
        Ok(()) => lane.inner.lock().worker_panics = 0,
        Err(panic) => {
            serving.note_panic(Task::Worker, &panic);
            seat.stand_up();
            let panics = {
                let mut inner = lane.inner.lock();
                inner.note_worker_panic(serving.moment().wall, &panic);
                inner.worker_panics
            };
            tokio::select! {
                () = serving.stop.cancelled() => {}
                () = tokio::time::sleep(wait_after(panics)) => {}
            }
        }
    }
}

async fn work(serving: &Arc<Serving>, lane: &Arc<Lane>, seat: &mut Seat) {
    let mut connection = lane.share.slot();
    loop {
        let job = {
            let mut inner = lane.inner.lock();
            provoke::at(serving, Task::Worker, None);
            let stopped = serving.stop.is_cancelled() || inner.workers > inner.settings.trigger.parallelism;
            if stopped {
                // Another worker has to take what this one was woken for.
                serving.stir(lane, &mut inner);
                return;
            }
            let job = lane.take(&mut inner, &serving.common.budget, serving.steady());
            if inner.flight.waits {
                serving.common.budget.wait(serving, lane, inner.flight.bytes);
            }
            // What was taken may have made room, and may have left something for another worker.
            serving.stir(lane, &mut inner);
            if job.is_none() {
                inner.idle += 1;
                seat.idle = true;
            }
            job
        };
        match job {
            Some(job) => {
                // Bytes that this lane did not need go to the next one.
                serving.common.budget.wake_next();
                let attempt = Attempt { serving, lane, job };
                deliver::run(attempt, &mut connection).await;
            }
            None => {
                let woken = wait(serving, lane).await;
                if !woken {
                    return;
                }
                seat.stand_up();
            }
        }
    }
}

/// Waits for something to take; `false`: nothing came for the linger time.
async fn wait(serving: &Serving, lane: &Lane) -> bool {
    tokio::select! {
        () = lane.wake.notified() => true,
        () = serving.stop.cancelled() => true,
        () = tokio::time::sleep(serving.common.options.linger) => false,
    }
}

// === impl Seat ===

impl Seat {
    /// Stops counting it as waiting.
    fn stand_up(&mut self) {
        if std::mem::take(&mut self.idle) {
            self.lane.inner.lock().idle -= 1;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.lane.inner.lock();
        inner.idle -= u32::from(self.idle);
        inner.workers -= 1;
        if inner.workers == 0 {
            inner.shrink();
        }
        // Work may have come between the end of the wait and now, and this worker was woken for it.
        self.serving.wake_worker(&self.lane, &mut inner);
    }
}
