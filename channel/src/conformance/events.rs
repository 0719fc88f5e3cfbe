//! Appending and reading.

use std::time::Duration;

use millrace_event::Timestamp;

use super::{Place, append, at, event};
use crate::{AppendError, Attempt, AttemptOutcome, Channel, ChannelError, Class, Position, Stage};

/// Reads everything from a position to the head: position and id of each event.
async fn read_all(channel: &dyn Channel, from: Position) -> Vec<(Position, String)> {
    let mut reader = channel.reader(from);
    let mut all = Vec::new();
    while reader.position() < channel.head() {
        let batch = reader.try_next(3, 1 << 20).await.expect("a read");
        all.extend(
            batch
                .records
                .iter()
                .map(|record| (record.position, record.event.id().to_owned())),
        );
    }
    all
}

async fn ids(channel: &dyn Channel, from: Position) -> Vec<String> {
    read_all(channel, from)
        .await
        .into_iter()
        .map(|(_, id)| id)
        .collect()
}

pub(super) async fn appended_events_are_read_back_in_order(place: &mut impl Place) {
    let channel = place.open().await;
    let start = channel.head();
    for id in ["a", "b", "c", "d", "e"] {
        append(&*channel, &[id]).await;
    }
    assert_eq!(ids(&*channel, start).await, ["a", "b", "c", "d", "e"]);
    let mut reader = channel.reader(start);
    let batch = reader.try_next(1, 1 << 20).await.unwrap();
    assert_eq!(batch.records[0].event, event("a"), "byte for byte");
}

pub(super) async fn a_batch_takes_consecutive_positions(place: &mut impl Place) {
    let channel = place.open().await;
    append(&*channel, &["before"]).await;
    let first = append(&*channel, &["a", "b", "c"]).await;
    assert_eq!(channel.head(), at(first.offset + 3));
    let found = read_all(&*channel, first).await;
    let expected = ["a", "b", "c"]
        .iter()
        .zip(first.offset..)
        .map(|(id, offset)| (at(offset), (*id).to_owned()));
    assert_eq!(found, expected.collect::<Vec<_>>());
    let none = channel.append(Vec::new(), Class::Producer).await.unwrap();
    assert_eq!(none, channel.head(), "nothing takes no position");
}

pub(super) async fn durable_events_survive_a_close_and_a_crash(place: &mut impl Place) {
    let channel = place.open().await;
    let start = append(&*channel, &["a", "b"]).await;
    channel.close().await.unwrap();
    drop(channel);
    let channel = place.open().await;
    append(&*channel, &["c"]).await;
    drop(channel);
    let channel = place.open().await;
    assert_eq!(ids(&*channel, start).await, ["a", "b", "c"]);
}

pub(super) async fn a_position_is_never_used_twice(place: &mut impl Place) {
    let mut last = None;
    for clean in [true, false, true] {
        let channel = place.open().await;
        let position = append(&*channel, &["x"]).await;
        assert!(last < Some(position), "{last:?} and then {position}");
        last = Some(position);
        if clean {
            channel.close().await.unwrap();
        }
    }
}

pub(super) async fn a_reader_follows_the_head(place: &mut impl Place) {
    let channel = place.open().await;
    let mut reader = channel.reader(channel.head());
    let empty = reader.try_next(10, 1_000).await.unwrap();
    assert!(empty.records.is_empty() && empty.gaps.is_empty());
    assert_eq!(empty.next, channel.head());
    for id in ["a", "b"] {
        let waiting = tokio::spawn(async move {
            let batch = reader.next(10, 1_000).await.unwrap();
            (reader, batch)
        });
        let position = append(&*channel, &[id]).await;
        let batch;
        (reader, batch) = waiting.await.unwrap();
        assert_eq!(batch.records[0].event.id(), id);
        assert_eq!(
            (batch.records[0].position, batch.next),
            (position, at(position.offset + 1))
        );
        assert_eq!(reader.position(), batch.next);
    }
}

pub(super) async fn a_reader_gives_what_is_asked_for_and_at_least_one_record(place: &mut impl Place) {
    let channel = place.open().await;
    let start = append(&*channel, &["a", "b", "c", "d"]).await;
    let mut reader = channel.reader(start);
    assert_eq!(reader.next(3, 1 << 20).await.unwrap().records.len(), 3);
    assert_eq!(reader.next(3, 1 << 20).await.unwrap().records.len(), 1);
    let mut reader = channel.reader(start);
    assert_eq!(
        reader.next(10, 1).await.unwrap().records.len(),
        1,
        "however large it is"
    );
}

pub(super) async fn a_read_that_is_given_up_loses_nothing(place: &mut impl Place) {
    let channel = place.open().await;
    let mut reader = channel.reader(channel.head());
    for id in ["a", "b", "c"] {
        tokio::select! {
            biased;
            _ = reader.next(10, 1_000) => unreachable!("there is nothing to read"),
            () = std::future::ready(()) => {}
        }
        append(&*channel, &[id]).await;
        assert_eq!(reader.next(10, 1_000).await.unwrap().records[0].event.id(), id);
    }
}

pub(super) async fn one_event_is_found_by_its_position(place: &mut impl Place) {
    let channel = place.open().await;
    let first = append(&*channel, &["a", "b"]).await;
    for (n, id) in (0..).zip(["a", "b"]) {
        let record = channel
            .get(at(first.offset + n))
            .await
            .unwrap()
            .expect("the event");
        assert_eq!(
            (record.position.offset, record.event),
            (first.offset + n, event(id))
        );
    }
    assert!(channel.get(channel.head()).await.unwrap().is_none());
    assert!(channel.get(at(u64::MAX >> 2)).await.unwrap().is_none());
}

pub(super) async fn events_are_found_by_their_id(place: &mut impl Place) {
    let channel = place.open().await;
    let first = append(&*channel, &["a", "b"]).await.offset;
    append(&*channel, &["a"]).await;
    let other = event("a").edit().attribute("source", "/other").build().unwrap();
    channel.append(vec![other], Class::Producer).await.unwrap();
    found_by_their_id(&*channel, first).await;
    channel.close().await.unwrap();
    drop(channel);
    found_by_their_id(&*place.open().await, first).await;
}

async fn found_by_their_id(channel: &dyn Channel, first: u64) {
    let cases: [(&str, Option<&str>, usize, &[u64]); 6] = [
        ("a", None, 10, &[0, 2, 3]),
        ("a", None, 2, &[2, 3]),
        ("a", Some("/conformance"), 10, &[0, 2]),
        ("b", None, 10, &[1]),
        ("b", Some("/other"), 10, &[]),
        ("c", None, 10, &[]),
    ];
    for (id, source, limit, expected) in cases {
        let found = channel.find(id, source, limit).await.unwrap();
        let found: Vec<_> = found.iter().map(|found| found.offset - first).collect();
        assert_eq!(found, expected, "{id} of {source:?}, at most {limit}");
    }
}

pub(super) async fn a_time_leads_to_the_first_position_at_or_after_it(place: &mut impl Place) {
    let channel = place.open().await;
    let first = append(&*channel, &["a", "b"]).await;
    let time = channel.get(first).await.unwrap().expect("the event").appended;
    assert_eq!(channel.position_at(Timestamp(0)).await.unwrap(), first);
    assert_eq!(channel.position_at(time).await.unwrap(), first);
    let later = time.after(Duration::from_secs(3_600));
    assert_eq!(channel.position_at(later).await.unwrap(), channel.head());
}

pub(super) async fn replies_go_the_same_way_as_producers_events(place: &mut impl Place) {
    let channel = place.open().await;
    let first = append(&*channel, &["a"]).await;
    channel
        .append(vec![event("reply")], Class::Reserve)
        .await
        .unwrap();
    assert_eq!(ids(&*channel, first).await, ["a", "reply"]);
}

pub(super) async fn noted_attempts_are_found_by_position(place: &mut impl Place) {
    let channel = place.open().await;
    let attempt = |offset: u64, attempt: u32| Attempt {
        position: at(offset),
        trigger: super::spec("a").trigger,
        stage: Stage::DeadLetter,
        attempt,
        at: Timestamp(5),
        millis: 3,
        status: None,
        outcome: AttemptOutcome::Failed,
        detail: "nobody listens".to_owned(),
        answer: "busy".to_owned(),
    };
    for (offset, n) in [(1, 0), (2, 0), (1, 1)] {
        channel.record(attempt(offset, n));
    }
    assert_eq!(
        channel.attempts(at(1)).await.unwrap(),
        [attempt(1, 0), attempt(1, 1)]
    );
    assert_eq!(channel.attempts(at(3)).await.unwrap(), []);
}

pub(super) async fn usage_tells_what_can_be_read(place: &mut impl Place) {
    let channel = place.open().await;
    let first = append(&*channel, &["a", "b"]).await;
    let usage = channel.usage();
    assert_eq!((usage.oldest, usage.head), (first, channel.head()));
    assert_eq!((usage.refusing, usage.dropped), (None, 0));
    assert!(usage.log_bytes > 0);
}

pub(super) async fn a_closed_channel_takes_nothing(place: &mut impl Place) {
    let channel = place.open().await;
    append(&*channel, &["a"]).await;
    channel.close().await.unwrap();
    channel.close().await.unwrap();
    assert_eq!(
        channel.append(vec![event("b")], Class::Producer).await,
        Err(AppendError::Closed)
    );
    assert_eq!(
        channel.append(vec![event("b")], Class::Reserve).await,
        Err(AppendError::Closed)
    );
    let change = crate::Change::Router(at(1));
    assert_eq!(channel.commit(vec![change]).await, Err(ChannelError::Closed));
}
