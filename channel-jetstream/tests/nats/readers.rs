//! Readers and claims on a real NATS server go on where a plain consumer would stand.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use millrace_channel::{Channel, Class, LaneSpec, Position};
use millrace_channel_jetstream::{Ended, Streams};
use millrace_event::{DataForm, Event, ObjectName, SpecVersion, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::server::{Server, options};

/// How long a reader may take: it is not measured here.
const PATIENCE: Duration = Duration::from_secs(60);

fn event(id: &str, octets: usize) -> Event {
    let builder = Event::builder(SpecVersion::V10)
        .attribute("id", id)
        .attribute("source", "/readers")
        .attribute("type", "test");
    builder
        .data(DataForm::Bytes, &vec![b'x'; octets])
        .build()
        .expect("a valid event")
}

async fn append(channel: &dyn Channel, id: &str, octets: usize) {
    let events = vec![event(id, octets)];
    channel.log().append(events, Class::Producer).await.expect("room");
}

/// The ids of so many events from a position on.
async fn read(channel: &dyn Channel, from: Position, count: usize) -> Vec<String> {
    let mut reader = channel.log().reader(from);
    let mut ids = Vec::new();
    let all = async {
        while ids.len() < count {
            let batch = reader.next(10, 1 << 20).await.expect("a read");
            ids.extend(batch.records.iter().map(|record| record.event.id().to_owned()));
        }
    };
    tokio::time::timeout(PATIENCE, all)
        .await
        .expect("the reader stands");
    ids
}

/// Messages of state and events that are larger than what the server takes now.
#[tokio::test(flavor = "multi_thread")]
async fn larger_messages_than_the_server_takes_now_are_read() {
    let test = "larger_messages_than_the_server_takes_now_are_read";
    let Some(mut server) = Server::start_with(test, "max_payload: 8MB").await else {
        return;
    };
    let broker = ObjectName::new("readers", "large");
    let streams = Streams::open(options(server.url(), &broker)).await.expect("open");
    let channel = streams.claim(0).await.expect("it can be claimed").channel();
    let from = channel.head();
    for (id, octets) in [("small", 10), ("large", 3 << 20), ("last", 10)] {
        append(&*channel, id, octets).await;
    }
    let lane = LaneSpec {
        trigger: ObjectName::new("shop", "t"),
        uid: None,
        resume: false,
        filter: "x".repeat(3 << 20),
        longest_wait: Duration::from_secs(1),
    };
    channel.open_lanes(vec![lane]).await.expect("a lane");
    drop((channel, streams));
    server.restart(test, "").await;
    let streams = Streams::open(options(server.url(), &broker)).await.expect("open");
    let claimed = tokio::time::timeout(PATIENCE, streams.claim(0)).await;
    let channel = claimed
        .expect("the claim stands")
        .expect("it can be claimed")
        .channel();
    assert_eq!(channel.lanes().await.expect("the lanes").len(), 1);
    assert_eq!(read(&*channel, from, 3).await, ["small", "large", "last"]);
}

/// A consumer that is paused sends heartbeats and no messages.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_sends_only_heartbeats_is_left() {
    let Some(server) = Server::start("a_consumer_that_sends_only_heartbeats_is_left").await else {
        return;
    };
    let broker = ObjectName::new("readers", "stalled");
    let streams = Streams::open(options(server.url(), &broker)).await.expect("open");
    let channel = streams.claim(0).await.expect("it can be claimed").channel();
    let from = channel.head();
    append(&*channel, "first", 10).await;
    let mut reader = channel.log().reader(from);
    assert_eq!(reader.next(10, 1 << 20).await.expect("a read").records.len(), 1);
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let context = async_nats::jetstream::new(client);
    let stream = "millrace-readers-stalled";
    let consumers = context.get_stream(stream).await.expect("the stream");
    let names: Vec<String> = consumers.consumer_names().try_collect().await.expect("names");
    assert_eq!(names.len(), 1, "{names:?}");
    let pause = serde_json::json!({ "pause_until": "2999-01-01T00:00:00Z" });
    let subject = format!("CONSUMER.PAUSE.{stream}.{}", names[0]);
    let paused: serde_json::Value = context.request(subject, &pause).await.expect("an answer");
    assert_eq!(paused["paused"], true, "{paused}");
    append(&*channel, "second", 10).await;
    let second = tokio::time::timeout(PATIENCE, reader.next(10, 1 << 20)).await;
    let second = second.expect("the reader stands").expect("a read");
    assert_eq!(second.records[0].event.id(), "second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_deleted_ends_what_waits_for_it() {
    let Some(server) = Server::start("a_state_that_is_deleted_ends_what_waits_for_it").await else {
        return;
    };
    let broker = ObjectName::new("readers", "gone");
    let open = || Streams::open(options(server.url(), &broker));
    let streams = open().await.expect("open");
    let channel = streams.claim(0).await.expect("it can be claimed").channel();
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let context = async_nats::jetstream::new(client);
    let state = "millrace-readers-gone-state";
    context.delete_stream(state).await.expect("it is deleted");
    let written = tokio::time::timeout(PATIENCE, channel.set_orphaned(Some(Timestamp(1)))).await;
    let refused = written.expect("the write stands").expect_err("there is no state");
    assert!(refused.to_string().contains(state), "{refused}");
    let until = CancellationToken::new();
    let ended = tokio::time::timeout(PATIENCE, streams.tend(&until)).await;
    assert_eq!(ended.expect("nobody notices"), Ended::Lost);
    let refused = open().await.map(drop).expect_err("there are events");
    assert!(refused.to_string().contains("--rebuild-state"), "{refused}");
}
