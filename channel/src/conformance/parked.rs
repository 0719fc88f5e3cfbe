//! Parked events and commands.

use millrace_event::{Event, Timestamp};

use super::{Backend, event, failure, key, lane, numbers, passed, rows, spec, stored, work};
use crate::{Change, Channel, ChannelError, LaneId, LaneState, Parked, ParkedQuery, Position, Stage};

/// Parks an event after two failures.
pub(super) fn park(lane: LaneId, position: Position, stage: Stage, body: Option<Event>) -> Change {
    Change::Park {
        key: key(lane, position, stage),
        reason: "nobody wants it".to_owned(),
        since: Timestamp(50),
        attempts: 2,
        failures: vec![failure(0), failure(1)],
        body,
    }
}

/// Everything that is parked.
pub(super) async fn all(channel: &dyn Channel) -> Vec<Parked> {
    channel
        .parked(ParkedQuery {
            limit: 1_000,
            ..ParkedQuery::default()
        })
        .await
        .expect("the parked events")
}

pub(super) async fn a_parked_event_keeps_its_history(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let lane = lane(&*channel, "a").await;
    let p = passed(&*channel, &["0", "1"]).await;
    channel
        .commit(vec![Change::Put(work(lane, p[0], 1, 1))])
        .await
        .unwrap();
    channel
        .commit(vec![park(lane, p[0], Stage::Subscriber, None)])
        .await
        .unwrap();
    channel
        .commit(vec![park(lane, p[1], Stage::Reply, Some(event("reply")))])
        .await
        .unwrap();
    assert_eq!(rows(&*channel, lane).await, [], "the row of that key goes");
    drop(channel);
    let channel = backend.open().await;
    let parked = all(&*channel).await;
    let expected = |n: usize, position, stage, id: &str| Parked {
        id: parked[n].id.clone(),
        lane,
        trigger: spec("a").trigger,
        position,
        stage,
        event: Some(event(id)),
        reason: "nobody wants it".to_owned(),
        since: Timestamp(50),
        attempts: 2,
        failures: vec![failure(0), failure(1)],
    };
    assert_eq!(
        parked,
        [
            expected(0, p[0], Stage::Subscriber, "0"),
            expected(1, p[1], Stage::Reply, "reply")
        ]
    );
    assert_ne!(parked[0].id, parked[1].id);
    for one in &parked {
        assert!(
            !one.id.is_empty() && one.id.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "safe in a URL"
        );
        assert_eq!(channel.parked_by_id(&one.id).await.unwrap().as_ref(), Some(one));
    }
    assert_eq!(channel.parked_by_id("no such id").await.unwrap(), None);
}

pub(super) async fn parking_again_keeps_the_id(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let lane = lane(&*channel, "a").await;
    let p = passed(&*channel, &["0"]).await;
    channel
        .commit(vec![park(lane, p[0], Stage::Subscriber, None)])
        .await
        .unwrap();
    let first = all(&*channel).await;
    channel
        .commit(vec![park(lane, p[0], Stage::Subscriber, None)])
        .await
        .unwrap();
    assert_eq!(all(&*channel).await, first);
}

pub(super) async fn usage_counts_what_is_parked(backend: &mut impl Backend) {
    let mut channel = backend.open().await;
    let lane = lane(&*channel, "a").await;
    let p = passed(&*channel, &["0", "1", "2"]).await;
    let parked = |n: usize| park(lane, p[n], Stage::Subscriber, None);
    // One of them twice.
    for changes in [vec![parked(0), parked(1)], vec![parked(1), parked(2)]] {
        channel.commit(changes).await.unwrap();
    }
    let ids: Vec<String> = all(&*channel).await.into_iter().map(|one| one.id).collect();
    assert_eq!(channel.usage().parked, 3);
    drop(channel);
    channel = backend.open().await;
    assert_eq!(channel.usage().parked, 3);
    assert!(channel.redrive(&ids[0]).await.unwrap());
    assert_eq!(channel.usage().parked, 2);
    channel.drop_lane(lane).await.unwrap();
    channel.commit(vec![parked(0)]).await.unwrap();
    assert_eq!(channel.usage().parked, 2, "those of a trigger that is gone count");
    for again in [true, false] {
        assert_eq!(channel.drop_parked(&ids[1]).await.unwrap(), again);
        assert_eq!(channel.usage().parked, 1);
    }
}

pub(super) async fn parked_events_are_listed_by_pages_in_order(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let (a, b) = (lane(&*channel, "a").await, lane(&*channel, "b").await);
    let p = passed(&*channel, &["0", "1", "2", "3", "4"]).await;
    for (lane, n) in [(b, 4), (a, 3), (b, 0), (a, 1), (b, 2)] {
        channel
            .commit(vec![park(lane, p[n], Stage::Subscriber, None)])
            .await
            .unwrap();
    }
    let page = async |trigger: Option<&str>, after: Option<&str>, limit| {
        let (trigger, after) = (trigger.map(|name| spec(name).trigger), after.map(str::to_owned));
        channel
            .parked(ParkedQuery {
                trigger,
                after,
                limit,
            })
            .await
            .unwrap()
    };
    let places = |page: &[Parked]| numbers(&p, page.iter().map(|one| one.position));
    let first = page(None, None, 2).await;
    assert_eq!(places(&first), [4, 3]);
    let last = first[1].id.as_str();
    assert_eq!(places(&page(None, Some(last), 10).await), [0, 1, 2]);
    channel.drop_parked(last).await.unwrap();
    assert_eq!(
        places(&page(None, Some(last), 2).await),
        [0, 1],
        "the next page begins where the dropped one stood"
    );
    let of_b = page(Some("b"), None, 2).await;
    assert_eq!(places(&of_b), [4, 0]);
    assert_eq!(places(&page(Some("b"), Some(&of_b[1].id), 2).await), [2]);
    assert!(page(Some("c"), None, 2).await.is_empty());
}

pub(super) async fn a_redriven_event_begins_again_with_its_history(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let lane = lane(&*channel, "a").await;
    let p = passed(&*channel, &["0", "1"]).await;
    for (offset, stage) in [(0, Stage::Subscriber), (1, Stage::DeadLetter)] {
        channel
            .commit(vec![park(lane, p[offset], stage, None)])
            .await
            .unwrap();
        let id = all(&*channel).await[0].id.clone();
        assert!(channel.redrive(&id).await.unwrap());
        assert!(!channel.redrive(&id).await.unwrap(), "only once");
        assert_eq!(all(&*channel).await, []);
    }
    let mut found = rows(&*channel, lane).await;
    found.sort_by_key(|row| row.key);
    assert_eq!(found.len(), 2);
    for (row, position) in found.into_iter().zip(p) {
        assert_eq!(
            row.key,
            key(lane, position, Stage::Subscriber),
            "back to the subscriber"
        );
        assert_eq!(
            (row.attempt, row.crashes, row.open, row.suspect),
            (0, 0, false, false)
        );
        assert_eq!((row.failures, row.body), (vec![failure(0), failure(1)], None));
        assert!(row.due > Timestamp(0), "due now");
    }
}

pub(super) async fn a_redriven_reply_keeps_its_body(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let lane = lane(&*channel, "a").await;
    let p = passed(&*channel, &["0"]).await;
    channel
        .commit(vec![park(lane, p[0], Stage::Reply, Some(event("reply")))])
        .await
        .unwrap();
    assert!(channel.redrive(&all(&*channel).await[0].id).await.unwrap());
    let found = rows(&*channel, lane).await;
    assert_eq!(
        (found[0].key.stage, found[0].body.as_ref()),
        (Stage::Reply, Some(&event("reply")))
    );
}

pub(super) async fn what_is_parked_outlives_its_trigger_but_cannot_be_redriven(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let lane = lane(&*channel, "a").await;
    let p = passed(&*channel, &["0"]).await;
    channel
        .commit(vec![park(lane, p[0], Stage::Subscriber, None)])
        .await
        .unwrap();
    channel.drop_lane(lane).await.unwrap();
    let parked = all(&*channel).await;
    let refused = channel.redrive(&parked[0].id).await;
    assert_eq!(refused, Err(ChannelError::LaneGone(spec("a").trigger)));
    assert_eq!(all(&*channel).await, parked, "it is as it was");
    assert!(channel.drop_parked(&parked[0].id).await.unwrap());
}

pub(super) async fn a_dropped_parked_event_is_gone(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let lane = lane(&*channel, "a").await;
    let p = passed(&*channel, &["0", "1"]).await;
    let changes = (0..2)
        .map(|n| park(lane, p[n], Stage::Subscriber, None))
        .collect();
    channel.commit(changes).await.unwrap();
    let parked = all(&*channel).await;
    assert!(channel.drop_parked(&parked[0].id).await.unwrap());
    assert!(!channel.drop_parked(&parked[0].id).await.unwrap());
    assert!(!channel.drop_parked("no such id").await.unwrap());
    assert!(!channel.redrive("no such id").await.unwrap());
    assert_eq!(all(&*channel).await, parked[1..]);
    assert_eq!(stored(&*channel, lane).await.parked, 1);
}

pub(super) async fn commands_are_seen_by_who_watches(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let mut commands = channel.commands();
    let lane = lane(&*channel, "a").await;
    let p = passed(&*channel, &["0", "1"]).await;
    let changes = (0..2)
        .map(|n| park(lane, p[n], Stage::Subscriber, None))
        .collect();
    channel.commit(changes).await.unwrap();
    assert!(
        !commands.has_changed().unwrap(),
        "the dispatcher's own changes are no commands"
    );
    let parked = all(&*channel).await;
    channel.redrive(&parked[0].id).await.unwrap();
    assert!(commands.has_changed().unwrap());
    commands.mark_unchanged();
    channel.drop_parked(&parked[1].id).await.unwrap();
    assert!(commands.has_changed().unwrap());
    commands.mark_unchanged();
    channel.set_lane_state(lane, LaneState::Paused).await.unwrap();
    assert!(commands.has_changed().unwrap());
    commands.mark_unchanged();
    channel.redrive("no such id").await.unwrap();
    assert!(!commands.has_changed().unwrap(), "nothing was changed");
}
