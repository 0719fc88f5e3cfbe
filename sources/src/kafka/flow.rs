//! What the reading thread and the carrying side know of each other: how much is in hand, and what is done.
//!
//! # Contract
//! Offsets come out of [`Flow::take_done`] only after they went into [`Flow::done`]: what Kafka is told is
//! what is durable. What is in hand is bounded: a reader that asks [`Flow::wait_for_room`] before it reads on
//! exceeds the bounds by one read at most.

use std::collections::BTreeMap;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::fingerprint::Mark;
use super::record::PartitionLife;

/// The most that one partition may have in hand, and all together.
const PARTITION: Load = Load {
    records: 8_000,
    bytes: 4 << 20,
};
const ALL: Load = Load {
    records: 50_000,
    bytes: 16 << 20,
};

/// Records and the bytes of their events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

/// Shared by the two sides.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_stopped: bool,
    all: Load,
    held: BTreeMap<PartitionLife, Load>,
    done: BTreeMap<PartitionLife, Mark>,
}

// === impl Flow ===

impl Flow {
    /// The reader has handed this on.
    pub(crate) fn take(&self, place: &PartitionLife, load: Load) {
        let mut state = self.state.lock();
        state.all.add(load);
        state.held.entry(place.clone()).or_default().add(load);
    }

    /// This is in hand no more.
    pub(crate) fn give_back(&self, place: &PartitionLife, load: Load) {
        let mut state = self.state.lock();
        state.all.subtract(load);
        if let Some(held) = state.held.get_mut(place) {
            held.subtract(load);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Nothing is in hand any more: all partitions are gone.
    pub(crate) fn clear(&self) {
        let mut state = self.state.lock();
        state.all = Load::default();
        state.held.clear();
        drop(state);
        self.changed.notify_all();
    }

    /// Everything of the partition before this is durable.
    pub(crate) fn done(&self, place: &PartitionLife, mark: Mark) {
        self.state.lock().done.insert(place.clone(), mark);
    }

    /// As [`Flow::done`], unless something else has become durable since the last [`Flow::take_done`].
    pub(crate) fn done_if_none(&self, place: &PartitionLife, mark: Mark) {
        self.state.lock().done.entry(place.clone()).or_insert(mark);
    }

    /// What has become durable since the last call.
    pub(crate) fn take_done(&self) -> BTreeMap<PartitionLife, Mark> {
        std::mem::take(&mut self.state.lock().done)
    }

    /// Whether anything of the partition is in hand. If not, everything handed on is in [`Flow::take_done`].
    pub(crate) fn holds(&self, place: &PartitionLife) -> bool {
        let state = self.state.lock();
        state.held.get(place).is_some_and(|held| held.records > 0)
    }

    /// Whether anything at all is in hand.
    pub(crate) fn holds_any(&self) -> bool {
        self.state.lock().all.records > 0
    }

    /// Whether the partition may have more in hand.
    pub(crate) fn has_room(&self, place: &PartitionLife) -> bool {
        self.state.lock().has_room(place)
    }

    /// Waits until the partition may have more in hand; false when it may not yet at `until`.
    pub(crate) fn wait_for_room(&self, place: &PartitionLife, until: Instant) -> bool {
        let mut state = self.state.lock();
        while !state.has_room(place) && !state.is_stopped {
            if self.changed.wait_until(&mut state, until).timed_out() {
                return state.has_room(place);
            }
        }
        true
    }

    /// Waits until the reader is told to end.
    pub(crate) fn wait_for_stop(&self) {
        let mut state = self.state.lock();
        while !state.is_stopped {
            self.changed.wait(&mut state);
        }
    }

    /// Tells the reader to end.
    pub(crate) fn stop(&self) {
        self.state.lock().is_stopped = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state.lock().is_stopped
    }
}

impl State {
    fn has_room(&self, place: &PartitionLife) -> bool {
        let held = self.held.get(place).copied().unwrap_or_default();
        held.is_within(PARTITION) && self.all.is_within(ALL)
    }
}

// === impl Load ===

impl Load {
    pub(crate) fn add(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }

    fn subtract(&mut self, other: Self) {
        self.records = self.records.saturating_sub(other.records);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }

    fn is_within(self, bound: Self) -> bool {
        self.records < bound.records && self.bytes < bound.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn place(partition: i32) -> PartitionLife {
        PartitionLife {
            topic: "t".into(),
            partition,
            life: 1,
        }
    }

    fn mark(next: i64) -> Mark {
        Mark { next, record: None }
    }

    const HALF: Load = Load {
        records: 1,
        bytes: PARTITION.bytes / 2,
    };

    #[test]
    fn a_partition_that_is_full_leaves_the_others_their_room() {
        let flow = Flow::default();
        flow.take(&place(0), HALF);
        assert!(flow.has_room(&place(0)));
        flow.take(&place(0), HALF);
        assert!(!flow.wait_for_room(&place(0), Instant::now()));
        assert!(flow.has_room(&place(1)));
        assert!(flow.holds(&place(0)) && !flow.holds(&place(1)));
        flow.give_back(&place(0), HALF);
        assert!(flow.holds_any(), "the other half");
        assert!(flow.wait_for_room(&place(0), Instant::now()));
    }

    #[test]
    fn all_partitions_together_are_bounded_too() {
        let flow = Flow::default();
        for partition in 0..8 {
            assert!(flow.has_room(&place(99)));
            flow.take(&place(partition), HALF);
        }
        assert!(!flow.has_room(&place(99)));
        flow.clear();
        assert!(!flow.holds_any());
        assert!(flow.has_room(&place(99)));
    }

    #[test]
    fn what_is_done_is_told_once() {
        let flow = Flow::default();
        flow.done(&place(0), mark(5));
        flow.done(&place(0), mark(9));
        assert_eq!(flow.take_done(), BTreeMap::from([(place(0), mark(9))]));
        assert_eq!(flow.take_done(), BTreeMap::new());
    }

    #[test]
    fn nobody_waits_for_room_after_the_end() {
        let flow = Flow::default();
        flow.take(&place(0), HALF);
        flow.take(&place(0), HALF);
        flow.stop();
        assert!(flow.wait_for_room(&place(0), Instant::now() + Duration::from_secs(3600)));
    }
}
