//! A worker: takes from its lane, makes the attempt on a connection of its own, settles; ends when there is
//! nothing to do.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::deliver;
use crate::lane::{Inner, Job, Lane};
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
    let worked = {
        let working = pin!(work(&serving, &lane, &mut seat));
        caught(working).await
    };
    match worked {
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
                biased;
                () = serving.stop.cancelled() => {}
                () = tokio::time::sleep(wait_after(panics)) => {}
            }
        }
    }
}

async fn work(serving: &Arc<Serving>, lane: &Arc<Lane>, seat: &mut Seat) {
    let mut connection = lane.share.slot();
    // These two are made once and used again, because registering them takes locks that all workers share.
    let mut stop = pin!(serving.stop.cancelled());
    let mut linger = pin!(tokio::time::sleep(Duration::ZERO));
    while let ControlFlow::Continue(job) = next(serving, lane, seat) {
        match job {
            Some(mut job) => {
                // Bytes that this lane did not need go to the next one.
                serving.common.budget.wake_next();
                deliver::run(serving, lane, &mut job, &mut connection).await;
            }
            None => {
                connection.rest();
                linger
                    .as_mut()
                    .reset(Instant::now() + serving.common.options.linger);
                tokio::select! {
                    biased;
                    () = lane.wake.notified() => {}
                    () = &mut stop => {}
                    () = &mut linger => return,
                }
                seat.stand_up();
            }
        }
    }
}

/// What the worker does next: a job, or nothing for now. `Break`: the worker is not needed any more.
fn next(serving: &Arc<Serving>, lane: &Arc<Lane>, seat: &mut Seat) -> ControlFlow<(), Option<Job>> {
    let mut inner = lane.inner.lock();
    provoke::at(serving, Task::Worker, None);
    if serving.is_stopped() || inner.workers > inner.settings.bounds.parallelism {
        // Another worker has to take what this one was woken for.
        serving.stir(lane, &mut inner);
        return ControlFlow::Break(());
    }
    let job = take(serving, lane, &mut inner);
    // What was taken may have made room, and may have left something for another worker.
    serving.stir(lane, &mut inner);
    if job.is_none() {
        inner.idle += 1;
        seat.idle = true;
    }
    ControlFlow::Continue(job)
}

/// Takes something to attempt. If memory for it is short, the lane waits in line for memory. If the partition
/// may be another process's by now, everything waits until that is known ([`look_over`](crate::dispatcher)).
fn take(serving: &Arc<Serving>, lane: &Arc<Lane>, inner: &mut Inner) -> Option<Job> {
    if !serving.may_begin() {
        return None;
    }
    let (budget, now) = (&serving.common.budget, serving.steady());
    let job = lane.take(inner, budget, now);
    if !inner.flight.waits {
        return job;
    }
    let next = inner.window.next().map(|queued| &queued.event);
    provoke::at(serving, Task::Worker, next);
    budget.wait(serving, lane, inner.flight.bytes);
    let job = lane.take(inner, budget, now);
    if !inner.flight.waits {
        budget.leave(lane);
    }
    job
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

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F>(_: impl FnOnce(Arc<Serving>, Arc<Lane>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_task_of_a_worker_is_small() {
        // Each delivery under way has one, and a future that is stored twice is copied for each event.
        let size = size_of_future(run);
        assert!(size <= 4096, "{size} bytes");
    }
}
