//! What any process may do with a broker's events.

use std::fmt;
use std::time::Duration;

use millrace_event::{Event, Timestamp};

use super::ChannelError;
use crate::{Batch, Position, Record};

/// A broker's durable log.
///
/// # Flow
/// Intake appends. The owner of a partition reads it from its router's position on. Commands such as `events`
/// read where they like: reading changes nothing.
///
/// # Guarantees
/// - `append` returns when the events are durable. What else it promises [`Guarantees`] say.
/// - Only durable events are read. A position is never used twice.
/// - Positions of a partition rise, but have gaps and begin anywhere: the position after one that was read is
///   [`Batch::next`], and no sum.
#[async_trait::async_trait]
pub trait Log: Send + Sync + fmt::Debug {
    /// What this backend promises beyond the contract.
    fn guarantees(&self) -> Guarantees;

    /// Stores the events, all or none where [`Guarantees::atomic_batch`] holds. They stand one after the
    /// other where [`Guarantees::ordered`] does.
    async fn append(&self, events: Vec<Event>, class: Class) -> Result<(), AppendError>;

    /// Where each partition begins and ends, in the order of their numbers. Other processes append too: an
    /// end may be passed already.
    fn ends(&self) -> Vec<Ends>;

    /// A reader of one partition that begins at `from`.
    fn reader(&self, from: Position) -> Box<dyn Reader>;

    /// The events at these positions that can still be read, in the order asked; `None` for one that is gone.
    async fn get_many(&self, at: &[Position]) -> Result<Vec<Option<Record>>, ChannelError>;

    /// The first position of the partition appended at or after `time` (its end when there is none), among
    /// what is retained.
    async fn position_at(&self, partition: u32, time: Timestamp) -> Result<Position, ChannelError>;

    /// What an append rests on once it has returned; `None` while that is not known.
    fn durability(&self) -> Option<Durability> {
        None
    }

    /// Why events cannot be taken, for people: files were removed or cannot be written. `None` while all is
    /// well, and while the volume is only full.
    fn fault(&self) -> Option<String>;
}

/// Reads on from a position; follows the head.
#[async_trait::async_trait]
pub trait Reader: Send + fmt::Debug {
    /// The next records, at most so many events and about so many bytes (at least one record, however large).
    /// Waits while there is nothing below the head. Dropping the future loses nothing.
    async fn next(&mut self, max_events: usize, max_bytes: usize) -> Result<Batch, ChannelError>;

    /// As `next`, but gives an empty batch instead of waiting at the head. Of a backend that can lose the end
    /// of a log, either fails where the log ends before the reader's position.
    async fn try_next(&mut self, max_events: usize, max_bytes: usize) -> Result<Batch, ChannelError>;

    /// The position the next record will have, or an earlier one of which nothing can be read.
    fn position(&self) -> Position;

    /// Bytes of memory that hold what it has read and not given out yet.
    fn read_ahead(&self) -> usize;
}

/// What a backend can promise beyond the contract, and what it cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarantees {
    /// The events of one append are stored all or none.
    pub atomic_batch: bool,
    /// A commit is stored all or none, however large it is.
    pub atomic_commit: bool,
    /// Events that are appended one after the other stand in that order, within their partition.
    pub ordered: bool,
}

/// What an append rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durability {
    /// `synced`, `replicated` or `single-copy`.
    pub word: &'static str,
    /// A sentence for people: what may be lost all the same, and what could not be verified.
    pub meaning: &'static str,
}

/// Where a partition begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The oldest position that can be read.
    pub oldest: Position,
    /// The next position to be written, or a lower one that is not used: everything below it is durable.
    pub head: Position,
}

/// The kind of append: producers are turned away first when room gets short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Events from outside.
    Producer,
    /// Replies and dead letters: they may use the reserve.
    Reserve,
}

/// Why events were not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No room for this class of events now.
    #[error("{reason}")]
    Full {
        /// `backlog-full`, `disk-full` or `append-queue-full`.
        code: &'static str,
        /// A sentence for people.
        reason: String,
        /// When to come back.
        retry_after: Duration,
    },
    /// The servers that keep the log cannot be reached, or do not answer. Events may be stored all the same.
    #[error("{reason}")]
    Away {
        /// A sentence for people.
        reason: String,
        /// When to come back.
        retry_after: Duration,
    },
    /// The servers that keep the log take no event of that size.
    #[error("{0}")]
    TooLarge(String),
    /// The write or the sync failed; nothing was stored as far as anybody will be told.
    #[error("the events could not be made durable: {0}")]
    Storage(String),
    /// The channel is being closed.
    #[error("the channel is being closed")]
    Closed,
}
