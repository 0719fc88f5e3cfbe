//! What is written when lanes are made, set aside and dropped.

use millrace_event::{ObjectName, Timestamp};

use super::facts::Facts;
use super::state::{Debt, LaneAt, LaneRecord, Write};
use super::view::View;
use crate::{EarlierFilter, LaneId, LaneSpec, LaneState};

/// Finds or makes a lane for each spec: the writes, and the lanes' numbers in the order asked.
pub(super) fn open(
    view: &View,
    facts: &mut Facts,
    specs: &[LaneSpec],
    now: Timestamp,
) -> (Vec<Write>, Vec<LaneId>) {
    let mut lanes = view.state.lanes.clone();
    let mut progress = view.state.progress.clone();
    let (mut writes, mut opened) = (Vec::new(), Vec::new());
    for spec in specs {
        let same = |(_, lane): &(&LaneId, &LaneRecord)| {
            lane.trigger == spec.trigger && spec.uid.as_ref().is_none_or(|uid| *uid == lane.uid)
        };
        let is_named = |(_, lane): &(&LaneId, &LaneRecord)| spec.resume && lane.trigger == spec.trigger;
        let own = lanes.iter().rev().find(same);
        let found = own.or_else(|| lanes.iter().rev().find(is_named));
        if let Some(id) = found.map(|(id, _)| *id) {
            lanes.entry(id).and_modify(|lane| {
                if let Some(uid) = &spec.uid {
                    lane.uid.clone_from(uid);
                }
                admit(view, facts.head, id, lane, &spec.filter);
                lane.orphaned = None;
            });
            writes.extend(hasten(view, id, now.after(spec.longest_wait)));
            opened.push(id);
            continue;
        }
        for lane in lanes.values_mut().filter(|lane| lane.trigger == spec.trigger) {
            lane.orphaned = lane.orphaned.or(Some(now));
        }
        let id = LaneId(progress.next_lane);
        progress.next_lane += 1;
        progress.lanes.insert(id, LaneAt::default());
        let uid = spec.uid.clone();
        let record = LaneRecord {
            trigger: spec.trigger.clone(),
            uid: uid.unwrap_or_else(|| facts.uid()),
            start: facts.head,
            filter: spec.filter.clone(),
            earlier: Vec::new(),
            is_paused: false,
            orphaned: None,
        };
        lanes.insert(id, record);
        opened.push(id);
    }
    facts.note_print(&mut progress);
    let is_changed = |(id, lane): &(LaneId, LaneRecord)| view.state.lanes.get(id) != Some(lane);
    let changed = lanes.into_iter().filter(is_changed);
    writes.extend(changed.map(|(id, lane)| Write::Lane(id, Some(lane))));
    // First, so that no number is given twice: progress of a lane that is none does not matter.
    writes.insert(0, Write::Progress(Box::new(progress)));
    (writes, opened)
}

/// The filter of a trigger that is admitted. One that had kept up had read all that was appended.
fn admit(view: &View, head: u64, id: LaneId, lane: &mut LaneRecord, filter: &str) {
    let cursor = view.state.progress.lanes.get(&id).and_then(|at| at.cursor);
    let is_halted = lane.is_paused || lane.orphaned.is_some();
    let stood = cursor.filter(|cursor| is_halted || *cursor < view.state.progress.router);
    judge_by(view, (id, lane), stood.unwrap_or(head), filter);
}

/// From this position on another filter judges the lane's events.
pub(super) fn judge_by(view: &View, (id, lane): (LaneId, &mut LaneRecord), from: u64, filter: &str) {
    if lane.filter == filter {
        return;
    }
    let begins = view.at(view.begins(id));
    let present = std::mem::replace(&mut lane.filter, filter.to_owned());
    EarlierFilter::replace(&mut lane.earlier, present, view.at(from), begins);
}

/// Brings rows forward that are due later than that.
fn hasten(view: &View, lane: LaneId, latest: Timestamp) -> Vec<Write> {
    let debts = view.state.debts.range((lane, 0)..=(lane, u64::MAX));
    let late = debts.filter(|(_, debt)| debt.work.values().any(|work| work.due > latest));
    let earlier = late.map(|(debtor, debt)| {
        let mut debt = debt.clone();
        for work in debt.work.values_mut() {
            work.due = work.due.min(latest);
        }
        Write::Debt(*debtor, Some(debt))
    });
    earlier.collect()
}

/// The lane's new state. One that stops stays where the router is.
pub(super) fn set_state(view: &View, lane: LaneId, state: LaneState) -> Vec<Write> {
    let Some(mut record) = view.state.lanes.get(&lane).cloned() else {
        return Vec::new();
    };
    match state {
        LaneState::Active => record.is_paused = false,
        LaneState::Paused => record.is_paused = true,
        LaneState::Orphaned(since) => record.orphaned = Some(since),
    }
    let mut progress = view.state.progress.clone();
    if state != LaneState::Active
        && let Some(at) = progress.lanes.get_mut(&lane)
    {
        at.cursor = at.cursor.or(Some(progress.router));
    }
    vec![
        Write::Progress(Box::new(progress)),
        Write::Lane(lane, Some(record)),
    ]
}

/// Forgets a lane: the lane first, since rows of no lane count for nothing. Says how many rows go.
pub(super) fn forget(view: &View, lane: LaneId) -> (Vec<Write>, u64) {
    if !view.state.lanes.contains_key(&lane) {
        return (Vec::new(), 0);
    }
    let mut progress = view.state.progress.clone();
    progress.lanes.remove(&lane);
    let mut writes = vec![Write::Lane(lane, None), Write::Progress(Box::new(progress))];
    let (work, rows) = forget_work(view, lane);
    writes.extend(work);
    (writes, rows)
}

/// Forgets a lane's work. Says how many rows go.
pub(super) fn forget_work(view: &View, lane: LaneId) -> (Vec<Write>, u64) {
    let (mut writes, mut rows) = (Vec::new(), 0);
    for (debtor, debt) in view.state.debts.range((lane, 0)..=(lane, u64::MAX)) {
        rows += debt.work.len() as u64;
        let left = Debt {
            work: Default::default(),
            ..debt.clone()
        };
        writes.push(Write::Debt(*debtor, (!left.is_empty()).then_some(left)));
    }
    (writes, rows)
}

/// The lanes of a trigger, and whether each is set aside.
pub(super) fn of_trigger(view: &View, trigger: &ObjectName) -> Vec<(LaneId, bool)> {
    let lanes = view.state.lanes.iter();
    lanes
        .filter(|(_, lane)| lane.trigger == *trigger)
        .map(|(id, lane)| (*id, lane.orphaned.is_some()))
        .collect()
}
