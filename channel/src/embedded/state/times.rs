//! Steady times on disk: converts those of the last run to those of this run.
//!
//! A row holds its due time in the steady time of the process that wrote it. `ahead` tells by how much the
//! wall clock was ahead of that time. So a jump of the wall clock costs one small write, however many rows
//! there are. The rows are changed when the next process opens them, if the clock has jumped at all.

use std::time::Duration;

use millrace_event::Timestamp;
use rusqlite::Connection;

use super::StateError;
use crate::LaneId;

/// Times beyond this are not moved: they mean never, and must not overflow.
const NEVER: i64 = i64::MAX / 2;
/// How often the wall clock's time is written down while it differs from the clock at the start.
const NOTED_AGAIN: Duration = Duration::from_secs(60);

/// How far the wall clock was ahead of the steady time, as a process wrote it down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Noted {
    ahead: i64,
    /// What the wall clock showed then; `None` when that was not written down.
    wall: Option<Timestamp>,
}

// === impl Noted ===

impl Noted {
    pub(super) fn read(db: &Connection) -> Result<Self, StateError> {
        let noted = db.query_row("SELECT ahead, noted FROM channel WHERE id = 1", [], |row| {
            Ok(Self {
                ahead: row.get(0)?,
                wall: row.get::<_, Option<i64>>(1)?.map(Timestamp),
            })
        })?;
        Ok(noted)
    }

    /// Whether this note still serves the next process: its `ahead` is the present one, and while that is not
    /// zero the noted wall time is recent. A recent one reveals whether the clock was put right before that
    /// process started.
    pub(super) fn holds(&self, ahead: i64, wall: Timestamp) -> bool {
        let fresh = self.wall.is_some_and(|noted| wall.since(noted) < NOTED_AGAIN);
        self.ahead == ahead && (ahead == 0 || fresh)
    }

    /// Whether the clock was set back to rights before a process that starts at wall time `wall`. It was if
    /// `wall` is nearer to the noted steady time than to the noted wall time.
    fn is_undone(&self, wall: Timestamp) -> bool {
        let distance = |to: Timestamp| wall.since(to).max(to.since(wall));
        self.wall.is_some_and(|noted| {
            let steady = Timestamp(noted.0.saturating_sub(self.ahead));
            distance(steady) < distance(noted)
        })
    }
}

/// Whether [`take_over`] has anything to change.
pub(super) fn must_take_over(db: &Connection, ahead: i64, now: Timestamp) -> Result<bool, StateError> {
    const IN_THE_FUTURE: &str = "
        SELECT EXISTS (SELECT 1 FROM lanes WHERE orphaned > ?1)
            OR EXISTS (SELECT 1 FROM channel WHERE orphaned > ?1)";
    if !Noted::read(db)?.holds(ahead, Timestamp(now.0.saturating_add(ahead))) {
        return Ok(true);
    }
    Ok(db.query_row(IN_THE_FUTURE, [now.0], |row| row.get(0))?)
}

/// Converts the stored times to those of this run, whose wall clock is `ahead` of its steady time `now`.
///
/// If the clock was put right while no process ran, it continues from the old steady time, and the rows are
/// right as they are. After a long stop the two cases look alike. Then a clock that was set back counts as
/// put right: rows may become due too late (by a bounded time), but never too early.
pub(super) fn take_over(db: &Connection, ahead: i64, now: Timestamp) -> Result<(), StateError> {
    let before = Noted::read(db)?;
    let wall = Timestamp(now.0.saturating_add(ahead));
    let by = match before.is_undone(wall) {
        true => 0,
        false => before.ahead.saturating_sub(ahead),
    };
    let all = db.unchecked_transaction()?;
    if by != 0 {
        all.execute(
            "UPDATE work SET due = due + ?1 WHERE due BETWEEN -?2 AND ?2 AND ?1 BETWEEN -?2 AND ?2",
            [by, NEVER],
        )?;
        all.execute(
            "UPDATE lanes SET orphaned = orphaned + ?1 WHERE orphaned BETWEEN -?2 AND ?2 AND ?1 BETWEEN -?2 AND ?2",
            [by, NEVER],
        )?;
        all.execute(
            "UPDATE channel SET orphaned = orphaned + ?1 WHERE orphaned BETWEEN -?2 AND ?2 AND ?1 BETWEEN -?2 AND ?2",
            [by, NEVER],
        )?;
    }
    if !before.holds(ahead, wall) {
        note(&all, ahead, wall)?;
    }
    // Nothing can have gone away in the future: the clock was wrong then, or is wrong now.
    all.execute("UPDATE lanes SET orphaned = ?1 WHERE orphaned > ?1", [now.0])?;
    all.execute("UPDATE channel SET orphaned = ?1 WHERE orphaned > ?1", [now.0])?;
    all.commit()?;
    Ok(())
}

/// Notes by how much the wall clock is ahead when it shows `wall`.
pub(super) fn note(db: &Connection, ahead: i64, wall: Timestamp) -> Result<Noted, StateError> {
    db.execute(
        "UPDATE channel SET ahead = ?1, noted = ?2 WHERE id = 1",
        [ahead, wall.0],
    )?;
    Ok(Noted {
        ahead,
        wall: Some(wall),
    })
}

/// Brings rows of a lane that are due later than `latest` forward to it.
pub(super) fn bring_forward(db: &Connection, lane: LaneId, latest: Timestamp) -> Result<(), StateError> {
    db.prepare_cached("UPDATE work SET due = ?2 WHERE lane = ?1 AND due > ?2")?
        .execute([lane.0, latest.0])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::testing::*;
    use super::super::{Opened, State};
    use super::*;
    use crate::{Change, LaneState};

    const START: Timestamp = Timestamp(1_790_000_000_000);
    const HOUR: i64 = 3_600_000;
    const YEAR: i64 = 365 * 24 * HOUR;

    /// A process whose wall clock is so far ahead of its steady time.
    fn process(folder: &Path, ahead: i64, now: Timestamp) -> State {
        let mut opened = Opened::open(&folder.join("state.db"), false).unwrap();
        opened.take_over(ahead, now).unwrap();
        opened.start(idle_hooks(), false).unwrap()
    }

    /// A process with one lane whose rows are due at these times, and one lane that was orphaned at the
    /// start.
    async fn owing(folder: &Path, due: &[i64]) -> (State, LaneId) {
        let state = process(folder, 0, START);
        let lane = state.open_lanes(vec![spec("a")], admission(0)).await.unwrap()[0].id;
        let gone = state.open_lanes(vec![spec("b")], admission(0)).await.unwrap()[0].id;
        let rows = (1..)
            .zip(due)
            .map(|(position, due)| Change::Put(work(lane, position, 0, *due)));
        state.commit(rows.collect()).await.unwrap();
        let orphaned = LaneState::Orphaned(START);
        state.set_lane_state(gone, orphaned).await.unwrap();
        state.set_orphaned(Some(START)).await.unwrap();
        (state, lane)
    }

    #[tokio::test]
    async fn what_is_due_stays_so_over_a_restart_whatever_the_clock_did_before() {
        for set in [-2 * HOUR, 2 * HOUR, -56 * YEAR, 70 * YEAR] {
            let folder = tempfile::tempdir().unwrap();
            let (state, lane) = owing(folder.path(), &[START.0 + 2_000, i64::MAX]).await;
            // The clock is set, which is noted; the next process then starts at the time that the clock
            // shows.
            state.note_ahead(set, Timestamp(START.0 + set)).await.unwrap();
            drop(state);
            let began = Timestamp(START.0 + set + 1_000);
            let state = process(folder.path(), 0, began);
            let found = state.due(lane, Timestamp(i64::MAX), 10).await.unwrap();
            let due: Vec<_> = found.iter().map(|work| work.due.0).collect();
            assert_eq!(due, [began.0 + 1_000, i64::MAX], "{set}");
            let orphaned = state.lanes().await.unwrap()[1].state;
            assert_eq!(orphaned, LaneState::Orphaned(Timestamp(began.0 - 1_000)), "{set}");
            assert_eq!(state.orphaned(), Some(Timestamp(began.0 - 1_000)), "{set}");
        }
    }

    #[tokio::test]
    async fn a_clock_that_is_set_right_while_nothing_runs_ends_nothing() {
        // How the clock is set during the run, and again after it: right, or by a little less.
        for (set, again) in [
            (-2 * YEAR, 2 * YEAR),
            (-2 * YEAR, 2 * YEAR - HOUR),
            (-2 * HOUR, 2 * HOUR),
            (2 * HOUR, -2 * HOUR),
            (70 * YEAR, -70 * YEAR),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let due = START.0 + 4 * HOUR;
            let (state, lane) = owing(folder.path(), &[due]).await;
            state.note_ahead(set, Timestamp(START.0 + set)).await.unwrap();
            drop(state);
            let began = Timestamp(START.0 + set + again + 1_000);
            let state = process(folder.path(), 0, began);
            let found = state.due(lane, Timestamp(i64::MAX), 10).await.unwrap();
            assert_eq!(found[0].due, Timestamp(due), "{set} {again}");
            let orphaned = state.lanes().await.unwrap()[1].state;
            assert_eq!(orphaned, LaneState::Orphaned(START.min(began)), "{set} {again}");
            assert_eq!(state.orphaned(), Some(START.min(began)), "{set} {again}");
            drop(state);
            // The next process finds nothing more to change.
            let state = process(folder.path(), 0, Timestamp(began.0 + HOUR));
            let found = state.due(lane, Timestamp(i64::MAX), 10).await.unwrap();
            assert_eq!(found[0].due, Timestamp(due), "{set} {again}");
        }
    }

    #[tokio::test]
    async fn a_clock_that_was_set_long_before_the_stop_is_told_from_one_that_is_set_right() {
        let folder = tempfile::tempdir().unwrap();
        let state = process(folder.path(), 0, START);
        let lane = state.open_lanes(vec![spec("a")], admission(0)).await.unwrap()[0].id;
        let wall = |passed| Timestamp(START.0 - 2 * HOUR + passed);
        // Set back by two hours, and looked at every half a minute for ten hours.
        for look in 0..1_200 {
            state.note_ahead(-2 * HOUR, wall(look * 30_000)).await.unwrap();
        }
        let due = START.0 + 10 * HOUR + 2_000;
        state
            .commit(vec![Change::Put(work(lane, 1, 0, due))])
            .await
            .unwrap();
        drop(state);
        let state = process(folder.path(), 0, wall(10 * HOUR));
        let found = state.due(lane, Timestamp(i64::MAX), 10).await.unwrap();
        assert_eq!(found[0].due, Timestamp(wall(10 * HOUR).0 + 2_000));
    }

    #[tokio::test]
    async fn what_was_written_while_the_clock_was_wrong_waits_no_longer_than_it_may() {
        let folder = tempfile::tempdir().unwrap();
        let state = process(folder.path(), 0, Timestamp(START.0 + 73 * YEAR));
        let lane = state.open_lanes(vec![spec("a")], admission(0)).await.unwrap()[0].id;
        let put = |offset, due| Change::Put(work(lane, offset, 0, due));
        let late = START.0 + 73 * YEAR + 2_000;
        let rows = vec![put(1, late), put(2, START.0 + 500), put(3, i64::MAX)];
        state.commit(rows).await.unwrap();
        state
            .set_lane_state(lane, LaneState::Orphaned(Timestamp(late)))
            .await
            .unwrap();
        // The run ended before it could notice that the clock was put right.
        drop(state);
        let state = process(folder.path(), 0, START);
        assert_eq!(state.lanes().await.unwrap()[0].state, LaneState::Orphaned(START));
        let mut admission = admission(0);
        admission.now = START;
        let longest = Duration::from_secs(60);
        let spec = crate::LaneSpec {
            longest_wait: longest,
            ..spec("a")
        };
        let lanes = state.open_lanes(vec![spec], admission).await.unwrap();
        assert_eq!(lanes[0].next_due, Some(Timestamp(START.0 + 500)));
        let found = state.due(lane, START.after(longest), 10).await.unwrap();
        assert_eq!(found.len(), 3);
    }
}
