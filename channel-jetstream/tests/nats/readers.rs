//! Readers and claims on a real NATS server go on where a plain consumer would stand.

use std::time::Duration;

use millrace_channel::{Channel, Class, LaneSpec, Position};
use millrace_channel_jetstream::Streams;
use millrace_event::{DataForm, Event, ObjectName, SpecVersion};

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
