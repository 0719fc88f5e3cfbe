//! The thread that reads: every call of librdkafka is made here, so that waiting for Kafka holds up no other
//! task.
//!
//! # Flow
//! Store what has become durable, resume what has room, poll, compare the record before a beginning, map,
//! hand on in runs, and pause what is full. Between two polls it waits at most [`PATIENCE`] for room, far
//! less than Kafka waits for a member of a group.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::mpsc;

use super::flow::{Flow, Load};
use super::group::Group;
use super::health::Health;
use super::partitions::{CHUNK, Run};
use super::record::PartitionLife;
use super::take::Taking;
use crate::Report;

/// What the thread tells the carrying side.
#[derive(Debug)]
pub(super) enum Read {
    /// Records of one partition.
    Run(Run),
    /// All partitions are about to go to other members: deliveries under way may end, and dropping this
    /// sender reports that.
    Revoked(std::sync::mpsc::SyncSender<()>),
    /// It has stopped reading.
    Ended(Ending),
}

/// Why the thread stops reading without having been told to.
#[derive(Debug)]
pub(super) enum Ending {
    /// Partitions must begin anew, with another client.
    Over,
    /// It cannot go on.
    Failed(String),
}

/// What the thread works with.
pub(super) struct Reader {
    pub(super) consumer: BaseConsumer<Group>,
    pub(super) flow: Arc<Flow>,
    pub(super) sender: mpsc::Sender<Read>,
    pub(super) taking: Taking,
    pub(super) report: Report,
    pub(super) health: Health,
}

/// How often offsets are moved past what no reader gets.
const GAPS: Duration = Duration::from_secs(1);
/// How long a poll waits for a record; what has become durable is committed after that time at the latest.
const POLL: Duration = Duration::from_millis(100);
/// How long a poll waits while some partitions are paused.
const POLL_PAUSED: Duration = Duration::from_millis(10);
/// How long it is waited for room before a partition is paused. A pause throws away what has been read ahead.
const PATIENCE: Duration = Duration::from_millis(250);

/// How many records are polled before the first of them is looked at.
const AHEAD: usize = 128;

/// Why no further step follows.
enum Over {
    /// The carrying side has gone.
    Gone,
    /// To be told to the carrying side.
    Ending(Ending),
}

// === impl Over ===

impl From<Ending> for Over {
    fn from(ending: Ending) -> Self {
        Self::Ending(ending)
    }
}

// === impl Reader ===

impl Reader {
    /// Reads until it is told to stop, then commits and leaves the group.
    pub(super) fn run(mut self) {
        let mut paused = BTreeSet::new();
        let mut looked = Instant::now();
        self.report.paused_partitions(0);
        while !self.flow.is_stopped() {
            match self.step(&mut paused) {
                Ok(()) => {}
                // Polled records may have been dropped: from here on no offset may be moved past what was
                // polled, only to what was delivered.
                Err(Over::Gone) => break,
                Err(Over::Ending(ending)) => {
                    if let Ending::Over = ending {
                        self.hand_over();
                    }
                    let _ = self.sender.blocking_send(Read::Ended(ending));
                    break;
                }
            }
            if looked.elapsed() >= GAPS {
                looked = Instant::now();
                self.consumer.context().pass_gaps(&self.consumer);
            }
        }
        // Deliveries under way end first, and their offsets are committed too.
        self.flow.wait_for_stop();
        self.close();
    }

    /// Waits until the sink has all that was read. A topic that was deleted or recreated does not have it any
    /// more, so another client could not read it again. Meanwhile this stays a member of the group, and takes
    /// no further record.
    fn hand_over(&self) {
        if self.flow.holds_any() {
            tracing::info!("partitions begin anew once the sink has taken what was read before");
        }
        while self.flow.holds_any() && !self.flow.is_stopped() {
            if let Ok(all) = self.consumer.assignment() {
                let _ = self.consumer.pause(&all);
                self.report.paused_partitions(all.count());
            }
            // Rebalances happen in here. A record that still arrives is read again.
            let _ = self.consumer.poll(POLL);
            self.consumer.context().store_done(&self.consumer);
        }
    }

    /// One poll and what follows from it. The error says how the reading ends.
    fn step(&mut self, paused: &mut BTreeSet<PartitionLife>) -> Result<(), Over> {
        self.consumer.context().store_done(&self.consumer);
        self.check_place()?;
        self.resume(paused);
        let read = self.read(if paused.is_empty() { POLL } else { POLL_PAUSED });
        let runs = self.consumer.context().refused().map_or(read, Err);
        self.hand_on(runs.map_err(Ending::Failed)?, paused)?;
        self.health.look(&self.consumer).map_err(Ending::Failed)?;
        self.check_place()
    }

    /// The error says that the client cannot continue where it is.
    fn check_place(&self) -> Result<(), Over> {
        if self.consumer.context().is_over() {
            return Err(Ending::Over.into());
        }
        Ok(())
    }

    /// What is there to read now, up to a chunk, in runs by partition.
    fn read(&mut self, wait: Duration) -> Result<BTreeMap<PartitionLife, Run>, String> {
        let (mut runs, mut load) = (BTreeMap::new(), Load::default());
        let epoch = self.consumer.context().epoch();
        let (mut wait, mut is_all) = (wait, false);
        let mut messages = Vec::with_capacity(AHEAD);
        let most_bytes = CHUNK.bytes / 2;
        while !is_all && load.records < CHUNK.records && load.bytes < most_bytes {
            let most = AHEAD.min(CHUNK.records - load.records);
            let mut bytes = load.bytes;
            while !is_all && messages.len() < most && bytes < most_bytes {
                match self.consumer.poll(wait) {
                    None => is_all = true,
                    Some(Ok(message)) => {
                        call_for(&message);
                        bytes += message.payload_len();
                        messages.push(message);
                    }
                    Some(Err(error)) if is_place_gone(&error) => self.consumer.context().end(),
                    Some(Err(error)) => self.health.failed(&error, &self.report)?,
                }
                wait = Duration::ZERO;
            }
            load.add(self.taking.take_all(&self.consumer, &messages, &mut runs));
            messages.clear();
        }
        if self.consumer.context().epoch() != epoch {
            // Records read before a rebalance will be read again by the partition's present owner. If they
            // were handed on now, they would come before the repeated ones, and their offsets would wrongly
            // say that all before them is done.
            runs.clear();
        }
        Ok(runs)
    }

    fn hand_on(
        &self,
        runs: BTreeMap<PartitionLife, Run>,
        paused: &mut BTreeSet<PartitionLife>,
    ) -> Result<(), Over> {
        let places: Vec<PartitionLife> = runs.keys().cloned().collect();
        for (place, run) in runs {
            self.flow.take(&place, run.load);
            self.sender
                .blocking_send(Read::Run(run))
                .map_err(|_| Over::Gone)?;
        }
        let until = Instant::now() + PATIENCE;
        let full = places
            .iter()
            .filter(|place| !self.flow.wait_for_room(place, until));
        let full: Vec<&PartitionLife> = full.collect();
        if !full.is_empty() && self.consumer.pause(&list(full.iter().copied())).is_ok() {
            paused.extend(full.into_iter().cloned());
            self.report.paused_partitions(paused.len());
        }
        Ok(())
    }

    fn resume(&self, paused: &mut BTreeSet<PartitionLife>) {
        let roomy: Vec<PartitionLife> = paused
            .iter()
            .filter(|place| self.flow.has_room(place))
            .cloned()
            .collect();
        // One that is not ours any more is no error worth a word.
        if !roomy.is_empty() {
            let _ = self.consumer.resume(&list(roomy.iter()));
            paused.retain(|place| !roomy.contains(place));
            self.report.paused_partitions(paused.len());
        }
    }

    /// Commits what is durable and leaves the group.
    fn close(self) {
        let Self {
            consumer,
            sender,
            report,
            ..
        } = self;
        report.paused_partitions(0);
        // Nobody answers a rebalance any more.
        drop(sender);
        consumer.context().leave();
        consumer.context().store_done(&consumer);
        consumer.context().remember();
        if let Err(error) = consumer.commit_consumer_state(CommitMode::Sync)
            && !is_nothing_to_commit(&error)
        {
            tracing::warn!(%error, "the last offsets were not committed; their records are read again");
        }
        drop(consumer);
    }
}

/// Touches both ends of a record's value, so that they are on their way from memory (the headers stand behind
/// the value) while the records before it are looked at. Each by itself would be waited for, which takes
/// longer than making the event.
fn call_for(message: &BorrowedMessage<'_>) {
    if let Some(value) = message.payload() {
        black_box((value.first().copied(), value.last().copied()));
    }
}

/// Kafka has nothing at the next offset: records were deleted, or the topic was recreated.
fn is_place_gone(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
    )
}

fn list<'a>(places: impl Iterator<Item = &'a PartitionLife>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for place in places {
        list.add_partition(&place.topic, place.partition);
    }
    list
}

pub(super) fn is_nothing_to_commit(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::NoOffset)
}
