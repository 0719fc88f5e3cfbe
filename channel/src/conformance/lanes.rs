//! Lanes and their progress.

use millrace_event::Timestamp;

use super::{Backend, after, append, lane, passed, spec, stored, work};
use crate::{
    Change, Channel, Forgotten, Lane, LaneId, LaneProgress, LaneSpec, LaneState, Position, Progress,
};

pub(super) async fn a_new_channel_has_no_past(backend: &mut impl Backend) {
    let channel = backend.open().await;
    assert_eq!(channel.router().await.unwrap(), channel.head());
    assert_eq!(channel.lanes().await.unwrap(), []);
    assert!(!channel.recovered_uncleanly());
}

pub(super) async fn a_lane_starts_at_the_head_and_is_found_again(backend: &mut impl Backend) {
    let channel = backend.open().await;
    append(&*channel, &["before"]).await;
    let head = channel.head();
    let made = channel.open_lanes(vec![spec("a"), spec("b")]).await.unwrap();
    assert_eq!(made.len(), 2);
    assert!(made[0].id != made[1].id && made[0].uid != made[1].uid && !made[0].uid.is_empty());
    for (lane, name) in made.iter().zip(["a", "b"]) {
        assert_eq!(
            (&lane.trigger, lane.start, lane.cursor),
            (&spec(name).trigger, head, None)
        );
        assert_eq!((lane.state, lane.unsettled.len()), (LaneState::Active, 0));
        assert_eq!((lane.deferred, lane.parked, lane.next_due), (0, 0, None));
    }
    append(&*channel, &["after"]).await;
    drop(channel);
    let channel = backend.open().await;
    let again = channel.open_lanes(vec![spec("b"), spec("a")]).await.unwrap();
    assert_eq!(again, [made[1].clone(), made[0].clone()], "in the order asked");
    assert_eq!(channel.lanes().await.unwrap().len(), 2);
}

pub(super) async fn another_uid_is_another_lane(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let named = |uid: &str| LaneSpec {
        uid: Some(uid.to_owned()),
        ..spec("a")
    };
    let old = channel.open_lanes(vec![named("one")]).await.unwrap().remove(0);
    append(&*channel, &["x"]).await;
    let new = channel.open_lanes(vec![named("two")]).await.unwrap().remove(0);
    assert_ne!(old.id, new.id);
    assert_eq!((new.uid.as_str(), new.start), ("two", channel.head()));
    assert!(
        matches!(stored(&*channel, old.id).await.state, LaneState::Orphaned(_)),
        "its debts are still known"
    );
    assert_eq!(channel.open_lanes(vec![named("two")]).await.unwrap(), [new]);
}

pub(super) async fn one_that_resumes_takes_over_the_last_lane_of_its_name(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let named = |uid: &str, resume| LaneSpec {
        uid: Some(uid.to_owned()),
        resume,
        ..spec("a")
    };
    let open = async |channel: &dyn Channel, spec| channel.open_lanes(vec![spec]).await.unwrap().remove(0);
    let first = open(&*channel, named("one", true)).await;
    assert_eq!(first.start, channel.head(), "there is nothing to take over");
    append(&*channel, &["x"]).await;
    let second = open(&*channel, named("two", false)).await;
    channel
        .set_lane_state(second.id, LaneState::Orphaned(Timestamp(99)))
        .await
        .unwrap();
    let stopped = stored(&*channel, second.id).await;
    append(&*channel, &["y"]).await;
    let third = open(&*channel, named("three", true)).await;
    let expected = Lane {
        uid: "three".to_owned(),
        state: LaneState::Active,
        ..stopped
    };
    assert_eq!(third, expected, "the last one, where it stood");
    drop(channel);
    let channel = backend.open().await;
    // It is its own now, also where it does not resume. And it is nobody else's any more.
    assert_eq!(open(&*channel, named("three", false)).await, third);
    assert_ne!(open(&*channel, named("two", false)).await.id, third.id);
}

pub(super) async fn a_lane_is_never_numbered_twice(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let first = lane(&*channel, "a").await;
    assert_eq!(channel.drop_lane(first).await.unwrap(), 0);
    assert_eq!(channel.drop_lane(first).await.unwrap(), 0, "again");
    assert_eq!(channel.lanes().await.unwrap(), []);
    drop(channel);
    let channel = backend.open().await;
    assert_ne!(lane(&*channel, "a").await, first);
}

pub(super) async fn progress_comes_back_as_it_was_committed(backend: &mut impl Backend) {
    let mut channel = backend.open().await;
    let lane = lane(&*channel, "a").await;
    let p = append(&*channel, &["0", "1", "2", "3", "4", "5"]).await;
    let cases: [(Option<usize>, Option<usize>, &[usize]); 6] = [
        (Some(5), None, &[0, 1, 4]),
        (Some(5), Some(3), &[0, 1]),
        (Some(2), None, &[]),
        (None, None, &[5]),
        (None, Some(4), &[2]),
        (None, None, &[]),
    ];
    for (read, queued, unsettled) in cases {
        let cursor = read.map(|last| after(p[last]));
        let queued = queued.map(|n| p[n]);
        let unsettled: Vec<_> = unsettled.iter().map(|n| p[*n]).collect();
        let progress = LaneProgress {
            lane,
            cursor,
            queued,
            unsettled: unsettled.clone(),
        };
        channel.commit(vec![progress.into()]).await.unwrap();
        drop(channel);
        channel = backend.open().await;
        let found = stored(&*channel, lane).await;
        assert_eq!(
            (found.cursor, found.queued, found.unsettled),
            (cursor, queued, unsettled)
        );
    }
}

/// The lane of trigger `a`, opened with this filter.
async fn judged_by(channel: &dyn Channel, filter: &str) -> Lane {
    let spec = LaneSpec {
        filter: filter.to_owned(),
        ..spec("a")
    };
    channel.open_lanes(vec![spec]).await.unwrap().remove(0)
}

/// The lane stands there: its cursor, and the first position of its queue.
async fn stands(channel: &dyn Channel, lane: LaneId, cursor: Option<Position>, queued: Option<Position>) {
    let progress = LaneProgress {
        lane,
        cursor,
        queued,
        unsettled: vec![],
    };
    channel.commit(vec![progress.into()]).await.unwrap();
}

async fn changed(channel: &dyn Channel, lane: LaneId, from: Position, filter: &str) {
    let filter = filter.to_owned();
    let change = Change::Filter { lane, from, filter };
    channel.commit(vec![change]).await.unwrap();
}

/// The earlier filters of the lane, each with the number of the event at which it ends.
fn earlier(lane: &Lane, p: &[Position]) -> Vec<(String, usize)> {
    let number = |until: &Position| p.iter().position(|one| one == until).unwrap_or(p.len());
    let all = lane.earlier.iter();
    all.map(|one| (one.filter.clone(), number(&one.until))).collect()
}

pub(super) async fn what_was_read_is_judged_by_the_filter_that_counted_then(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let made = judged_by(&*channel, "one").await;
    assert_eq!((made.queued, made.earlier.len()), (None, 0));
    let p = passed(&*channel, &["0", "1", "2", "3", "4", "5", "6"]).await;
    let lane = made.id;
    stands(&*channel, lane, None, Some(p[1])).await;
    // Each counts from where the lane reads on.
    changed(&*channel, lane, p[3], "two").await;
    changed(&*channel, lane, p[3], "three").await;
    changed(&*channel, lane, p[5], "four").await;
    drop(channel);
    let channel = backend.open().await;
    let both = [("one".to_owned(), 3), ("three".to_owned(), 5)];
    assert_eq!(earlier(&stored(&*channel, lane).await, &p), both);
    assert_eq!(
        earlier(&judged_by(&*channel, "four").await, &p),
        both,
        "the same filter"
    );
    // What is settled is judged no more: an earlier filter that has nothing left goes with the next change.
    stands(&*channel, lane, None, Some(p[4])).await;
    changed(&*channel, lane, p[6], "five").await;
    let left = [("three".to_owned(), 5), ("four".to_owned(), 6)];
    assert_eq!(earlier(&stored(&*channel, lane).await, &p), left);
    stands(&*channel, lane, None, None).await;
    changed(&*channel, lane, channel.head(), "six").await;
    assert_eq!(stored(&*channel, lane).await.earlier, []);
    // Of a lane that is gone nothing is known.
    channel.drop_lane(lane).await.unwrap();
    changed(&*channel, lane, p[6], "seven").await;
    assert_eq!(channel.lanes().await.unwrap(), []);
}

pub(super) async fn a_filter_that_changed_while_nobody_served_counts_from_where_the_lane_had_read(
    backend: &mut impl Backend,
) {
    let mut channel = backend.open().await;
    let lane = judged_by(&*channel, "0").await.id;
    let p = passed(&*channel, &["0", "1", "2", "3"]).await;
    // Appended, and perhaps read: that was not written down any more.
    append(&*channel, &["4"]).await;
    let router = channel.router().await.unwrap();
    let (active, gone) = (LaneState::Active, LaneState::Orphaned(Timestamp(9)));
    let cases = [
        ("it had kept up", active, None, None, Some(p.len())),
        ("the same, with a queue", active, None, Some(p[1]), Some(p.len())),
        ("behind, with a queue", active, Some(p[2]), Some(p[1]), Some(2)),
        (
            "behind, and all is settled that it has read",
            active,
            Some(p[2]),
            None,
            None,
        ),
        ("ahead of the router", active, Some(router), None, Some(p.len())),
        ("halted at the router", gone, Some(router), None, None),
        (
            "the same, with a queue",
            LaneState::Paused,
            Some(router),
            Some(p[1]),
            Some(4),
        ),
    ];
    for (n, (what, state, cursor, queued, until)) in cases.into_iter().enumerate() {
        // Nothing is left of the case before.
        stands(&*channel, lane, None, None).await;
        changed(&*channel, lane, p[0], &n.to_string()).await;
        stands(&*channel, lane, cursor, queued).await;
        channel.set_lane_state(lane, state).await.unwrap();
        drop(channel);
        channel = backend.open().await;
        let opened = judged_by(&*channel, "another").await;
        let expected = until.map(|until| (n.to_string(), until));
        let found: Vec<_> = earlier(&opened, &p);
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{what}");
        assert_eq!((opened.cursor, opened.queued), (cursor, queued), "{what}");
        if until == Some(p.len()) {
            let counts_from = if state == active { channel.head() } else { router };
            assert_eq!(opened.earlier[0].until, counts_from, "{what}");
        }
        channel.set_lane_state(lane, active).await.unwrap();
        // Gone before the next case: it is judged by another filter from the beginning.
        stands(&*channel, lane, Some(channel.head()), None).await;
        changed(&*channel, lane, channel.head(), "none").await;
        assert_eq!(stored(&*channel, lane).await.earlier, [], "{what}");
    }
}

pub(super) async fn the_router_comes_back_where_it_was_committed(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let p = append(&*channel, &["0", "1", "2"]).await;
    channel.commit(vec![Progress::router(p[2]).into()]).await.unwrap();
    assert_eq!(channel.router().await.unwrap(), p[2]);
    drop(channel);
    assert_eq!(backend.open().await.router().await.unwrap(), p[2]);
}

pub(super) async fn a_lane_state_lasts_and_only_a_pause_outlasts_the_return_of_the_trigger(
    backend: &mut impl Backend,
) {
    let mut channel = backend.open().await;
    let lane = lane(&*channel, "a").await;
    let orphaned = LaneState::Orphaned(Timestamp(99));
    let cases: [(&[LaneState], LaneState); 4] = [
        (&[LaneState::Paused], LaneState::Paused),
        (&[LaneState::Active], LaneState::Active),
        (&[orphaned], LaneState::Active),
        (&[LaneState::Paused, orphaned], LaneState::Paused),
    ];
    for (states, after_return) in cases {
        for state in states {
            channel.set_lane_state(lane, *state).await.unwrap();
        }
        drop(channel);
        channel = backend.open().await;
        assert_eq!(Some(&stored(&*channel, lane).await.state), states.last());
        assert_eq!(
            channel.open_lanes(vec![spec("a")]).await.unwrap()[0].state,
            after_return,
            "{states:?}"
        );
        channel.set_lane_state(lane, LaneState::Active).await.unwrap();
    }
    for state in [orphaned, LaneState::Paused, LaneState::Active] {
        channel.set_lane_state(lane, state).await.unwrap();
        let state = stored(&*channel, lane).await.state;
        assert_eq!(state, orphaned, "only the return of its trigger ends that");
    }
}

pub(super) async fn only_a_trigger_that_is_gone_is_forgotten(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let name = spec("a").trigger;
    assert_eq!(channel.forget_orphan(&name).await.unwrap(), Forgotten::Unknown);
    let (gone, there) = (lane(&*channel, "a").await, lane(&*channel, "b").await);
    assert_eq!(channel.forget_orphan(&name).await.unwrap(), Forgotten::InUse);
    channel
        .set_lane_state(gone, LaneState::Orphaned(Timestamp(99)))
        .await
        .unwrap();
    let mut commands = channel.commands();
    commands.mark_unchanged();
    assert_eq!(channel.forget_orphan(&name).await.unwrap(), Forgotten::Rows(0));
    assert!(commands.has_changed().unwrap(), "the dispatcher is told");
    let lanes = channel.lanes().await.unwrap();
    assert_eq!(lanes.iter().map(|lane| lane.id).collect::<Vec<_>>(), [there]);
    assert_eq!(channel.forget_orphan(&name).await.unwrap(), Forgotten::Unknown);
}

pub(super) async fn the_work_of_a_trigger_that_is_gone_goes_and_its_place_stays(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let name = spec("a").trigger;
    assert_eq!(channel.forget_work(&name).await.unwrap(), Forgotten::Unknown);
    let p = append(&*channel, &["0", "1", "2"]).await;
    let (gone, there) = (lane(&*channel, "a").await, lane(&*channel, "b").await);
    let rows = [
        work(gone, p[0], 0, 5),
        work(gone, p[1], 0, 6),
        work(there, p[0], 0, 5),
    ];
    let rows = rows.into_iter().map(Change::Put).collect();
    channel.commit(rows).await.unwrap();
    assert_eq!(channel.forget_work(&name).await.unwrap(), Forgotten::InUse);
    channel
        .set_lane_state(gone, LaneState::Orphaned(Timestamp(99)))
        .await
        .unwrap();
    let before = stored(&*channel, gone).await;
    let mut commands = channel.commands();
    commands.mark_unchanged();
    assert_eq!(channel.forget_work(&name).await.unwrap(), Forgotten::Rows(2));
    assert!(commands.has_changed().unwrap(), "the dispatcher is told");
    assert_eq!(channel.forget_work(&name).await.unwrap(), Forgotten::Rows(0));
    drop(channel);
    let channel = backend.open().await;
    let expected = Lane {
        deferred: 0,
        next_due: None,
        ..before
    };
    assert_eq!(stored(&*channel, gone).await, expected);
    assert_eq!(stored(&*channel, there).await.deferred, 1);
}

pub(super) async fn since_when_the_broker_is_gone_lasts_until_it_is_back(backend: &mut impl Backend) {
    let mut channel = backend.open().await;
    assert_eq!(channel.usage().orphaned, None);
    let steps = [
        (Some(Timestamp(99)), Some(Timestamp(99))),
        (Some(Timestamp(100)), Some(Timestamp(99))),
        (None, None),
        (Some(Timestamp(101)), Some(Timestamp(101))),
    ];
    for (noted, known) in steps {
        channel.set_orphaned(noted).await.unwrap();
        assert_eq!(channel.usage().orphaned, known, "{noted:?}");
        drop(channel);
        channel = backend.open().await;
        assert_eq!(channel.usage().orphaned, known, "{noted:?}, after a crash");
    }
}

pub(super) async fn only_a_crash_is_an_unclean_stop(backend: &mut impl Backend) {
    let mut uncleanly = false;
    for clean in [false, true, true, false, false] {
        let channel = backend.open().await;
        assert_eq!(channel.recovered_uncleanly(), uncleanly);
        append(&*channel, &["attempted"]).await;
        if clean {
            channel.close().await.unwrap();
        }
        uncleanly = !clean;
    }
}
