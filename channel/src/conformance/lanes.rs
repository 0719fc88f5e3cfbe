//! Lanes and their progress.

use millrace_event::Timestamp;

use super::{Place, after, append, lane, spec, stored};
use crate::{Forgotten, LaneProgress, LaneSpec, LaneState, Progress};

pub(super) async fn a_new_channel_has_no_past(place: &mut impl Place) {
    let channel = place.open().await;
    assert_eq!(channel.router().await.unwrap(), channel.head());
    assert_eq!(channel.lanes().await.unwrap(), []);
    assert!(!channel.recovered_uncleanly());
}

pub(super) async fn a_lane_starts_at_the_head_and_is_found_again(place: &mut impl Place) {
    let channel = place.open().await;
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
    let channel = place.open().await;
    let again = channel.open_lanes(vec![spec("b"), spec("a")]).await.unwrap();
    assert_eq!(again, [made[1].clone(), made[0].clone()], "in the order asked");
    assert_eq!(channel.lanes().await.unwrap().len(), 2);
}

pub(super) async fn another_uid_is_another_lane(place: &mut impl Place) {
    let channel = place.open().await;
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

pub(super) async fn a_lane_is_never_numbered_twice(place: &mut impl Place) {
    let channel = place.open().await;
    let first = lane(&*channel, "a").await;
    assert_eq!(channel.drop_lane(first).await.unwrap(), 0);
    assert_eq!(channel.drop_lane(first).await.unwrap(), 0, "again");
    assert_eq!(channel.lanes().await.unwrap(), []);
    drop(channel);
    let channel = place.open().await;
    assert_ne!(lane(&*channel, "a").await, first);
}

pub(super) async fn progress_comes_back_as_it_was_committed(place: &mut impl Place) {
    let mut channel = place.open().await;
    let lane = lane(&*channel, "a").await;
    let p = append(&*channel, &["0", "1", "2", "3", "4", "5"]).await;
    let cases: [(Option<usize>, &[usize]); 4] =
        [(Some(5), &[0, 1, 4]), (Some(2), &[]), (None, &[5]), (None, &[])];
    for (read, unsettled) in cases {
        let cursor = read.map(|last| after(p[last]));
        let unsettled: Vec<_> = unsettled.iter().map(|n| p[*n]).collect();
        let progress = LaneProgress {
            lane,
            cursor,
            unsettled: unsettled.clone(),
        };
        channel.commit(vec![progress.into()]).await.unwrap();
        drop(channel);
        channel = place.open().await;
        let found = stored(&*channel, lane).await;
        assert_eq!((found.cursor, found.unsettled), (cursor, unsettled));
    }
}

pub(super) async fn the_router_comes_back_where_it_was_committed(place: &mut impl Place) {
    let channel = place.open().await;
    let p = append(&*channel, &["0", "1", "2"]).await;
    channel.commit(vec![Progress::router(p[2]).into()]).await.unwrap();
    assert_eq!(channel.router().await.unwrap(), p[2]);
    drop(channel);
    assert_eq!(place.open().await.router().await.unwrap(), p[2]);
}

pub(super) async fn a_lane_state_lasts_and_only_a_pause_outlasts_the_return_of_the_trigger(
    place: &mut impl Place,
) {
    let mut channel = place.open().await;
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
        channel = place.open().await;
        assert_eq!(Some(&stored(&*channel, lane).await.state), states.last());
        assert_eq!(
            channel.open_lanes(vec![spec("a")]).await.unwrap()[0].state,
            after_return,
            "{states:?}"
        );
        channel.set_lane_state(lane, LaneState::Active).await.unwrap();
    }
}

pub(super) async fn only_a_trigger_that_is_gone_is_forgotten(place: &mut impl Place) {
    let channel = place.open().await;
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

pub(super) async fn since_when_the_broker_is_gone_lasts_until_it_is_back(place: &mut impl Place) {
    let mut channel = place.open().await;
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
        channel = place.open().await;
        assert_eq!(channel.usage().orphaned, known, "{noted:?}, after a crash");
    }
}

pub(super) async fn only_a_crash_is_an_unclean_stop(place: &mut impl Place) {
    let mut uncleanly = false;
    for clean in [false, true, true, false, false] {
        let channel = place.open().await;
        assert_eq!(channel.recovered_uncleanly(), uncleanly);
        append(&*channel, &["attempted"]).await;
        if clean {
            channel.close().await.unwrap();
        }
        uncleanly = !clean;
    }
}
