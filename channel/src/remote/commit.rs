//! What a commit writes: one record a debt, and the progress, in the order that the contract names.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::facts::Facts;
use super::lanes;
use super::state::{Debt, Debtor, LaneRecord, Write};
use super::view::View;
use crate::{Change, LaneId, Parked, Position, Progress, Work, WorkKey};

/// The writes of one commit while its changes are looked at.
struct Plan<'a> {
    view: &'a View,
    facts: &'a mut Facts,
    /// Each debt as it will be, and whether something was put into it.
    debts: BTreeMap<Debtor, (Debt, bool)>,
    /// The lanes that have another filter.
    lanes: BTreeMap<LaneId, LaneRecord>,
    progress: Option<Progress>,
}

/// The writes of a commit: puts, progress, removals.
pub(super) fn writes(view: &View, facts: &mut Facts, changes: &[Change]) -> Vec<Write> {
    let mut plan = Plan {
        view,
        facts,
        debts: BTreeMap::new(),
        lanes: BTreeMap::new(),
        progress: None,
    };
    for change in changes {
        plan.take(change);
    }
    let progress = plan
        .progress
        .take()
        .map(|made| progressed(view, plan.facts, &made));
    let (puts, removals): (Vec<_>, Vec<_>) = plan
        .debts
        .into_iter()
        .partition(|(_, (debt, put))| *put && !debt.is_empty());
    let write =
        |(debtor, (debt, _)): (Debtor, (Debt, bool))| Write::Debt(debtor, (!debt.is_empty()).then_some(debt));
    let lanes = plan.lanes.into_iter();
    let lanes = lanes.map(|(id, lane)| Write::Lane(id, Some(lane)));
    lanes
        .chain(puts.into_iter().map(write))
        .chain(progress)
        .chain(removals.into_iter().map(write))
        .collect()
}

/// The positions whose events are copied: rows and parked events are put for them.
pub(super) fn copied<'a>(view: &'a View, changes: &'a [Change]) -> impl Iterator<Item = u64> + 'a {
    let put = changes.iter().filter_map(|change| match change {
        Change::Put(work) | Change::Advance { to: work, .. } => Some(work.key),
        Change::Park { key, .. } => Some(*key),
        Change::Filter { .. } | Change::Progress(_) | Change::Complete(_) => None,
    });
    let has_copy = |key: &WorkKey| {
        let debt = view.state.debts.get(&(key.lane, key.position.offset));
        debt.is_some_and(|debt| debt.event.is_some())
    };
    let wanted = put.filter(move |key| view.state.lanes.contains_key(&key.lane) && !has_copy(key));
    wanted.map(|key| key.position.offset)
}

/// The highest position that progress names once these changes are stored; `None` without progress.
pub(super) fn named(view: &View, changes: &[Change]) -> Option<u64> {
    let made = changes.iter().find_map(|change| match change {
        Change::Progress(made) => Some(made),
        _ => None,
    })?;
    let cursors = made.lanes.iter().filter_map(|lane| lane.cursor);
    let positions = cursors.chain(made.router).map(|position| position.offset);
    Some(positions.fold(view.state.progress.highest_read(), u64::max))
}

fn progressed(view: &View, facts: &Facts, made: &Progress) -> Write {
    let mut record = view.state.progress.clone();
    for lane in &made.lanes {
        if let Some(at) = record.lanes.get_mut(&lane.lane) {
            at.cursor = lane.cursor.map(|cursor| cursor.offset);
            at.queued = lane.queued.map(|queued| queued.offset);
            at.unsettled = lane.unsettled.iter().map(|position| position.offset).collect();
        }
    }
    record.router = made.router.map_or(record.router, |router| router.offset);
    facts.note_print(&mut record);
    Write::Progress(Box::new(record))
}

// === impl Plan ===

impl Plan<'_> {
    fn take(&mut self, change: &Change) {
        match change {
            Change::Filter { lane, from, filter } => self.change_filter(*lane, *from, filter),
            Change::Put(work) => self.put(work),
            Change::Advance { from, to } => {
                self.remove(from);
                self.put(to);
            }
            Change::Complete(key) => self.remove(key),
            Change::Park { key, .. } => self.park(*key, change),
            Change::Progress(made) => self.progress = Some(made.clone()),
        }
    }

    fn change_filter(&mut self, lane: LaneId, from: Position, filter: &str) {
        let Some(stored) = self.view.state.lanes.get(&lane) else {
            return;
        };
        let record = self.lanes.entry(lane).or_insert_with(|| stored.clone());
        lanes::judge_by(self.view, (lane, record), from.offset, filter);
    }

    /// The debt of that lane and position; `None` when the lane is gone.
    fn debt(&mut self, lane: LaneId, position: Position) -> Option<&mut (Debt, bool)> {
        if !self.view.state.lanes.contains_key(&lane) {
            return None;
        }
        let debtor = (lane, position.offset);
        Some(match self.debts.entry(debtor) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(place) => {
                let stored = self.view.state.debts.get(&debtor).cloned();
                let mut debt = stored.unwrap_or_default();
                if debt.event.is_none() {
                    debt.event = self.facts.copies.get(&position.offset).cloned();
                }
                place.insert((debt, false))
            }
        })
    }

    /// An attempt count only rises.
    fn put(&mut self, work: &Work) {
        let Some((debt, put)) = self.debt(work.key.lane, work.key.position) else {
            return;
        };
        let stored = debt.work.get(&work.key.stage);
        if stored.is_none_or(|stored| stored.attempt <= work.attempt) {
            debt.work.insert(work.key.stage, work.clone());
            *put = true;
        }
    }

    fn remove(&mut self, key: &WorkKey) {
        if let Some((debt, _)) = self.debt(key.lane, key.position) {
            debt.work.remove(&key.stage);
        }
    }

    fn park(&mut self, key: WorkKey, change: &Change) {
        let Change::Park {
            reason,
            since,
            attempts,
            failures,
            body,
            ..
        } = change
        else {
            return;
        };
        let Some(record) = self.view.state.lanes.get(&key.lane) else {
            return;
        };
        let trigger = record.trigger.clone();
        let (view, new) = (self.view, self.facts.next_number());
        let Some((debt, put)) = self.debt(key.lane, key.position) else {
            return;
        };
        debt.work.remove(&key.stage);
        // Who parks again keeps the id that people may already have seen.
        let number = debt.parked.get(&key.stage).map_or(new, |(number, _)| *number);
        let event = body.clone().or_else(|| Some(debt.event.as_ref()?.event.clone()));
        let parked = Parked {
            id: view.id_of(number),
            lane: key.lane,
            trigger,
            position: key.position,
            stage: key.stage,
            event,
            reason: reason.clone(),
            since: *since,
            attempts: *attempts,
            failures: failures.clone(),
        };
        debt.parked.insert(key.stage, (number, parked));
        *put = true;
    }
}
