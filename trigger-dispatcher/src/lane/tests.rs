//! What the tests of lanes share, and what a lane makes of what was stored.

use millrace_channel::LaneState;
use millrace_event::SpecVersion;

use super::*;
use crate::next_step::tests::settings;

/// A position in the partition of [`lane`].
pub(crate) fn at(offset: u64) -> Position {
    Position { partition: 0, offset }
}

/// The key of an event of [`lane`], at its subscriber.
pub(crate) fn key(offset: u64) -> WorkKey {
    WorkKey {
        lane: LaneId(1),
        position: at(offset),
        stage: Stage::Subscriber,
    }
}

/// An event without data.
pub(crate) fn event() -> Event {
    Event::builder(SpecVersion::V10)
        .attribute("id", "1")
        .attribute("source", "/s")
        .attribute("type", "t")
        .build()
        .expect("a valid event")
}

/// A lane behind the router, with a subscriber.
pub(crate) fn lane() -> Lane {
    lane_with_suspects_below(0)
}

/// The same after an unclean stop.
pub(crate) fn lane_with_suspects_below(suspects_below: u64) -> Lane {
    restored(&stored(), suspects_below)
}

/// Behind the router at 0, with nothing read.
pub(crate) fn stored() -> millrace_channel::Lane {
    millrace_channel::Lane {
        id: LaneId(1),
        trigger: ObjectName::new("shop", "ship"),
        uid: String::new(),
        start: at(0),
        cursor: Some(at(0)),
        queued: None,
        unsettled: Vec::new(),
        earlier: Vec::new(),
        covered: Vec::new(),
        state: LaneState::Active,
        deferred: 0,
        parked: 0,
        next_due: None,
    }
}

pub(crate) fn restored(stored: &millrace_channel::Lane, suspects_below: u64) -> Lane {
    restored_at(stored, 0, suspects_below)
}

/// The same when the router is there.
pub(crate) fn restored_by_router(stored: &millrace_channel::Lane, router: u64) -> Lane {
    restored_at(stored, router, 0)
}

fn restored_at(stored: &millrace_channel::Lane, router: u64, suspects_below: u64) -> Lane {
    let connector = millrace_delivery::Connector::new(millrace_delivery::ConnectorOptions::default());
    let settings = settings(0, None).into();
    let inner = Inner::restore(stored, settings, router, suspects_below, Timestamp(1_000));
    Lane::new(stored, 1, connector.share(), inner)
}

#[test]
fn what_a_row_stands_for_already_is_passed_and_not_owed() {
    let stored = millrace_channel::Lane {
        cursor: Some(at(10)),
        unsettled: vec![at(3), at(5), at(7)],
        covered: vec![at(5), at(12)],
        ..stored()
    };
    let lane = restored(&stored, 0);
    let mut inner = lane.inner.lock();
    let covered = [3, 5, 11, 12, 13].map(|offset| inner.is_covered(offset));
    assert_eq!(covered, [false, true, false, true, false]);
    let snapshot = lane.snapshot(&mut inner, 20);
    let unsettled = snapshot.progress.map(|progress| progress.unsettled);
    assert_eq!(unsettled, Some(vec![at(3), at(7)]), "the next commit passes it");
}

#[test]
fn a_lane_names_positions_of_its_own_partition() {
    let start = Position {
        partition: 3,
        offset: 8,
    };
    let lane = restored(
        &millrace_channel::Lane {
            start,
            cursor: None,
            ..stored()
        },
        0,
    );
    assert_eq!(
        lane.work_key(9, Stage::Reply).position,
        Position { offset: 9, ..start }
    );
    let snapshot = lane.snapshot(&mut lane.inner.lock(), 4);
    assert_eq!(
        snapshot.progress.and_then(|progress| progress.cursor),
        Some(start)
    );
}
