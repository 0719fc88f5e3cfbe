//! How the partitions that the group has given begin, and what their first messages tell.
//!
//! # Contract
//! Before the first record is taken, the decision of [`Start`] is stored and committed. A partition with a
//! [`Check`] hands nothing on before the record in question has been compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use super::fingerprint::Fingerprint;
use super::group::{ASK, Group, TRIES, persist};
use super::look;
use super::record::PartitionLife;
use super::remembered::Partition;
use super::start::{Check, Start, Verdict};

/// An assigned partition.
pub(super) struct Reading {
    pub(super) place: PartitionLife,
    /// The record to compare before the first one is taken.
    pub(super) check: Option<Check>,
}

/// What to do with the next messages of a partition.
pub(super) enum Turn {
    /// Take them.
    Take(PartitionLife),
    /// Leave out the first and take the others.
    PassBy(PartitionLife),
    /// Leave them out: they were fetched before a seek. Those that are needed come again.
    Skip,
}

// === impl Group ===

impl Group {
    /// What to do with the next messages of a partition; `message` is the first of them.
    pub(super) fn turn(&self, consumer: &BaseConsumer<Self>, message: &BorrowedMessage<'_>) -> Turn {
        let mut ours = self.state.ours.lock();
        let partitions = ours.get_mut(message.topic());
        let Some(reading) = partitions.and_then(|partitions| partitions.get_mut(&message.partition())) else {
            return Turn::Skip;
        };
        let Some(check) = reading.check.take() else {
            return Turn::Take(reading.place.clone());
        };
        let found = Fingerprint::of(message);
        let verdict = check.judge(&found);
        if check.learns(&found) {
            self.remembered.lock().learn(&reading.place, found);
        }
        match verdict {
            Verdict::Take => Turn::Take(reading.place.clone()),
            Verdict::PassBy => Turn::PassBy(reading.place.clone()),
            Verdict::Seek(next) => self.seek(consumer, &reading.place, next),
            Verdict::NewLife(low) => {
                self.new_life(consumer, reading, low);
                self.seek(consumer, &reading.place, low)
            }
            Verdict::Anew => {
                // The next client asks where it begins.
                self.end();
                Turn::Skip
            }
        }
    }

    fn seek(&self, consumer: &BaseConsumer<Self>, place: &PartitionLife, next: i64) -> Turn {
        let sought = consumer.seek(&place.topic, place.partition, Offset::Offset(next), ASK);
        if let Err(error) = sought {
            tracing::warn!(%place, next, %error, "cannot seek to the partition's beginning; reading restarts with a new client");
            self.end();
        }
        Turn::Skip
    }

    fn new_life(&self, consumer: &BaseConsumer<Self>, reading: &mut Reading, low: i64) {
        let partition = (reading.place.topic.clone(), reading.place.partition);
        let mut remembered = self.remembered.lock();
        let Some(known) = remembered.get(&partition) else {
            return;
        };
        let start = Start::new_life(known, low, None);
        self.tell_new_life(&partition, &start);
        remembered.set(partition, start.position);
        reading.place.life = start.position.life;
        let mut pins = TopicPartitionList::with_capacity(1);
        let place = &reading.place;
        let _ = pins.add_partition_offset(&place.topic, place.partition, Offset::Offset(start.position.next));
        pin(consumer, &pins);
        if let Err(why) = remembered.store() {
            self.refuse(why);
        }
    }

    /// Decides, stores and commits where the given partitions begin. Returns them with the offsets to fetch
    /// first.
    pub(super) fn begin(
        &self,
        consumer: &BaseConsumer<Self>,
        given: &TopicPartitionList,
    ) -> Result<TopicPartitionList, String> {
        let partition =
            |element: &TopicPartitionListElem<'_>| (Arc::from(element.topic()), element.partition());
        let partitions: Vec<Partition> = given.elements().iter().map(partition).collect();
        let found = persist(TRIES, || look::found(consumer, &partitions, ASK)).unwrap_or_default();
        self.heed();
        let begun = look::begun(&found);
        let mut remembered = self.remembered.lock();
        let mut ours: BTreeMap<Arc<str>, BTreeMap<i32, Reading>> = BTreeMap::new();
        let (mut list, mut pins) = (TopicPartitionList::new(), TopicPartitionList::new());
        let add = |list: &mut TopicPartitionList, (topic, partition): &Partition, offset| {
            let added = list.add_partition_offset(topic, *partition, offset);
            added.map_err(|error| format!("{topic}[{partition}]: {error}"))
        };
        for partition in partitions {
            let known = remembered.get(&partition).copied();
            let (life, check) = match found.get(&partition) {
                Some(found) => {
                    let is_begun = begun.contains(&*partition.0);
                    let admission = self.wanted.admission(&partition, remembered.topics(), is_begun);
                    let start = Start::of(known.as_ref(), admission, *found);
                    self.tell_new_life(&partition, &start);
                    self.tell_deleted(&partition, &start);
                    let next = start.position.next;
                    if found.committed != Some(next) {
                        add(&mut pins, &partition, Offset::Offset(next))?;
                    }
                    add(&mut list, &partition, Offset::Offset(start.from()))?;
                    remembered.set(partition.clone(), start.position);
                    (start.position.life, start.check)
                }
                // Kafka does not answer. If the offset turns out to be wrong, librdkafka reports it and the
                // partition begins anew.
                None => match known.as_ref().map(Start::unanswered) {
                    Some(start) => {
                        add(&mut list, &partition, Offset::Offset(start.from()))?;
                        (start.position.life, start.check)
                    }
                    None => {
                        add(&mut list, &partition, Offset::Stored)?;
                        (1, None)
                    }
                },
            };
            let (topic, partition) = partition;
            let place = PartitionLife {
                topic: topic.clone(),
                partition,
                life,
            };
            let reading = Reading { place, check };
            ours.entry(topic).or_default().insert(partition, reading);
        }
        pin(consumer, &pins);
        remembered.store()?;
        drop(remembered);
        *self.state.ours.lock() = ours;
        Ok(list)
    }

    /// Reports a new life.
    pub(super) fn tell_new_life(&self, partition: &Partition, start: &Start) {
        if start.is_new_life {
            let place = place(partition, start);
            tracing::warn!(%place, "the topic was deleted and recreated; it is read from its beginning");
            let why = format!("{place}: the topic was deleted and recreated; it is read from its beginning");
            self.report.taken_otherwise("topic-recreated", why);
        }
    }

    /// Reports deleted records.
    fn tell_deleted(&self, partition: &Partition, start: &Start) {
        if start.deleted > 0 {
            let place = place(partition, start);
            let (next, deleted) = (start.position.next, start.deleted);
            tracing::warn!(%place, next, deleted, "Kafka has deleted records before they were read");
            let why = format!(
                "{place}@{next}: Kafka has deleted {deleted} offsets before this one, and their records were not read"
            );
            self.report.deleted_unread(deleted, why);
        }
    }
}

fn place(partition: &Partition, start: &Start) -> PartitionLife {
    PartitionLife {
        topic: partition.0.clone(),
        partition: partition.1,
        life: start.position.life,
    }
}

/// Commits where partitions begin if the group has committed nothing or something else, so that other members
/// know it too.
fn pin(consumer: &BaseConsumer<Group>, pins: &TopicPartitionList) {
    if pins.count() > 0
        && let Err(error) = consumer.commit(pins, CommitMode::Sync)
    {
        tracing::warn!(%error, "where partitions begin was not committed");
    }
}
