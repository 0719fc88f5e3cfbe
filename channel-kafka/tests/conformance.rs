//! The channel on a real Kafka server keeps the contract.
//!
//! One server serves all checks, each with a Broker of its own. Without the peer the test says that it is
//! skipped; with `MILLRACE_REQUIRE_PEERS=1` it fails.

use std::sync::Arc;
use std::time::Duration;

use millrace_channel::conformance::{self, Backend};
use millrace_channel::{Channel, Position};
use millrace_channel_kafka::Partition;
use millrace_event::ObjectName;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};

#[path = "server/mod.rs"]
mod server;

use server::{Server, new_broker};

/// One Broker on the server.
struct OnServer {
    server: Arc<Server>,
    broker: ObjectName,
}

/// A record as it was: key, value, headers.
type Kept = (Option<Vec<u8>>, Option<Vec<u8>>, Option<OwnedHeaders>);

impl OnServer {
    async fn claim(&self) -> Arc<dyn Channel> {
        let partition = Partition::open(self.server.options(&self.broker)).await;
        partition.expect("it can be opened").channel()
    }

    fn topic(&self) -> String {
        format!("millrace.conformance.{}", self.broker.name())
    }

    /// How many of the oldest events stand below a position.
    async fn left(&self, from: Position) -> usize {
        let log = self.claim().await;
        let first = Position { offset: 0, ..from };
        let mut reader = log.log().reader(first);
        let (mut left, mut next) = (0, first);
        while next < from {
            let batch = reader.try_next(100, 1 << 20).await.expect("a read");
            let below = batch.records.iter().filter(|record| record.position < from);
            left += below.count();
            if batch.next == next {
                break;
            }
            next = batch.next;
        }
        left
    }

    /// The first records.
    fn records(&self, count: usize) -> Vec<Kept> {
        let mut config = self.server.client();
        config.set("group.id", "others");
        let reader: BaseConsumer = config.create().expect("a client");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic(), 0, Offset::Beginning)
            .expect("a place");
        reader.assign(&list).expect("it is assigned");
        let mut kept = Vec::new();
        while kept.len() < count {
            let message = reader.poll(Duration::from_secs(20)).expect("a message");
            let message = message.expect("no error");
            let headers = message.headers().map(|headers| headers.detach());
            kept.push((
                message.key().map(<[u8]>::to_vec),
                message.payload().map(<[u8]>::to_vec),
                headers,
            ));
        }
        kept
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

    /// The topic is another one, which has only the older events.
    async fn lose_suffix(&mut self, from: Position) -> bool {
        // Nothing was lost before, or all of it was read again: what is left has the lowest numbers.
        let left = self.left(from).await;
        let kept = self.records(left);
        let topic = self.topic();
        let admin: AdminClient<DefaultClientContext> = self.server.client().create().expect("a client");
        let patient = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        admin
            .delete_topics(&[&topic], &patient)
            .await
            .expect("it is deleted");
        let new = NewTopic::new(&topic, 1, TopicReplication::Fixed(1))
            .set("retention.ms", "-1")
            .set("message.timestamp.type", "LogAppendTime");
        loop {
            let made = admin
                .create_topics([&new], &patient)
                .await
                .expect("an answer")
                .remove(0);
            if made.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let writer: FutureProducer = self.server.client().create().expect("a client");
        for (key, value, headers) in kept {
            let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&topic).partition(0);
            (record.key, record.payload, record.headers) = (key.as_deref(), value.as_deref(), headers);
            writer
                .send(record, Duration::from_secs(20))
                .await
                .expect("it is stored");
        }
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let Some(server) = Server::start("keeps_the_contract").await else {
        return;
    };
    let server = Arc::new(server);
    conformance::all(|| OnServer {
        server: server.clone(),
        broker: new_broker(),
    })
    .await;
}
