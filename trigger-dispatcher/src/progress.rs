//! Writes down what was settled: the router's position, each lane's progress and its rows, in one atomic commit.
//!
//! # Guarantees
//! The router's position passes p only together with the rows and the progress of every lane that has p unsettled.
//! A commit comes 100 ms after the first change, or as soon as a lane has many outcomes. A failed commit is tried
//! again; until it succeeds lanes stop at their bound of uncommitted outcomes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millrace_channel::{Change, ChannelError, WorkKey};
use millrace_event::Timestamp;

use crate::lane::{Lane, at};
use crate::provoke;
use crate::serving::Serving;
use crate::watched::Task;

/// The longest that an outcome waits for its commit.
const INTERVAL: Duration = Duration::from_millis(100);

/// Row changes of commits that failed: they go into the next one, before what has come since.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    changes: Vec<Change>,
    lanes: Vec<OwedLane>,
    /// Whether the router has moved.
    moved: bool,
}

#[derive(Debug)]
struct OwedLane {
    lane: Arc<Lane>,
    outcomes: usize,
    released: Vec<WorkKey>,
    next_due: Option<Timestamp>,
}

/// Commits until the broker is no longer served; the caller then makes the last commit.
pub(crate) async fn run(serving: Arc<Serving>) {
    take_up(&serving).await;
    loop {
        tokio::select! {
            () = serving.stop.cancelled() => return,
            () = serving.dirty_waker.notified() => {}
        }
        tokio::select! {
            () = serving.stop.cancelled() => return,
            () = serving.commit_now.notified() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
        if let Err(error) = commit(&serving).await {
            tracing::error!(broker = %serving.broker, %error, "progress cannot be written down; trying again in a second");
            tokio::time::sleep(Duration::from_secs(1)).await;
            serving.dirty_waker.notify_one();
        }
    }
}

/// Makes everything durable that has happened up to now.
pub(crate) async fn commit(serving: &Arc<Serving>) -> Result<(), ChannelError> {
    let mut owed = serving.committing.lock().await;
    // Rows are owed until they are durable, whatever happens meanwhile. Progress is taken anew for the next
    // try.
    let progress = snapshot(serving, &mut owed);
    let mut changes = owed.changes.clone();
    changes.extend(progress);
    if changes.is_empty() {
        return Ok(());
    }
    if let Err(error) = serving.channel.commit(changes).await {
        ask_again(serving, &owed);
        return Err(error);
    }
    owed.changes.clear();
    owed.moved = false;
    for OwedLane {
        lane,
        outcomes,
        released,
        next_due,
    } in owed.lanes.drain(..)
    {
        let mut inner = lane.inner.lock();
        inner.committed(outcomes, &released);
        if let Some(due) = next_due {
            serving.schedule(lane.key, due);
        }
        serving.stir(&lane, &mut inner);
    }
    Ok(())
}

/// After a failed commit: its changes go into the next one.
fn ask_again(serving: &Serving, owed: &Owed) {
    serving
        .dirty
        .lock()
        .extend(owed.lanes.iter().map(|owed| owed.lane.key));
    serving.dirty_waker.notify_one();
}

/// After a panic: the next commit takes over the changes of the one that panicked, and the lanes that it did
/// not reach.
async fn take_up(serving: &Serving) {
    let owed = serving.committing.lock().await;
    let mut marked: Vec<_> = serving.routes.lock().lanes.values().cloned().collect();
    marked.retain(|lane| lane.inner.lock().marked);
    serving.dirty.lock().extend(marked.iter().map(|lane| lane.key));
    if owed.moved || !owed.lanes.is_empty() || !marked.is_empty() {
        ask_again(serving, &owed);
    }
}

/// The progress of router and lanes, all as they stand at this moment. Row changes are added to what is owed
/// lane by lane: a panic between two lanes loses none.
fn snapshot(serving: &Arc<Serving>, owed: &mut Owed) -> Vec<Change> {
    let mut progress = Vec::new();
    let mut routes = serving.routes.lock();
    let mut dirty = std::mem::take(&mut *serving.dirty.lock());
    dirty.extend(&routes.ahead);
    let mut ahead = BTreeSet::new();
    for lane in dirty.iter().filter_map(|key| routes.lanes.get(key)) {
        let mut inner = lane.inner.lock();
        let already: usize = owed
            .lanes
            .iter()
            .filter(|o| Arc::ptr_eq(&o.lane, lane))
            .map(|o| o.outcomes)
            .sum();
        let snapshot = lane.snapshot(&mut inner, routes.position);
        if snapshot.is_ahead {
            ahead.insert(lane.key);
        }
        owed.changes.extend(snapshot.changes);
        progress.extend(snapshot.progress);
        owed.lanes.push(OwedLane {
            lane: lane.clone(),
            outcomes: snapshot.outcomes - already,
            released: snapshot.released,
            next_due: snapshot.next_due,
        });
        provoke::at(serving, Task::Progress, None);
    }
    owed.moved |= std::mem::take(&mut routes.position_moved);
    if owed.moved {
        progress.push(Change::Router(at(routes.position)));
    }
    routes.ahead = ahead;
    progress
}
