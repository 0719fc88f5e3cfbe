//! What happens when the group gives partitions and takes them away: deliveries under way may end, and are
//! committed, before another member continues.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use millrace_kafka::ClientLog;
use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::mpsc;

use super::begin::Reading;
use super::fingerprint::Mark;
use super::flow::Flow;
use super::health::Standing;
use super::look::Wanted;
use super::reader::{Read, is_nothing_to_commit};
use super::record::PartitionLife;
use super::remembered::Remembered;
use super::servers::Servers;
use crate::Report;

/// The client's side of the group. Its methods run on the reading thread, many within a poll; only the log
/// comes from other threads.
pub(super) struct Group {
    pub(super) flow: Arc<Flow>,
    /// Weak: the thread ends when the carrying side goes, and this must not keep its channel open.
    pub(super) sender: mpsc::WeakSender<Read>,
    pub(super) standing: Arc<Standing>,
    pub(super) report: Report,
    pub(super) servers: Servers,
    pub(super) wanted: Wanted,
    pub(super) log: Arc<ClientLog>,
    pub(super) remembered: Mutex<Remembered>,
    pub(super) state: State,
}

/// How it stands with the group.
#[derive(Default)]
pub(super) struct State {
    /// Counts the rebalances that took something away.
    epoch: AtomicU64,
    is_leaving: AtomicBool,
    /// Partitions must begin anew, with another client.
    is_over: AtomicBool,
    /// Why this member may not continue.
    refused: Mutex<Option<String>>,
    /// The assigned partitions, by topic and number.
    pub(super) ours: Mutex<BTreeMap<Arc<str>, BTreeMap<i32, Reading>>>,
}

/// How long a rebalance waits for what is on its way. The carrying side takes [`super::GRACE`] of it.
const REVOKE: Duration = Duration::from_secs(10);
/// The longest time for each question to the servers: where partitions begin and end, and which brokers there
/// are.
pub(super) const ASK: Duration = Duration::from_secs(5);
/// How often a rebalance asks each question.
pub(super) const TRIES: usize = 2;

// === impl Group ===

impl Group {
    /// How often partitions have been taken away.
    pub(super) fn epoch(&self) -> u64 {
        self.state.epoch.load(Ordering::Relaxed)
    }

    /// From now on a rebalance waits for no deliveries under way.
    pub(super) fn leave(&self) {
        self.state.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Why the source may not continue.
    pub(super) fn refused(&self) -> Option<String> {
        self.state.refused.lock().clone()
    }

    /// The client cannot continue where it is: Kafka has nothing there, or a topic was recreated.
    pub(super) fn end(&self) {
        self.state.is_over.store(true, Ordering::Relaxed);
    }

    /// Whether partitions must begin anew, with another client.
    pub(super) fn is_over(&self) -> bool {
        self.state.is_over.load(Ordering::Relaxed)
    }

    /// Lists the topics, judges the brokers, and admits new partitions. The outer error means that the
    /// brokers do not answer.
    pub(super) fn look(
        &self,
        consumer: &BaseConsumer<Self>,
        within: Duration,
    ) -> KafkaResult<Result<(), String>> {
        let metadata = consumer.fetch_metadata(None, within)?;
        if let Err(why) = self.servers.all_of(&metadata) {
            return Ok(Err(why));
        }
        let mut remembered = self.remembered.lock();
        let admitted = self.wanted.admit(&mut remembered, consumer, &metadata, within)?;
        for (partition, start) in &admitted {
            // The member that gets the partition reports what was deleted.
            self.tell_new_life(partition, start);
        }
        Ok(remembered.store())
    }

    /// Judges the present brokers, and notes what is wrong with them. No answer is no refusal: they were
    /// judged before this member joined the group, and will be again within a minute.
    fn may_read(&self, consumer: &BaseConsumer<Self>) -> bool {
        let asked = persist(TRIES, || self.servers.named_by(consumer, ASK));
        let Some(Err(why)) = asked else { return true };
        self.refuse(why);
        false
    }

    pub(super) fn refuse(&self, why: String) {
        *self.state.refused.lock() = Some(why);
    }

    /// Notes which topics were recreated: their stored places are of an earlier life.
    pub(super) fn heed(&self) {
        for topic in self.log.take_recreated() {
            self.remembered.lock().end_life(&topic);
            if self.state.ours.lock().contains_key(&*topic) {
                self.end();
            }
        }
    }

    /// Tells librdkafka what has become durable, to be committed soon, and stores it too.
    pub(super) fn store_done(&self, consumer: &BaseConsumer<Self>) {
        self.heed();
        let mut done: BTreeMap<PartitionLife, Mark> = self.flow.take_done();
        done.retain(|place, _| self.is_ours(place));
        let mut remembered = self.remembered.lock();
        let mut list = TopicPartitionList::with_capacity(done.len());
        for (place, mark) in &done {
            remembered.mark(place, *mark);
            let added = list.add_partition_offset(&place.topic, place.partition, Offset::Offset(mark.next));
            debug_assert!(added.is_ok(), "an offset of a record is one");
        }
        remembered.store_soon();
        if done.is_empty() {
            return;
        }
        if let Err(error) = consumer.store_offsets(&list) {
            tracing::debug!(%error, "offsets of partitions that are gone are not stored");
        }
    }

    /// Stores all places, before the client goes.
    pub(super) fn remember(&self) {
        if let Err(error) = self.remembered.lock().store() {
            tracing::warn!(error, "how far partitions are done was not stored");
        }
    }

    fn is_ours(&self, place: &PartitionLife) -> bool {
        let ours = self.state.ours.lock();
        let reading = ours
            .get(&place.topic)
            .and_then(|partitions| partitions.get(&place.partition));
        reading.is_some_and(|reading| reading.place == *place)
    }

    /// Moves offsets past what no reader gets (aborted records, markers of transactions), so that it is no
    /// lag.
    pub(super) fn pass_gaps(&self, consumer: &BaseConsumer<Self>) {
        let Ok(positions) = consumer.position() else {
            return;
        };
        let mut ours = self.state.ours.lock();
        let remembered = self.remembered.lock();
        for element in positions.elements() {
            let reading = ours
                .get_mut(element.topic())
                .and_then(|partitions| partitions.get_mut(&element.partition()));
            let (Some(Reading { place, check }), Offset::Offset(next)) = (reading, element.offset()) else {
                continue;
            };
            let known = remembered.get(&(place.topic.clone(), place.partition));
            let is_behind = known.is_some_and(|known| known.next < next);
            if !is_behind || check.is_some_and(|check| !check.is_passed(next)) || self.flow.holds(place) {
                continue;
            }
            // At an end the carrying side drops its receiver first, and then what it holds. That was not
            // delivered.
            if self.is_deserted() {
                return;
            }
            // Every record that came is done, so there was none between its offset and the client's.
            *check = None;
            self.flow.done_if_none(place, Mark { next, record: None });
        }
    }

    /// Whether the carrying side takes nothing any more.
    fn is_deserted(&self) -> bool {
        self.sender.upgrade().is_none_or(|sender| sender.is_closed())
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>) {
        self.state.epoch.fetch_add(1, Ordering::Relaxed);
        if !self.state.is_leaving.load(Ordering::Relaxed)
            && let Some(sender) = self.sender.upgrade()
        {
            let (done, waits) = std::sync::mpsc::sync_channel(1);
            if sender.blocking_send(Read::Revoked(done)).is_ok() {
                // It is dropped or answered; both mean that nothing is on its way any more.
                let _ = waits.recv_timeout(REVOKE);
            }
        }
        self.store_done(consumer);
        if let Err(error) = consumer.commit_consumer_state(CommitMode::Sync)
            && !is_nothing_to_commit(&error)
        {
            tracing::warn!(%error, "offsets were not committed before a rebalance; their records are read again");
        }
        self.state.ours.lock().clear();
    }
}

/// The answer of the brokers after up to `tries` questions; `None`: they gave none.
pub(super) fn persist<T>(tries: usize, mut ask: impl FnMut() -> KafkaResult<T>) -> Option<T> {
    for _ in 0..tries {
        match ask() {
            Ok(answer) => return Some(answer),
            Err(error) => tracing::warn!(%error, "in a rebalance the brokers do not answer a question"),
        }
    }
    None
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.log.line(level, facility, text);
    }
}

impl ConsumerContext for Group {
    /// As the trait does it for a group whose rebalances take all partitions, except that none is taken from
    /// brokers that may not be connected to.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let is_given = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if is_given && !self.may_read(consumer) {
            let _ = consumer.unassign();
            return;
        }
        let rebalance = match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assign(list),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => Rebalance::Revoke(list),
            other => Rebalance::Error(KafkaError::Rebalance(other.into())),
        };
        self.pre_rebalance(consumer, &rebalance);
        let done = match &rebalance {
            Rebalance::Assign(given) => match self.begin(consumer, given) {
                Ok(begun) => consumer.assign(&begun),
                Err(why) => {
                    self.refuse(why);
                    consumer.unassign()
                }
            },
            Rebalance::Revoke(_) | Rebalance::Error(_) => consumer.unassign(),
        };
        if let Err(error) = done {
            tracing::warn!(%error, "the client does not take the partitions of a rebalance");
        }
        self.post_rebalance(consumer, &rebalance);
    }

    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(gone) = rebalance {
            // A paused partition that comes back would stay paused.
            let _ = consumer.resume(gone);
            self.revoke(consumer);
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(given) => self.standing.assigned(given.count()),
            Rebalance::Revoke(_) => self.standing.revoked(),
            Rebalance::Error(error) => tracing::warn!(%error, "a rebalance failed"),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result
            && !is_nothing_to_commit(&error)
        {
            tracing::debug!(%error, "a commit failed; the next one says the same again");
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::error::RDKafkaErrorCode;

    use super::*;

    #[test]
    fn slow_brokers_are_asked_again_and_no_answer_is_no_refusal() {
        let slow = || Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut));
        for (answers, expected, asked) in [
            (vec![Ok(1)], Some(1), 1),
            (vec![slow(), Ok(2)], Some(2), 2),
            (vec![slow(), slow()], None, 2),
        ] {
            let mut answers = answers.into_iter();
            let mut count = 0;
            let found = persist(2, || {
                count += 1;
                answers.next().expect("no more tries than these")
            });
            assert_eq!((found, count), (expected, asked));
        }
    }
}
