//! Appending and reading.

use std::time::Duration;

use millrace_event::Timestamp;

use super::{Backend, append, event, numbers, read_all};
use crate::{AppendError, Attempt, AttemptOutcome, Channel, ChannelError, Class, Position, Stage};

async fn ids(channel: &dyn Channel, from: Position) -> Vec<String> {
    read_all(channel, from)
        .await
        .into_iter()
        .map(|(_, id)| id)
        .collect()
}

pub(super) async fn appended_events_are_read_back_in_order(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let start = channel.head();
    for id in ["a", "b", "c", "d", "e"] {
        append(&*channel, &[id]).await;
    }
    assert_eq!(ids(&*channel, start).await, ["a", "b", "c", "d", "e"]);
    let mut reader = channel.log().reader(start);
    let batch = reader.try_next(1, 1 << 20).await.unwrap();
    assert_eq!(batch.records[0].event, event("a"), "byte for byte");
}

pub(super) async fn a_batch_stands_together_and_nothing_takes_no_position(backend: &mut impl Backend) {
    let channel = backend.open().await;
    append(&*channel, &["before"]).await;
    let batch = append(&*channel, &["a", "b", "c"]).await;
    append(&*channel, &["after"]).await;
    assert_eq!(ids(&*channel, batch[0]).await, ["a", "b", "c", "after"]);
    let head = channel.head();
    channel.log().append(Vec::new(), Class::Producer).await.unwrap();
    assert_eq!(channel.head(), head);
}

pub(super) async fn durable_events_survive_a_close_and_a_crash(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let start = append(&*channel, &["a", "b"]).await[0];
    channel.close().await.unwrap();
    drop(channel);
    let channel = backend.open().await;
    append(&*channel, &["c"]).await;
    drop(channel);
    let channel = backend.open().await;
    assert_eq!(ids(&*channel, start).await, ["a", "b", "c"]);
}

pub(super) async fn a_position_is_never_used_twice(backend: &mut impl Backend) {
    let mut last = None;
    for clean in [true, false, true] {
        let channel = backend.open().await;
        let position = append(&*channel, &["x"]).await[0];
        assert!(last < Some(position), "{last:?} and then {position}");
        last = Some(position);
        if clean {
            channel.close().await.unwrap();
        }
    }
}

pub(super) async fn a_reader_follows_the_head(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let mut reader = channel.log().reader(channel.head());
    let empty = reader.try_next(10, 1_000).await.unwrap();
    assert!(empty.records.is_empty() && empty.gaps.is_empty());
    assert_eq!(empty.next, channel.head());
    for id in ["a", "b"] {
        let waiting = tokio::spawn(async move {
            let batch = reader.next(10, 1_000).await.unwrap();
            (reader, batch)
        });
        let position = append(&*channel, &[id]).await[0];
        let batch;
        (reader, batch) = waiting.await.unwrap();
        assert_eq!(batch.records[0].event.id(), id);
        assert_eq!(batch.records[0].position, position);
        assert!(batch.next > position);
        assert_eq!(reader.position(), batch.next);
    }
}

pub(super) async fn a_reader_gives_what_is_asked_for_and_at_least_one_record(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let start = append(&*channel, &["a", "b", "c", "d"]).await[0];
    let mut reader = channel.log().reader(start);
    assert_eq!(reader.next(3, 1 << 20).await.unwrap().records.len(), 3);
    assert_eq!(reader.next(3, 1 << 20).await.unwrap().records.len(), 1);
    let mut reader = channel.log().reader(start);
    assert_eq!(
        reader.next(10, 1).await.unwrap().records.len(),
        1,
        "however large it is"
    );
}

pub(super) async fn a_read_that_is_given_up_loses_nothing(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let mut reader = channel.log().reader(channel.head());
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

pub(super) async fn one_event_is_found_by_its_position(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let p = append(&*channel, &["a", "b"]).await;
    for (position, id) in p.iter().zip(["a", "b"]) {
        let record = channel.get(*position).await.unwrap().expect("the event");
        assert_eq!((record.position, record.event), (*position, event(id)));
    }
    let head = channel.head();
    let far = Position {
        offset: u64::MAX >> 2,
        ..head
    };
    assert!(channel.get(head).await.unwrap().is_none());
    assert!(channel.get(far).await.unwrap().is_none());
    let many = channel.log().get_many(&[p[1], far, p[0], p[1]]).await.unwrap();
    let ids = many
        .iter()
        .map(|one| one.as_ref().map(|record| record.event.id()));
    assert_eq!(ids.collect::<Vec<_>>(), [Some("b"), None, Some("a"), Some("b")]);
}

pub(super) async fn events_are_found_by_their_id(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let mut p = append(&*channel, &["a", "b"]).await;
    p.extend(append(&*channel, &["a"]).await);
    let head = channel.head();
    let other = event("a").edit().attribute("source", "/other").build().unwrap();
    channel.log().append(vec![other], Class::Producer).await.unwrap();
    p.extend(
        read_all(&*channel, head)
            .await
            .into_iter()
            .map(|(position, _)| position),
    );
    found_by_their_id(&*channel, &p).await;
    channel.close().await.unwrap();
    drop(channel);
    found_by_their_id(&*backend.open().await, &p).await;
}

async fn found_by_their_id(channel: &dyn Channel, p: &[Position]) {
    let cases: [(&str, Option<&str>, usize, &[usize]); 6] = [
        ("a", None, 10, &[0, 2, 3]),
        ("a", None, 2, &[2, 3]),
        ("a", Some("/conformance"), 10, &[0, 2]),
        ("b", None, 10, &[1]),
        ("b", Some("/other"), 10, &[]),
        ("c", None, 10, &[]),
    ];
    for (id, source, limit, expected) in cases {
        let found = channel.find(id, source, limit).await.unwrap();
        assert_eq!(numbers(p, found), expected, "{id} of {source:?}, at most {limit}");
    }
}

pub(super) async fn a_time_leads_to_the_first_position_at_or_after_it(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let first = append(&*channel, &["a", "b"]).await[0];
    let time = channel.get(first).await.unwrap().expect("the event").appended;
    let later = time.after(Duration::from_secs(3_600));
    for (since, expected) in [(Timestamp(0), first), (time, first), (later, channel.head())] {
        let found = channel
            .log()
            .position_at(channel.partition(), since)
            .await
            .unwrap();
        assert_eq!(found, expected, "{since:?}");
    }
}

pub(super) async fn the_ends_of_the_log_are_those_of_its_partitions(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let first = append(&*channel, &["a", "b"]).await[0];
    let ends = channel.log().ends();
    let mut own = ends
        .iter()
        .filter(|ends| ends.head.partition == channel.partition());
    let own = own.next().expect("one for its partition");
    assert_eq!((own.oldest, own.head), (first, channel.head()));
}

pub(super) async fn replies_go_the_same_way_as_producers_events(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let first = append(&*channel, &["a"]).await[0];
    channel
        .log()
        .append(vec![event("reply")], Class::Reserve)
        .await
        .unwrap();
    assert_eq!(ids(&*channel, first).await, ["a", "reply"]);
}

pub(super) async fn noted_attempts_are_found_by_position(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let p = append(&*channel, &["0", "1", "2"]).await;
    let attempt = |position, attempt: u32| Attempt {
        position,
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
    for (position, n) in [(p[0], 0), (p[1], 0), (p[0], 1)] {
        channel.record(attempt(position, n));
    }
    let found = channel.attempts(p[0]).await.unwrap();
    assert_eq!(found, [attempt(p[0], 0), attempt(p[0], 1)]);
    assert_eq!(channel.attempts(p[2]).await.unwrap(), []);
}

pub(super) async fn usage_tells_what_can_be_read(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let first = append(&*channel, &["a", "b"]).await[0];
    let usage = channel.usage();
    assert_eq!((usage.oldest, usage.head), (first, channel.head()));
    assert_eq!((usage.refusing, usage.dropped), (None, 0));
    assert!(usage.log_bytes > 0);
}

pub(super) async fn a_batch_that_fails_is_stored_in_part_only_where_the_backend_says_so(
    backend: &mut impl Backend,
) {
    let channel = backend.open().await;
    let promises = channel.log().guarantees();
    for steps in 0..3 {
        let head = channel.head();
        if !backend.cut_append(steps) {
            return;
        }
        let batch = ["a", "b", "c"].map(event).to_vec();
        let appended = channel.log().append(batch, Class::Producer).await;
        let stored = ids(&*channel, head).await;
        match (appended, promises.atomic_batch) {
            (Ok(()), _) => assert_eq!(stored, ["a", "b", "c"]),
            (Err(_), true) => assert_eq!(stored, [""; 0]),
            (Err(_), false) => assert_eq!(stored, ["a", "b", "c"][..steps]),
        }
        // What the cut is still for.
        let _ = channel.log().append(vec![event("d")], Class::Producer).await;
    }
}

pub(super) async fn a_closed_channel_takes_nothing(backend: &mut impl Backend) {
    let channel = backend.open().await;
    append(&*channel, &["a"]).await;
    channel.close().await.unwrap();
    channel.close().await.unwrap();
    assert_eq!(
        channel.log().append(vec![event("b")], Class::Producer).await,
        Err(AppendError::Closed)
    );
    assert_eq!(
        channel.log().append(vec![event("b")], Class::Reserve).await,
        Err(AppendError::Closed)
    );
    let progress = crate::Progress::router(channel.head());
    assert_eq!(
        channel.commit(vec![progress.into()]).await,
        Err(ChannelError::Closed)
    );
}
