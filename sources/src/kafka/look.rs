//! Asks Kafka where partitions begin and end and what the group has committed, and admits new ones.
//!
//! # Contract
//! Matched partitions without a stored place are admitted. With `latest` they begin where they end at that
//! moment, unless the list before did not have them. All calls block; they run on the reading thread.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_model::source::{InitialOffset, Kafka};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::metadata::Metadata;
use rdkafka::{Offset, TopicPartitionList};
use regex::Regex;

use super::remembered::{Partition, Remembered};
use super::start::{Arrival, Offsets, Start};
use super::topics::Topics;

/// Which topics a source reads.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) topics: BTreeSet<String>,
    /// `None` also if only librdkafka understands the pattern. Then its topics are admitted when the group
    /// gives them.
    pub(super) pattern: Option<Regex>,
    pub(super) initial: InitialOffset,
}

// === impl Wanted ===

impl Wanted {
    pub(super) fn of(spec: &Kafka) -> Self {
        Self {
            topics: spec.topics.iter().cloned().collect(),
            pattern: spec.topic_pattern.as_ref().and_then(|text| Regex::new(text).ok()),
            initial: spec.initial_offset,
        }
    }

    fn has(&self, topic: &str) -> bool {
        self.topics.contains(topic)
            || self
                .pattern
                .as_ref()
                .is_some_and(|pattern| pattern.is_match(topic))
    }

    /// Where a partition without a stored place begins. `begun`: the group has committed something of its
    /// topic.
    pub(super) fn admission(&self, partition: &Partition, before: Option<&Topics>, begun: bool) -> Arrival {
        let was_there = match before {
            Some(before) => before.has(&partition.0, partition.1),
            // Without a list, the group's commits tell: the member that admitted a topic committed all its
            // partitions.
            None => !begun,
        };
        if was_there {
            Arrival::Now(self.initial)
        } else {
            Arrival::Appeared
        }
    }

    /// Notes the topics that the cluster has now, and admits new partitions. Returns those.
    pub(super) fn admit<C: ConsumerContext>(
        &self,
        remembered: &mut Remembered,
        consumer: &BaseConsumer<C>,
        metadata: &Metadata,
        within: Duration,
    ) -> KafkaResult<Vec<(Partition, Start)>> {
        let before = remembered.topics().cloned();
        let mut topics = Topics::shown(metadata, before.as_ref());
        let missing: Vec<Partition> = topics
            .partitions(|topic| self.has(topic))
            .filter(|partition| remembered.get(partition).is_none())
            .collect();
        let found = found(consumer, &missing, within)?;
        let begun = begun(&found);
        let mut admitted = Vec::new();
        for partition in missing {
            let Some(found) = found.get(&partition) else {
                // Kafka does not answer for this partition. It is left out of the list, so it will later be
                // read from its beginning.
                topics.leave_out(&partition.0);
                continue;
            };
            let admission = self.admission(&partition, before.as_ref(), begun.contains(&*partition.0));
            let start = Start::of(None, admission, *found);
            remembered.set(partition.clone(), start.position);
            admitted.push((partition, start));
        }
        remembered.set_topics(topics);
        Ok(admitted)
    }
}

/// The topics with a commit of the group.
pub(super) fn begun(found: &BTreeMap<Partition, Offsets>) -> BTreeSet<String> {
    let committed = found.iter().filter(|(_, found)| found.committed.is_some());
    committed.map(|(partition, _)| partition.0.to_string()).collect()
}

/// What Kafka has of these partitions. Those without an answer are left out.
pub(super) fn found<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[Partition],
    within: Duration,
) -> KafkaResult<BTreeMap<Partition, Offsets>> {
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let at = |offset| -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            list.add_partition_offset(topic, *partition, offset)?;
        }
        Ok(list)
    };
    let committed = consumer.committed_offsets(at(Offset::Invalid)?, within)?;
    // For librdkafka *beginning* and *end* are times like any other.
    let low = consumer.offsets_for_times(at(Offset::Beginning)?, within)?;
    let end = consumer.offsets_for_times(at(Offset::End)?, within)?;
    let mut found = BTreeMap::new();
    for partition in partitions {
        if let (Some(low), Some(end)) = (offset(&low, partition), offset(&end, partition)) {
            let committed = offset(&committed, partition);
            found.insert(partition.clone(), Offsets { low, end, committed });
        }
    }
    Ok(found)
}

fn offset(list: &TopicPartitionList, partition: &Partition) -> Option<i64> {
    let element = list.find_partition(&partition.0, partition.1)?;
    match (element.error(), element.offset()) {
        (Ok(()), Offset::Offset(offset)) => Some(offset),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(topics: &[&str], pattern: Option<&str>) -> Wanted {
        Wanted {
            topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
            pattern: pattern.map(|text| Regex::new(text).expect("a pattern")),
            initial: InitialOffset::Latest,
        }
    }

    #[test]
    fn topics_are_wanted_by_name_and_by_pattern() {
        let wanted = wanted(&["orders"], Some("^pay-[0-9]+$"));
        for (topic, expected) in [
            ("orders", true),
            ("orders2", false),
            ("pay-7", true),
            ("pay-x", false),
        ] {
            assert_eq!(wanted.has(topic), expected, "{topic}");
        }
    }

    #[test]
    fn what_was_not_in_the_list_has_appeared() {
        let wanted = wanted(&["orders"], None);
        let list: Topics = serde_json::from_str("{\"orders\":2}").expect("a list");
        let now = Arrival::Now(InitialOffset::Latest);
        for (topic, partition, list, begun, expected) in [
            ("orders", 1, Some(&list), false, now),
            ("orders", 2, Some(&list), false, Arrival::Appeared),
            ("other", 0, Some(&list), true, Arrival::Appeared),
            ("orders", 0, None, false, now),
            ("orders", 0, None, true, Arrival::Appeared),
        ] {
            let partition = (topic.into(), partition);
            assert_eq!(
                wanted.admission(&partition, list, begun),
                expected,
                "{partition:?}"
            );
        }
    }
}
