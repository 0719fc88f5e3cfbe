//! The filters of a lane: the present one, and those that judge what the lane read before.

use rusqlite::{Connection, params};

use super::StateError;
use super::codec::{earlier_from_db, earlier_to_db, position};
use crate::{EarlierFilter, LaneId, Position};

/// Where a lane stands, and the filters by which it judges.
struct Judging {
    cursor: Option<Position>,
    queued: Option<Position>,
    /// `None`: it is not known, since the lane is older than this column.
    filter: Option<String>,
    earlier: Vec<EarlierFilter>,
    /// Its trigger is gone, or somebody has paused it.
    is_halted: bool,
    /// Where the router is.
    router: Position,
}

/// From this position on another filter judges the lane's events.
pub(super) fn change(db: &Connection, lane: LaneId, from: Position, filter: &str) -> Result<(), StateError> {
    replace(db, lane, filter, |_| from)
}

/// The filter of a trigger that is admitted. `head`: the position that the next event gets.
pub(super) fn admit(db: &Connection, lane: LaneId, filter: &str, head: Position) -> Result<(), StateError> {
    replace(db, lane, filter, |judging| {
        // One that had kept up had read all that was accepted.
        let stood = judging
            .cursor
            .filter(|cursor| judging.is_halted || *cursor < judging.router);
        stood.unwrap_or(head)
    })
}

/// Whether this is the lane's present filter.
pub(super) fn has(db: &Connection, lane: LaneId, filter: &str) -> Result<bool, StateError> {
    Ok(judging(db, lane)?.is_some_and(|judging| judging.filter.as_deref() == Some(filter)))
}

/// Puts another filter in the place of the present one. `from` tells from where it counts.
fn replace(
    db: &Connection,
    lane: LaneId,
    filter: &str,
    from: impl Fn(&Judging) -> Position,
) -> Result<(), StateError> {
    let Some(judging) = judging(db, lane)? else {
        return Ok(());
    };
    if judging.filter.as_deref() == Some(filter) {
        return Ok(());
    }
    let from = from(&judging);
    let reads_on = judging.cursor.unwrap_or(judging.router);
    let begins = judging.queued.map_or(reads_on, |queued| queued.min(reads_on));
    let mut earlier = judging.earlier;
    if let Some(present) = judging.filter {
        EarlierFilter::replace(&mut earlier, present, from, begins);
    }
    db.prepare_cached("UPDATE lanes SET filter = ?2, earlier = ?3 WHERE id = ?1")?
        .execute(params![lane.0, filter, earlier_to_db(&earlier)])?;
    Ok(())
}

fn judging(db: &Connection, lane: LaneId) -> Result<Option<Judging>, StateError> {
    const JUDGING: &str = "
        SELECT cursor, queued, filter, earlier, paused OR orphaned IS NOT NULL,
            (SELECT router FROM channel WHERE id = 1)
        FROM lanes WHERE id = ?1";
    let mut statement = db.prepare_cached(JUDGING)?;
    let mut rows = statement.query([lane.0])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some(Judging {
        cursor: row.get::<_, Option<i64>>(0)?.map(position),
        queued: row.get::<_, Option<i64>>(1)?.map(position),
        filter: row.get(2)?,
        earlier: earlier_from_db(row.get(3)?)?,
        is_halted: row.get(4)?,
        router: position(row.get(5)?),
    }))
}
