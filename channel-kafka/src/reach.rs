//! What the owner and its readers ask of the servers.

use std::ops::Range;
use std::sync::Arc;

use millrace_channel::remote::{Entries, Entry, Servers, State, Write, debt_bytes};
use millrace_channel::{AppendError, ChannelError, Class, Durability};
use millrace_event::{Event, Timestamp};
use rdkafka::consumer::Consumer as _;
use rdkafka::{Offset, TopicPartitionList};

use crate::append::RETRY_AFTER;
use crate::connect::REQUEST;
use crate::error::storage;
use crate::partition::{Inner, PARTITION};
use crate::reader::Reader;
use crate::topics;

/// The most records and bytes of a chunk.
const CHUNK: (usize, usize) = (1_000, 4 << 20);
/// How far below a number the record before it is looked for: others' transactions leave gaps.
const BELOW: [u64; 2] = [8, 1_024];
/// What the status says while nobody answers.
const AWAY: &str = "the Kafka servers do not answer";

/// The servers, as the owner and its readers reach them.
#[derive(Debug)]
pub(crate) struct Reach(pub(crate) Arc<Inner>);

#[async_trait::async_trait]
impl Servers for Reach {
    fn partition(&self) -> u32 {
        PARTITION.unsigned_abs()
    }

    fn atomic_batch(&self) -> bool {
        false
    }

    fn ends(&self) -> Range<u64> {
        self.0.known.ends()
    }

    fn log_bytes(&self) -> u64 {
        self.0.known.bytes()
    }

    fn refusing(&self) -> Option<String> {
        self.fault()
    }

    fn fault(&self) -> Option<String> {
        self.0.known.is_away().then(|| AWAY.to_owned())
    }

    fn durability(&self) -> Option<Durability> {
        Some(self.0.topic.told())
    }

    async fn append(&self, events: Vec<Event>, _class: Class) -> Result<(), AppendError> {
        let inner = &self.0;
        if inner.known.is_away() {
            return Err(AppendError::Away {
                reason: AWAY.to_owned(),
                retry_after: RETRY_AFTER,
            });
        }
        let last = inner.appender.append(&events).await?;
        inner.known.saw(last);
        Ok(())
    }

    fn reader(&self, from: u64, below: Option<(u64, u64)>) -> Box<dyn Entries> {
        Box::new(Reader::new(self.0.clone(), from, below))
    }

    async fn get(&self, numbers: &[u64]) -> Result<Vec<Option<Entry>>, ChannelError> {
        let found = self.0.lookup.get(numbers.iter().copied(), &self.ends()).await?;
        Ok(numbers.iter().map(|number| found.get(number).cloned()).collect())
    }

    async fn last_below(&self, number: u64) -> Result<Option<Entry>, ChannelError> {
        let ends = self.ends();
        let end = number.min(ends.end);
        for far in BELOW {
            let numbers = ends.start.max(end.saturating_sub(far))..end;
            let mut found = self.0.lookup.get(numbers, &ends).await?;
            if let Some((_, last)) = found.pop_last() {
                return Ok(Some(last));
            }
        }
        Ok(None)
    }

    async fn first_since(&self, time: Timestamp) -> Result<Option<u64>, ChannelError> {
        let topic = self.0.names.events.clone();
        let asked = move |client: &rdkafka::consumer::BaseConsumer<_>| {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&topic, PARTITION, Offset::Offset(time.0.max(0)))?;
            let found = client.offsets_for_times(list, REQUEST)?;
            let found = found
                .elements()
                .into_iter()
                .map(|one| one.error().map(|()| one.offset()));
            found.take(1).collect::<Result<Vec<_>, _>>()
        };
        let found = self.0.ask(asked).await.map_err(storage)?;
        match found.first() {
            Some(Offset::Offset(offset)) => Ok(u64::try_from(*offset).ok()),
            _ => Ok(None),
        }
    }

    async fn claim(&self) -> Result<(u64, State), ChannelError> {
        let claimed = self.0.store.claim().await?;
        // What was appended by others before the claim counts.
        self.0.look().await?;
        Ok(claimed)
    }

    async fn read(&self, claim: u64) -> Result<Option<State>, ChannelError> {
        self.0.store.read(claim).await
    }

    fn fits(&self, writes: &[Write]) -> usize {
        let mut bytes = 0;
        let fitting = writes.iter().take(CHUNK.0).take_while(|write| {
            bytes += debt_bytes(write);
            bytes <= CHUNK.1
        });
        fitting.count().max(1)
    }

    async fn write(&self, claim: u64, chunk: &[Write]) -> Result<(), ChannelError> {
        self.0.store.write(claim, chunk).await
    }

    async fn delete_below(&self, number: u64) -> Result<(), ChannelError> {
        let inner = &self.0;
        let deleted = topics::delete_below(&inner.admin, &inner.names.events, PARTITION, number);
        deleted.await.map_err(storage)?;
        inner.look().await
    }
}
