//! The channel on a real NATS server keeps the contract.
//!
//! One server serves all checks, each with a Broker of its own. Without the peer the test says that it is
//! skipped; with `MILLRACE_REQUIRE_PEERS=1` it fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use millrace_channel::conformance::{self, Backend};
use millrace_channel::{Channel, LaneSpec, Position};
use millrace_channel_jetstream::{Options, Streams};
use millrace_event::ObjectName;

use crate::server::{Server, options};

/// One partition of a Broker on the server.
struct OnServer {
    url: String,
    broker: ObjectName,
    /// Its number, and how many there are.
    partition: (u32, u32),
}

static BROKERS: AtomicU32 = AtomicU32::new(0);

impl OnServer {
    fn new(url: &str, partition: (u32, u32)) -> Self {
        let number = BROKERS.fetch_add(1, Ordering::Relaxed);
        Self {
            url: url.to_owned(),
            partition,
            broker: ObjectName::new("conformance", format!("b{number}")),
        }
    }

    /// How many of the oldest events stand below a position.
    async fn left(&self, from: Position) -> u64 {
        let log = self.claim().await;
        let first = Position { offset: 1, ..from };
        let mut reader = log.log().reader(first);
        let (mut left, mut next) = (0, first);
        while next < from {
            let batch = reader.try_next(100, 1 << 20).await.expect("a read");
            left += batch
                .records
                .iter()
                .filter(|record| record.position < from)
                .count() as u64;
            if batch.next == next {
                break;
            }
            next = batch.next;
        }
        left
    }

    async fn claim(&self) -> Arc<dyn Channel> {
        let (number, partitions) = self.partition;
        let streams = Streams::open(Options {
            partitions,
            ..options(&self.url, &self.broker)
        });
        let streams = streams.await.expect("it can be opened");
        streams.claim(number).await.expect("it can be claimed").channel()
    }
}

#[async_trait::async_trait]
impl Backend for OnServer {
    async fn open(&mut self) -> Arc<dyn Channel> {
        self.claim().await
    }

    async fn open_elsewhere(&mut self) -> Option<Arc<dyn Channel>> {
        Some(self.claim().await)
    }

    /// The stream is another one, which has only the older events.
    async fn lose_suffix(&mut self, from: Position) -> bool {
        let client = async_nats::connect(&self.url).await.expect("a connection");
        let context = async_nats::jetstream::new(client.clone());
        let name = match self.partition {
            (_, 1) => format!("millrace-conformance-{}", self.broker.name()),
            (number, _) => format!("millrace-conformance-{}-p{number}", self.broker.name()),
        };
        let stream = context.get_stream(&name).await.expect("the stream");
        let config = stream.cached_info().config.clone();
        let mut kept = Vec::new();
        // Nothing was lost before, or all of it was read again: what is left has the lowest numbers.
        let left = self.left(from).await;
        for sequence in 1..=left {
            kept.push(stream.get_raw_message(sequence).await.expect("a message"));
        }
        context.delete_stream(&name).await.expect("it is deleted");
        context.create_stream(config).await.expect("it is made again");
        for message in kept {
            let mut headers = async_nats::HeaderMap::new();
            for (name, values) in message.headers.iter() {
                let name: &str = name.as_ref();
                for value in values.iter().filter(|_| !name.starts_with("Nats-")) {
                    headers.append(name, value.clone());
                }
            }
            let sent = context.publish_with_headers(message.subject, headers, message.payload);
            sent.await.expect("it is sent").await.expect("it is stored");
        }
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let Some(server) = Server::start("keeps_the_contract").await else {
        return;
    };
    conformance::all(|| OnServer::new(server.url(), (0, 1))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_partitions_keeps_the_contract() {
    let Some(server) = Server::start("one_of_several_partitions_keeps_the_contract").await else {
        return;
    };
    conformance::all(|| OnServer::new(server.url(), (2, 3))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_another_number_of_partitions_is_refused() {
    let Some(server) = Server::start("a_broker_of_another_number_of_partitions_is_refused").await else {
        return;
    };
    for there in [1, 3] {
        let broker = ObjectName::new("numbers", format!("of-{there}"));
        let open = |partitions| {
            Streams::open(Options {
                partitions,
                ..options(server.url(), &broker)
            })
        };
        open(there).await.expect("a new one is made");
        for other in [1, 2, 3, 4] {
            let opened = open(other).await.map(|streams| streams.partitions());
            match other == there {
                true => assert_eq!(opened, Ok(0..there)),
                false => {
                    let refused = opened.expect_err("another number is refused").to_string();
                    let told =
                        format!("has {there} partition(s) on the NATS servers, and its config says {other}");
                    assert!(refused.contains(&told), "{refused}");
                }
            }
        }
    }
}

/// More than a request for messages may bring.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_state_is_read_to_its_end() {
    let Some(server) = Server::start("a_large_state_is_read_to_its_end").await else {
        return;
    };
    let mut place = OnServer::new(server.url(), (0, 1));
    let spec = |number: usize| LaneSpec {
        trigger: ObjectName::new("shop", format!("t{number}")),
        uid: None,
        resume: false,
        filter: "x".repeat(2_000 + number),
        longest_wait: Duration::from_secs(1),
    };
    let channel = place.open().await;
    channel
        .open_lanes((0..2_000).map(spec).collect())
        .await
        .expect("lanes are made");
    let again = place.open_elsewhere().await.expect("another owner");
    assert_eq!(again.lanes().await.expect("they are there").len(), 2_000);
}

/// All of them were made, so none is new.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_whose_streams_are_gone_is_lost_and_not_new() {
    let Some(server) = Server::start("a_partition_whose_streams_are_gone_is_lost_and_not_new").await else {
        return;
    };
    let broker = ObjectName::new("gone", "b");
    let open = |rebuild_state| {
        Streams::open(Options {
            partitions: 3,
            rebuild_state,
            ..options(server.url(), &broker)
        })
    };
    open(false).await.expect("it is made");
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let context = async_nats::jetstream::new(client);
    for stream in ["millrace-gone-b-p1", "millrace-gone-b-p1-state"] {
        context.delete_stream(stream).await.expect("it is deleted");
    }
    let refused = open(false)
        .await
        .map(drop)
        .expect_err("it is refused")
        .to_string();
    assert!(refused.contains("--rebuild-state"), "{refused}");
    open(true).await.expect("an operator wants it anew");
    open(false).await.expect("it is there again");
}
