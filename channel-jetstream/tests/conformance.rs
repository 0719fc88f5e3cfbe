//! The channel on a real NATS server keeps the contract.
//!
//! One server serves all checks, each with a Broker of its own. Without the peer the test says that it is
//! skipped; with `MILLRACE_REQUIRE_PEERS=1` it fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use millrace_channel::conformance::{self, Backend};
use millrace_channel::{Channel, Position};
use millrace_channel_jetstream::{Options, Partition};
use millrace_event::{Clock, ObjectName};
use tokio_util::sync::CancellationToken;

#[path = "server/mod.rs"]
mod server;

use server::Server;

/// One Broker on the server.
struct OnServer {
    url: String,
    broker: ObjectName,
}

static BROKERS: AtomicU32 = AtomicU32::new(0);

impl OnServer {
    fn new(url: &str) -> Self {
        let number = BROKERS.fetch_add(1, Ordering::Relaxed);
        Self {
            url: url.to_owned(),
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
        let partition = Partition::open(options(&self.url, &self.broker)).await;
        partition.expect("it can be opened").channel()
    }
}

fn options(url: &str, broker: &ObjectName) -> Options {
    Options {
        broker: broker.clone(),
        mesh: "millrace".to_owned(),
        servers: vec![url.to_owned()],
        login: None,
        tls: None,
        replicas: 1,
        max_bytes: 64 << 20,
        retention_age: Duration::from_secs(3_600),
        durability: None,
        rebuild_state: false,
        clock: Clock::System,
        ending: CancellationToken::new(),
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
        let name = format!("millrace-conformance-{}", self.broker.name());
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
    conformance::all(|| OnServer::new(server.url())).await;
}
