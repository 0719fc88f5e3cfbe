//! Parked events as rows. Their event stays in the log, or in the copies, unless it is a reply.

use std::collections::HashSet;

use millrace_event::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::codec::{event, failures_from_db, from_db, position, stage_from_db, stage_to_db, to_db, trigger};
use super::holds::Held;
use super::worker::Effects;
use super::{StateError, change, copies};
use crate::{LaneId, Parked, ParkedQuery};

/// A parked row's number and its salt: together its id, which sorts by the number, so that a page goes on
/// after a row that has been dropped meanwhile.
type Id = (u32, u32);

const SELECT: &str = "
    SELECT seq, salt, lane, trigger, position, stage, reason, since, attempts, failures, body FROM parked";

/// A page of parked rows, in order of parking. `event` is filled only where the row has a body.
pub(super) fn list(db: &Connection, query: &ParkedQuery) -> Result<Vec<Parked>, StateError> {
    let after = match query.after.as_deref().map(parse) {
        None => 0,
        Some(Some((seq, _))) => seq,
        // Not an id of ours: nothing comes after it.
        Some(None) => return Ok(Vec::new()),
    };
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let name = query.trigger.as_ref().map(ToString::to_string);
    let (filter, name) = match &name {
        Some(name) => ("WHERE trigger = ?3 AND seq > ?1", Some(name)),
        None => ("WHERE seq > ?1 AND ?3 IS NULL", None),
    };
    let mut statement = db.prepare_cached(&format!("{SELECT} {filter} ORDER BY seq LIMIT ?2"))?;
    let mut rows = statement.query(params![after, limit, name])?;
    let mut page = Vec::new();
    while let Some(row) = rows.next()? {
        page.push(parked(row)?);
    }
    Ok(page)
}

/// One parked row.
pub(super) fn get(db: &Connection, id: &str) -> Result<Option<Parked>, StateError> {
    let Some((seq, salt)) = parse(id) else {
        return Ok(None);
    };
    let mut statement = db.prepare_cached(&format!("{SELECT} WHERE seq = ?1 AND salt = ?2"))?;
    let mut rows = statement.query([seq, salt])?;
    rows.next()?.map(parked).transpose()
}

/// The parked rows of these lanes and one position, by stage. Rows of other lanes are passed by unread.
pub(super) fn of(db: &Connection, lanes: &HashSet<LaneId>, offset: u64) -> Result<Vec<Parked>, StateError> {
    let mut statement = db.prepare_cached(&format!("{SELECT} WHERE position = ?1"))?;
    let mut rows = statement.query([to_db(offset)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if lanes.contains(&LaneId(row.get("lane")?)) {
            found.push(parked(row)?);
        }
    }
    found.sort_by_key(|parked| stage_to_db(parked.stage));
    Ok(found)
}

/// Makes work of a parked row again, in one step.
pub(super) fn redrive(
    db: &Connection,
    id: &str,
    now: Timestamp,
    effects: &mut Effects,
) -> Result<bool, StateError> {
    let Some(parked) = get(db, id)? else {
        return Ok(false);
    };
    let lane: Option<i64> = db
        .prepare_cached("SELECT id FROM lanes WHERE id = ?1")?
        .query_row([parked.lane.0], |row| row.get(0))
        .optional()?;
    if lane.is_none() {
        return Err(StateError::LaneGone(parked.trigger));
    }
    change::replace(db, &parked.redriven(now))?;
    delete(db, id, effects)?;
    effects.command = true;
    Ok(true)
}

/// Drops a parked row for good.
pub(super) fn drop_parked(db: &Connection, id: &str, effects: &mut Effects) -> Result<bool, StateError> {
    let Some(offset) = delete(db, id, effects)? else {
        return Ok(false);
    };
    copies::release(db, from_db(offset), effects)?;
    effects.command = true;
    Ok(true)
}

fn delete(db: &Connection, id: &str, effects: &mut Effects) -> Result<Option<i64>, StateError> {
    let Some((seq, salt)) = parse(id) else {
        return Ok(None);
    };
    let offset = db
        .prepare_cached("DELETE FROM parked WHERE seq = ?1 AND salt = ?2 RETURNING position")?
        .query_row([seq, salt], |row| row.get(0))
        .optional()?;
    if offset.is_some() {
        effects.holds.push(Held::Parked(-1));
    }
    Ok(offset)
}

fn parse(id: &str) -> Option<Id> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if id.len() != 16 || !id.bytes().all(lower) {
        return None;
    }
    Some((
        u32::from_str_radix(&id[..8], 16).ok()?,
        u32::from_str_radix(&id[8..], 16).ok()?,
    ))
}

fn parked(row: &Row<'_>) -> Result<Parked, StateError> {
    let (seq, salt): Id = (row.get(0)?, row.get(1)?);
    Ok(Parked {
        id: format!("{seq:08x}{salt:08x}"),
        lane: LaneId(row.get(2)?),
        trigger: trigger(&row.get::<_, String>(3)?)?,
        position: position(row.get(4)?),
        stage: stage_from_db(row.get(5)?)?,
        reason: row.get(6)?,
        since: Timestamp(row.get(7)?),
        attempts: row.get(8)?,
        failures: failures_from_db(&row.get::<_, Vec<u8>>(9)?),
        event: row
            .get::<_, Option<Vec<u8>>>(10)?
            .and_then(|stored| event(stored, "parked")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sixteen_lower_case_hex_digits_are_an_id() {
        assert_eq!(parse("0000000a000000ff"), Some((10, 255)));
        for wrong in [
            "",
            "0000000a000000f",
            "0000000a000000fff",
            "0000000A000000ff",
            "+000000a000000ff",
            "0000000é000000f",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
