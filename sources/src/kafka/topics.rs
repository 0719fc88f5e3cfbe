//! The list of a cluster's topics, which tells what has appeared since.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::metadata::Metadata;
use serde::{Deserialize, Serialize};

use super::remembered::Partition;

/// The topics that a cluster shows, and how many partitions each has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Topics(BTreeMap<String, i32>);

// === impl Topics ===

impl Topics {
    /// All topics of an answer. A partition without a leader cannot tell where it ends, so it and those after
    /// it are left out. A topic with an error keeps its earlier number.
    pub(super) fn shown(metadata: &Metadata, before: Option<&Self>) -> Self {
        let mut topics = BTreeMap::new();
        for topic in metadata.topics() {
            let known = before.and_then(|before| before.0.get(topic.name())).copied();
            let mut led: Vec<i32> = topic
                .partitions()
                .iter()
                .filter(|partition| partition.leader() >= 0)
                .map(|partition| partition.id())
                .collect();
            led.sort_unstable();
            let count = led.iter().zip(0..).take_while(|&(&id, nth)| id == nth).count();
            let count = i32::try_from(count).unwrap_or(i32::MAX);
            // A topic with an error may show fewer partitions than it has.
            let count = if topic.error().is_some() {
                known.unwrap_or(0)
            } else {
                count
            };
            topics.insert(topic.name().to_owned(), count);
        }
        Self(topics)
    }

    /// Whether the list has the partition.
    pub(super) fn has(&self, topic: &str, partition: i32) -> bool {
        self.0.get(topic).is_some_and(|&count| partition < count)
    }

    /// Removes a topic.
    pub(super) fn leave_out(&mut self, topic: &str) {
        self.0.remove(topic);
    }

    /// All partitions of the topics with such names.
    pub(super) fn partitions(&self, is_meant: impl Fn(&str) -> bool) -> impl Iterator<Item = Partition> {
        self.0
            .iter()
            .filter(move |(topic, _)| is_meant(topic))
            .flat_map(|(topic, &count)| {
                let topic: Arc<str> = topic.as_str().into();
                (0..count).map(move |partition| (topic.clone(), partition))
            })
    }
}
