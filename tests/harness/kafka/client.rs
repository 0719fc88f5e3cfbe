//! The other side of the broker: records in, records out, and what a group has committed.
//!
//! It is librdkafka, as in the product, but with none of the product's settings.

use anyhow::{Context as _, bail, ensure};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::Kafka;
use crate::wait::DEADLINE;
use crate::{wait_until, within};

/// A record, as it is written or read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Where it belongs or was; when it is written, `None` lets the key or chance decide.
    pub partition: Option<i32>,
    /// Its place in the partition, when it was read.
    pub offset: i64,
    /// Milliseconds since 1970; when it is written, `None` means now.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers in order; a name may come twice, and a value may be missing.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

// === impl Record ===

impl Record {
    /// A record with a value and nothing else.
    pub fn of(value: impl Into<Vec<u8>>) -> Self {
        Self {
            value: Some(value.into()),
            ..Self::default()
        }
    }

    /// With this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), Some(value.into())));
        self
    }

    /// For this partition.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Its headers, as they are written.
    fn written(&self) -> Option<OwnedHeaders> {
        let headers = self
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: value.as_ref(),
                })
            });
        Some(headers).filter(|_| !self.headers.is_empty())
    }

    fn read(message: &rdkafka::message::BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Self {
            partition: Some(message.partition()),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        }
    }
}

// === impl Kafka ===

impl Kafka {
    /// What any client of librdkafka needs to connect without login; a suite may add to it.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        config
    }

    /// Writes records in a transaction, and commits or aborts it.
    ///
    /// # Errors
    /// When the broker does not take them.
    pub async fn produce_in_transaction(
        &self,
        topic: &str,
        records: &[Record],
        commits: bool,
    ) -> anyhow::Result<()> {
        let producer: BaseProducer = self.client().set("transactional.id", topic).create()?;
        let (topic, records) = (topic.to_owned(), records.to_vec());
        tokio::task::spawn_blocking(move || {
            producer.init_transactions(DEADLINE)?;
            producer.begin_transaction()?;
            for record in &records {
                let mut out = BaseRecord::<[u8], [u8]>::to(&topic);
                out.partition = record.partition;
                out.key = record.key.as_deref();
                out.payload = record.value.as_deref();
                out.headers = record.written();
                producer.send(out).map_err(|(error, _)| error)?;
            }
            producer.flush(DEADLINE)?;
            if commits {
                producer.commit_transaction(DEADLINE)?;
            } else {
                producer.abort_transaction(DEADLINE)?;
            }
            Ok(())
        })
        .await?
    }

    /// Writes records in order, and waits until the broker has all of them.
    ///
    /// # Errors
    /// When the broker does not take one.
    pub async fn produce(&self, topic: &str, records: &[Record]) -> anyhow::Result<()> {
        let producer: FutureProducer = self.client().set("enable.idempotence", "true").create()?;
        let mut sent = Vec::new();
        for record in records {
            let mut out = FutureRecord::<[u8], [u8]>::to(topic);
            out.partition = record.partition;
            out.key = record.key.as_deref();
            out.payload = record.value.as_deref();
            out.timestamp = record.timestamp;
            out.headers = record.written();
            sent.push(producer.send_result(out).map_err(|(error, _)| error)?);
        }
        for delivery in sent {
            let outcome = within("Kafka to take a record", delivery).await?;
            outcome.map_err(|(error, _)| error)?;
        }
        Ok(())
    }

    /// Waits until a topic has at least so many records, and gives all that it has, in order within each
    /// partition.
    ///
    /// # Errors
    /// When there are fewer at the deadline.
    pub async fn wait_for(&self, topic: &str, count: usize) -> anyhow::Result<Vec<Record>> {
        wait_until(&format!("{count} records in {topic}"), || async {
            let records = self.records(topic).await?;
            anyhow::ensure!(records.len() >= count, "there are {}", records.len());
            Ok(Some(records))
        })
        .await
    }

    /// All records that a topic has now, in order within each partition.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn records(&self, topic: &str) -> anyhow::Result<Vec<Record>> {
        let mut config = self.client();
        config
            .set("group.id", "the-test-itself")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true");
        let (topic, partitions) = (topic.to_owned(), self.partitions(topic).await?);
        // The consumer waits on a thread, and so does its end.
        tokio::task::spawn_blocking(move || read_all(&config, &topic, &partitions)).await?
    }

    /// What a group has committed for one partition: the offset that it reads next.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn committed(&self, group: &str, topic: &str, partition: i32) -> anyhow::Result<Option<i64>> {
        let mut config = self.client();
        config.set("group.id", group);
        let mut asked = TopicPartitionList::new();
        asked.add_partition(topic, partition);
        tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = config.create()?;
            let answer = consumer.committed_offsets(asked, DEADLINE)?;
            let first = answer.elements().first().map(|element| element.offset());
            Ok(match first {
                Some(Offset::Offset(offset)) => Some(offset),
                _ => None,
            })
        })
        .await?
    }

    /// Commits for a group that has no members, as people do to read something again.
    ///
    /// # Errors
    /// When the broker does not take it before the deadline.
    pub async fn commit(&self, group: &str, topic: &str, partition: i32, next: i64) -> anyhow::Result<()> {
        let mut config = self.client();
        config.set("group.id", group);
        wait_until(&format!("the group {group} to be set"), || async {
            let (config, mut list) = (config.clone(), TopicPartitionList::new());
            list.add_partition_offset(topic, partition, Offset::Offset(next))?;
            tokio::task::spawn_blocking(move || {
                let consumer: BaseConsumer = config.create()?;
                anyhow::Ok(consumer.commit(&list, CommitMode::Sync)?)
            })
            .await??;
            Ok(Some(()))
        })
        .await
    }

    /// Waits until a group has committed that offset, of the record after the last one done.
    ///
    /// # Errors
    /// When it has not before the deadline.
    pub async fn until_committed(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
        next: i64,
    ) -> anyhow::Result<()> {
        let what = format!("{topic}[{partition}] to be committed up to {next}");
        wait_until(&what, || async {
            let committed = self.committed(group, topic, partition).await?;
            ensure!(committed == Some(next), "{committed:?}");
            Ok(Some(()))
        })
        .await
    }

    /// Waits until a group has committed the end of each partition of a topic.
    ///
    /// # Errors
    /// When it has not before the deadline.
    pub async fn until_all_committed(&self, group: &str, topic: &str) -> anyhow::Result<()> {
        wait_until(&format!("{topic} to be committed up to its end"), || async {
            for partition in self.partitions(topic).await? {
                let committed = self.committed(group, topic, partition).await?;
                let (low, end) = self.bounds(topic, partition).await?;
                ensure!(
                    committed.unwrap_or(low) == end,
                    "[{partition}]: {committed:?} of {end}"
                );
            }
            Ok(Some(()))
        })
        .await
    }

    /// The first offset of a partition and the one after its last.
    async fn bounds(&self, topic: &str, partition: i32) -> anyhow::Result<(i64, i64)> {
        let (config, topic) = (self.client(), topic.to_owned());
        tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = config.create()?;
            Ok(consumer.fetch_watermarks(&topic, partition, DEADLINE)?)
        })
        .await?
    }

    /// The partitions of a topic that have a leader.
    pub(super) async fn partitions(&self, topic: &str) -> anyhow::Result<Vec<i32>> {
        let (config, topic) = (self.client(), topic.to_owned());
        tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = config.create()?;
            let metadata = consumer.fetch_metadata(Some(&topic), DEADLINE)?;
            let found = metadata.topics().first().context("the answer names no topic")?;
            if let Some(error) = found.error() {
                bail!("{topic}: {}", rdkafka::types::RDKafkaErrorCode::from(error));
            }
            let led = found
                .partitions()
                .iter()
                .filter(|partition| partition.leader() >= 0);
            Ok(led.map(|partition| partition.id()).collect())
        })
        .await?
    }
}

fn read_all(config: &ClientConfig, topic: &str, partitions: &[i32]) -> anyhow::Result<Vec<Record>> {
    let consumer: BaseConsumer = config.create()?;
    let mut assigned = TopicPartitionList::new();
    for partition in partitions {
        assigned.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&assigned)?;
    let (mut records, mut ended) = (Vec::new(), 0);
    while ended < partitions.len() {
        match consumer.poll(DEADLINE).context("Kafka says nothing")? {
            Ok(message) => records.push(Record::read(&message)),
            Err(KafkaError::PartitionEOF(_)) => ended += 1,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(records)
}
