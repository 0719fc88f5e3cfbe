//! The topics at the cluster: what is there is looked at, what is missing is made.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer as _;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::connect::{Asking, Connect, Dropped, Quiet, REQUEST};
use crate::error::OpenError;
use crate::options::Options;
use crate::shape::{Kind, Topic};

/// How long a topic that was made may take until it can be used.
const APPEARS: Duration = Duration::from_secs(20);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// The cluster, for whoever prepares the topics.
pub(crate) struct Topics<'a> {
    pub(crate) asking: &'a Asking,
    pub(crate) admin: &'a Dropped<AdminClient<Quiet>>,
    pub(crate) connect: &'a Connect,
    pub(crate) options: &'a Options,
}

// === impl Topics ===

impl Topics<'_> {
    /// The topic in the shape that is needed; `None`: there is none.
    pub(crate) async fn existing(&self, kind: Kind, name: &str) -> Result<Option<Topic>, OpenError> {
        let topic = name.to_owned();
        let metadata = self
            .asking
            .ask(move |client| client.fetch_metadata(Some(&topic), REQUEST));
        let metadata = metadata.await.map_err(|error| self.unreachable(&error))?;
        let (judge, found) = (&self.options.judge.0, metadata.topics().first());
        judge(&metadata).map_err(OpenError::Unsuitable)?;
        let Some(found) = found else { return Ok(None) };
        match found.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                return Ok(None);
            }
            Some(RDKafkaErrorCode::LeaderNotAvailable) => {
                let what = format!("the topic {name} has no leader");
                return Err(OpenError::Unreachable(what));
            }
            Some(code) => return Err(OpenError::Unsuitable(format!("the topic {name}: {code}"))),
        }
        let partitions = found.partitions();
        let replicas = partitions.iter().map(|one| one.replicas().len()).min();
        let topic = Topic {
            partitions: partitions.len(),
            replicas: replicas.unwrap_or(0),
            settings: self.settings(name).await?,
        };
        match kind.difference(&topic, self.options) {
            None => Ok(Some(topic)),
            Some(reason) => Err(OpenError::OtherShape {
                topic: name.to_owned(),
                reason,
            }),
        }
    }

    async fn settings(&self, name: &str) -> Result<std::collections::BTreeMap<String, String>, OpenError> {
        let asked = [ResourceSpecifier::Topic(name)];
        let described = self.admin.describe_configs(&asked, &patient()).await;
        let described = described.map_err(|error| self.unreachable(&error))?;
        let described = described.into_iter().next();
        let described = described.ok_or_else(|| OpenError::Unreachable("Kafka gave no answer".to_owned()))?;
        let described = described.map_err(|code| {
            OpenError::Unsuitable(format!("the settings of the topic {name} cannot be read: {code}"))
        })?;
        let entries = described.entries.into_iter();
        Ok(entries
            .filter_map(|entry| Some((entry.name, entry.value?)))
            .collect())
    }

    /// Makes the topic, and waits until it can be used.
    pub(crate) async fn make(&self, kind: Kind, name: &str) -> Result<Topic, OpenError> {
        let settings = kind.settings(self.options);
        let replicas = i32::try_from(self.options.replicas).unwrap_or(1);
        let new = NewTopic::new(name, 1, TopicReplication::Fixed(replicas));
        let new = settings
            .iter()
            .fold(new, |new, (name, value)| new.set(name, value));
        let made = self.admin.create_topics([&new], &patient()).await;
        let made = made.map_err(|error| self.unreachable(&error))?;
        match made.into_iter().next() {
            Some(Ok(_)) => tracing::info!(topic = name, "a topic was made"),
            // Somebody else was quicker: its shape is looked at like that of any other.
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {}
            Some(Err((_, code))) => {
                let what = format!("the topic {name} cannot be made: {code}");
                return Err(OpenError::Unsuitable(what));
            }
            None => return Err(OpenError::Unreachable("Kafka gave no answer".to_owned())),
        }
        let appears = async {
            loop {
                // A server that has not heard of it yet says that there is none, or no leader.
                match self.existing(kind, name).await {
                    Ok(Some(topic)) if self.asking.ends(name, 0).await.is_ok() => return Ok(topic),
                    Ok(_) | Err(OpenError::Unreachable(_)) => tokio::time::sleep(LOOK).await,
                    Err(error) => return Err(error),
                }
            }
        };
        let appeared = tokio::time::timeout(APPEARS, appears).await;
        appeared.unwrap_or_else(|_| {
            let what = format!("the topic {name} was made, and cannot be used yet");
            Err(OpenError::Unreachable(what))
        })
    }

    fn unreachable(&self, error: &impl std::fmt::Display) -> OpenError {
        OpenError::Unreachable(self.connect.words(error))
    }
}

/// Deletes the records of a partition below an offset.
pub(crate) async fn delete_below(
    admin: &AdminClient<Quiet>,
    topic: &str,
    partition: i32,
    below: u64,
) -> Result<(), String> {
    let mut list = TopicPartitionList::new();
    let below = Offset::Offset(i64::try_from(below).unwrap_or(i64::MAX));
    let added = list.add_partition_offset(topic, partition, below);
    added.map_err(|error| error.to_string())?;
    let deleted = admin.delete_records(&list, &patient()).await;
    let deleted = deleted.map_err(|error| error.to_string())?;
    for element in deleted.elements() {
        element.error().map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn patient() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(2 * REQUEST))
        .operation_timeout(Some(REQUEST))
}
