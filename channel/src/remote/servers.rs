//! What servers do for a partition: the part that each backend implements.

use std::fmt;
use std::ops::Range;

use millrace_event::{Event, Timestamp};

use super::state::{State, Write};
use crate::{AppendError, ChannelError, Class, Durability};

/// One partition on its servers, as one process reaches it.
///
/// The numbers are the log's own: they rise and have gaps. A log that has lost its end gives numbers twice.
#[async_trait::async_trait]
pub trait Servers: Send + Sync + fmt::Debug {
    /// The partition's number.
    fn partition(&self) -> u32;

    /// How many partitions the broker's log has.
    fn partitions(&self) -> u32 {
        1
    }

    /// Whether this process may still count as the owner, by its own clock.
    fn is_held(&self) -> bool {
        true
    }

    /// Whether the events of one append are stored all or none.
    fn atomic_batch(&self) -> bool;

    /// The oldest number that can be read, and the next to be given, as far as this process knows. It knows
    /// of what it has appended or read itself.
    fn ends(&self) -> Range<u64>;

    /// Bytes of the log.
    fn log_bytes(&self) -> u64;

    /// Why producers are turned away now.
    fn refusing(&self) -> Option<String> {
        None
    }

    /// What an append rests on.
    fn durability(&self) -> Option<Durability> {
        None
    }

    /// Why events cannot be taken, for people.
    fn fault(&self) -> Option<String> {
        None
    }

    /// Whether these events would be refused now, and why: it is asked before a part of them is stored in
    /// another partition.
    fn takes(&self, _events: &[Event], _class: Class) -> Result<(), AppendError> {
        Ok(())
    }

    /// Stores events; returns when they are as durable as these servers make them.
    async fn append(&self, events: Vec<Event>, class: Class) -> Result<(), AppendError>;

    /// Reads the log from a number on. `below`: number and fingerprint of what was read right below it, if
    /// this process has read that. If it is another one now, the log has lost its end.
    fn reader(&self, from: u64, below: Option<(u64, u64)>) -> Box<dyn Entries>;

    /// What stands at these numbers, in the order asked; `None` where nothing can be read any more.
    async fn get(&self, numbers: &[u64]) -> Result<Vec<Option<Entry>>, ChannelError>;

    /// The last entry below a number, as the server knows it that decides what is stored.
    async fn last_below(&self, number: u64) -> Result<Option<Entry>, ChannelError>;

    /// The first number appended at or after a time.
    async fn first_since(&self, time: Timestamp) -> Result<Option<u64>, ChannelError>;

    /// Takes the partition over: from now on no chunk of another claim is stored. Gives the claim, which is
    /// higher than each before, and the state.
    async fn claim(&self) -> Result<(u64, State), ChannelError>;

    /// The state, once it is known what became of every chunk that was given to [`write`](Self::write);
    /// `None` when the servers have lost some that they had acknowledged under this claim: then what counts
    /// is what the owner knows. [`ChannelError::NotOwner`] when there is a newer claim.
    async fn read(&self, claim: u64) -> Result<Option<State>, ChannelError>;

    /// How many of the first writes fit into one chunk; at least one.
    fn fits(&self, writes: &[Write]) -> usize;

    /// The most bytes that a copy of an event may have in a record of state.
    fn longest_copy(&self) -> usize {
        usize::MAX
    }

    /// Stores a chunk, whole or not at all. It is sent again until it is known what became of it. After an
    /// error other than [`ChannelError::NotOwner`], [`read`](Self::read) tells what is stored.
    async fn write(&self, claim: u64, chunk: &[Write]) -> Result<(), ChannelError>;

    /// Deletes what stands below a number: it is settled, and old.
    async fn delete_below(&self, _number: u64) -> Result<(), ChannelError> {
        Ok(())
    }
}

/// Reads on from a number.
#[async_trait::async_trait]
pub trait Entries: Send + fmt::Debug {
    /// The next entries, at most so many and about so many bytes, but at least one. Waits for the first if
    /// told so; else an empty read says that the log ends here. Dropping the future loses nothing. An error
    /// where the log ends before the reader's number.
    async fn next(&mut self, max_entries: usize, max_bytes: usize, waits: bool)
    -> Result<Read, ChannelError>;

    /// The number that is read next, or a lower one at which nothing stands.
    fn number(&self) -> u64;

    /// Bytes that it has read and not given out yet.
    fn read_ahead(&self) -> usize {
        0
    }
}

/// What stands at a number of the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The number.
    pub number: u64,
    /// When it was appended.
    pub appended: Timestamp,
    /// A fingerprint of append time and content: it tells the entry from another one that has its number
    /// after a loss.
    pub print: u64,
    /// The event; `None`: what stands there is none.
    pub event: Option<Event>,
}

/// What one read gave.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// In order.
    pub entries: Vec<Entry>,
    /// Where to read on.
    pub next: u64,
    /// Numbers before the first entry that were deleted although nobody had read them here.
    pub deleted: Option<Range<u64>>,
}
