//! Promise: a record is written when its future says so, in the order of the calls, and what is not queued
//! was not tried. Against the simulated cluster of librdkafka itself.

use std::sync::Arc;
use std::time::Duration;

use millrace_kafka::writer::{Headers, QUEUE_BYTES};
use millrace_kafka::{Access, ClientLog, NotWritten, Place, Prospect, Record, Writer, config};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

const TOPIC: &str = "orders";

fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).expect("a simulated cluster");
    cluster.create_topic(TOPIC, 1, 1).expect("a topic");
    cluster
}

fn writer(cluster: &MockCluster<'static, DefaultProducerContext>, limit: Duration) -> Writer {
    let mut config = config::client(&Access::default());
    config.set("bootstrap.servers", cluster.bootstrap_servers());
    Writer::new(config, limit, Arc::new(ClientLog::default())).expect("a client")
}

fn record(topic: &'static str, value: &'static [u8]) -> Record<'static> {
    let mut headers = Headers::default();
    headers.add("ce_id", "1");
    Record {
        topic,
        key: Some("k"),
        value: Some(value),
        headers,
    }
}

#[tokio::test]
async fn records_are_written_in_the_order_of_the_calls_and_say_where_they_are() {
    let cluster = cluster();
    let writer = writer(&cluster, Duration::from_secs(30));
    let all: Vec<_> = (0..100)
        .map(|_| writer.write(record(TOPIC, b"x")).expect("it is queued"))
        .collect();
    for (offset, written) in (0..).zip(all) {
        let partition = 0;
        assert_eq!(written.await, Ok(Place { partition, offset }));
    }
}

#[tokio::test]
async fn a_full_queue_takes_nothing_more_and_is_written_when_the_cluster_is_back() {
    static MEBIBYTE: [u8; 1 << 20] = [b'x'; 1 << 20];
    let cluster = cluster();
    let writer = writer(&cluster, Duration::from_secs(30));
    writer
        .write(record(TOPIC, b"x"))
        .expect("it is queued")
        .await
        .expect("it is written");
    cluster.broker_down(1).expect("it is down");
    let mut waiting = Vec::new();
    let refused = loop {
        match writer.write(record(TOPIC, &MEBIBYTE[..MEBIBYTE.len() - 100])) {
            Ok(written) => waiting.push(written),
            Err(why) => break why,
        }
    };
    assert_eq!(refused, NotWritten::QueueFull);
    assert_eq!(refused.prospect(), Prospect::Room);
    assert_eq!(waiting.len(), QUEUE_BYTES >> 20);
    cluster.broker_up(1).expect("it is up");
    for written in waiting {
        assert!(written.await.is_ok());
    }
    writer
        .write(record(TOPIC, b"x"))
        .expect("there is room")
        .await
        .expect("it is written");
}

#[tokio::test]
async fn what_is_not_acknowledged_in_time_is_given_up_and_may_be_tried_again() {
    let cluster = cluster();
    let writer = writer(&cluster, Duration::from_secs(1));
    cluster.broker_down(1).expect("it is down");
    let written = writer.write(record(TOPIC, b"x")).expect("it is queued");
    let why = written.await.expect_err("nobody acknowledges it");
    assert!(matches!(why, NotWritten::NotInTime(_)), "{why}");
    assert_eq!(why.prospect(), Prospect::Again);
}

#[tokio::test]
async fn a_record_larger_than_the_queue_is_never_tried() {
    static LARGE: [u8; QUEUE_BYTES + 1] = [b'x'; QUEUE_BYTES + 1];
    let cluster = cluster();
    let writer = writer(&cluster, Duration::from_secs(30));
    let why = writer.write(record(TOPIC, &LARGE)).err();
    assert_eq!(why, Some(NotWritten::TooLargeForQueue(QUEUE_BYTES)));
    assert!(why.is_some_and(|why| why.is_about_record() && why.prospect() == Prospect::Never));
}
