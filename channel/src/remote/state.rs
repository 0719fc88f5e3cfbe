//! The records of a partition's state.

use std::collections::BTreeMap;

use millrace_event::{ObjectName, Timestamp};

use super::epochs::Epochs;
use super::prints::Prints;
use crate::{EarlierFilter, LaneId, Parked, Record, Stage, Work};

/// All records of a partition.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) progress: ProgressRecord,
    pub(super) lanes: BTreeMap<LaneId, LaneRecord>,
    pub(super) debts: BTreeMap<Debtor, Debt>,
}

/// The lane and the position of a debt.
pub type Debtor = (LaneId, u64);

/// The partition's progress: one record.
#[derive(Clone, Debug)]
pub struct ProgressRecord {
    /// It is not new.
    pub(super) is_used: bool,
    /// The last owner has given it up by itself.
    pub(super) is_clean: bool,
    pub(super) router: u64,
    pub(super) lanes: BTreeMap<LaneId, LaneAt>,
    pub(super) next_lane: i64,
    /// Since when the Broker is in no document any more.
    pub(super) orphaned: Option<Timestamp>,
    pub(super) epochs: Epochs,
    /// Fingerprints of events below what has been read.
    pub(super) prints: Prints,
}

/// How far a lane is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LaneAt {
    pub(super) cursor: Option<u64>,
    pub(super) queued: Option<u64>,
    pub(super) unsettled: Vec<u64>,
}

/// A lane's own record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneRecord {
    pub(super) trigger: ObjectName,
    pub(super) uid: String,
    pub(super) start: u64,
    pub(super) filter: String,
    pub(super) earlier: Vec<EarlierFilter>,
    pub(super) is_paused: bool,
    pub(super) orphaned: Option<Timestamp>,
}

/// All that stands for one event of one lane: one record, so that each change of it is one step.
#[derive(Clone, Debug, Default)]
pub struct Debt {
    pub(super) work: BTreeMap<Stage, Work>,
    /// With the number that gives the order of parking.
    pub(super) parked: BTreeMap<Stage, (u64, Parked)>,
    /// A copy of the event.
    pub(super) event: Option<Record>,
}

/// A record to be written; `None` removes it.
#[derive(Clone, Debug)]
pub enum Write {
    /// A lane.
    Lane(LaneId, Option<LaneRecord>),
    /// What stands for one event of one lane.
    Debt(Debtor, Option<Debt>),
    /// The partition's progress.
    Progress(Box<ProgressRecord>),
}

// === impl State ===

impl State {
    /// A partition that nobody has owned. Its log begins at `first`.
    pub fn new(first: u64) -> Self {
        Self {
            progress: ProgressRecord {
                is_used: false,
                is_clean: true,
                router: first,
                lanes: BTreeMap::new(),
                next_lane: 1,
                orphaned: None,
                epochs: Epochs::new(),
                prints: Prints::default(),
            },
            lanes: BTreeMap::new(),
            debts: BTreeMap::new(),
        }
    }

    /// Takes over what was stored.
    pub fn apply(&mut self, chunk: &[Write]) {
        for write in chunk {
            match write.clone() {
                Write::Lane(lane, Some(record)) => drop(self.lanes.insert(lane, record)),
                Write::Lane(lane, None) => drop(self.lanes.remove(&lane)),
                Write::Debt(debtor, Some(debt)) => drop(self.debts.insert(debtor, debt)),
                Write::Debt(debtor, None) => drop(self.debts.remove(&debtor)),
                Write::Progress(progress) => self.progress = *progress,
            }
        }
    }

    /// The epochs of the log.
    pub fn epochs(&self) -> &Epochs {
        &self.progress.epochs
    }

    /// The progress as it would be written.
    pub fn progress(&self) -> Write {
        Write::Progress(Box::new(self.progress.clone()))
    }

    /// The trigger of each lane, with the uid of the lane.
    pub fn uids(&self) -> impl Iterator<Item = (&ObjectName, &str)> {
        self.lanes.values().map(|lane| (&lane.trigger, &*lane.uid))
    }

    /// The trigger of each lane.
    pub fn triggers(&self) -> impl Iterator<Item = (LaneId, &ObjectName)> {
        self.lanes.iter().map(|(id, lane)| (*id, &lane.trigger))
    }

    /// All rows of work.
    pub fn rows(&self) -> impl Iterator<Item = &Work> {
        self.debts.values().flat_map(|debt| debt.work.values())
    }

    /// All parked events.
    pub fn parked(&self) -> impl Iterator<Item = &Parked> {
        let parked = self.debts.values().flat_map(|debt| debt.parked.values());
        parked.map(|(_, parked)| parked)
    }

    /// The highest position up to which the log has been read, or was counted on: the router's, and those of
    /// the lanes.
    pub(super) fn highest_read(&self) -> u64 {
        let by_lanes = self.lanes.values().flat_map(LaneRecord::named);
        by_lanes.fold(self.progress.highest_read(), u64::max)
    }

    /// From this number of the log on everything is read again. Rows keep their positions: they stand for
    /// what was there before.
    pub(super) fn rewind(&mut self, first: u64) {
        let from = self.progress.epochs.position(first);
        let debts = self.debts.keys().map(|(_, offset)| offset + 1);
        let highest = debts.fold(from.max(self.highest_read()), u64::max);
        self.progress.epochs.begin(first, highest);
        // What fits may be above the router: a lane was ahead of it.
        self.progress.router = self.progress.router.min(from);
        for lane in self.progress.lanes.values_mut() {
            // One that is halted follows no router, and must not be taken for one that does.
            lane.cursor = lane.cursor.map(|cursor| cursor.min(from));
            lane.queued = lane.queued.filter(|queued| *queued < from);
            lane.unsettled.retain(|offset| *offset < from);
        }
        for lane in self.lanes.values_mut() {
            lane.start = lane.start.min(from);
        }
    }
}

// === impl ProgressRecord ===

impl ProgressRecord {
    /// The highest position up to which the router or a lane has read.
    pub(super) fn highest_read(&self) -> u64 {
        let cursors = self.lanes.values().filter_map(|lane| lane.cursor);
        cursors.fold(self.router, u64::max)
    }
}

// === impl LaneRecord ===

impl LaneRecord {
    /// The positions that it names: where it began, and up to where an earlier filter counts.
    pub(super) fn named(&self) -> impl Iterator<Item = u64> + use<> {
        let until = self.earlier.last().map(|last| last.until.offset);
        [self.start].into_iter().chain(until)
    }
}

// === impl Debt ===

impl Debt {
    pub(super) fn is_empty(&self) -> bool {
        self.work.is_empty() && self.parked.is_empty()
    }
}
