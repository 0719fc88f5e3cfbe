//! What the owner and its readers ask of the servers.

use std::ops::Range;
use std::sync::Arc;

use millrace_channel::remote::{Entries, Entry, Servers, State, Write, debt_bytes};
use millrace_channel::{AppendError, ChannelError, Class, Durability};
use millrace_event::{Event, Timestamp};

use crate::append::{Draft, store};
use crate::partition::Inner;
use crate::reader::Reader;
use crate::shape;

/// The most records and bytes of a chunk: servers take 1 000 messages in a batch.
const CHUNK: (usize, usize) = (400, 2 << 20);

/// The servers, as the owner and its readers reach them.
#[derive(Debug)]
pub(crate) struct Reach(pub(crate) Arc<Inner>);

#[async_trait::async_trait]
impl Servers for Reach {
    fn partition(&self) -> u32 {
        self.0.names.partition
    }

    fn partitions(&self) -> u32 {
        self.0.names.partitions
    }

    fn is_held(&self) -> bool {
        self.0.is_held()
    }

    fn atomic_batch(&self) -> bool {
        true
    }

    fn ends(&self) -> Range<u64> {
        self.0.known.ends()
    }

    fn log_bytes(&self) -> u64 {
        self.0.known.bytes()
    }

    fn refusing(&self) -> Option<String> {
        self.0.refuses()
    }

    fn fault(&self) -> Option<String> {
        self.0.known.away().map(|away| away.in_words().to_owned())
    }

    fn durability(&self) -> Option<Durability> {
        let durability = shape::durability(self.0.replicas);
        Some(Durability {
            word: durability.as_str(),
            meaning: durability.in_words(),
        })
    }

    fn takes(&self, events: &[Event], class: Class) -> Result<(), AppendError> {
        self.0.takes(&self.0.drafts(events), class)
    }

    async fn append(&self, events: Vec<Event>, class: Class) -> Result<(), AppendError> {
        let inner = &self.0;
        let drafts = inner.drafts(&events);
        inner.takes(&drafts, class)?;
        let bytes: usize = drafts.iter().map(Draft::bytes).sum();
        let _batch = match drafts.len() {
            1 => None,
            _ => Some(inner.batches.acquire().await.map_err(|_| AppendError::Closed)?),
        };
        let sequence = store(&inner.client, drafts)
            .await
            .map_err(|unstored| unstored.for_producers())?;
        inner.known.saw(sequence);
        inner.known.stored(bytes);
        Ok(())
    }

    fn reader(&self, from: u64, below: Option<(u64, u64)>) -> Box<dyn Entries> {
        Box::new(Reader::new(self.0.clone(), from, below))
    }

    async fn get(&self, numbers: &[u64]) -> Result<Vec<Option<Entry>>, ChannelError> {
        let mut found = Vec::with_capacity(numbers.len());
        let ends = self.ends();
        for number in numbers {
            let raw = match ends.contains(number) {
                true => self.0.stored(*number).await?,
                false => None,
            };
            found.push(raw.map(|raw| self.0.entry(&raw)));
        }
        Ok(found)
    }

    async fn last_below(&self, number: u64) -> Result<Option<Entry>, ChannelError> {
        // Nothing is deleted from the middle of this stream.
        let below = number.min(self.ends().end).saturating_sub(1);
        Ok(self.get(&[below]).await?.into_iter().next().flatten())
    }

    async fn first_since(&self, time: Timestamp) -> Result<Option<u64>, ChannelError> {
        let Range { mut start, mut end } = self.ends();
        // Appended one after the other, so found by halves.
        while start < end {
            let middle = start + (end - start) / 2;
            let found = self.0.stored(middle).await?;
            let is_before = found.is_none_or(|raw| raw.nanos < i128::from(time.0) * 1_000_000);
            if is_before {
                start = middle + 1;
            } else {
                end = middle;
            }
        }
        Ok((start < self.ends().end).then_some(start))
    }

    async fn claim(&self) -> Result<(u64, State), ChannelError> {
        let mut fence = self.0.fence.lock().await;
        let claimed = self.0.store.claim(&mut fence).await?;
        // What was appended by others before the claim counts.
        self.0.look().await?;
        Ok(claimed)
    }

    async fn read(&self, claim: u64) -> Result<Option<State>, ChannelError> {
        let mut fence = self.0.fence.lock().await;
        self.0.store.read(&mut fence, claim).await
    }

    fn fits(&self, writes: &[Write]) -> usize {
        let mut bytes = 0;
        let fitting = writes.iter().take(CHUNK.0).take_while(|write| {
            bytes += debt_bytes(write);
            bytes <= CHUNK.1
        });
        fitting.count().max(1)
    }

    fn longest_copy(&self) -> usize {
        match self.0.known.has_room_for_copies() {
            true => usize::MAX,
            false => 0,
        }
    }

    async fn write(&self, claim: u64, chunk: &[Write]) -> Result<(), ChannelError> {
        let mut fence = self.0.fence.lock().await;
        self.0.store.write(&mut fence, claim, chunk).await?;
        self.0.known.wrote_state(chunk.iter().map(debt_bytes).sum());
        Ok(())
    }

    async fn delete_below(&self, number: u64) -> Result<(), ChannelError> {
        self.0.delete_below(&self.0.names.events, number).await?;
        self.0.look().await.map(drop)
    }
}
