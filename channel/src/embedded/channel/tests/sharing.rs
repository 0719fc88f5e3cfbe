//! Several Brokers on a volume that is short, and what is given up before a producer is turned away.

use super::*;
use crate::embedded::channel::room::Shortage;

/// A volume of 16 MiB, of which 4 are the reserve.
const TOTAL: u64 = 16 * MIB;

fn open(around: &Surroundings, name: &str, options: ChannelOptions) -> Arc<Embedded> {
    let broker = ObjectName::new("shop", name);
    let metrics = Metrics::default().of(&broker);
    Embedded::open(&broker, options, around.clone(), metrics).unwrap()
}

/// A lane that has read nothing yet.
async fn stuck(channel: &Embedded, trigger: &str) -> LaneId {
    let lane = channel.open_lanes(vec![spec(trigger)]).await.unwrap()[0].id;
    stand_at(channel, lane, channel.head().offset).await;
    lane
}

async fn stand_at(channel: &Embedded, lane: LaneId, offset: u64) {
    let progress = LaneProgress {
        lane,
        cursor: Some(at(offset)),
        queued: None,
        unsettled: vec![],
    };
    channel.commit(vec![progress.into()]).await.unwrap();
}

async fn append_one(channel: &Embedded, class: Class) -> Result<(), AppendError> {
    channel.append(vec![sized("x", LARGE)], class).await
}

/// Appends so often, and settles everything after each time.
async fn flows(channel: &Embedded, times: usize) {
    for time in 0..times {
        if let Err(refused) = append_one(channel, Class::Producer).await {
            panic!("{time}: {refused}");
        }
        settle_all(channel).await;
    }
}

fn names(lanes: &[Lane]) -> Vec<&str> {
    lanes.iter().map(|lane| lane.trigger.name()).collect()
}

#[tokio::test]
async fn producers_who_come_at_the_same_time_do_not_take_the_reserve_together() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let channel = open_on(folder.path(), TOTAL, OPTIONS, &clock);
    // It is awake before they come.
    append_one(&channel, Class::Producer).await.unwrap();
    let all = (0..400).map(|_| {
        let channel = channel.clone();
        tokio::spawn(async move { append_one(&channel, Class::Producer).await.is_ok() })
    });
    let mut stored = 0;
    for one in all.collect::<Vec<_>>() {
        stored += u64::from(one.await.unwrap());
    }
    assert!(stored > 100, "{stored}");
    assert!(
        channel.usage().log_bytes + TOTAL / 4 <= TOTAL,
        "{} bytes of events",
        channel.usage().log_bytes
    );
}

#[tokio::test]
async fn a_broker_that_fills_the_volume_costs_the_others_nothing() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let around = surroundings(folder.path(), TOTAL, &clock);
    let [dead, other, fine] = ["dead", "other", "fine"].map(|name| open(&around, name, OPTIONS));
    stuck(&dead, "stuck").await;
    assert_eq!(fill(&dead, 1_000).await.1, Some("disk-full"));
    flows(&fine, 100).await;
    let refusing = dead.usage().refusing.expect("it is still turned away");
    assert!(
        refusing.contains("the oldest for shop/stuck") && refusing.contains("an equal part"),
        "{refusing}"
    );
    // A second Broker goes beyond what it may hold, and the third does not notice.
    let (stored, code) = fill(&other, 1_000).await;
    assert_eq!(code, Some("disk-full"));
    assert!(stored > 0);
    flows(&fine, 100).await;
    assert!(append_one(&dead, Class::Producer).await.is_err());
    let space = dead.disk.space().unwrap();
    assert!(
        space.free >= space.reserve() / 2,
        "half of the reserve is left for deliveries: {space:?}"
    );
    settle_all(&dead).await;
    for lane in dead.lanes().await.unwrap() {
        stand_at(&dead, lane.id, dead.head().offset).await;
    }
    assert_eq!(fill(&dead, 10).await.1, None);
    assert_eq!(fill(&other, 10).await.1, None);
}

#[tokio::test]
async fn below_its_part_a_producer_waits_for_what_is_delivered_and_no_longer() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let around = surroundings(folder.path(), TOTAL, &clock);
    let [dead, fine] = ["dead", "fine"].map(|name| open(&around, name, OPTIONS));
    stuck(&dead, "stuck").await;
    fill(&dead, 1_000).await;
    // Its subscriber stands still: once the patience is over, producers are turned away at once.
    let lane = stuck(&fine, "slow").await;
    assert_eq!(fill(&fine, 1_000).await.1, Some("disk-full"));
    let stands = fine.state.lowest();
    tokio::select! {
        biased;
        outcome = append_one(&fine, Class::Producer) => assert!(outcome.is_err()),
        () = std::future::ready(()) => panic!("it waits"),
    }
    // It moves again: a producer that comes before the progress is written waits for that.
    stand_at(&fine, lane, stands).await;
    let (appended, ()) = tokio::join!(append_one(&fine, Class::Producer), async {
        settle_all(&fine).await;
        stand_at(&fine, lane, fine.head().offset).await;
    });
    appended.unwrap();
}

#[tokio::test]
async fn who_asks_alone_may_use_all_that_is_free() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let around = surroundings(folder.path(), TOTAL, &clock);
    let _idle: Vec<_> = (0..5)
        .map(|number| open(&around, &format!("idle-{number}"), OPTIONS))
        .collect();
    let busy = open(&around, "busy", OPTIONS);
    stuck(&busy, "stuck").await;
    let (stored, code) = fill(&busy, 1_000).await;
    assert_eq!(code, Some("disk-full"));
    assert!(stored * LARGE as u64 > 10 * MIB, "{stored}");
}

#[tokio::test]
async fn replies_of_one_broker_leave_the_others_half_of_the_reserve() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let around = surroundings(folder.path(), TOTAL, &clock);
    let [dead, fine] = ["dead", "fine"].map(|name| open(&around, name, OPTIONS));
    stuck(&dead, "stuck").await;
    fill(&dead, 1_000).await;
    append_one(&fine, Class::Reserve).await.unwrap();
    let mut replies = 0;
    while append_one(&dead, Class::Reserve).await.is_ok() {
        replies += 1;
        assert!(replies < 100);
    }
    assert!((20..=26).contains(&replies), "half of 4 MiB: {replies}");
    for _ in 0..10 {
        append_one(&fine, Class::Reserve).await.unwrap();
    }
}

#[tokio::test]
async fn the_longest_gone_trigger_gives_way_before_a_producer_is_turned_away() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let options = ChannelOptions {
        backlog_bytes: Some(MIB),
        ..SMALL
    };
    let channel = open_on(folder.path(), 1 << 40, options, &clock);
    let [long, short, there] = [
        stuck(&channel, "long").await,
        stuck(&channel, "short").await,
        channel.open_lanes(vec![spec("there")]).await.unwrap()[0].id,
    ];
    for (lane, since) in [(long, 1), (short, 2)] {
        channel
            .set_lane_state(lane, LaneState::Orphaned(Timestamp(since)))
            .await
            .unwrap();
    }
    flows(&channel, 6).await;
    stand_at(&channel, short, 6).await;
    flows(&channel, 6).await;
    assert_eq!(
        names(&channel.lanes().await.unwrap()),
        ["long", "short", "there"],
        "while there is room"
    );
    assert_eq!(channel.usage().refusing, None);
    flows(&channel, 6).await;
    assert_eq!(names(&channel.lanes().await.unwrap()), ["short", "there"]);
    flows(&channel, 30).await;
    assert_eq!(names(&channel.lanes().await.unwrap()), ["there"]);
    assert_eq!(channel.usage().forgotten, 2);
    // A trigger that exists is never forgotten.
    stand_at(&channel, there, channel.head().offset).await;
    let (_, code) = fill(&channel, 100).await;
    assert_eq!(code, Some("backlog-full"));
    let refusing = channel.usage().refusing.unwrap();
    assert!(refusing.contains("the oldest for shop/there"), "{refusing}");
    assert_eq!(channel.lanes().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_orphan_that_holds_nothing_up_is_left_alone() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let options = ChannelOptions {
        backlog_bytes: Some(MIB),
        ..SMALL
    };
    let channel = open_on(folder.path(), 1 << 40, options, &clock);
    let (gone, _there) = (stuck(&channel, "gone").await, stuck(&channel, "there").await);
    channel
        .set_lane_state(gone, LaneState::Orphaned(Timestamp(1)))
        .await
        .unwrap();
    assert_eq!(fill(&channel, 100).await.1, Some("backlog-full"));
    assert_eq!(channel.lanes().await.unwrap().len(), 2);
    assert!(matches!(
        channel.shortage(LARGE as u64),
        Some(Shortage::Backlog { .. })
    ));
}

#[tokio::test]
async fn on_a_short_volume_the_orphans_of_another_broker_give_way_too() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let around = surroundings(folder.path(), TOTAL, &clock);
    let [left, busy] = ["left", "busy"].map(|name| open(&around, name, OPTIONS));
    let gone = stuck(&left, "gone").await;
    left.set_lane_state(gone, LaneState::Orphaned(Timestamp(1)))
        .await
        .unwrap();
    flows(&left, 70).await;
    stuck(&busy, "there").await;
    let (stored, code) = fill(&busy, 1_000).await;
    assert_eq!(code, Some("disk-full"));
    assert!(stored > 110, "the room that the orphan had is used: {stored}");
    assert_eq!(left.lanes().await.unwrap(), []);
    assert_eq!((left.usage().forgotten, busy.usage().forgotten), (1, 0));
    assert_eq!(busy.lanes().await.unwrap().len(), 1);
}
