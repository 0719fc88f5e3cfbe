//! What people do to a broker beside using it: topics, their partitions and records, and groups that are
//! gone.

use std::time::Duration;

use anyhow::bail;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};

use super::Kafka;
use crate::wait::DEADLINE;
use crate::wait_until;

// === impl Kafka ===

impl Kafka {
    /// Creates a topic, and waits until it can be used.
    ///
    /// # Errors
    /// When the broker refuses it.
    pub async fn create_topic(&self, topic: &str, partitions: i32) -> anyhow::Result<()> {
        self.create_topic_with(topic, partitions, &[]).await
    }

    /// Creates a topic with these settings, and waits until it can be used.
    ///
    /// # Errors
    /// When the broker refuses it.
    pub async fn create_topic_with(
        &self,
        topic: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new = settings
            .iter()
            .fold(new, |new, (name, value)| new.set(name, value));
        one(admin.create_topics([&new], &patient()).await?)?;
        wait_until(&format!("the topic {topic}"), || async {
            let there = self.partitions(topic).await?;
            Ok((there.len() == usize::try_from(partitions)?).then_some(()))
        })
        .await
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// When the broker refuses it.
    pub async fn delete_topic(&self, topic: &str) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        one(admin.delete_topics(&[topic], &patient()).await?)
    }

    /// Deletes a topic and creates it again, with nothing in it.
    ///
    /// # Errors
    /// When the broker refuses it before the deadline.
    pub async fn recreate_topic(&self, topic: &str, partitions: i32) -> anyhow::Result<()> {
        self.delete_topic(topic).await?;
        wait_until(&format!("{topic} to be recreated"), || async {
            self.create_topic(topic, partitions).await.map(Some)
        })
        .await
    }

    /// Gives a topic so many partitions in all, and waits until they can be used.
    ///
    /// # Errors
    /// When the broker refuses it.
    pub async fn add_partitions(&self, topic: &str, partitions: i32) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let count = usize::try_from(partitions)?;
        one(admin
            .create_partitions(&[NewPartitions::new(topic, count)], &patient())
            .await?)?;
        wait_until(&format!("{partitions} partitions of {topic}"), || async {
            Ok((self.partitions(topic).await?.len() == count).then_some(()))
        })
        .await
    }

    /// Deletes the records of a partition that are before this offset, as retention does.
    ///
    /// # Errors
    /// When the broker refuses it.
    pub async fn delete_records(&self, topic: &str, partition: i32, before: i64) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before))?;
        let deleted = admin.delete_records(&list, &patient()).await?;
        for element in deleted.elements() {
            element.error()?;
        }
        Ok(())
    }

    /// Deletes all that a group has committed, as Kafka does once a group was away for long. The group must
    /// have no members.
    ///
    /// # Errors
    /// When the broker refuses it before the deadline.
    pub async fn forget_group(&self, group: &str) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        wait_until(&format!("the group {group} to be deleted"), || async {
            match admin.delete_groups(&[group], &patient()).await?.pop() {
                Some(Ok(_)) => Ok(Some(())),
                Some(Err((_, code))) => bail!("{code}"),
                None => bail!("Kafka gave no outcome"),
            }
        })
        .await
    }
}

fn patient() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(DEADLINE))
        .request_timeout(Some(DEADLINE + Duration::from_secs(5)))
}

/// The one outcome of an order for one topic.
fn one(outcomes: Vec<rdkafka::admin::TopicResult>) -> anyhow::Result<()> {
    match outcomes.into_iter().next() {
        Some(Ok(_)) => Ok(()),
        Some(Err((topic, code))) => bail!("{topic}: {code}"),
        None => bail!("Kafka gave no outcome"),
    }
}
