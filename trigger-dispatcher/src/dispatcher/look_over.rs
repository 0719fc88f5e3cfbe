//! Looks over the lanes of a Broker now and then.

use std::sync::Arc;
use std::time::Duration;

use millrace_event::Timestamp;

use crate::lane::Lane;
use crate::serving::Serving;

/// An attempt that takes longer than this is written down.
const WRITTEN_DOWN_AFTER: Duration = Duration::from_secs(1);

/// Writes long attempts down, lets lanes fetch what they had no memory for, wakes lanes that could not
/// begin anything, and drops queues that stand still while memory is short.
pub(super) fn lanes(serving: &Arc<Serving>, now: Timestamp, is_tight: bool) {
    let then = now.before(WRITTEN_DOWN_AFTER);
    let is_held_again = serving.is_held_again();
    let lanes: Vec<_> = serving.routes.lock().lanes.values().cloned().collect();
    for lane in lanes {
        let mut inner = lane.inner.lock();
        lane.write_down_open(&mut inner, then, now);
        // Memory that other lanes gave back wakes nobody.
        if inner.dirty || is_held_again || inner.wants_due(&serving.common.budget) {
            serving.stir(&lane, &mut inner);
        }
        let still = is_tight && inner.stands_still_since(then);
        drop(inner);
        if still {
            drop_what_stands(serving, &lane);
        }
    }
}

/// Under the lock on the routes: the lane leaves the router where the router is, and nothing comes in
/// between.
fn drop_what_stands(serving: &Arc<Serving>, lane: &Arc<Lane>) {
    let routes = serving.routes.lock();
    let mut inner = lane.inner.lock();
    inner.drop_queue(&serving.common.budget, routes.position);
    inner.drop_due(&serving.common.budget);
    serving.stir(lane, &mut inner);
}
