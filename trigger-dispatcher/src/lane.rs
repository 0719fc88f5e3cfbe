//! A lane: one trigger's delivery. Holds what waits, what is in flight and what has changed since the last
//! commit.
//!
//! All state is behind one lock that is never held over an await. The methods of [`Inner`] are the lane's
//! rules; their callers decide when to apply them. They are grouped by purpose: how the queue is filled
//! (`feed`), what is due (`due_rows`), the bytes in flight (`flight`), the order of first attempts
//! (`firsts`), which filter judges (`judging`), an attempt that has to wait (`under_way`), what an outcome
//! changes (`settle`), and the numbers of rows (`count`) and of attempts (`tally`).

mod count;
mod due_rows;
mod feed;
mod firsts;
mod flight;
mod judging;
mod settle;
mod tally;
#[cfg(test)]
pub(crate) mod tests;
mod under_way;

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use millrace_budget::Ledger;
use millrace_channel::{Change, LaneId, LaneProgress, Position, Stage, Work, WorkKey};
use millrace_delivery::Share;
use millrace_event::{Event, ObjectName, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::budget::{Budget, Remembered};
use crate::next_step::Attempted;
use crate::settings::Settings;
use crate::watched::Panic;
use crate::window::Window;
use firsts::Firsts;

pub(crate) use count::Count;
pub(crate) use firsts::is_first;
pub(crate) use flight::{Flight, bytes_of};
pub(crate) use judging::Earlier;
pub(crate) use tally::{Counts, Tally};

/// Outcomes after which a lane waits for the next commit: the most that a crash repeats.
pub(crate) const MAX_UNCOMMITTED: usize = 1000;
/// Outcomes after which a lane asks for a commit, so that it seldom has to wait.
pub(crate) const ASK_FOR_COMMIT: usize = 750;
/// Events queued in a lane.
const MAX_QUEUED: usize = 1024;
/// Bytes queued in a lane.
const MAX_QUEUED_BYTES: usize = 4 << 20;
/// Due rows held in memory, so that they and new events can take turns.
pub(crate) const MAX_DUE: usize = 64;
/// Bytes of due rows' events held in memory.
pub(crate) const MAX_DUE_BYTES: usize = 2 << 20;

/// A lane.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) id: LaneId,
    pub(crate) name: ObjectName,
    /// The partition whose events it gets.
    partition: u32,
    /// Its number in the index.
    pub(crate) key: u32,
    /// Wakes a worker that waits for something to take.
    pub(crate) wake: Notify,
    /// Its share of connections and name lookups.
    pub(crate) share: Share,
    pub(crate) inner: Mutex<Inner>,
}

/// Where the lane reads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Fed by the router, with positions from `from` on.
    Live { from: u64 },
    /// Fed by the catch-up reader, from `cursor` on.
    Behind { cursor: u64 },
}

/// Why a lane stands still on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    Paused,
    Orphaned(Timestamp),
}

/// A row of work with its event, ready to be attempted.
#[derive(Debug)]
struct DueJob {
    work: Work,
    event: Event,
    remembered: Remembered,
}

/// Something to attempt.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) attempted: Attempted,
    pub(crate) event: Event,
    /// When its row was due. `None` for one that is new.
    pub(crate) due: Option<Timestamp>,
    /// The memory of its row's failures. `None` for one that is new.
    pub(crate) remembered: Option<Remembered>,
    pub(crate) settings: Arc<Settings>,
}

/// What goes into the next commit.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) changes: Vec<Change>,
    pub(crate) progress: Option<LaneProgress>,
    /// Its stored cursor is ahead of the router, which feeds it nevertheless.
    pub(crate) is_ahead: bool,
    pub(crate) outcomes: usize,
    pub(crate) released: Vec<WorkKey>,
    /// The memory of failures in `changes`.
    pub(crate) remembered: Vec<Remembered>,
    /// The earliest due time among the rows put.
    pub(crate) next_due: Option<Timestamp>,
}

/// The state of a lane.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) settings: Arc<Settings>,
    pub(crate) place: Place,
    pub(crate) halt: Option<Halt>,
    pub(crate) window: Window,
    due: VecDeque<DueJob>,
    due_bytes: usize,
    /// Rows in `due` or being attempted, or whose change is not committed yet: not to be fetched again.
    taken: HashSet<WorkKey>,
    released: Vec<WorkKey>,
    /// The memory of failures in `pending`.
    remembered: Vec<Remembered>,
    /// Bytes of failures that its rows remember, from when they are read until they are committed.
    remembers: Arc<Ledger>,
    /// While due rows are being fetched: the keys whose change became durable meanwhile. They stay taken
    /// until the end, because the fetch may have read their rows before.
    freed_while_fetching: Option<Vec<WorkKey>>,
    pending: Vec<Change>,
    next_due: Option<Timestamp>,
    pub(crate) uncommitted: usize,
    pub(crate) dirty: bool,
    /// It stands in the list of lanes to commit.
    pub(crate) marked: bool,
    pub(crate) workers: u32,
    pub(crate) idle: u32,
    due_turn: bool,
    pub(crate) deferred: Count,
    pub(crate) parked: Count,
    /// More rows may be due than are held.
    pub(crate) due_waiting: bool,
    /// The catch-up reader has been asked.
    pub(crate) asked: bool,
    /// Its queue was refused room or dropped: at most one event is queued until a worker takes one.
    short: bool,
    /// Its attempts and bytes in flight.
    pub(crate) flight: Flight,
    /// Its filter is in the index.
    pub(crate) indexed: bool,
    /// It is stored that the lane is orphaned.
    pub(crate) orphan_stored: bool,
    /// Positions below this, as many as `suspects_left`, may have been attempted before an unclean stop.
    suspects_below: u64,
    suspects_left: usize,
    /// First attempts that come before new events in a lane that keeps the order.
    firsts: Firsts,
    /// Positions to be read again for which a row or a parked event stands already.
    covered: BTreeSet<u64>,
    /// Everything below this was read before a restart. Where the lane stands below, it reads again what was
    /// queued then.
    pub(crate) read_before: u64,
    /// The filters that judged before, for what is read again.
    earlier: Vec<Earlier>,
    last_taken: Timestamp,
    /// Consecutive panics of workers, outside of attempts.
    pub(crate) worker_panics: u32,
    pub(crate) tally: Tally,
}

// === impl Lane ===

impl Lane {
    pub(crate) fn new(stored: &millrace_channel::Lane, key: u32, share: Share, inner: Inner) -> Self {
        Self {
            id: stored.id,
            name: stored.trigger.clone(),
            partition: stored.start.partition,
            key,
            wake: Notify::new(),
            share,
            inner: Mutex::new(inner),
        }
    }

    fn work_key(&self, offset: u64, stage: Stage) -> WorkKey {
        WorkKey {
            lane: self.id,
            position: self.at(offset),
            stage,
        }
    }

    fn at(&self, offset: u64) -> Position {
        Position {
            partition: self.partition,
            offset,
        }
    }

    /// The next thing to attempt, if the lane may attempt anything now.
    pub(crate) fn take(&self, inner: &mut Inner, budget: &Budget, now: Timestamp) -> Option<Job> {
        if !inner.may_attempt() {
            return None;
        }
        inner.due_turn = !inner.due_turn;
        let due = inner.due_turn.then(|| inner.take_due(budget, now)).flatten();
        let job = due
            .or_else(|| self.take_new(inner, budget, now))
            .or_else(|| inner.take_due(budget, now))?;
        inner.last_taken = now;
        Some(job)
    }

    fn take_new(&self, inner: &mut Inner, budget: &Budget, now: Timestamp) -> Option<Job> {
        while inner.may_take_new() && inner.uncommitted < MAX_UNCOMMITTED {
            let next = inner.window.next()?;
            let (offset, bytes) = (next.offset, next.event.stored().len());
            let in_flight = bytes_of(&next.event);
            // Asked first: a row takes none of the bytes in flight, and other lanes may wait for those.
            let is_suspect = inner.may_be_suspect(offset);
            if !is_suspect && !inner.flight.begin(in_flight, budget) {
                return None;
            }
            let queued = inner.window.pop()?;
            inner.short = false;
            budget.give_back(bytes);
            let key = self.work_key(offset, Stage::Subscriber);
            if is_suspect {
                inner.put_suspect(key, now);
                continue;
            }
            inner.window.in_hand.begin(key, 0, true, now);
            return Some(Job {
                attempted: Attempted::first(key),
                event: queued.event,
                due: None,
                remembered: None,
                settings: inner.settings.clone(),
            });
        }
        None
    }

    /// Writes an event down before its filter is asked, since the filter may end the process. `false`: there
    /// is no room for the row.
    pub(crate) fn owe_undecided(&self, inner: &mut Inner, offset: u64, now: Timestamp) -> bool {
        let room = !inner.is_blocked() && inner.uncommitted < MAX_UNCOMMITTED;
        if room {
            inner.put_undecided(self.work_key(offset, Stage::Subscriber), now);
        }
        room
    }

    /// Writes down every first attempt that has been open since `then`, so that it holds up nothing.
    pub(crate) fn write_down_open(&self, inner: &mut Inner, then: Timestamp, now: Timestamp) {
        for offset in inner.window.in_hand.give_rows(then) {
            let key = self.work_key(offset, Stage::Subscriber);
            inner.taken.insert(key);
            inner.deferred.add(1);
            let open = Attempted::first(key).into_row(now, true);
            inner.put(Change::Put(open));
            inner.dirty = true;
        }
    }

    /// What goes into the next commit; the lane is clean afterwards.
    pub(crate) fn snapshot(&self, inner: &mut Inner, router: u64) -> Snapshot {
        let cursor = match inner.place {
            Place::Live { from } if from > router => Some(self.at(from)),
            Place::Live { .. } => None,
            Place::Behind { .. } => Some(self.at(inner.has_read(router))),
        };
        let named = inner.window.named();
        let queued = inner.first_queued(&named);
        inner.forget_filters_below(queued.unwrap_or_else(|| inner.has_read(router)));
        let queued = queued.map(|offset| self.at(offset));
        let unsettled = named.unsettled.into_iter();
        let unsettled = unsettled.map(|offset| self.at(offset)).collect();
        inner.dirty = false;
        inner.marked = false;
        inner.deferred.begin_commit();
        inner.parked.begin_commit();
        Snapshot {
            changes: std::mem::take(&mut inner.pending),
            is_ahead: matches!(inner.place, Place::Live { .. }) && cursor.is_some(),
            progress: Some(LaneProgress {
                lane: self.id,
                cursor,
                queued,
                unsettled,
            }),
            outcomes: inner.uncommitted,
            released: std::mem::take(&mut inner.released),
            remembered: std::mem::take(&mut inner.remembered),
            next_due: inner.next_due.take(),
        }
    }
}

// === impl Inner ===

impl Inner {
    /// The state of a lane as it was stored; `router` is the router's stored position.
    pub(crate) fn restore(
        stored: &millrace_channel::Lane,
        settings: Arc<Settings>,
        router: u64,
        suspects_below: u64,
        now: Timestamp,
    ) -> Self {
        let follows = stored
            .cursor
            .map_or(router, |cursor| cursor.offset)
            .max(stored.start.offset);
        // What was queued is read again.
        let begins = stored.queued.map_or(follows, |queued| queued.offset.min(follows));
        let judged_before = stored.earlier.last().map_or(0, |last| last.until.offset);
        let read_before = follows.max(judged_before);
        let place = if stored.cursor.is_none() && stored.unsettled.is_empty() && begins == read_before {
            Place::Live { from: follows }
        } else {
            Place::Behind { cursor: begins }
        };
        // It no longer follows the router, and the next commit must say so: it may move the router.
        let leaves_router = stored.cursor.is_none() && place != (Place::Live { from: follows });
        let covered: BTreeSet<u64> = stored.covered.iter().map(|position| position.offset).collect();
        let owed = stored.unsettled.iter().map(|position| position.offset);
        let owed = owed.filter(|offset| !covered.contains(offset));
        let parallelism = settings.bounds.parallelism as usize;
        Self {
            settings,
            place,
            halt: None,
            window: Window::with_owed(owed, begins),
            due: VecDeque::new(),
            due_bytes: 0,
            taken: HashSet::new(),
            released: Vec::new(),
            remembered: Vec::new(),
            remembers: Arc::new(Ledger::new(0)),
            freed_while_fetching: None,
            pending: Vec::new(),
            next_due: None,
            uncommitted: 0,
            dirty: leaves_router || !stored.covered.is_empty(),
            marked: false,
            workers: 0,
            idle: 0,
            due_turn: false,
            deferred: Count::stored(stored.deferred),
            parked: Count::stored(stored.parked),
            due_waiting: false,
            asked: false,
            short: false,
            flight: Flight::default(),
            indexed: false,
            orphan_stored: false,
            suspects_below,
            suspects_left: if suspects_below == 0 {
                0
            } else {
                MAX_UNCOMMITTED + parallelism + MAX_QUEUED
            },
            firsts: Firsts::restore(stored, now),
            covered,
            read_before,
            earlier: Vec::new(),
            last_taken: now,
            worker_panics: 0,
            tally: Tally::default(),
        }
    }

    /// Whether anything may be attempted: not halted, a known subscriber.
    pub(crate) fn may_attempt(&self) -> bool {
        self.halt.is_none() && self.settings.subscriber.is_ok()
    }

    /// At a bound of rows: nothing new is read (due work goes on).
    pub(crate) fn is_blocked(&self) -> bool {
        let bounds = self.settings.bounds;
        self.deferred.get() >= u64::from(bounds.deferred) || self.parked.get() >= u64::from(bounds.parked)
    }

    /// Notes that a worker panicked outside of an attempt.
    pub(crate) fn note_worker_panic(&mut self, now: Timestamp, panic: &Panic) {
        self.worker_panics = self.worker_panics.saturating_add(1);
        self.tally.last_failure = Some((now, format!("a worker of Millrace panicked at {}", panic.place())));
    }

    /// Whether a worker would find something to take.
    pub(crate) fn has_work(&self) -> bool {
        self.may_attempt()
            && (!self.due.is_empty() || self.may_take_new())
            && self.uncommitted < MAX_UNCOMMITTED
            && !self.flight.waits
    }
}
