//! Copies of events whose segment was deleted while rows of work or parked rows still name them.

use millrace_event::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::StateError;
use super::codec::{self, from_db, to_db};
use super::holds::Held;
use super::worker::Effects;
use crate::{Position, Record};

/// The offsets in `from..to` that rows name.
pub(super) fn named(db: &Connection, from: u64, to: u64) -> Result<Vec<u64>, StateError> {
    const NAMED: &str = "
        SELECT position FROM work WHERE position >= ?1 AND position < ?2
        UNION SELECT position FROM parked WHERE position >= ?1 AND position < ?2";
    let mut statement = db.prepare_cached(NAMED)?;
    let rows = statement.query_map([to_db(from), to_db(to)], |row| row.get(0))?;
    Ok(rows.map(|offset| offset.map(from_db)).collect::<Result<_, _>>()?)
}

/// Keeps an event; what is kept already stays as it is.
pub(super) fn keep(db: &Connection, record: &Record, effects: &mut Effects) -> Result<(), StateError> {
    let event = record.event.stored();
    let kept = db
        .prepare_cached("INSERT OR IGNORE INTO events (position, appended, event) VALUES (?1, ?2, ?3)")?
        .execute(params![
            to_db(record.position.offset),
            record.appended.0,
            event.as_ref()
        ])?;
    if kept > 0 {
        let bytes = i64::try_from(event.len()).unwrap_or(i64::MAX);
        effects.holds.push(Held::Copies(bytes));
    }
    Ok(())
}

/// Bytes of all copies.
pub(super) fn bytes(db: &Connection) -> Result<i64, StateError> {
    const BYTES: &str = "SELECT coalesce(sum(length(event)), 0) FROM events";
    Ok(db.query_row(BYTES, [], |row| row.get(0))?)
}

/// Drops the copy at an offset unless a row still names it.
pub(super) fn release(db: &Connection, offset: u64, effects: &mut Effects) -> Result<(), StateError> {
    const RELEASE: &str = "
        DELETE FROM events WHERE position = ?1
            AND NOT EXISTS (SELECT 1 FROM work WHERE work.position = ?1)
            AND NOT EXISTS (SELECT 1 FROM parked WHERE parked.position = ?1)
            RETURNING length(event)";
    let mut statement = db.prepare_cached(RELEASE)?;
    let mut gone = statement.query([to_db(offset)])?;
    while let Some(row) = gone.next()? {
        effects.holds.push(Held::Copies(-row.get::<_, i64>(0)?));
    }
    Ok(())
}

/// Drops every copy that no row names any more.
pub(super) fn sweep(db: &Connection, effects: &mut Effects) -> Result<(), StateError> {
    const SWEEP: &str = "
        DELETE FROM events
            WHERE NOT EXISTS (SELECT 1 FROM work WHERE work.position = events.position)
            AND NOT EXISTS (SELECT 1 FROM parked WHERE parked.position = events.position)";
    let before = bytes(db)?;
    db.prepare_cached(SWEEP)?.execute([])?;
    effects.holds.push(Held::Copies(bytes(db)? - before));
    Ok(())
}

/// Which of the next `page` copies above offset `after` (-1: from the beginning) hold these bytes somewhere,
/// and where to go on.
pub(super) fn holding(
    db: &Connection,
    bytes: &[u8],
    after: i64,
    page: usize,
) -> Result<(Vec<u64>, Option<i64>), StateError> {
    const PAGE: &str = "
        SELECT position, instr(event, ?1) > 0 FROM events WHERE position > ?2 ORDER BY position LIMIT ?3";
    let limit = i64::try_from(page).unwrap_or(i64::MAX);
    let mut statement = db.prepare_cached(PAGE)?;
    let mut rows = statement.query(params![bytes, after, limit])?;
    let (mut found, mut last, mut seen) = (Vec::new(), after, 0);
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        seen += 1;
        if row.get(1)? {
            found.push(from_db(last));
        }
    }
    Ok((found, (seen == page).then_some(last)))
}

/// The copy at an offset.
pub(super) fn get(db: &Connection, offset: u64) -> Result<Option<Record>, StateError> {
    let found: Option<(i64, Vec<u8>)> = db
        .prepare_cached("SELECT appended, event FROM events WHERE position = ?1")?
        .query_row([to_db(offset)], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((appended, stored)) = found else {
        return Ok(None);
    };
    Ok(codec::event(stored, "events").map(|event| Record {
        position: Position { partition: 0, offset },
        appended: Timestamp(appended),
        event,
    }))
}
