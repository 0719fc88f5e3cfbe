//! What an owner knows of the state: loaded when it claims the partition, and moved on with what it stores.

use std::collections::BTreeSet;

use millrace_event::Timestamp;

use super::state::{Debt, Debtor, LaneAt, LaneRecord, State, Write};
use crate::{Lane, LaneId, LaneState, Parked, ParkedQuery, Position, Record, Work};

/// The owner's copy of the state.
#[derive(Debug)]
pub(super) struct View {
    partition: u32,
    /// Tells the Broker from others.
    salt: u64,
    pub(super) state: State,
    /// Debts that were found for events that progress still owes: nobody acts on them yet.
    held: BTreeSet<Debtor>,
}

// === impl View ===

impl View {
    pub(super) fn load(partition: u32, salt: u64, mut state: State) -> Self {
        for id in state.lanes.keys() {
            // What is not told of a lane is that it follows the router.
            state.progress.lanes.entry(*id).or_default();
        }
        // Rows of no lane count for nothing: a lane was dropped, and the rest was cut off.
        let lanes = &state.lanes;
        for ((lane, _), debt) in &mut state.debts {
            if !lanes.contains_key(lane) {
                debt.work.clear();
            }
        }
        state.debts.retain(|_, debt| !debt.is_empty());
        let held = state.debts.keys().copied().filter(|debtor| owes(&state, debtor));
        let held = held.collect();
        Self {
            partition,
            salt,
            state,
            held,
        }
    }

    /// Takes over what was stored; says whether debts that were held are free now.
    pub(super) fn apply(&mut self, chunk: &[Write]) -> bool {
        self.state.apply(chunk);
        let before = self.held.len();
        let state = &self.state;
        self.held
            .retain(|debtor| state.debts.contains_key(debtor) && owes(state, debtor));
        self.held.len() < before
    }

    pub(super) fn at(&self, offset: u64) -> Position {
        Position {
            partition: self.partition,
            offset,
        }
    }

    /// The id of the parked event with that number. No other Broker or partition has it, and it is safe in a
    /// URL.
    pub(super) fn id_of(&self, number: u64) -> String {
        format!("s{:x}p{:x}n{number:x}", self.salt, self.partition)
    }

    fn number_of(&self, id: &str) -> Option<u64> {
        let (salt, rest) = id.strip_prefix('s')?.split_once('p')?;
        let (partition, number) = rest.split_once('n')?;
        let is_ours = u64::from_str_radix(salt, 16) == Ok(self.salt)
            && u32::from_str_radix(partition, 16) == Ok(self.partition);
        is_ours.then(|| u64::from_str_radix(number, 16).ok()).flatten()
    }

    /// The copy that is kept of an event.
    pub(super) fn copy(&self, offset: u64) -> Option<&Record> {
        let mut copies = self.copies();
        copies.find(|copy| copy.position.offset == offset)
    }

    /// All copies.
    pub(super) fn copies(&self) -> impl Iterator<Item = &Record> {
        self.state.debts.values().filter_map(|debt| debt.event.as_ref())
    }

    /// The lowest position whose event must stay in the log.
    pub(super) fn lowest_needed(&self) -> u64 {
        let lanes = self.state.progress.lanes.iter();
        let read = lanes.map(|(id, at)| {
            let owed = at.unsettled.first().copied().unwrap_or(u64::MAX);
            self.begins(*id).min(owed)
        });
        let debts = self.state.debts.iter();
        let uncopied = debts.filter(|(_, debt)| debt.event.is_none());
        let uncopied = uncopied.map(|((_, offset), _)| *offset);
        read.chain(uncopied).fold(self.state.progress.router, u64::min)
    }

    /// The first position that the lane reads, or reads again.
    pub(super) fn begins(&self, lane: LaneId) -> u64 {
        let at = self.state.progress.lanes.get(&lane);
        begins(at, self.state.progress.router)
    }

    pub(super) fn is_held(&self, debtor: &Debtor) -> bool {
        self.held.contains(debtor)
    }

    /// The lane's rows that may be acted on.
    pub(super) fn rows(&self, lane: LaneId) -> impl Iterator<Item = &Work> {
        let free = self.debts_of(lane).filter(|(debtor, _)| !self.is_held(debtor));
        free.flat_map(|(_, debt)| debt.work.values())
    }

    fn debts_of(&self, lane: LaneId) -> impl Iterator<Item = (&Debtor, &Debt)> {
        self.state.debts.range((lane, 0)..=(lane, u64::MAX))
    }

    /// The earliest due time after this one.
    pub(super) fn next_due(&self, lane: LaneId, after: Timestamp) -> Option<Timestamp> {
        self.rows(lane)
            .map(|work| work.due)
            .filter(|due| *due > after)
            .min()
    }

    pub(super) fn lane(&self, id: LaneId, record: &LaneRecord) -> Lane {
        let at = self.state.progress.lanes.get(&id).cloned().unwrap_or_default();
        let debts = || self.debts_of(id).map(|(_, debt)| debt);
        let covered = self.debts_of(id).map(|(debtor, _)| debtor);
        let covered = covered.filter(|debtor| self.is_held(debtor));
        Lane {
            id,
            trigger: record.trigger.clone(),
            uid: record.uid.clone(),
            start: self.at(record.start),
            cursor: at.cursor.map(|cursor| self.at(cursor)),
            queued: at.queued.map(|queued| self.at(queued)),
            unsettled: at.unsettled.into_iter().map(|offset| self.at(offset)).collect(),
            earlier: record.earlier.clone(),
            covered: covered.map(|(_, offset)| self.at(*offset)).collect(),
            state: match record.orphaned {
                Some(since) => LaneState::Orphaned(since),
                None if record.is_paused => LaneState::Paused,
                None => LaneState::Active,
            },
            deferred: debts().map(|debt| debt.work.len() as u64).sum(),
            parked: debts().map(|debt| debt.parked.len() as u64).sum(),
            next_due: self.next_due(id, Timestamp(i64::MIN)),
        }
    }

    /// All lanes, in order of their numbers.
    pub(super) fn lanes(&self) -> Vec<Lane> {
        let lanes = self.state.lanes.iter();
        lanes.map(|(id, record)| self.lane(*id, record)).collect()
    }

    /// Parked events that may be acted on, in order of parking, each with its number in that order.
    fn all_parked(&self) -> Vec<(u64, Debtor, &Parked)> {
        let free = self
            .state
            .debts
            .iter()
            .filter(|(debtor, _)| !self.is_held(debtor));
        let parked = free.flat_map(|(debtor, debt)| {
            let each = debt.parked.values();
            each.map(move |(number, parked)| (*number, *debtor, parked))
        });
        let mut all: Vec<_> = parked.collect();
        all.sort_by_key(|(number, ..)| *number);
        all
    }

    pub(super) fn parked(&self, query: &ParkedQuery) -> Vec<Parked> {
        let behind = query.after.as_deref().and_then(|after| self.number_of(after));
        let all = self.all_parked().into_iter();
        all.filter(|(number, ..)| behind.is_none_or(|behind| *number > behind))
            .filter(|(.., one)| query.trigger.as_ref().is_none_or(|wanted| *wanted == one.trigger))
            .map(|(.., one)| one.clone())
            .take(query.limit)
            .collect()
    }

    pub(super) fn parked_by_id(&self, id: &str) -> Option<(Debtor, Parked)> {
        let mut all = self.all_parked().into_iter();
        let found = all.find(|(.., parked)| parked.id == id);
        found.map(|(_, debtor, parked)| (debtor, parked.clone()))
    }
}

/// Whether stored progress still owes this event to the lane.
fn owes(state: &State, (lane, offset): &Debtor) -> bool {
    let at = state.progress.lanes.get(lane);
    let is_named = || at.is_some_and(|at| at.unsettled.contains(offset));
    state.lanes.contains_key(lane) && (*offset >= begins(at, state.progress.router) || is_named())
}

/// Where a lane that stands there reads on, or reads again.
fn begins(at: Option<&LaneAt>, router: u64) -> u64 {
    let cursor = at.and_then(|at| at.cursor).unwrap_or(router);
    let queued = at.and_then(|at| at.queued);
    queued.map_or(cursor, |queued| queued.min(cursor))
}
