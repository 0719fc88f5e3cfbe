//! What writes state: it takes every change that waits and makes one transaction of them. It works on a
//! thread of the pool while there is something to do.
//!
//! It answers short questions too, before the transaction, with what is committed then. A second connection
//! for them would cost each Broker with traffic two descriptors.
//!
//! Two files that sync on one disk wait for each other, so commits are few: changes that arrive while one
//! commit syncs make up the next one. Each job stands or falls alone (with a savepoint of its own). When the
//! transaction as a whole cannot be committed, each job is tried again by itself. The files are looked at
//! after each transaction: nothing counts as stored that went into a removed file. Once a file is known to be
//! gone, they are looked at before as well, and nothing is written until it is back.

mod station;
mod task;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::mpsc;

use super::{Hooks, StateError, schema};
pub(super) use station::Station;
pub(super) use task::{Effects, Job, Order, Question, Task};

/// Jobs that may wait; a caller beyond that waits for room.
pub(super) const QUEUE: usize = 1_024;

/// Jobs of one transaction: bounds what one commit writes and how long the first of them waits.
const GROUP: usize = 128;

/// What it works with.
pub(super) struct Worker {
    /// None while it is closed: the Broker is idle.
    pub(super) db: Option<Connection>,
    /// Bytes of the write-ahead log.
    pub(super) journal: i64,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) shared: Arc<super::Shared>,
    pub(super) hooks: Hooks,
}

// === impl Worker ===

impl Worker {
    /// Answers the questions that wait, and makes one transaction of the changes; `false`: nothing waited.
    fn work(&mut self) -> bool {
        let mut changes = Vec::new();
        let mut count = 0;
        while count < GROUP
            && let Ok(order) = self.orders.try_recv()
        {
            count += 1;
            match order {
                Order::Change(job) => changes.push(job),
                Order::Answer(question) => self.answer(question),
            }
        }
        if !changes.is_empty() {
            self.change(changes);
        }
        count > 0
    }

    /// Opens the database for the question alone if it is closed: a question wakes nobody. Only this worker
    /// writes, so nothing changes meanwhile.
    fn answer(&self, question: Question) {
        if let Some(db) = &self.db {
            return question(Ok(db));
        }
        let file = self.shared.files.path();
        match schema::unchanging(file).map_or_else(|| schema::open_reader(file), Ok) {
            Ok(db) => question(Ok(&db)),
            Err(error) => question(Err(error.into())),
        }
    }

    fn change(&mut self, jobs: Vec<Box<dyn Job>>) {
        match self.wake() {
            Ok(()) => self.group(jobs),
            Err(error) => {
                let why = error.to_string();
                for job in jobs {
                    job.answer(Err(StateError::Shut(why.clone())));
                }
            }
        }
    }

    /// Opens the database, if it is closed, and notes durably that this run has not ended.
    fn wake(&mut self) -> Result<(), StateError> {
        if self.db.is_some() {
            return Ok(());
        }
        if let Some(fault) = self.shared.files.look() {
            return Err(StateError::Gone(fault));
        }
        let opened = match self.reopen() {
            Err(error) if schema::is_full(&error) => {
                (self.hooks.on_full)();
                self.reopen()
            }
            opened => opened,
        };
        self.db = Some(opened?);
        // In this order: lanes that were read before this are not kept as those of the rest before.
        self.shared.is_open.store(true, Ordering::Release);
        self.shared.openings.fetch_add(1, Ordering::AcqRel);
        self.shared.is_resting.store(false, Ordering::SeqCst);
        self.shared.at_rest.lock().take();
        (self.hooks.on_wake)();
        Ok(())
    }

    fn reopen(&self) -> Result<Connection, StateError> {
        let db = schema::reopen(self.shared.files.path(), self.journal)?;
        db.execute("UPDATE channel SET clean = 0 WHERE id = 1", [])?;
        let looked = self.shared.files.opened();
        looked.map_err(|error| StateError::Shut(format!("its files cannot be looked at: {error}")))?;
        Ok(db)
    }

    /// Closes the database, with the mark of a clean end, if nothing waits, nothing is owed, and it may; says
    /// whether it is closed.
    fn rest(&mut self, may_rest: impl FnOnce() -> bool) -> bool {
        // From now on who stores something asks for it to be opened, and waits for this to end.
        self.shared.is_resting.store(true, Ordering::SeqCst);
        let rests = self.db.is_none() || (may_rest() && self.close_clean());
        self.shared.is_resting.store(rests, Ordering::SeqCst);
        rests
    }

    fn close_clean(&mut self) -> bool {
        let Some(db) = &self.db else { return true };
        if !self.orders.is_empty() || self.shared.files.look().is_some() {
            return false;
        }
        let owes: rusqlite::Result<bool> =
            db.query_row("SELECT EXISTS (SELECT 1 FROM work)", [], |row| row.get(0));
        if !matches!(owes, Ok(false)) {
            return false;
        }
        if let Err(error) = db.execute("UPDATE channel SET clean = 1 WHERE id = 1 AND clean = 0", []) {
            tracing::debug!(%error, "the state of an idle broker stays open");
            return false;
        }
        // Before SQLite removes its companions: who looks meanwhile must not miss them.
        self.shared.files.closed();
        self.db = None;
        self.shared.is_open.store(false, Ordering::Release);
        true
    }

    fn group(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        if let Err(reason) = (self.hooks.before_commit)() {
            for job in jobs {
                job.answer(Err(StateError::Barrier(reason.clone())));
            }
            return;
        }
        if self.shared.files.fault.is_there()
            && let Some(fault) = self.shared.files.look()
        {
            for job in jobs {
                job.answer(Err(StateError::Gone(fault.clone())));
            }
            return;
        }
        match self.together(&mut jobs) {
            Ok(outcomes) => {
                let fault = self.shared.files.look();
                for (job, outcome) in jobs.into_iter().zip(outcomes) {
                    self.finish(job, unless(fault.as_deref(), outcome));
                }
            }
            Err(error) => {
                tracing::debug!(%error, jobs = jobs.len(), "a group of changes was not committed; each is tried alone");
                for job in jobs {
                    self.alone(job);
                }
            }
        }
    }

    /// One transaction; an error is of the transaction, an outcome of its job.
    fn together(
        &mut self,
        jobs: &mut [Box<dyn Job>],
    ) -> Result<Vec<Result<Effects, StateError>>, StateError> {
        let mut outcomes = Vec::with_capacity(jobs.len());
        let db = self.db.as_mut().ok_or(StateError::Closed)?;
        let mut transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for job in jobs {
            let savepoint = transaction.savepoint()?;
            match job.run(&savepoint) {
                Ok(effects) => {
                    savepoint.commit()?;
                    outcomes.push(Ok(effects));
                }
                // The transaction itself may be gone: all of it is done again, one by one.
                Err(StateError::Sql(error)) => return Err(StateError::Sql(error)),
                Err(refused) => {
                    // Takes back what the job did.
                    drop(savepoint);
                    outcomes.push(Err(refused));
                }
            }
        }
        transaction.commit()?;
        self.hooks.commits.inc();
        Ok(outcomes)
    }

    /// One job by itself; when the disk is full, once more with the room that is kept for this.
    fn alone(&mut self, mut job: Box<dyn Job>) {
        let mut outcome = self.attempt(&mut job);
        if outcome.as_ref().is_err_and(schema::is_full) {
            tracing::warn!("the disk is full: state is written into the room kept for it");
            (self.hooks.on_full)();
            self.shrink();
            outcome = self.attempt(&mut job);
        }
        let fault = self.shared.files.look();
        self.finish(job, unless(fault.as_deref(), outcome));
    }

    fn attempt(&mut self, job: &mut Box<dyn Job>) -> Result<Effects, StateError> {
        let db = self.db.as_mut().ok_or(StateError::Closed)?;
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let effects = job.run(&transaction)?;
        transaction.commit()?;
        self.hooks.commits.inc();
        Ok(effects)
    }

    /// Moves the write-ahead log into the database and gives its space back. Best effort: a reader may be in
    /// the way.
    fn shrink(&self) {
        let Some(db) = &self.db else { return };
        let outcome = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = outcome {
            tracing::debug!(%error, "the write-ahead log was not cut");
        }
    }

    fn finish(&self, job: Box<dyn Job>, outcome: Result<Effects, StateError>) {
        let outcome = outcome.map(|effects| {
            self.shared.held(&effects.holds);
            if let Some(then) = effects.then {
                then();
            }
            if effects.command {
                self.shared.command();
            }
        });
        job.answer(outcome);
    }
}

/// Turns a success into an error if the database's file is gone: then nothing was stored.
fn unless<T>(fault: Option<&str>, outcome: Result<T, StateError>) -> Result<T, StateError> {
    match fault {
        Some(fault) if outcome.is_ok() => Err(StateError::Gone(fault.to_owned())),
        _ => outcome,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::super::testing::*;
    use super::super::{Opened, State};
    use super::*;
    use crate::{Change, ChannelError, LaneId, Progress};

    fn start_with(folder: &std::path::Path, hooks: Hooks) -> State {
        Opened::open(&folder.join("state.db"), false)
            .unwrap()
            .start(hooks, false)
            .unwrap()
    }

    #[tokio::test]
    async fn changes_that_wait_together_become_one_transaction_and_stand_or_fall_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let hooks = Hooks {
            before_commit: Box::new(move || {
                gate.recv().ok();
                Ok(())
            }),
            ..idle_hooks()
        };
        let state = start_with(folder.path(), hooks);
        // The first holds the thread at the gate while the others gather behind it.
        let first = state.commit(vec![Progress::router(at(1)).into()]);
        let refused = state.write(|db, _| {
            db.execute("UPDATE channel SET router = 99", [])?;
            Err::<(), _>(StateError::Damaged("refused".to_owned()))
        });
        let rest: Vec<_> = (2..=50)
            .map(|n| state.commit(vec![Progress::router(at(n)).into()]))
            .collect();
        let all = async {
            tokio::join!(first, refused, async {
                for commit in rest {
                    commit.await.unwrap();
                }
            })
        };
        let (first, refused, ()) = {
            drop(open);
            all.await
        };
        first.unwrap();
        assert!(matches!(refused, Err(StateError::Damaged(_))));
        assert_eq!(state.router(), 50);
        drop(state);
        assert_eq!(
            Opened::open(&folder.path().join("state.db"), false)
                .unwrap()
                .at_least,
            50
        );
    }

    #[tokio::test]
    async fn nothing_is_committed_while_the_log_cannot_be_made_durable() {
        let folder = tempfile::tempdir().unwrap();
        let hooks = Hooks {
            before_commit: Box::new(|| Err("no disk".to_owned())),
            ..idle_hooks()
        };
        let commits = hooks.commits.clone();
        let state = start_with(folder.path(), hooks);
        let outcome = state
            .commit(vec![Progress::router(at(1)).into()])
            .await
            .map_err(ChannelError::from);
        assert!(matches!(outcome, Err(ChannelError::Storage(reason)) if reason.contains("no disk")));
        assert_eq!((state.router(), commits.get()), (0, 0));
    }

    #[tokio::test]
    async fn a_full_disk_gives_free_what_is_kept_and_tries_once_more() {
        let folder = tempfile::tempdir().unwrap();
        let freed = Arc::new(AtomicU32::new(0));
        let count = freed.clone();
        let on_full = Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let hooks = Hooks {
            on_full,
            ..idle_hooks()
        };
        let state = start_with(folder.path(), hooks);
        let lane = state.open_lanes(vec![spec("a")], admission(0)).await.unwrap()[0].id;
        // SQLite's own limit on the file's size stands for the volume's.
        let full = state
            .write(|db, _| Ok(db.pragma_update(None, "max_page_count", 1)?))
            .await;
        full.unwrap();
        let rows = (0..2_000).map(|n| Change::Put(work(lane, n, 0, 0))).collect();
        let outcome = state.commit(rows).await;
        assert!(outcome.is_err_and(|error| schema::is_full(&error)));
        assert_eq!(freed.load(Ordering::Relaxed), 1);
        state
            .write(|db, _| Ok(db.pragma_update(None, "max_page_count", 1_000_000)?))
            .await
            .unwrap();
        state
            .commit(vec![Change::Put(work(lane, 1, 0, 0))])
            .await
            .unwrap();
        assert_eq!(
            state
                .due(LaneId(lane.0), millrace_event::Timestamp(0), 10)
                .await
                .unwrap()
                .len(),
            1
        );
    }
}
