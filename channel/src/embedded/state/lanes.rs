//! Lanes as rows: found or made when triggers are admitted, forgotten when they are gone for good.

use millrace_event::{ObjectName, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::codec::{earlier_from_db, from_db, lane_state, offsets_from_db, position, to_db, trigger};
use super::holds::Held;
use super::worker::Effects;
use super::{StateError, change, copies, filters, times};
use crate::{Forgotten, Lane, LaneId, LaneSpec, LaneState};

/// Everything of a lane, with its counts: each is a range of an index.
const SELECT: &str = "
    SELECT id, trigger, uid, start, cursor, unsettled, paused, orphaned,
        (SELECT count(*) FROM work WHERE work.lane = lanes.id),
        (SELECT count(*) FROM parked WHERE parked.lane = lanes.id),
        (SELECT min(due) FROM work WHERE work.lane = lanes.id),
        queued, earlier
    FROM lanes";

/// Where new lanes begin, and what time it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneStart {
    /// The first position that is a new lane's own.
    pub(crate) start: u64,
    /// The steady time now: a lane that is replaced by another one is orphaned since then.
    pub(crate) now: Timestamp,
}

/// Every lane.
pub(super) fn all(db: &Connection) -> Result<Vec<Lane>, StateError> {
    let mut statement = db.prepare_cached(&format!("{SELECT} ORDER BY id"))?;
    let mut rows = statement.query([])?;
    let mut lanes = Vec::new();
    while let Some(row) = rows.next()? {
        lanes.push(lane(row)?);
    }
    Ok(lanes)
}

/// Finds or makes the lane of each spec and sets it active unless it is paused.
pub(super) fn open(
    db: &Connection,
    specs: &[LaneSpec],
    admission: LaneStart,
    effects: &mut Effects,
) -> Result<Vec<Lane>, StateError> {
    let router: i64 = db.query_row("SELECT router FROM channel WHERE id = 1", [], |row| row.get(0))?;
    specs
        .iter()
        .map(|spec| {
            let known = match find(db, spec)? {
                None if spec.resume => take_over(db, spec)?,
                known => known,
            };
            let id = match known {
                Some(id) => {
                    times::bring_forward(db, LaneId(id), admission.now.after(spec.longest_wait))?;
                    filters::admit(db, LaneId(id), &spec.filter, position(to_db(admission.start)))?;
                    id
                }
                None => make(db, spec, admission, router, effects)?,
            };
            db.prepare_cached("UPDATE lanes SET orphaned = NULL WHERE id = ?1 AND orphaned IS NOT NULL")?
                .execute([id])?;
            effects
                .holds
                .push(Held::Known(LaneId(id), spec.trigger.clone(), None));
            load(db, id)
        })
        .collect()
}

/// The lanes of these specs, if [`open`] would change nothing: all of them are there with their filters, none
/// is orphaned, and none has work that may have to be brought forward.
pub(super) fn unchanged(db: &Connection, specs: &[LaneSpec]) -> Result<Option<Vec<Lane>>, StateError> {
    let mut lanes = Vec::with_capacity(specs.len());
    for spec in specs {
        let Some(id) = find(db, spec)? else {
            return Ok(None);
        };
        let lane = load(db, id)?;
        let is_orphaned = matches!(lane.state, LaneState::Orphaned(_));
        if is_orphaned || lane.next_due.is_some() || !filters::has(db, lane.id, &spec.filter)? {
            return Ok(None);
        }
        lanes.push(lane);
    }
    Ok(Some(lanes))
}

/// The lane of that identity: the uid where there is one, else the newest of that name.
fn find(db: &Connection, spec: &LaneSpec) -> Result<Option<i64>, StateError> {
    let found = db
        .prepare_cached(
            "SELECT id FROM lanes WHERE trigger = ?1 AND (?2 IS NULL OR uid = ?2) ORDER BY id DESC LIMIT 1",
        )?
        .query_row(params![spec.trigger.to_string(), spec.uid], |row| row.get(0))
        .optional()?;
    Ok(found)
}

/// The newest lane of that name becomes that of the spec's uid.
fn take_over(db: &Connection, spec: &LaneSpec) -> Result<Option<i64>, StateError> {
    const TAKE_OVER: &str = "
        UPDATE lanes SET uid = ?2 WHERE id = (SELECT max(id) FROM lanes WHERE trigger = ?1) RETURNING id";
    let taken = db
        .prepare_cached(TAKE_OVER)?
        .query_row(params![spec.trigger.to_string(), spec.uid], |row| row.get(0))
        .optional()?;
    Ok(taken)
}

/// A new lane. One of the same name with another uid is orphaned: its trigger was deleted and made anew.
fn make(
    db: &Connection,
    spec: &LaneSpec,
    admission: LaneStart,
    router: i64,
    effects: &mut Effects,
) -> Result<i64, StateError> {
    let name = spec.trigger.to_string();
    let replaced: Vec<i64> = db
        .prepare_cached(
            "UPDATE lanes SET orphaned = ?2 WHERE trigger = ?1 AND orphaned IS NULL RETURNING id",
        )?
        .query_map(params![name, admission.now.0], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    effects.holds.extend(
        replaced
            .into_iter()
            .map(|id| Held::Known(LaneId(id), spec.trigger.clone(), Some(admission.now))),
    );
    let start = to_db(admission.start);
    // Begins behind the router only when it shall read what the router has passed.
    let cursor = (start < router).then_some(start);
    let uid = spec
        .uid
        .clone()
        .unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)));
    db.prepare_cached(
        "INSERT INTO lanes (trigger, uid, start, cursor, unsettled, paused, filter)
         VALUES (?1, ?2, ?3, ?4, x'', 0, ?5)",
    )?
    .execute(params![name, uid, start, cursor, spec.filter])?;
    let id = db.last_insert_rowid();
    effects
        .holds
        .push(Held::Lane(LaneId(id), cursor.map(|_| admission.start)));
    Ok(id)
}

/// Forgets a lane; says how many rows of work went with it.
pub(super) fn drop_lane(db: &Connection, id: LaneId, effects: &mut Effects) -> Result<u64, StateError> {
    let rows = drop_work(db, id, effects)?;
    let gone = db
        .prepare_cached("DELETE FROM lanes WHERE id = ?1")?
        .execute([id.0])?;
    effects.holds.push(Held::Forgotten(id));
    effects.command |= gone > 0;
    Ok(rows)
}

fn drop_work(db: &Connection, id: LaneId, effects: &mut Effects) -> Result<u64, StateError> {
    let rows = db
        .prepare_cached("DELETE FROM work WHERE lane = ?1")?
        .execute([id.0])?;
    if rows > 0 {
        copies::sweep(db, effects)?;
        effects.command = true;
    }
    Ok(rows as u64)
}

/// Forgets a lane if its trigger is (still) gone; returns how many rows of work went with it.
pub(super) fn drop_orphan(
    db: &Connection,
    id: LaneId,
    effects: &mut Effects,
) -> Result<Option<u64>, StateError> {
    let is_orphan = db
        .prepare_cached("SELECT 1 FROM lanes WHERE id = ?1 AND orphaned IS NOT NULL")?
        .exists([id.0])?;
    if !is_orphan {
        return Ok(None);
    }
    drop_lane(db, id, effects).map(Some)
}

/// Forgets the lanes of a trigger that is gone.
pub(super) fn forget(
    db: &Connection,
    trigger: &ObjectName,
    effects: &mut Effects,
) -> Result<Forgotten, StateError> {
    of_orphans(db, trigger, |lane| drop_lane(db, lane, effects))
}

/// Forgets the work of a trigger that is gone; its lanes stay.
pub(super) fn forget_work(
    db: &Connection,
    trigger: &ObjectName,
    effects: &mut Effects,
) -> Result<Forgotten, StateError> {
    of_orphans(db, trigger, |lane| drop_work(db, lane, effects))
}

/// Does this with each lane of a trigger that is gone, and adds up the rows of work that go.
fn of_orphans(
    db: &Connection,
    trigger: &ObjectName,
    mut drop: impl FnMut(LaneId) -> Result<u64, StateError>,
) -> Result<Forgotten, StateError> {
    let lanes: Vec<(i64, bool)> = db
        .prepare_cached("SELECT id, orphaned IS NOT NULL FROM lanes WHERE trigger = ?1")?
        .query_map([trigger.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    if lanes.is_empty() {
        return Ok(Forgotten::Unknown);
    }
    let mut orphans = lanes.into_iter().filter(|(_, is_orphan)| *is_orphan).peekable();
    if orphans.peek().is_none() {
        return Ok(Forgotten::InUse);
    }
    let rows = orphans.try_fold(0, |rows, (id, _)| drop(LaneId(id)).map(|more| rows + more))?;
    Ok(Forgotten::Rows(rows))
}

/// Sets a lane's state; says whether there is such a lane.
pub(super) fn set_state(
    db: &Connection,
    id: LaneId,
    state: LaneState,
    effects: &mut Effects,
) -> Result<(), StateError> {
    if state != LaneState::Active {
        stand_still(db, id, effects)?;
    }
    let changed = match state {
        LaneState::Active => db
            .prepare_cached("UPDATE lanes SET paused = 0 WHERE id = ?1")?
            .execute([id.0])?,
        LaneState::Paused => db
            .prepare_cached("UPDATE lanes SET paused = 1 WHERE id = ?1")?
            .execute([id.0])?,
        LaneState::Orphaned(since) => db
            .prepare_cached("UPDATE lanes SET orphaned = ?2 WHERE id = ?1")?
            .execute([id.0, since.0])?,
    };
    effects.command |= changed > 0;
    if changed > 0 {
        let lane = load(db, id.0)?;
        let since = match lane.state {
            LaneState::Orphaned(since) => Some(since),
            LaneState::Active | LaneState::Paused => None,
        };
        effects.holds.push(Held::Known(id, lane.trigger, since));
    }
    Ok(())
}

/// A lane that stops follows the router no longer: it stays where the router is now.
fn stand_still(db: &Connection, id: LaneId, effects: &mut Effects) -> Result<(), StateError> {
    const STAND: &str = "
        UPDATE lanes SET cursor = max(start, (SELECT router FROM channel WHERE id = 1))
        WHERE id = ?1 AND cursor IS NULL";
    if db.prepare_cached(STAND)?.execute([id.0])? > 0 {
        let stopped = load(db, id.0)?;
        effects.holds.push(change::held(
            id,
            stopped.cursor,
            stopped.queued,
            &stopped.unsettled,
        ));
    }
    Ok(())
}

fn load(db: &Connection, id: i64) -> Result<Lane, StateError> {
    let mut statement = db.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
    let mut rows = statement.query([id])?;
    let row = rows
        .next()?
        .ok_or_else(|| StateError::Damaged(format!("lane {id} is not there")))?;
    lane(row)
}

fn lane(row: &Row<'_>) -> Result<Lane, StateError> {
    Ok(Lane {
        id: LaneId(row.get(0)?),
        trigger: trigger(
            row.get_ref(1)?
                .as_str()
                .map_err(|error| StateError::Damaged(error.to_string()))?,
        )?,
        uid: row.get(2)?,
        start: position(row.get(3)?),
        cursor: row.get::<_, Option<i64>>(4)?.map(position),
        queued: row.get::<_, Option<i64>>(11)?.map(position),
        unsettled: offsets_from_db(&row.get::<_, Vec<u8>>(5)?)?,
        earlier: earlier_from_db(row.get(12)?)?,
        state: lane_state(row.get(6)?, row.get(7)?),
        deferred: from_db(row.get(8)?),
        parked: from_db(row.get(9)?),
        covered: Vec::new(),
        next_due: row.get::<_, Option<i64>>(10)?.map(Timestamp),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Opened;
    use super::super::testing::*;
    use super::*;
    use crate::{Change, Progress};

    #[tokio::test]
    async fn ten_thousand_lanes_open_in_one_step_and_are_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let hooks = idle_hooks();
        let commits = hooks.commits.clone();
        let state = Opened::open(&folder.path().join("state.db"), false)
            .unwrap()
            .start(hooks, false)
            .unwrap();
        let specs: Vec<_> = (0..10_000).map(|n| spec(&format!("t{n}"))).collect();
        let made = state.open_lanes(specs.clone(), admission(3)).await.unwrap();
        assert_eq!(commits.get(), 1);
        let rows = made
            .iter()
            .step_by(2)
            .map(|lane| Change::Put(work(lane.id, 1, 0, 50)))
            .collect();
        state.commit(rows).await.unwrap();
        let again = state.open_lanes(specs, admission(9)).await.unwrap();
        for (n, (made, again)) in made.iter().zip(&again).enumerate() {
            assert_eq!((made.id, &made.uid, made.start), (again.id, &again.uid, at(3)));
            assert_eq!(again.deferred, u64::from(n % 2 == 0));
            assert_eq!(again.next_due, (n % 2 == 0).then_some(Timestamp(50)));
        }
        assert_eq!(state.lanes().await.unwrap(), again);
    }

    #[tokio::test]
    async fn a_new_uid_is_a_new_lane_and_orphans_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let state = start(folder.path());
        let named = |uid: &str| LaneSpec {
            uid: Some(uid.to_owned()),
            ..spec("a")
        };
        let old = state
            .open_lanes(vec![named("one")], admission(0))
            .await
            .unwrap()
            .remove(0);
        let new = state
            .open_lanes(vec![named("two")], admission(8))
            .await
            .unwrap()
            .remove(0);
        assert_ne!(old.id, new.id);
        assert_eq!((new.start, new.state), (at(8), LaneState::Active));
        let all = state.lanes().await.unwrap();
        assert_eq!(all[0].state, LaneState::Orphaned(Timestamp(1_000)));
        // By name alone it is the newest.
        assert_eq!(
            state.open_lanes(vec![spec("a")], admission(9)).await.unwrap()[0].id,
            new.id
        );
    }

    #[tokio::test]
    async fn a_lane_that_stops_stays_where_the_router_was() {
        for state in [LaneState::Paused, LaneState::Orphaned(Timestamp(7))] {
            let folder = tempfile::tempdir().unwrap();
            let db = start(folder.path());
            let lane = db
                .open_lanes(vec![spec("a")], admission(0))
                .await
                .unwrap()
                .remove(0);
            db.commit(vec![Progress::router(at(10)).into()]).await.unwrap();
            db.set_lane_state(lane.id, state).await.unwrap();
            db.commit(vec![Progress::router(at(20)).into()]).await.unwrap();
            let back = db.open_lanes(vec![spec("a")], admission(20)).await.unwrap();
            assert_eq!((back[0].cursor, db.lowest()), (Some(at(10)), 10), "{state:?}");
        }
    }

    #[tokio::test]
    async fn only_a_trigger_that_is_gone_is_forgotten_with_its_work() {
        let folder = tempfile::tempdir().unwrap();
        let state = start(folder.path());
        let lanes = state
            .open_lanes(vec![spec("a"), spec("b")], admission(0))
            .await
            .unwrap();
        let name = |trigger: &str| spec(trigger).trigger;
        assert_eq!(state.forget(name("none")).await.unwrap(), Forgotten::Unknown);
        assert_eq!(state.forget(name("a")).await.unwrap(), Forgotten::InUse);
        assert_eq!(state.drop_orphan(lanes[0].id).await.unwrap(), None);
        state
            .commit(vec![
                Change::Put(work(lanes[0].id, 1, 0, 50)),
                Change::Put(work(lanes[1].id, 1, 0, 50)),
                Progress::router(at(10)).into(),
            ])
            .await
            .unwrap();
        for lane in &lanes {
            state
                .set_lane_state(lane.id, LaneState::Orphaned(Timestamp(7)))
                .await
                .unwrap();
        }
        state.commit(vec![Progress::router(at(20)).into()]).await.unwrap();
        assert_eq!((state.lowest(), state.hindmost(9).triggers.len()), (10, 2));
        let mut commands = state.commands();
        commands.mark_unchanged();
        assert_eq!(state.forget(name("a")).await.unwrap(), Forgotten::Rows(1));
        assert!(commands.has_changed().unwrap(), "the dispatcher is told");
        assert_eq!(state.hindmost(9).triggers, [name("b")]);
        let orphan = state.longest_gone().unwrap();
        assert_eq!((orphan.lane, orphan.from), (lanes[1].id, 10));
        // Orphans are still known after a restart.
        drop(state);
        let state = start(folder.path());
        assert_eq!(state.longest_gone(), Some(orphan));
        assert_eq!(state.drop_orphan(lanes[1].id).await.unwrap(), Some(1));
        assert_eq!((state.lowest(), state.longest_gone()), (20, None));
        assert_eq!(state.lanes().await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_lane_that_begins_behind_the_router_reads_on_from_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let state = start(folder.path());
        state.commit(vec![Progress::router(at(10)).into()]).await.unwrap();
        let lanes = state.open_lanes(vec![spec("late")], admission(4)).await.unwrap();
        assert_eq!((lanes[0].cursor, state.lowest()), (Some(at(4)), 4));
        state.drop_lane(lanes[0].id).await.unwrap();
        assert_eq!(state.lowest(), 10);
    }
}
