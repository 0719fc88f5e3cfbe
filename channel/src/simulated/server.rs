//! What the servers hold: the log, and the records of state behind a fence.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;

use millrace_event::{Event, ObjectName, Timestamp};

use super::epochs::Epochs;
use crate::{ChannelError, EarlierFilter, LaneId, Parked, Position, Record, Stage, Work};

/// Fingerprints kept.
const PRINTS: usize = 32;

/// The servers.
#[derive(Debug)]
pub(super) struct Server {
    /// The partition's number.
    pub(super) partition: u32,
    pub(super) choices: fastrand::Rng,
    pub(super) entries: Vec<Entry>,
    /// The number that the next event gets.
    next: u64,
    /// The owner that may write.
    claim: u64,
    pub(super) state: State,
    /// When the owner's writes fail.
    pub(super) cut: Option<Cut>,
    /// The next append fails after so many steps.
    pub(super) cut_append: Option<usize>,
    /// The offsets that cannot be read for now.
    pub(super) hidden: Range<u64>,
    /// Counts records, for an order of parking.
    records: u64,
}

/// The way of the owner's writes is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// So many chunks are still stored.
    pub(super) chunks: usize,
    /// The next one is stored too, and only its answer is lost.
    pub(super) is_stored: bool,
    /// It stays so until another owner comes.
    pub(super) for_good: bool,
}

/// An event in the log.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) appended: Timestamp,
    pub(super) event: Event,
    /// Tells it from another one that has its number after a loss.
    print: u64,
}

/// The records of state.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) progress: ProgressRecord,
    pub(super) lanes: BTreeMap<LaneId, LaneRecord>,
    pub(super) debts: BTreeMap<Debtor, Debt>,
}

/// The lane and the position of a debt.
pub(super) type Debtor = (LaneId, u64);

/// The partition's progress: one record.
#[derive(Clone, Debug)]
pub(super) struct ProgressRecord {
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
    /// Number and fingerprint of events below the router, the oldest first.
    prints: Vec<(u64, u64)>,
}

/// How far a lane is.
#[derive(Clone, Debug, Default)]
pub(super) struct LaneAt {
    pub(super) cursor: Option<u64>,
    pub(super) queued: Option<u64>,
    pub(super) unsettled: Vec<u64>,
}

/// A lane's own record.
#[derive(Clone, Debug)]
pub(super) struct LaneRecord {
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
pub(super) struct Debt {
    pub(super) work: BTreeMap<Stage, Work>,
    /// With the number that gives the order of parking.
    pub(super) parked: BTreeMap<Stage, (u64, Parked)>,
    /// A copy of the event.
    pub(super) event: Option<Record>,
}

/// A record to be written; `None` removes it.
#[derive(Clone, Debug)]
pub(super) enum Write {
    Lane(LaneId, Option<LaneRecord>),
    Debt(Debtor, Option<Debt>),
    Progress(Box<ProgressRecord>),
}

// === impl Server ===

impl Server {
    pub(super) fn new(seed: u64, partition: u32) -> Self {
        let mut choices = fastrand::Rng::with_seed(seed);
        let next = 1_000 + choices.u64(0..1_000);
        Self {
            partition,
            choices,
            entries: Vec::new(),
            next,
            claim: 0,
            state: State {
                progress: ProgressRecord {
                    is_used: false,
                    is_clean: true,
                    router: next,
                    lanes: BTreeMap::new(),
                    next_lane: 1,
                    orphaned: None,
                    epochs: Epochs::new(),
                    prints: Vec::new(),
                },
                lanes: BTreeMap::new(),
                debts: BTreeMap::new(),
            },
            cut: None,
            cut_append: None,
            hidden: 0..0,
            records: 0,
        }
    }

    pub(super) fn at(&self, offset: u64) -> Position {
        Position {
            partition: self.partition,
            offset,
        }
    }

    /// Where the log ends.
    pub(super) fn head(&self) -> u64 {
        self.state.progress.epochs.position(self.next)
    }

    pub(super) fn oldest(&self) -> u64 {
        self.entries
            .first()
            .map_or(self.head(), |entry| self.offset(entry))
    }

    pub(super) fn offset(&self, entry: &Entry) -> u64 {
        self.state.progress.epochs.position(entry.number)
    }

    pub(super) fn record(&self, entry: &Entry) -> Record {
        Record {
            position: self.at(self.offset(entry)),
            appended: entry.appended,
            event: entry.event.clone(),
        }
    }

    /// An error when this cannot be read for now.
    pub(super) fn check_readable(&self, offset: u64) -> Result<(), ChannelError> {
        match self.hidden.contains(&offset) {
            true => Err(ChannelError::Storage(format!("{offset} cannot be read"))),
            false => Ok(()),
        }
    }

    pub(super) fn get(&self, offset: u64) -> Option<Record> {
        let index = self.entries.partition_point(|entry| self.offset(entry) < offset);
        let entry = self.entries.get(index)?;
        (self.offset(entry) == offset).then(|| self.record(entry))
    }

    /// One step of an append. `false`: it failed, and nothing of it is stored.
    pub(super) fn append(&mut self, events: Vec<Event>, now: Timestamp) -> bool {
        match &mut self.cut_append {
            Some(0) => {
                self.cut_append = None;
                return false;
            }
            Some(steps) => *steps -= 1,
            None => {}
        }
        for event in events {
            self.entries.push(Entry {
                number: self.next,
                appended: now,
                event,
                print: self.choices.u64(..),
            });
            self.next += self.choices.u64(1..=3);
        }
        true
    }

    /// Lets a new owner in: fences the one before, looks for a loss, and notes that the owner has not ended.
    /// Returns the claim and the state, and whether the last owner ended uncleanly.
    pub(super) fn claim(&mut self) -> (u64, State, bool) {
        self.claim += 1;
        self.cut = None;
        let is_unclean = self.state.progress.is_used && !self.state.progress.is_clean;
        self.rewind();
        self.state.progress.is_used = true;
        self.state.progress.is_clean = false;
        (self.claim, self.state.clone(), is_unclean)
    }

    /// The state, for an owner that does not know what became of a write.
    pub(super) fn read(&self, claim: u64) -> Result<State, ChannelError> {
        if claim == self.claim {
            Ok(self.state.clone())
        } else {
            Err(ChannelError::NotOwner)
        }
    }

    /// Stores a chunk, whole or not at all.
    pub(super) fn write(&mut self, claim: u64, chunk: &[Write]) -> Result<(), ChannelError> {
        if claim != self.claim {
            return Err(ChannelError::NotOwner);
        }
        match &mut self.cut {
            Some(cut) if cut.chunks == 0 => {
                if std::mem::take(&mut cut.is_stored) {
                    self.state.apply(chunk);
                }
                self.cut = self.cut.filter(|cut| cut.for_good);
                return Err(ChannelError::Storage("the connection was cut".to_owned()));
            }
            Some(cut) => cut.chunks -= 1,
            None => {}
        }
        self.state.apply(chunk);
        Ok(())
    }

    /// A number for the order of parking.
    pub(super) fn next_record(&mut self) -> u64 {
        self.records += 1;
        self.records
    }

    /// Notes the event below the highest position that is named, so that a loss of it is noticed. `by_lanes`:
    /// what lanes name that are about to be stored.
    pub(super) fn note_print(&self, progress: &mut ProgressRecord, by_lanes: impl Iterator<Item = u64>) {
        let cursors = progress.lanes.values().filter_map(|lane| lane.cursor);
        let highest = cursors.chain(by_lanes).fold(progress.router, u64::max);
        let below = self.entries.partition_point(|entry| self.offset(entry) < highest);
        let Some(entry) = below.checked_sub(1).and_then(|last| self.entries.get(last)) else {
            return;
        };
        if progress
            .prints
            .last()
            .is_none_or(|(number, _)| *number < entry.number)
        {
            progress.prints.push((entry.number, fingerprint(entry)));
            let surplus = progress.prints.len().saturating_sub(PRINTS);
            progress.prints.drain(..surplus);
        }
    }

    pub(super) fn lose_suffix(&mut self, from: u64) -> Vec<String> {
        let kept = self.entries.partition_point(|entry| self.offset(entry) < from);
        let lost = self.entries.split_off(kept);
        if let Some(first) = lost.first() {
            self.next = first.number;
        }
        self.claim += 1;
        lost.iter().map(|entry| entry.event.id().to_owned()).collect()
    }

    /// If the log does not have what state remembers of it, reading begins again behind the newest event that
    /// is as it was. What is read from there on has new positions.
    fn rewind(&mut self) {
        let fits = |(number, print): &(u64, u64)| {
            let found = self.entries.binary_search_by_key(number, |entry| entry.number);
            found.is_ok_and(|index| fingerprint(&self.entries[index]) == *print)
        };
        let prints = &self.state.progress.prints;
        let known = prints.iter().rposition(fits).map_or(0, |last| last + 1);
        if known < prints.len() {
            self.state.progress.prints.truncate(known);
            let last = self.state.progress.prints.last().map(|(number, _)| number + 1);
            let first = last.unwrap_or_else(|| self.entries.first().map_or(self.next, |entry| entry.number));
            self.state.rewind(first);
        } else if self.has_lost_above() {
            let router = self.state.progress.router;
            let first = self.entries.partition_point(|entry| self.offset(entry) < router);
            let first = self.entries.get(first).map_or(self.next, |entry| entry.number);
            self.state.rewind(first);
        }
    }

    /// Whether something is named that the log does not have any more, above what fingerprints tell: a
    /// position behind its end, or an event for which a row was stored without progress. Such a row must not
    /// stand for another event that has its number now.
    fn has_lost_above(&self) -> bool {
        let is_lost = |((_, offset), debt): (&Debtor, &Debt)| {
            let found = self.get(*offset).map(|record| (record.appended, record.event));
            let stood_for = debt
                .event
                .as_ref()
                .map(|record| (record.appended, record.event.clone()));
            *offset >= self.state.progress.router && found != stood_for
        };
        self.state.highest_read() > self.head() || self.state.debts.iter().any(is_lost)
    }
}

/// Of position, append time and content.
fn fingerprint(entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    (entry.number, entry.appended, entry.print).hash(&mut hasher);
    entry.event.stored().hash(&mut hasher);
    hasher.finish()
}

// === impl State ===

impl State {
    pub(super) fn apply(&mut self, chunk: &[Write]) {
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

    /// The highest position up to which the log has been read, or was counted on: the router's, and those of
    /// the lanes.
    fn highest_read(&self) -> u64 {
        let cursors = self.progress.lanes.values().filter_map(|lane| lane.cursor);
        let by_lanes = self.lanes.values().flat_map(LaneRecord::named);
        cursors.chain(by_lanes).fold(self.progress.router, u64::max)
    }

    /// From this number of the log on everything is read again. Rows keep their positions: they stand for
    /// what was there before.
    fn rewind(&mut self, first: u64) {
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
