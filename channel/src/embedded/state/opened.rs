//! The state between being read and being written: the log is opened in between, from the position that state
//! demands.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use millrace_event::Timestamp;
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{Notify, mpsc, watch};
use tracing::Span;

use super::codec::{self, earlier_from_db, from_db, offsets_from_db};
use super::files::Files;
use super::holds::{Held, Holds};
use super::schema::{self, SchemaError};
use super::worker::{self, Effects, Station, Worker};
use super::{Hooks, Shared, State, StateError, change, copies, lanes, times};
use crate::{LaneId, Position, Progress};

/// A database that has been read but is not yet written to: the log is opened in between.
#[derive(Debug)]
pub(crate) struct Opened {
    db: Connection,
    /// It is open to be read alone.
    is_peek: bool,
    /// Bytes that its write-ahead log may have.
    journal: i64,
    file: PathBuf,
    holds: Holds,
    /// The last run did not close it.
    pub(crate) unclean: bool,
    /// One more than the highest position that is named.
    pub(crate) at_least: u64,
}

// === impl Opened ===

impl Opened {
    /// Opens or makes the database. Blocking.
    pub(crate) fn open(file: &Path, must_exist: bool) -> Result<Self, SchemaError> {
        let found = schema::open(file, must_exist)?;
        let damaged = |error: StateError| match error {
            StateError::Sql(error) => SchemaError::Other(error),
            other => SchemaError::Unreadable(other.to_string()),
        };
        let clean: bool = found
            .db
            .query_row("SELECT clean FROM channel WHERE id = 1", [], |row| row.get(0))?;
        let (holds, at_least) = survey(&found.db).map_err(damaged)?;
        Ok(Self {
            db: found.db,
            is_peek: false,
            journal: i64::MAX,
            file: file.to_owned(),
            holds,
            unclean: !found.fresh && !clean,
            at_least,
        })
    }

    /// Reads a database that the last run closed cleanly, and changes no file: of thousands of Brokers that
    /// stay idle none is opened for writing. `None`: it is not such a one. Blocking.
    pub(crate) fn peek(file: &Path) -> Option<Self> {
        let db = schema::peek(file)?;
        let clean = db.query_row("SELECT clean FROM channel WHERE id = 1", [], |row| row.get(0));
        let (holds, at_least) = survey(&db).ok()?;
        clean.is_ok_and(|clean: bool| clean).then(|| Self {
            db,
            is_peek: true,
            journal: i64::MAX,
            file: file.to_owned(),
            holds,
            unclean: false,
            at_least,
        })
    }

    /// Opens it for writing, if it was only read. Blocking.
    pub(crate) fn prepare_to_write(&mut self) -> Result<(), SchemaError> {
        if self.is_peek {
            let journal = self.journal;
            *self = Self::open(&self.file, true)?;
            self.journal = journal;
            schema::bound_journal(&self.db, journal)?;
        }
        Ok(())
    }

    /// Bounds the write-ahead log on a volume of so many bytes to a 256th of it, so that many Brokers
    /// together leave the volume's reserve to events. Blocking.
    pub(crate) fn bound_journal(&mut self, volume: u64) -> Result<(), StateError> {
        self.journal = i64::try_from(volume / 256).unwrap_or(i64::MAX);
        if self.is_peek {
            return Ok(());
        }
        Ok(schema::bound_journal(&self.db, self.journal)?)
    }

    /// Notes durably that this run has not ended yet. Blocking.
    pub(crate) fn begin_run(&self) -> Result<(), StateError> {
        self.db
            .execute("UPDATE channel SET clean = 0 WHERE id = 1 AND clean = 1", [])?;
        Ok(())
    }

    /// Whether rows of work are due at some time.
    pub(crate) fn has_work(&self) -> Result<bool, StateError> {
        let has = "SELECT EXISTS (SELECT 1 FROM work)";
        Ok(self.db.query_row(has, [], |row| row.get(0))?)
    }

    /// The first offset that the router or a lane needs.
    pub(crate) fn lowest(&self) -> u64 {
        self.holds.lowest()
    }

    /// Puts the router at `oldest`: where the log begins, or, after the old state was thrown away, from where
    /// everything retained is read again. Blocking.
    pub(crate) fn begin_at(&mut self, oldest: u64) -> Result<(), StateError> {
        let mut effects = Effects::default();
        change::apply(
            &self.db,
            &Progress::router(Position {
                partition: 0,
                offset: oldest,
            })
            .into(),
            &mut effects,
        )?;
        self.holds.apply(&effects.holds);
        Ok(())
    }

    /// Whether [`Opened::take_over`] has anything to change.
    pub(crate) fn must_take_over(&self, ahead: i64, now: Timestamp) -> Result<bool, StateError> {
        times::must_take_over(&self.db, ahead, now)
    }

    /// Converts the times that the last run wrote to those of this run, whose wall clock is `ahead` of its
    /// steady time `now`. Blocking.
    pub(crate) fn take_over(&mut self, ahead: i64, now: Timestamp) -> Result<(), StateError> {
        if !self.must_take_over(ahead, now)? {
            return Ok(());
        }
        times::take_over(&self.db, ahead, now)?;
        // They include since when triggers are gone.
        (self.holds, _) = survey(&self.db)?;
        Ok(())
    }

    /// Makes it ready to be written to. If nothing is owed it may be `asleep`: the database is closed until
    /// there is something to write.
    pub(crate) fn start(self, hooks: Hooks, asleep: bool) -> Result<State, StateError> {
        if !asleep {
            self.begin_run()?;
        }
        let files = Files::of(&self.file)
            .and_then(|files| {
                if asleep {
                    Ok(files)
                } else {
                    files.opened().map(|()| files)
                }
            })
            .map_err(|error| StateError::Damaged(format!("its files cannot be looked at: {error}")))?;
        let noted = times::Noted::read(&self.db)?;
        let (sender, orders) = mpsc::channel(worker::QUEUE);
        let shared = Arc::new(Shared {
            holds: Mutex::new(self.holds),
            files,
            noted: Mutex::new(noted),
            commands: watch::Sender::new(0),
            is_open: AtomicBool::new(!asleep),
            is_resting: AtomicBool::new(asleep),
            // Who begins asleep has just been read.
            at_rest: Mutex::new(if asleep {
                Some((0, lanes::all(&self.db)?))
            } else {
                None
            }),
            openings: AtomicU64::new(0),
            progressed: Notify::new(),
            span: Span::current(),
        });
        let pool = hooks.pool.clone();
        let worker = Worker {
            db: (!asleep).then_some(self.db),
            journal: self.journal,
            orders,
            shared: shared.clone(),
            hooks,
        };
        Ok(State {
            orders: Mutex::new(Some(sender)),
            searches: Arc::default(),
            shared,
            pool,
            station: Arc::new(Station::new(worker)),
        })
    }
}

/// What the lanes hold, and one more than the highest position that any row names.
fn survey(db: &Connection) -> Result<(Holds, u64), StateError> {
    const HIGHEST: &str = "
        SELECT max(
            (SELECT coalesce(max(router), 0) FROM channel),
            (SELECT coalesce(max(start), 0) FROM lanes),
            (SELECT coalesce(max(cursor), 0) FROM lanes),
            (SELECT coalesce(max(position) + 1, 0) FROM work),
            (SELECT coalesce(max(position) + 1, 0) FROM parked),
            (SELECT coalesce(max(position) + 1, 0) FROM events))";
    let mut highest = from_db(db.query_row(HIGHEST, [], |row| row.get(0))?);
    let (router, orphaned): (_, Option<i64>) =
        db.query_row("SELECT router, orphaned FROM channel WHERE id = 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let mut held = vec![
        Held::Router(from_db(router)),
        Held::Copies(copies::bytes(db)?),
        Held::Parked(db.query_row("SELECT count(*) FROM parked", [], |row| row.get(0))?),
        Held::Orphaned(orphaned.map(Timestamp)),
    ];
    let mut statement =
        db.prepare("SELECT id, cursor, unsettled, trigger, orphaned, queued, earlier FROM lanes")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let cursor = row.get::<_, Option<i64>>(1)?.map(codec::position);
        let unsettled = offsets_from_db(&row.get::<_, Vec<u8>>(2)?)?;
        highest = unsettled
            .last()
            .map_or(highest, |last| highest.max(last.offset + 1));
        // Positions that an earlier filter judges are not given to events that come later.
        let earlier = earlier_from_db(row.get(6)?)?;
        highest = earlier
            .last()
            .map_or(highest, |last| highest.max(last.until.offset));
        let lane = LaneId(row.get(0)?);
        let queued = row.get::<_, Option<i64>>(5)?.map(codec::position);
        held.push(change::held(lane, cursor, queued, &unsettled));
        let trigger = codec::trigger(&row.get::<_, String>(3)?)?;
        held.push(Held::Known(
            lane,
            trigger,
            row.get::<_, Option<i64>>(4)?.map(Timestamp),
        ));
    }
    let mut holds = Holds::default();
    holds.apply(&held);
    Ok((holds, highest))
}
