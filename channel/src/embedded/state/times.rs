//! Steady times on disk: how those that the last run wrote become those of this run.
//!
//! A row says when it is due in the steady time of the process that wrote it, and `ahead` by how much the wall clock was
//! ahead of that. So a jump of the wall clock costs one small write and no change of rows, however many there are; the
//! rows are changed when the next process opens them, if the clock has jumped at all.

use millrace_event::Timestamp;
use rusqlite::Connection;

use super::StateError;
use crate::LaneId;

/// Times beyond this are not moved: they are as good as never, and must not overflow.
const NEVER: i64 = i64::MAX / 2;

/// Makes the stored times those of this run, whose wall clock is `ahead` of its steady time `now`.
pub(super) fn take_over(db: &Connection, ahead: i64, now: Timestamp) -> Result<(), StateError> {
    let before: i64 = db.query_row("SELECT ahead FROM channel WHERE id = 1", [], |row| row.get(0))?;
    let by = before.saturating_sub(ahead);
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
        note(&all, ahead)?;
    }
    // Nobody went away in the future: the clock was wrong then, or is now.
    all.execute("UPDATE lanes SET orphaned = ?1 WHERE orphaned > ?1", [now.0])?;
    all.commit()?;
    Ok(())
}

/// Notes by how much the wall clock is ahead now.
pub(super) fn note(db: &Connection, ahead: i64) -> Result<(), StateError> {
    db.execute("UPDATE channel SET ahead = ?1 WHERE id = 1", [ahead])?;
    Ok(())
}

/// Nothing of a lane is due later than `latest`.
pub(super) fn bring_forward(db: &Connection, lane: LaneId, latest: Timestamp) -> Result<(), StateError> {
    db.prepare_cached("UPDATE work SET due = ?2 WHERE lane = ?1 AND due > ?2")?
        .execute([lane.0, latest.0])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::super::testing::*;
    use super::super::{Opened, State};
    use super::*;
    use crate::{Change, LaneState};

    const START: Timestamp = Timestamp(1_790_000_000_000);
    const HOUR: i64 = 3_600_000;
    const YEAR: i64 = 365 * 24 * HOUR;

    /// A process whose wall clock is as far ahead of its steady time.
    fn process(folder: &Path, ahead: i64, now: Timestamp) -> State {
        let mut opened = Opened::open(&folder.join("state.db"), false).unwrap();
        opened.take_over(ahead, now).unwrap();
        opened.start(idle_hooks()).unwrap()
    }

    #[tokio::test]
    async fn what_is_due_stays_so_over_a_restart_whatever_the_clock_did_before() {
        for set in [-2 * HOUR, 2 * HOUR, -56 * YEAR, 70 * YEAR] {
            let folder = tempfile::tempdir().unwrap();
            let state = process(folder.path(), 0, START);
            let lane = state.open_lanes(vec![spec("a")], admission(0)).await.unwrap()[0].id;
            let gone = state.open_lanes(vec![spec("b")], admission(0)).await.unwrap()[0].id;
            let due = START.0 + 2_000;
            let rows = vec![
                Change::Put(work(lane, 1, 0, due)),
                Change::Put(work(lane, 2, 0, i64::MAX)),
            ];
            state.commit(rows).await.unwrap();
            state
                .set_lane_state(gone, LaneState::Orphaned(START))
                .await
                .unwrap();
            // The clock is set, which is noted; then the next process begins at what the clock shows.
            state.note_ahead(set).await.unwrap();
            drop(state);
            let began = Timestamp(START.0 + set + 1_000);
            let state = process(folder.path(), 0, began);
            let found = state.due(lane, Timestamp(i64::MAX), 10).await.unwrap();
            let due: Vec<_> = found.iter().map(|work| work.due.0).collect();
            assert_eq!(due, [began.0 + 1_000, i64::MAX], "{set}");
            let orphaned = state.lanes().await.unwrap()[1].state;
            assert_eq!(orphaned, LaneState::Orphaned(Timestamp(began.0 - 1_000)), "{set}");
        }
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
        // It ended before anybody noticed that the clock was set right.
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
