//! Rows of work, read in the order they fall due.

use std::collections::HashSet;

use millrace_event::Timestamp;
use rusqlite::{Connection, Row};

use super::StateError;
use super::codec::{event, failures_from_db, position, stage_from_db, stage_to_db, to_db};
use crate::{LaneId, Work, WorkKey};

/// The bits of the column `suspect`.
const SUSPECT: i64 = 1;
const UNDECIDED: i64 = 2;

/// The value of the column `suspect` for a row.
pub(super) fn suspect_to_db(work: &Work) -> i64 {
    let bit = |is: bool, bit: i64| if is { bit } else { 0 };
    bit(work.suspect, SUSPECT) | bit(work.undecided, UNDECIDED)
}

/// The lane's rows due at or before `until`, earliest first.
pub(super) fn due(
    db: &Connection,
    lane: LaneId,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<Work>, StateError> {
    const DUE: &str = "
        SELECT lane, position, stage, attempt, due, open, crashes, suspect, failures, body
        FROM work WHERE lane = ?1 AND due <= ?2 ORDER BY due, position LIMIT ?3";
    let mut statement = db.prepare_cached(DUE)?;
    let mut rows = statement.query([lane.0, until.0, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut due = Vec::new();
    while let Some(row) = rows.next()? {
        due.push(work(row)?);
    }
    Ok(due)
}

/// The rows of these lanes and one position, by stage. Rows of other lanes are passed by unread.
pub(super) fn of(db: &Connection, lanes: &HashSet<LaneId>, offset: u64) -> Result<Vec<Work>, StateError> {
    const OF: &str = "
        SELECT lane, position, stage, attempt, due, open, crashes, suspect, failures, body
        FROM work WHERE position = ?1";
    let mut statement = db.prepare_cached(OF)?;
    let mut rows = statement.query([to_db(offset)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if lanes.contains(&LaneId(row.get(0)?)) {
            found.push(work(row)?);
        }
    }
    found.sort_by_key(|work| stage_to_db(work.key.stage));
    Ok(found)
}

/// The earliest due time later than `after`.
pub(super) fn next_due(
    db: &Connection,
    lane: LaneId,
    after: Timestamp,
) -> Result<Option<Timestamp>, StateError> {
    let next: Option<i64> = db
        .prepare_cached("SELECT min(due) FROM work WHERE lane = ?1 AND due > ?2")?
        .query_row([lane.0, after.0], |row| row.get(0))?;
    Ok(next.map(Timestamp))
}

fn work(row: &Row<'_>) -> Result<Work, StateError> {
    Ok(Work {
        key: WorkKey {
            lane: LaneId(row.get(0)?),
            position: position(row.get(1)?),
            stage: stage_from_db(row.get(2)?)?,
        },
        attempt: row.get(3)?,
        due: Timestamp(row.get(4)?),
        open: row.get(5)?,
        crashes: row.get(6)?,
        suspect: row.get::<_, i64>(7)? & SUSPECT != 0,
        undecided: row.get::<_, i64>(7)? & UNDECIDED != 0,
        failures: failures_from_db(&row.get::<_, Vec<u8>>(8)?),
        body: row
            .get::<_, Option<Vec<u8>>>(9)?
            .and_then(|stored| event(stored, "work")),
    })
}
