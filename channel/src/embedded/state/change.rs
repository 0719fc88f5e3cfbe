//! The changes of the contract, each applied so that doing it again changes nothing.

use rusqlite::{Connection, OptionalExtension, params};

use super::codec::{failures_to_db, offsets_to_db, stage_to_db, to_db};
use super::holds::Held;
use super::work::suspect_to_db;
use super::worker::Effects;
use super::{StateError, copies, filters};
use crate::{Change, LaneId, LaneProgress, Position, Progress, Work, WorkKey};

/// Applies one change. A change for a lane that is gone does nothing: its debts went with it.
pub(super) fn apply(db: &Connection, change: &Change, effects: &mut Effects) -> Result<(), StateError> {
    match change {
        Change::Filter { lane, from, filter } => filters::change(db, *lane, *from, filter),
        Change::Progress(made) => progress(db, made, effects),
        Change::Put(work) => put(db, work),
        Change::Advance { from, to } => {
            remove(db, from)?;
            put(db, to)
        }
        Change::Complete(key) => {
            remove(db, key)?;
            copies::release(db, key.position.offset, effects)
        }
        Change::Park { .. } => park(db, change, effects),
    }
}

/// Makes or replaces a row, whatever was there (a redrive begins again at attempt 0).
pub(super) fn replace(db: &Connection, work: &Work) -> Result<(), StateError> {
    remove(db, &work.key)?;
    put(db, work)
}

fn progress(db: &Connection, made: &Progress, effects: &mut Effects) -> Result<(), StateError> {
    for lane in &made.lanes {
        of_lane(db, lane, effects)?;
    }
    made.router.map_or(Ok(()), |at| router(db, at, effects))
}

fn router(db: &Connection, at: Position, effects: &mut Effects) -> Result<(), StateError> {
    db.prepare_cached("UPDATE channel SET router = ?1 WHERE id = 1")?
        .execute([to_db(at.offset)])?;
    effects.holds.push(Held::Router(at.offset));
    Ok(())
}

fn of_lane(db: &Connection, made: &LaneProgress, effects: &mut Effects) -> Result<(), StateError> {
    let LaneProgress {
        lane,
        cursor,
        queued,
        unsettled,
    } = made;
    let changed = db
        .prepare_cached("UPDATE lanes SET cursor = ?2, queued = ?3, unsettled = ?4 WHERE id = ?1")?
        .execute(params![
            lane.0,
            cursor.map(|at| to_db(at.offset)),
            queued.map(|at| to_db(at.offset)),
            offsets_to_db(unsettled)
        ])?;
    if changed > 0 {
        effects.holds.push(held(*lane, *cursor, *queued, unsettled));
    }
    Ok(())
}

/// What a lane with this progress needs of the log.
pub(super) fn held(
    lane: LaneId,
    cursor: Option<Position>,
    queued: Option<Position>,
    unsettled: &[Position],
) -> Held {
    let lowest = unsettled
        .first()
        .into_iter()
        .chain(&queued)
        .chain(&cursor)
        .map(|at| at.offset)
        .min();
    Held::Lane(lane, lowest)
}

/// An attempt count only rises: a row that says less than the stored one is old news.
fn put(db: &Connection, work: &Work) -> Result<(), StateError> {
    const PUT: &str = "
        INSERT INTO work (lane, position, stage, attempt, due, open, crashes, suspect, failures, body)
        SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 WHERE EXISTS (SELECT 1 FROM lanes WHERE id = ?1)
        ON CONFLICT (lane, position, stage) DO UPDATE SET
            attempt = excluded.attempt, due = excluded.due, open = excluded.open, crashes = excluded.crashes,
            suspect = excluded.suspect, failures = excluded.failures, body = excluded.body
        WHERE excluded.attempt >= work.attempt";
    db.prepare_cached(PUT)?.execute(params![
        work.key.lane.0,
        to_db(work.key.position.offset),
        stage_to_db(work.key.stage),
        work.attempt,
        work.due.0,
        work.open,
        work.crashes,
        suspect_to_db(work),
        failures_to_db(&work.failures),
        work.body.as_ref().map(|event| event.stored().as_ref()),
    ])?;
    Ok(())
}

fn remove(db: &Connection, key: &WorkKey) -> Result<(), StateError> {
    db.prepare_cached("DELETE FROM work WHERE lane = ?1 AND position = ?2 AND stage = ?3")?
        .execute([key.lane.0, to_db(key.position.offset), stage_to_db(key.stage)])?;
    Ok(())
}

/// Parking the same key again keeps the id that people may already have seen.
fn park(db: &Connection, change: &Change, effects: &mut Effects) -> Result<(), StateError> {
    const KNOWN: &str = "SELECT 1 FROM parked WHERE lane = ?1 AND position = ?2 AND stage = ?3";
    const PARK: &str = "
        INSERT INTO parked (salt, lane, trigger, position, stage, reason, since, attempts, failures, body)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
        ON CONFLICT (lane, position, stage) DO UPDATE SET
            reason = excluded.reason, since = excluded.since, attempts = excluded.attempts,
            failures = excluded.failures, body = excluded.body";
    let Change::Park {
        key,
        reason,
        since,
        attempts,
        failures,
        body,
    } = change
    else {
        return Ok(());
    };
    let trigger: Option<String> = db
        .prepare_cached("SELECT trigger FROM lanes WHERE id = ?1")?
        .query_row([key.lane.0], |row| row.get(0))
        .optional()?;
    let Some(trigger) = trigger else { return Ok(()) };
    remove(db, key)?;
    let known = [key.lane.0, to_db(key.position.offset), stage_to_db(key.stage)];
    if !db.prepare_cached(KNOWN)?.exists(known)? {
        effects.holds.push(Held::Parked(1));
    }
    db.prepare_cached(PARK)?.execute(params![
        fastrand::u32(..),
        key.lane.0,
        trigger,
        to_db(key.position.offset),
        stage_to_db(key.stage),
        reason,
        since.0,
        attempts,
        failures_to_db(failures),
        body.as_ref().map(|event| event.stored().as_ref()),
    ])?;
    Ok(())
}
