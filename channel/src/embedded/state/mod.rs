//! The state beside the log: progress, work, parked events and copies, in SQLite.
//!
//! One [`worker`] writes and groups what waits into one transaction, and answers short [`questions`]. A
//! search for a person, which may be long, gets a connection of its own ([`searches`]). The files below are
//! the tables, one by one; [`holds`] mirrors in memory what the log must keep, [`files`] notices when the
//! database is removed under the process.

mod change;
mod codec;
mod copies;
mod error;
mod files;
mod filters;
mod holds;
mod lanes;
mod opened;
mod parked;
mod questions;
mod schema;
mod searches;
#[cfg(test)]
pub(crate) mod testing;
mod times;
mod work;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use millrace_event::{ObjectName, Timestamp};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use rusqlite::Connection;
use tokio::sync::{Notify, mpsc, watch};
use tracing::Span;

use crate::embedded::pool::Pool;
use crate::{Change, Forgotten, Lane, LaneId, LaneSpec, LaneState, Record};
use files::Files;
use holds::{Held, Holds};
use searches::Searches;
use worker::{Effects, Order, Task};

pub(crate) use codec::{stage_from_db, stage_to_db};
pub(crate) use error::StateError;
pub(crate) use holds::{Hindmost, Orphan};
pub(crate) use lanes::LaneStart;
pub(crate) use opened::Opened;
pub(crate) use schema::{SchemaError, is_damage, set_aside};

/// What the worker needs outside of the database.
pub(crate) struct Hooks {
    /// Makes the log durable up to everything that a change can name. Before each transaction.
    pub(crate) before_commit: Box<dyn Fn() -> Result<(), String> + Send>,
    /// The volume is full: gives free what is kept for this.
    pub(crate) on_full: Box<dyn Fn() + Send>,
    /// The database was opened again: somebody has to see that it is closed again.
    pub(crate) on_wake: Box<dyn Fn() + Send>,
    /// Counts transactions.
    pub(crate) commits: Counter,
    /// The threads that write.
    pub(crate) pool: Pool,
}

/// The open state. Dropping it closes the database without marking the stop as clean.
#[derive(Debug)]
pub(crate) struct State {
    orders: Mutex<Option<mpsc::Sender<Order>>>,
    searches: Arc<tokio::sync::Mutex<Searches>>,
    shared: Arc<Shared>,
    pool: Pool,
    station: Arc<worker::Station>,
}

/// What the worker shares with everybody.
#[derive(Debug)]
struct Shared {
    holds: Mutex<Holds>,
    files: Files,
    /// By how much the wall clock is ahead, as the database has it.
    noted: Mutex<times::Noted>,
    commands: watch::Sender<u64>,
    /// Whether the worker has the database open. While the Broker is idle, nobody keeps it open.
    is_open: AtomicBool,
    /// Whether it is closed, or is being closed.
    is_resting: AtomicBool,
    /// Its lanes, as somebody read them while it was closed, and how often it had been opened then.
    at_rest: Mutex<Option<(u64, Vec<Lane>)>>,
    /// How often it was opened again.
    openings: AtomicU64,
    /// Wakes those that wait for another version of `holds`.
    progressed: Notify,
    /// That in which the state was opened: log lines of its readers stand in it.
    span: Span,
}

// === impl State: changes ===

impl State {
    /// Applies all changes or none; durable when it returns.
    pub(crate) async fn commit(&self, changes: Vec<Change>) -> Result<(), StateError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.write(move |db, effects| {
            changes
                .iter()
                .try_for_each(|change| change::apply(db, change, effects))
        })
        .await
    }

    /// Finds or makes a lane for each spec, in one step. An idle Broker is not woken for lanes that are there
    /// already.
    pub(crate) async fn open_lanes(
        &self,
        specs: Vec<LaneSpec>,
        admission: LaneStart,
    ) -> Result<Vec<Lane>, StateError> {
        if !self.is_open() {
            let asked = specs.clone();
            let unchanged = self.read(move |db| lanes::unchanged(db, &asked)).await?;
            if let Some(lanes) = unchanged {
                return Ok(lanes);
            }
        }
        self.write(move |db, effects| lanes::open(db, &specs, admission, effects))
            .await
    }

    /// Forgets a lane and its work; says how many rows went.
    pub(crate) async fn drop_lane(&self, lane: LaneId) -> Result<u64, StateError> {
        self.write(move |db, effects| lanes::drop_lane(db, lane, effects))
            .await
    }

    /// Forgets a lane whose trigger is still gone; returns how many rows of work went with it.
    pub(crate) async fn drop_orphan(&self, lane: LaneId) -> Result<Option<u64>, StateError> {
        self.write(move |db, effects| lanes::drop_orphan(db, lane, effects))
            .await
    }

    /// Forgets the lanes of a trigger that is gone.
    pub(crate) async fn forget(&self, trigger: ObjectName) -> Result<Forgotten, StateError> {
        self.write(move |db, effects| lanes::forget(db, &trigger, effects))
            .await
    }

    /// Forgets the work of a trigger that is gone.
    pub(crate) async fn forget_work(&self, trigger: ObjectName) -> Result<Forgotten, StateError> {
        self.write(move |db, effects| lanes::forget_work(db, &trigger, effects))
            .await
    }

    /// Sets a lane's state.
    pub(crate) async fn set_lane_state(&self, lane: LaneId, state: LaneState) -> Result<(), StateError> {
        self.write(move |db, effects| lanes::set_state(db, lane, state, effects))
            .await
    }

    /// Notes since when the Broker is gone (`None`: it is in a document). A time that is noted stays.
    pub(crate) async fn set_orphaned(&self, since: Option<Timestamp>) -> Result<(), StateError> {
        // An idle Broker is not woken for what it knows.
        if self.orphaned().is_some() == since.is_some() {
            return Ok(());
        }
        self.write(move |db, effects| {
            let stored: Option<i64> = db.query_row(
                "UPDATE channel SET orphaned = iif(?1 IS NULL, NULL, coalesce(orphaned, ?1)) WHERE id = 1
                 RETURNING orphaned",
                [since.map(|since| since.0)],
                |row| row.get(0),
            )?;
            effects.holds.push(Held::Orphaned(stored.map(Timestamp)));
            Ok(())
        })
        .await
    }

    /// Makes work of a parked event again.
    pub(crate) async fn redrive(&self, id: &str, now: Timestamp) -> Result<bool, StateError> {
        let id = id.to_owned();
        self.write(move |db, effects| parked::redrive(db, &id, now, effects))
            .await
    }

    /// Drops a parked event.
    pub(crate) async fn drop_parked(&self, id: &str) -> Result<bool, StateError> {
        let id = id.to_owned();
        self.write(move |db, effects| parked::drop_parked(db, &id, effects))
            .await
    }

    /// Copies what rows name in `from..to`, as `read` gives it, then calls `then`. No row can be committed
    /// between the copies and `then`, so that a segment deleted there takes no event with it that somebody
    /// still names. Says how many were copied.
    pub(crate) async fn keep_named(
        &self,
        from: u64,
        to: u64,
        read: impl Fn(u64) -> Result<Option<Record>, StateError> + Send + 'static,
        then: impl Fn() + Send + Sync + 'static,
    ) -> Result<u64, StateError> {
        let then = Arc::new(then);
        self.write(move |db, effects| {
            let mut copied = 0;
            for offset in copies::named(db, from, to)? {
                if let Some(record) = read(offset)? {
                    copies::keep(db, &record, effects)?;
                    copied += 1;
                }
            }
            let then = then.clone();
            effects.then = Some(Box::new(move || then()));
            Ok(copied)
        })
        .await
    }

    /// Gives pages that are free back to the volume, some at a time, so that commits come in between.
    pub(crate) async fn give_back(&self) -> Result<(), StateError> {
        const WORTH_IT: i64 = 256;
        const ROUNDS: usize = 32;
        for _ in 0..ROUNDS {
            let free: i64 = self
                .read(|db| Ok(db.query_row("PRAGMA freelist_count", [], |row| row.get(0))?))
                .await?;
            if free <= WORTH_IT {
                break;
            }
            self.write(|db, _| {
                // It gives one page back for each row that is asked for.
                let mut statement = db.prepare_cached("PRAGMA incremental_vacuum(1024)")?;
                let mut rows = statement.query([])?;
                while rows.next()?.is_some() {}
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Whether [`State::note_ahead`] would do nothing.
    pub(crate) fn has_noted(&self, ahead: i64, wall: Timestamp) -> bool {
        self.shared.noted.lock().holds(ahead, wall)
    }

    /// Notes by how many milliseconds the wall clock, which shows `wall`, is ahead of the steady time. Does
    /// nothing if the difference is unchanged and was noted recently.
    pub(crate) async fn note_ahead(&self, ahead: i64, wall: Timestamp) -> Result<(), StateError> {
        if self.has_noted(ahead, wall) {
            return Ok(());
        }
        let noted = self.write(move |db, _| times::note(db, ahead, wall)).await?;
        *self.shared.noted.lock() = noted;
        Ok(())
    }

    /// Marks the stop as clean if it is, and closes the database. Closing twice is fine.
    pub(crate) async fn close(&self, clean: bool) -> Result<(), StateError> {
        let Some(sender) = self.orders.lock().take() else {
            return Ok(());
        };
        // The one that writes must go last: it moves the write-ahead log into the database.
        self.searches.lock().await.close();
        self.shared.at_rest.lock().take();
        if clean && self.station.end_resting() {
            return Ok(());
        }
        let (job, answer) = Task::with_answer(move |db, _| {
            db.execute("UPDATE channel SET clean = ?1 WHERE id = 1", [clean])?;
            Ok(())
        });
        sender.send(job).await.map_err(|_| StateError::Closed)?;
        drop(sender);
        self.pool.call(&self.station);
        let outcome = answer.await.map_err(|_| StateError::Closed)?;
        let station = self.station.clone();
        let _ = tokio::task::spawn_blocking(move || station.end()).await;
        outcome
    }

    /// Opens the database, if it is closed, and notes durably that this run has not ended.
    pub(crate) async fn wake(&self) -> Result<(), StateError> {
        self.write(|_, _| Ok(())).await
    }

    /// Whether the database is open.
    pub(crate) fn is_open(&self) -> bool {
        self.shared.is_open.load(Ordering::Acquire)
    }

    /// Whether it must be opened before anything is stored. An append says first that it is under way: then
    /// either it sees that it has to wake the state, or the state sees it and stays open.
    pub(crate) fn must_wake(&self) -> bool {
        self.shared.is_resting.load(Ordering::SeqCst)
    }

    /// Closes the database until there is more to write, with the mark of a clean end; `false`: that is now,
    /// or something is owed, or it must not rest. Blocking.
    pub(crate) fn rest(&self, may_rest: impl FnOnce() -> bool) -> bool {
        // A search that is under way has files open.
        self.searches.try_lock().is_ok() && self.station.rest(may_rest)
    }

    async fn write<T, F>(&self, work: F) -> Result<T, StateError>
    where
        F: FnMut(&Connection, &mut Effects) -> Result<T, StateError> + Send + 'static,
        T: Send + 'static,
    {
        let (job, answer) = Task::with_answer(work);
        self.order(job).await?;
        answer.await.map_err(|_| StateError::Closed)?
    }

    async fn order(&self, order: Order) -> Result<(), StateError> {
        let sender = self.orders.lock().clone().ok_or(StateError::Closed)?;
        sender.send(order).await.map_err(|_| StateError::Closed)?;
        drop(sender);
        self.pool.call(&self.station);
        Ok(())
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.orders.lock().take();
        // The file must not be in use any more when the caller opens it again.
        self.station.end();
    }
}

// === impl Shared ===

impl Shared {
    fn held(&self, changes: &[Held]) {
        if !changes.is_empty() {
            self.holds.lock().apply(changes);
            self.progressed.notify_waiters();
        }
    }

    fn command(&self) {
        self.commands.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::testing::*;
    use super::*;
    use crate::{LaneProgress, Progress};

    #[tokio::test]
    async fn the_next_position_is_above_everything_that_state_names() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.db");
        let progress = |lane: LaneId, cursor: Option<u64>, unsettled: &[u64]| {
            Change::from(LaneProgress {
                lane,
                cursor: cursor.map(at),
                queued: None,
                unsettled: unsettled.iter().copied().map(at).collect(),
            })
        };
        let mut lane = None;
        let steps: [(u64, &dyn Fn(LaneId) -> Change); 4] = [
            (7, &|_| Progress::router(at(7)).into()),
            (9, &|lane| progress(lane, Some(9), &[])),
            (13, &|lane| progress(lane, Some(9), &[3, 12])),
            (21, &|lane| Change::Put(work(lane, 20, 0, 0))),
        ];
        for (at_least, change) in steps {
            let state = start(folder.path());
            let id = match lane {
                Some(id) => id,
                None => state.open_lanes(vec![spec("a")], admission(5)).await.unwrap()[0].id,
            };
            lane = Some(id);
            state.commit(vec![change(id)]).await.unwrap();
            drop(state);
            assert_eq!(Opened::open(&file, true).unwrap().at_least, at_least);
        }
    }

    #[tokio::test]
    async fn only_a_close_makes_a_clean_stop() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.db");
        let first = Opened::open(&file, false).unwrap();
        assert!(!first.unclean, "a new database has no last run");
        drop(first.start(idle_hooks(), false).unwrap());
        let second = Opened::open(&file, false).unwrap();
        assert!(second.unclean);
        second
            .start(idle_hooks(), false)
            .unwrap()
            .close(true)
            .await
            .unwrap();
        let third = Opened::open(&file, false).unwrap();
        assert!(!third.unclean);
    }

    #[tokio::test]
    async fn nothing_counts_as_stored_that_went_into_a_database_that_is_gone() {
        for (name, helps) in [
            ("state.db", "--rebuild-state"),
            ("state.db-wal", "SIGTERM"),
            ("state.db-shm", "SIGTERM"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let state = start(folder.path());
            state.commit(vec![Progress::router(at(1)).into()]).await.unwrap();
            let (file, aside) = (folder.path().join(name), folder.path().join("aside"));
            std::fs::rename(&file, &aside).unwrap();
            let refused = state
                .commit(vec![Progress::router(at(2)).into()])
                .await
                .unwrap_err();
            assert!(matches!(refused, StateError::Gone(_)), "{name}: {refused}");
            let fault = state.fault().unwrap();
            assert!(fault.contains(name) && fault.contains(helps), "{fault}");
            std::fs::write(&file, b"").unwrap();
            state.look_over().await;
            assert!(state.fault().is_some(), "{name}: another file is not it");
            std::fs::rename(&aside, &file).unwrap();
            state.look_over().await;
            assert_eq!(state.fault(), None, "{name} is back");
            state.commit(vec![Progress::router(at(3)).into()]).await.unwrap();
            assert_eq!(state.router(), 3);
        }
    }

    #[tokio::test]
    async fn a_closed_state_says_so_and_closes_twice() {
        let folder = tempfile::tempdir().unwrap();
        let state = start(folder.path());
        state.close(true).await.unwrap();
        state.close(true).await.unwrap();
        assert!(matches!(state.lanes().await, Err(StateError::Closed)));
        assert!(matches!(
            state.commit(vec![Progress::router(at(1)).into()]).await,
            Err(StateError::Closed)
        ));
    }
}
