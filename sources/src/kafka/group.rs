//! What happens when the group gives partitions and takes them away: deliveries under way may end, and are
//! committed, before another member continues.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use millrace_model::source::InitialOffset;
use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::mpsc;

use super::flow::Flow;
use super::health::Standing;
use super::reader::{Read, is_nothing_to_commit};
use super::record::Place;
use super::servers::Servers;

/// The client's side of the group. Its methods run on the reading thread, within a poll.
pub(super) struct Group {
    flow: Arc<Flow>,
    /// Weak: the thread ends when the carrying side goes, and this must not keep its channel open.
    sender: mpsc::WeakSender<Read>,
    standing: Arc<Standing>,
    /// Counts the rebalances that took something away.
    epoch: AtomicU64,
    is_leaving: AtomicBool,
    initial_offset: InitialOffset,
    servers: Servers,
    /// Why the present brokers may not be connected to.
    refused: Mutex<Option<String>>,
    /// The partitions whose offsets may be stored.
    ours: Mutex<BTreeSet<Place>>,
}

/// How long a rebalance waits for what is on its way. The carrying side takes [`super::GRACE`] of it.
const REVOKE: Duration = Duration::from_secs(10);
/// The longest time for each question to the servers: where partitions end, and which brokers there are.
const PIN: Duration = Duration::from_secs(5);
/// How often a rebalance asks which brokers there are.
const TRIES: usize = 2;

// === impl Group ===

impl Group {
    pub(super) fn new(
        flow: Arc<Flow>,
        sender: &mpsc::Sender<Read>,
        standing: Arc<Standing>,
        initial_offset: InitialOffset,
        servers: Servers,
    ) -> Self {
        Self {
            flow,
            sender: sender.downgrade(),
            standing,
            epoch: AtomicU64::new(0),
            is_leaving: AtomicBool::new(false),
            initial_offset,
            servers,
            refused: Mutex::default(),
            ours: Mutex::default(),
        }
    }

    /// How often partitions have been taken away.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// From now on a rebalance waits for no deliveries under way.
    pub(super) fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Why the source may not continue with the present brokers.
    pub(super) fn refused(&self) -> Option<String> {
        self.refused.lock().clone()
    }

    /// Judges the present brokers, and notes what is wrong with them. No answer is no refusal: they were
    /// judged before this member joined the group, and will be again within a minute.
    fn may_read(&self, consumer: &BaseConsumer<Self>) -> bool {
        let verdict = verdict(TRIES, || self.servers.named_by(consumer, PIN));
        let Some(why) = verdict.err() else { return true };
        *self.refused.lock() = Some(why);
        false
    }

    /// Tells librdkafka what has become durable, to be committed soon.
    pub(super) fn store_done(&self, consumer: &BaseConsumer<Self>) {
        let mut done: BTreeMap<Place, i64> = self.flow.take_done();
        let ours = self.ours.lock();
        done.retain(|place, _| ours.contains(place));
        if done.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(done.len());
        for (place, next) in &done {
            let added = list.add_partition_offset(&place.topic, place.partition, Offset::Offset(*next));
            debug_assert!(added.is_ok(), "an offset of a record is one");
        }
        if let Err(error) = consumer.store_offsets(&list) {
            tracing::debug!(%error, "offsets of partitions that are gone are not stored");
        }
    }

    /// Commits where partitions end now that the group has never committed. Else a process that is killed before its first commit
    /// would begin at another end, and what came in between would be read by nobody.
    fn pin(consumer: &BaseConsumer<Self>, given: &TopicPartitionList) -> KafkaResult<()> {
        let committed = consumer.committed_offsets(given.clone(), PIN)?;
        let mut ends = TopicPartitionList::new();
        for element in committed.elements() {
            if matches!(element.offset(), Offset::Invalid) {
                let (_, end) = consumer.fetch_watermarks(element.topic(), element.partition(), PIN)?;
                ends.add_partition_offset(element.topic(), element.partition(), Offset::Offset(end))?;
            }
        }
        if ends.count() > 0 {
            consumer.commit(&ends, CommitMode::Sync)?;
        }
        Ok(())
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
        if !self.is_leaving.load(Ordering::Relaxed)
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
        self.ours.lock().clear();
    }
}

/// The verdict on the brokers after up to `tries` questions. While none answers, the earlier verdict stands.
fn verdict(tries: usize, mut ask: impl FnMut() -> KafkaResult<Result<(), String>>) -> Result<(), String> {
    for _ in 0..tries {
        match ask() {
            Ok(judged) => return judged,
            Err(error) => tracing::warn!(%error, "in a rebalance the brokers do not say which there are"),
        }
    }
    Ok(())
}

impl ClientContext for Group {}

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
            Rebalance::Assign(given) => consumer.assign(given),
            Rebalance::Revoke(_) | Rebalance::Error(_) => consumer.unassign(),
        };
        if let Err(error) = done {
            tracing::warn!(%error, "the client does not take the partitions of a rebalance");
        }
        self.post_rebalance(consumer, &rebalance);
    }

    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Revoke(gone) => {
                // A paused partition that comes back would stay paused.
                let _ = consumer.resume(gone);
                self.revoke(consumer);
            }
            Rebalance::Assign(given) => {
                let place = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| Place {
                    topic: element.topic().into(),
                    partition: element.partition(),
                };
                if self.initial_offset == InitialOffset::Latest
                    && let Err(error) = Self::pin(consumer, given)
                {
                    tracing::warn!(%error, "where new partitions end was not committed");
                }
                *self.ours.lock() = given.elements().into_iter().map(place).collect();
            }
            Rebalance::Error(_) => {}
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
    fn slow_brokers_are_asked_again_and_only_a_refusal_ends_the_source() {
        let slow = || Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut));
        let refused = || Ok(Err("refused".to_owned()));
        for (answers, expected, asked) in [
            (vec![Ok(Ok(()))], Ok(()), 1),
            (vec![refused()], Err("refused".to_owned()), 1),
            (vec![slow(), Ok(Ok(()))], Ok(()), 2),
            (vec![slow(), refused()], Err("refused".to_owned()), 2),
            (vec![slow(), slow()], Ok(()), 2),
        ] {
            let mut answers = answers.into_iter();
            let mut count = 0;
            let found = verdict(2, || {
                count += 1;
                answers.next().expect("no more tries than these")
            });
            assert_eq!((found, count), (expected, asked));
        }
    }
}
