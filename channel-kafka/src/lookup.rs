//! Single records by their numbers.
//!
//! Who asks for a number has read it, or has been told that it is stored. So this sees also what stands above
//! a transaction that somebody holds open.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use millrace_channel::ChannelError;
use millrace_channel::remote::Entry;
use millrace_event::kafka::Decoder;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::connect::{Connect, Dropped, Quiet};
use crate::end;
use crate::error::storage;
use crate::fence::is_passing;
use crate::raw;

/// How long an answer may take.
const ANSWERS: Duration = Duration::from_secs(10);
/// Numbers that lie closer together are read one after the other.
const NEAR: u64 = 64;

/// Looks records up; one at a time.
#[derive(Debug)]
pub(crate) struct Lookup {
    connect: Connect,
    topic: String,
    partition: i32,
    looking: Mutex<Looking>,
}

#[derive(Debug)]
struct Looking {
    /// `None`: it has to be made. A look that is given up takes its client along.
    reader: Option<Dropped<StreamConsumer<Quiet>>>,
    decoder: Decoder,
}

/// One look: what was read and not asked for yet, and where the reader is.
struct Look<'a> {
    reader: &'a StreamConsumer<Quiet>,
    decoder: &'a mut Decoder,
    next: Option<Entry>,
    at: Option<u64>,
}

// === impl Lookup ===

impl Lookup {
    pub(crate) fn new(connect: Connect, topic: &str, partition: i32, decoder: Decoder) -> Self {
        Self {
            connect,
            topic: topic.to_owned(),
            partition,
            looking: Mutex::new(Looking {
                reader: None,
                decoder,
            }),
        }
    }

    /// What stands at these numbers, of those between the ends.
    pub(crate) async fn get(
        &self,
        numbers: impl IntoIterator<Item = u64>,
        ends: &Range<u64>,
    ) -> Result<BTreeMap<u64, Entry>, ChannelError> {
        let wanted: BTreeSet<u64> = numbers
            .into_iter()
            .filter(|number| ends.contains(number))
            .collect();
        let mut found = BTreeMap::new();
        if wanted.is_empty() {
            return Ok(found);
        }
        let mut looking = self.looking.lock().await;
        let reader = match looking.reader.take() {
            Some(reader) => reader,
            None => self.connect.lookup()?,
        };
        let mut look = Look {
            reader: &reader,
            decoder: &mut looking.decoder,
            next: None,
            at: None,
        };
        for number in wanted {
            if let Some(entry) = self.one(&mut look, number).await? {
                found.insert(number, entry);
            }
        }
        // It asks for nothing until the next look.
        reader.unassign().map_err(storage)?;
        looking.reader = Some(reader);
        Ok(found)
    }

    async fn one(&self, look: &mut Look<'_>, number: u64) -> Result<Option<Entry>, ChannelError> {
        if let Some(entry) = look.next.take_if(|entry| entry.number <= number) {
            if entry.number == number {
                return Ok(Some(entry));
            }
        } else if look.next.is_some() {
            // What was read lies above it: nothing stands here.
            return Ok(None);
        }
        if !look.at.is_some_and(|at| at <= number && number - at < NEAR) {
            let mut list = TopicPartitionList::new();
            let from = Offset::Offset(i64::try_from(number).unwrap_or(i64::MAX));
            list.add_partition_offset(&self.topic, self.partition, from)
                .map_err(storage)?;
            look.reader.assign(&list).map_err(storage)?;
            look.at = Some(number);
        }
        while let Some(entry) = look.receive(number).await? {
            look.at = Some(entry.number + 1);
            if entry.number == number {
                return Ok(Some(entry));
            }
            if entry.number > number {
                look.next = Some(entry);
                return Ok(None);
            }
        }
        look.at = None;
        Ok(None)
    }
}

// === impl Look ===

impl Look<'_> {
    /// The next record; `None`: nothing stands at the number, nor between. An end at or below the number is
    /// no answer: the leader may not know yet that what was asked for is there.
    async fn receive(&mut self, number: u64) -> Result<Option<Entry>, ChannelError> {
        loop {
            let next = timeout(ANSWERS, self.reader.recv()).await;
            match next.map_err(|_| storage("no answer in time"))? {
                Ok(message) => return Ok(Some(raw::entry(&message, self.decoder).0)),
                Err(KafkaError::PartitionEOF(_)) if end::passed(self.reader) > number => return Ok(None),
                Err(KafkaError::PartitionEOF(_)) => {}
                Err(error) if is_beyond(&error) => return Ok(None),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(storage(error)),
            }
        }
    }
}

/// Whether the log does not have the number any more, or not yet.
pub(crate) fn is_beyond(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
    )
}
