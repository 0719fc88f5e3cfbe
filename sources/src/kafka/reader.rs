//! The thread that reads: every call of librdkafka is made here, so that waiting for Kafka holds up no other task.
//!
//! # Flow
//! Store what has become durable, resume what has room, poll, map, hand on in runs, and pause what is full. Between two polls it
//! waits at most [`PATIENCE`] for room, far less than Kafka waits for a member of a group.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_event::kafka::Header;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::types::RDKafkaErrorCode;
use smallvec::SmallVec;
use tokio::sync::mpsc;

use super::flow::{Flow, Load};
use super::group::Group;
use super::health::Health;
use super::partitions::{CHUNK, Run};
use super::record::{Mapping, Place, Record, TooLarge};
use crate::Report;

/// What the thread tells the carrying side.
#[derive(Debug)]
pub(super) enum Read {
    /// Records of one partition.
    Run(Run),
    /// All partitions are about to go to other members: deliveries under way may end, and dropping this
    /// sender reports that.
    Revoked(std::sync::mpsc::SyncSender<()>),
    /// It cannot go on.
    Failed(String),
}

/// What the thread works with.
pub(super) struct Reader {
    pub(super) consumer: BaseConsumer<Group>,
    pub(super) flow: Arc<Flow>,
    pub(super) sender: mpsc::Sender<Read>,
    pub(super) mapping: Mapping,
    pub(super) report: Report,
    pub(super) health: Health,
    /// Names of topics, each kept once.
    pub(super) topics: BTreeSet<Arc<str>>,
}

/// How long a poll waits for a record; what has become durable is committed after that time at the latest.
const POLL: Duration = Duration::from_millis(100);
/// How long a poll waits while some partitions are paused.
const POLL_PAUSED: Duration = Duration::from_millis(10);
/// How long it is waited for room before a partition is paused. A pause throws away what has been read ahead.
const PATIENCE: Duration = Duration::from_millis(250);

/// How many records are polled before the first of them is looked at.
const AHEAD: usize = 128;

/// The carrying side has gone.
struct Gone;

// === impl Reader ===

impl Reader {
    /// Reads until it is told to stop, then commits and leaves the group.
    pub(super) fn run(mut self) {
        let mut paused = BTreeSet::new();
        self.report.paused_partitions(0);
        while !self.flow.is_stopped() {
            self.consumer.context().store_done(&self.consumer);
            self.resume(&mut paused);
            let read = self.read(if paused.is_empty() { POLL } else { POLL_PAUSED });
            match self.consumer.context().refused().map_or(read, Err) {
                Ok(runs) => {
                    if self.hand_on(runs, &mut paused).is_err() {
                        // What is on its way ends first, and its offsets are committed with the others.
                        self.flow.wait_for_stop();
                        break;
                    }
                }
                Err(why) => {
                    let _ = self.sender.blocking_send(Read::Failed(why));
                    break;
                }
            }
            if let Err(why) = self.health.look(&self.consumer) {
                let _ = self.sender.blocking_send(Read::Failed(why));
                break;
            }
        }
        self.close();
    }

    /// What is there to read now, up to a chunk, in runs by partition.
    fn read(&mut self, wait: Duration) -> Result<BTreeMap<Place, Run>, String> {
        let (mut runs, mut load) = (BTreeMap::new(), Load::default());
        let epoch = self.consumer.context().epoch();
        let (mut wait, mut is_all) = (wait, false);
        let mut messages = Vec::with_capacity(AHEAD);
        let mut last: Option<Place> = None;
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
                    Some(Err(error)) => self.health.failed(&error, &self.report)?,
                }
                wait = Duration::ZERO;
            }
            for (index, message) in messages.iter().enumerate() {
                // Mostly that of the one before. While both are held one address is one topic, and is faster to compare.
                let before = index.checked_sub(1).map(|before| &messages[before]);
                let place = match &last {
                    Some(place) if before.is_some_and(|before| are_of_one_partition(before, message)) => {
                        place
                    }
                    Some(place) if place.is_of(message) => place,
                    _ => last.insert(place(&mut self.topics, message)),
                };
                load.add(take(&mut self.mapping, &self.report, place, message, &mut runs));
            }
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

    fn hand_on(&self, runs: BTreeMap<Place, Run>, paused: &mut BTreeSet<Place>) -> Result<(), Gone> {
        let places: Vec<Place> = runs.keys().cloned().collect();
        for (place, run) in runs {
            self.flow.take(&place, run.load);
            self.sender.blocking_send(Read::Run(run)).map_err(|_| Gone)?;
        }
        let until = Instant::now() + PATIENCE;
        let full = places
            .iter()
            .filter(|place| !self.flow.wait_for_room(place, until));
        let full: Vec<&Place> = full.collect();
        if !full.is_empty() && self.consumer.pause(&list(full.iter().copied())).is_ok() {
            paused.extend(full.into_iter().cloned());
            self.report.paused_partitions(paused.len());
        }
        Ok(())
    }

    fn resume(&self, paused: &mut BTreeSet<Place>) {
        let roomy: Vec<Place> = paused
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
        if let Err(error) = consumer.commit_consumer_state(CommitMode::Sync)
            && !is_nothing_to_commit(&error)
        {
            tracing::warn!(%error, "the last offsets were not committed; their records are read again");
        }
        drop(consumer);
    }
}

/// Touches both ends of a record's value, so that they are on their way from memory (the headers stand behind the value) while the
/// records before it are looked at. Each by itself would be waited for, which takes longer than making the event.
fn call_for(message: &BorrowedMessage<'_>) {
    if let Some(value) = message.payload() {
        black_box((value.first().copied(), value.last().copied()));
    }
}

/// The headers of a record; most have few.
type Headers<'a> = SmallVec<[Header<'a>; 12]>;

/// The headers of a message. The binding breaks down over a name that is not UTF-8, which Kafka stores all the same; that must
/// not take the reading thread with it.
fn headers<'a>(message: &'a BorrowedMessage<'_>) -> Result<Headers<'a>, &'static str> {
    let Some(headers) = message.headers() else {
        return Ok(Headers::new());
    };
    let read = || headers.iter().map(|header| (header.key, header.value)).collect();
    catch_unwind(AssertUnwindSafe(read))
        .map_err(|_| "the name of a header is not UTF-8: its headers are left out")
}

/// Takes one message into its run; gives what it adds.
fn take(
    mapping: &mut Mapping,
    report: &Report,
    place: &Place,
    message: &BorrowedMessage<'_>,
    runs: &mut BTreeMap<Place, Run>,
) -> Load {
    let offset = message.offset();
    let headers = headers(message).unwrap_or_else(|why| {
        report.taken_otherwise("attribute-left-out", format!("{place}@{offset}: {why}"));
        Headers::new()
    });
    let record = Record {
        place,
        offset,
        timestamp: message.timestamp().to_millis(),
        key: message.key(),
        value: message.payload(),
        headers: &headers,
    };
    let event = match mapping.event(&record) {
        Ok(mapped) => {
            for (code, why) in mapped.remarks {
                tracing::debug!(%place, offset, code, why, "a record is not quite what it says");
                report.taken_otherwise(code, format!("{place}@{offset}: {why}"));
            }
            Some(mapped.event)
        }
        Err(TooLarge) => {
            let bytes = message.payload().map_or(0, <[u8]>::len);
            tracing::warn!(%place, offset, bytes, "a record is larger than an event may be, and is passed by");
            let why = format!(
                "{place}@{offset}: a record of {bytes} bytes is larger than an event may be; passed by"
            );
            report.refused("record-too-large", why);
            None
        }
    };
    let bytes = event.as_ref().map_or(0, |event| event.stored().len());
    let load = Load { records: 1, bytes };
    let run = match runs.get_mut(place) {
        Some(run) => run,
        None => runs.entry(place.clone()).or_insert_with(|| Run {
            place: place.clone(),
            events: Vec::new(),
            offsets: Vec::new(),
            next: offset,
            load: Load::default(),
        }),
    };
    if let Some(event) = event {
        run.events.push(event);
        run.offsets.push(offset);
    }
    run.next = offset + 1;
    run.load.add(load);
    load
}

fn are_of_one_partition(one: &BorrowedMessage<'_>, other: &BorrowedMessage<'_>) -> bool {
    one.topic_ptr() == other.topic_ptr() && one.partition() == other.partition()
}

impl Place {
    fn is_of(&self, message: &BorrowedMessage<'_>) -> bool {
        self.partition == message.partition() && *self.topic == *message.topic()
    }
}

fn place(topics: &mut BTreeSet<Arc<str>>, message: &BorrowedMessage<'_>) -> Place {
    let partition = message.partition();
    let topic = match topics.get(message.topic()) {
        Some(topic) => topic.clone(),
        None => {
            let topic: Arc<str> = message.topic().into();
            topics.insert(topic.clone());
            topic
        }
    };
    Place { topic, partition }
}

fn list<'a>(places: impl Iterator<Item = &'a Place>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for place in places {
        list.add_partition(&place.topic, place.partition);
    }
    list
}

pub(super) fn is_nothing_to_commit(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::NoOffset)
}
