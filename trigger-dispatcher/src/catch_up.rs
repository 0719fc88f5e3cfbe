//! The reader behind the head: feeds lanes that left the router, those near each other together, and hands
//! them back.

mod asking;
mod costly;
mod feed;

use std::collections::VecDeque;
use std::ops::Bound;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use millrace_budget::Slot;
use millrace_channel::Reader;
use tokio::time::{Instant, sleep_until};

use crate::lane::Lane;
use crate::provoke;
use crate::serving::Serving;
use crate::watched::{Task, caught, waits};
use costly::Costly;
use feed::{Unread, feed};

const BATCH_BYTES: usize = 1 << 20;
/// Memory of a stretch: what a batch holds, and what [`KEPT_READERS`] have read ahead. The append that is
/// read may be larger.
pub const STRETCH_BYTES: usize = BATCH_BYTES + KEPT_READERS * KEPT_BYTES;
/// Readers kept where they stopped, so that a lane that comes back finds its place without a new look-up.
const KEPT_READERS: usize = 4;
/// What a reader that is kept may have read ahead, but for the one that was used last.
const KEPT_BYTES: usize = 256 << 10;
/// The most lanes that are fed at a time: the tasks of other Brokers wait for the memory meanwhile.
const LANES: usize = 64;
/// How soon a lane that stands where nothing can be read asks again.
const AGAIN: Duration = Duration::from_secs(1);

/// Feeds hungry lanes until the broker is no longer served.
pub(crate) async fn run(serving: Arc<Serving>) {
    take_up(&serving);
    let mut readers: Vec<Box<dyn Reader>> = Vec::new();
    let mut panics = waits();
    let mut last = u32::MAX;
    // Those that stand where nothing can be read. The others do not wait with them.
    let mut put_off: VecDeque<(Instant, Arc<Lane>)> = VecDeque::new();
    // When that was last said.
    let mut said: Option<Instant> = None;
    loop {
        let now = Instant::now();
        let due = put_off.partition_point(|(at, _)| *at <= now);
        for (_, lane) in put_off.drain(..due) {
            ask_again(&serving, &lane);
        }
        let hungry = some_hungry(&serving, &mut last);
        if hungry.is_empty() {
            readers.clear();
            let next = put_off.front().map(|(at, _)| *at);
            tokio::select! {
                biased;
                () = serving.stop.cancelled() => return,
                () = serving.hungry_waker.notified() => continue,
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => continue,
            }
        }
        if serving.is_stopped() {
            return;
        }
        let Some(stretch) = stretch(&serving, &mut readers).await else {
            return;
        };
        provoke::at(&serving, Task::CatchUp, None);
        let lanes: Vec<_> = hungry.into_iter().filter_map(|key| serving.lane(key)).collect();
        let mut costly = Costly::default();
        let mut fed = {
            let feeding = pin!(feed(&serving, &lanes, &mut readers, &mut costly));
            caught(feeding).await
        };
        // Other Brokers read while this one waits for its turns.
        drop(stretch);
        if let (Ok(_), false) = (&fed, costly.events.is_empty()) {
            let deciding = pin!(costly.decide(&serving));
            fed = caught(deciding).await.and(fed);
        }
        let unread = match fed {
            Ok(unread) => {
                panics = waits();
                unread
            }
            Err(panic) => {
                // The lanes stand where they stood, and ask again.
                serving.note_panic(Task::CatchUp, &panic);
                readers.clear();
                tokio::select! {
                    biased;
                    () = serving.stop.cancelled() => return,
                    () = tokio::time::sleep(panics.next().unwrap_or_default()) => {}
                }
                Unread::default()
            }
        };
        let now = Instant::now();
        if let Some(error) = unread.why {
            readers.clear();
            if said.is_none_or(|said| now >= said + AGAIN) {
                said = Some(now);
                serving
                    .span
                    .in_scope(|| tracing::error!(%error, "the log cannot be read; trying again in a second"));
            }
        }
        for lane in lanes {
            match unread.lanes.contains(&lane.key) {
                true => put_off.push_back((now + AGAIN, lane)),
                false => ask_again(&serving, &lane),
            }
        }
    }
}

fn ask_again(serving: &Arc<Serving>, lane: &Arc<Lane>) {
    let mut inner = lane.inner.lock();
    inner.asked = false;
    serving.stir(lane, &mut inner);
}

/// Takes some of the hungry lanes out, from the one behind `last` on, so that each has its turn.
fn some_hungry(serving: &Serving, last: &mut u32) -> Vec<u32> {
    let mut hungry = serving.hungry.lock();
    let behind = hungry.range((Bound::Excluded(*last), Bound::Unbounded));
    let some: Vec<_> = behind
        .chain(hungry.range(..=*last))
        .copied()
        .take(LANES)
        .collect();
    for key in &some {
        hungry.remove(key);
    }
    *last = some.last().copied().unwrap_or(*last);
    some
}

/// Memory for a stretch of the log. A task that has to wait for it gives up what its readers have read ahead.
/// `None`: the broker is no longer served.
async fn stretch(serving: &Serving, readers: &mut Vec<Box<dyn Reader>>) -> Option<Slot> {
    let slots = &serving.common.options.readers;
    if let Some(slot) = slots.take_now() {
        return Some(slot);
    }
    readers.clear();
    tokio::select! {
        biased;
        () = serving.stop.cancelled() => None,
        slot = slots.take() => Some(slot),
    }
}

/// Lanes that asked but were not fed, because this task panicked, ask again.
fn take_up(serving: &Serving) {
    let mut asked: Vec<_> = serving.routes.lock().lanes.values().cloned().collect();
    asked.retain(|lane| lane.inner.lock().asked);
    serving.hungry.lock().extend(asked.iter().map(|lane| lane.key));
}
