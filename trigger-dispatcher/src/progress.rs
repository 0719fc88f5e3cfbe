//! Writes down what was settled: the rows, and the progress of router and lanes, in one commit.
//!
//! # Guarantees
//! The router's position passes p only together with the rows and the progress of every lane that has p
//! unsettled. A commit comes 100 ms after the first change, or as soon as a lane has many outcomes. A failed
//! commit is tried again; until it succeeds lanes stop at their bound of uncommitted outcomes. Once another
//! process owns the partition, nothing is written down any more.
//!
//! The channel stores rows no later than the progress that rests on them, and removes a row only when that
//! progress is stored. So a large commit that a crash has cut in two repeats events, but loses none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millrace_channel::{Change, ChannelError, Progress, WorkKey};
use millrace_event::Timestamp;

use crate::budget::Remembered;
use crate::lane::{Lane, Snapshot};
use crate::provoke;
use crate::serving::Serving;
use crate::watched::Task;

/// The longest that an outcome waits for its commit.
const INTERVAL: Duration = Duration::from_millis(100);

/// Row changes of commits that failed: they go into the next one, before what has come since.
///
/// However often commits fail, it has one entry for each lane. Its changes are bounded by the outcomes that
/// lanes may have before a commit.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    changes: Vec<Change>,
    /// The memory of their failures.
    remembered: Vec<Remembered>,
    /// By the lanes' numbers.
    lanes: BTreeMap<u32, OwedLane>,
    /// Whether the router has moved.
    moved: bool,
}

#[derive(Debug)]
struct OwedLane {
    lane: Arc<Lane>,
    /// The outcomes that the lane counts as not committed.
    outcomes: usize,
    released: Vec<WorkKey>,
    next_due: Option<Timestamp>,
}

/// Commits until the broker is no longer served; the caller then makes the last commit.
pub(crate) async fn run(serving: Arc<Serving>) {
    take_up(&serving).await;
    let mut is_failing = false;
    loop {
        tokio::select! {
            biased;
            () = serving.stop.cancelled() => return,
            () = serving.dirty_waker.notified() => {}
        }
        tokio::select! {
            biased;
            () = serving.stop.cancelled() => return,
            () = serving.commit_now.notified() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
        match commit(&serving).await {
            Ok(()) => is_failing = false,
            Err(ChannelError::NotOwner) => return,
            Err(error) => {
                // Said once, and not with each try.
                if !std::mem::replace(&mut is_failing, true) {
                    serving.span.in_scope(
                        || tracing::error!(%error, "progress cannot be written down; trying again each second"),
                    );
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                serving.dirty_waker.notify_one();
            }
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
    if !progress.is_empty() {
        changes.push(progress.into());
    }
    if changes.is_empty() {
        return Ok(());
    }
    match serving.channel.commit(changes).await {
        Ok(()) => {}
        Err(ChannelError::NotOwner) => {
            serving.lose();
            return Err(ChannelError::NotOwner);
        }
        Err(error) => {
            ask_again(serving, &owed);
            return Err(error);
        }
    }
    owed.changes.clear();
    owed.remembered.clear();
    owed.moved = false;
    for OwedLane {
        lane,
        outcomes,
        released,
        next_due,
    } in std::mem::take(&mut owed.lanes).into_values()
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
    serving.dirty.lock().extend(owed.lanes.keys());
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
fn snapshot(serving: &Arc<Serving>, owed: &mut Owed) -> Progress {
    let mut progress = Progress::default();
    let mut routes = serving.routes.lock();
    let mut dirty = std::mem::take(&mut *serving.dirty.lock());
    dirty.extend(&routes.ahead);
    let mut ahead = BTreeSet::new();
    for lane in dirty.iter().filter_map(|key| routes.lanes.get(key)) {
        let mut inner = lane.inner.lock();
        let mut snapshot = lane.snapshot(&mut inner, routes.position);
        if snapshot.is_ahead {
            ahead.insert(lane.key);
        }
        progress.lanes.extend(snapshot.progress.take());
        owed.take(lane, snapshot);
        provoke::at(serving, Task::Progress, None);
    }
    owed.moved |= std::mem::take(&mut routes.position_moved);
    if owed.moved {
        progress.router = Some(serving.at(routes.position));
    }
    routes.ahead = ahead;
    progress
}

// === impl Owed ===

impl Owed {
    /// Adds what a lane has to commit to what is owed already.
    fn take(&mut self, lane: &Arc<Lane>, snapshot: Snapshot) {
        let Snapshot {
            changes,
            outcomes,
            released,
            remembered,
            next_due,
            ..
        } = snapshot;
        self.changes.extend(changes);
        self.remembered.extend(remembered);
        let owed = self.lanes.entry(lane.key).or_insert_with(|| OwedLane {
            lane: lane.clone(),
            outcomes: 0,
            released: Vec::new(),
            next_due: None,
        });
        // The lane's number includes the outcomes that are owed already.
        owed.outcomes = outcomes;
        owed.released.extend(released);
        owed.next_due = owed.next_due.into_iter().chain(next_due).min();
    }
}

#[cfg(test)]
mod tests {
    use millrace_event::Clock;

    use super::*;
    use crate::lane::tests::{key, lane};
    use crate::next_step::{Attempted, Next};

    #[test]
    fn what_commits_owe_that_failed_is_one_entry_a_lane() {
        let lane = Arc::new(lane());
        let mut owed = Owed::default();
        let clock = Clock::manual(Timestamp(1_000));
        for (offset, due) in [(1, 500), (2, 300), (3, 400)] {
            let row = Attempted::first(key(offset)).into_row(Timestamp(due), false);
            let mut inner = lane.inner.lock();
            inner.window.in_hand.begin(key(offset), 0, false, Timestamp(0));
            inner.settle(key(offset), Next::Put(Box::new(row)), &clock);
            let snapshot = lane.snapshot(&mut inner, 0);
            owed.take(&lane, snapshot);
        }
        assert_eq!((owed.lanes.len(), owed.changes.len()), (1, 3));
        let of_lane = owed.lanes.remove(&lane.key).expect("the lane");
        assert_eq!(of_lane.outcomes, 3);
        assert_eq!(of_lane.released, [key(1), key(2), key(3)]);
        assert_eq!(of_lane.next_due, Some(Timestamp(300)), "the earliest");
        let mut inner = lane.inner.lock();
        inner.committed(of_lane.outcomes, &of_lane.released);
        assert_eq!(inner.uncommitted, 0);
    }
}
