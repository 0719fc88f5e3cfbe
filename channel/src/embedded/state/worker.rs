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

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::holds::Held;
use super::{Hooks, StateError, schema};
use crate::embedded::pool::{self, Seat};

/// Jobs that may wait; a caller beyond that waits for room.
pub(super) const QUEUE: usize = 1_024;

/// Jobs of one transaction: bounds what one commit writes and how long the first of them waits.
const GROUP: usize = 128;

/// What a job brings about beyond the database, once it is durable.
#[derive(Default)]
pub(super) struct Effects {
    /// Changes of what holds the log's segments.
    pub(super) holds: Vec<Held>,
    /// A command changed something: the dispatcher shall look.
    pub(super) command: bool,
    /// Done on the same thread after the commit and before the next job, so that nothing can be committed in
    /// between.
    pub(super) then: Option<Box<dyn FnOnce() + Send>>,
}

/// One change that waits. It may be run again when the transaction around it failed.
pub(super) trait Job: Send {
    fn run(&mut self, db: &Connection) -> Result<Effects, StateError>;
    fn answer(self: Box<Self>, outcome: Result<(), StateError>);
}

/// One short question. It gets the database as it was committed last, or why that cannot be opened.
pub(super) type Question = Box<dyn FnOnce(Result<&Connection, StateError>) + Send>;

/// What waits for the worker.
pub(super) enum Order {
    /// A part of the next transaction.
    Change(Box<dyn Job>),
    /// It waits for no transaction but the one under way.
    Answer(Question),
}

/// A job made of a closure, and the caller that waits for its value.
pub(super) struct Task<F, T> {
    work: F,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, StateError>>,
}

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

/// The worker's place in the pool.
pub(super) struct Station {
    seat: Seat,
    /// None once it has ended.
    worker: Mutex<Option<Worker>>,
}

// === impl Station ===

impl Station {
    pub(super) fn new(worker: Worker) -> Self {
        Self {
            seat: Seat::new(),
            worker: Mutex::new(Some(worker)),
        }
    }

    /// Closes the database until there is more to write; `false`: that is now. Blocking.
    pub(super) fn rest(&self) -> bool {
        let rests = self.worker.lock().as_mut().is_some_and(Worker::rest);
        if rests {
            self.seat.stir();
        }
        rests
    }

    /// Ends if it rests and nothing waits: then there is nothing left to be done. Blocking.
    pub(super) fn end_resting(&self) -> bool {
        let mut held = self.worker.lock();
        let rests = held
            .as_ref()
            .is_none_or(|worker| worker.db.is_none() && worker.orders.is_empty());
        if rests {
            *held = None;
            self.seat.stir();
        }
        rests
    }

    /// Does what still waits, and closes the database. Blocking.
    pub(super) fn end(&self) {
        let _span = self.seat.enter();
        let mut worker = self.worker.lock();
        while worker.as_mut().is_some_and(Worker::work) {}
        *worker = None;
        self.seat.stir();
    }
}

impl pool::Station for Station {
    fn seat(&self) -> &Seat {
        &self.seat
    }

    fn turn(&self) -> bool {
        self.worker.lock().as_mut().is_some_and(Worker::work)
    }

    fn patience(&self) -> Option<Duration> {
        let works = |worker: &Worker| worker.db.is_some();
        let stays = self.worker.lock().as_ref().is_some_and(works);
        (!stays).then_some(Duration::ZERO)
    }

    /// What waits is answered as closed.
    fn broken(&self) {
        drop(self.worker.lock().take());
    }
}

impl std::fmt::Debug for Station {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Station")
            .field("seat", &self.seat)
            .finish_non_exhaustive()
    }
}

// === impl Task ===

impl<F, T> Task<F, T>
where
    F: FnMut(&Connection, &mut Effects) -> Result<T, StateError> + Send + 'static,
    T: Send + 'static,
{
    /// The change and where its answer comes.
    pub(super) fn with_answer(work: F) -> (Order, oneshot::Receiver<Result<T, StateError>>) {
        let (reply, answer) = oneshot::channel();
        let task = Self {
            work,
            value: None,
            reply,
        };
        (Order::Change(Box::new(task)), answer)
    }
}

impl<F, T> Job for Task<F, T>
where
    F: FnMut(&Connection, &mut Effects) -> Result<T, StateError> + Send,
    T: Send,
{
    fn run(&mut self, db: &Connection) -> Result<Effects, StateError> {
        let mut effects = Effects::default();
        self.value = Some((self.work)(db, &mut effects)?);
        Ok(effects)
    }

    fn answer(self: Box<Self>, outcome: Result<(), StateError>) {
        let Self { value, reply, .. } = *self;
        // The caller may be gone; the change is made all the same.
        let _ = reply.send(outcome.and_then(|()| value.ok_or(StateError::Closed)));
    }
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

    /// Opens the database for the question alone if it is closed: a question wakes nobody.
    fn answer(&self, question: Question) {
        match &self.db {
            Some(db) => question(Ok(db)),
            None => match schema::open_reader(self.shared.files.path()) {
                Ok(db) => question(Ok(&db)),
                Err(error) => question(Err(error.into())),
            },
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
        self.shared.openings.fetch_add(1, Ordering::AcqRel);
        self.shared.is_open.store(true, Ordering::Release);
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

    /// Closes the database, with the mark of a clean end, if nothing waits and nothing is owed; says whether
    /// it is closed.
    fn rest(&mut self) -> bool {
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
        self.db = None;
        self.shared.is_open.store(false, Ordering::Release);
        self.shared.files.closed();
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
