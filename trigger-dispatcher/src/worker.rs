//! A worker: takes from its lane, makes the attempt on a connection of its own, settles; ends when there is nothing to do.

use std::sync::Arc;

use crate::deliver::{self, Attempt};
use crate::lane::Lane;
use crate::serving::Serving;

/// Works until the lane has had nothing to take for the linger time, or the broker is no longer served.
pub(crate) async fn run(serving: Arc<Serving>, lane: Arc<Lane>) {
    let mut connection = lane.share.slot();
    loop {
        let job = {
            let mut inner = lane.inner.lock();
            let stopped = serving.stop.is_cancelled() || inner.workers > inner.settings.trigger.parallelism;
            let job = if stopped {
                None
            } else {
                lane.take(&mut inner, &serving.common.budget, serving.steady())
            };
            if inner.flight.waits {
                serving.common.budget.wait(&serving, &lane, inner.flight.bytes);
            }
            // What was taken may have made room, and may have left something for another worker.
            serving.stir(&lane, &mut inner);
            if job.is_none() {
                if stopped {
                    inner.workers -= 1;
                    return;
                }
                inner.idle += 1;
            }
            job
        };
        match job {
            Some(job) => {
                // What one lane did not need is the next one's.
                serving.common.budget.wake_next();
                let attempt = Attempt {
                    serving: &serving,
                    lane: &lane,
                    job,
                };
                deliver::run(attempt, &mut connection).await;
            }
            None if wait(&serving, &lane).await => lane.inner.lock().idle -= 1,
            None => {
                let mut inner = lane.inner.lock();
                inner.idle -= 1;
                inner.workers -= 1;
                if inner.workers == 0 {
                    inner.shrink();
                }
                // Something may have come between the end of the wait and now, for which this worker was woken.
                serving.wake_worker(&lane, &mut inner);
                return;
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
