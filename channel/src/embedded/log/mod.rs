//! The log: our own append-only segments with group commit. Knows nothing of lanes.

use std::sync::Arc;

use millrace_event::{Clock, Event, Timestamp};
use tokio::sync::watch;

use crate::embedded::Durability;
use crate::{Batch, ChannelError, Position, Record};

pub mod files;

pub use files::{Files, Folder, LogFile};

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// A segment that would grow beyond this is sealed and the next begins.
    pub segment_bytes: u64,
    /// When an append counts as durable.
    pub durability: Durability,
    /// Where append times come from.
    pub clock: Clock,
    /// Bytes of appends that may wait for the writer; beyond that [`LogError::QueueFull`].
    pub max_waiting_bytes: usize,
    /// Bytes of the newest events that are kept in memory for readers at the head.
    pub tail_bytes: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            durability: Durability::Sync,
            clock: Clock::System,
            max_waiting_bytes: 64 << 20,
            tail_bytes: 8 << 20,
        }
    }
}

/// Why the log could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The volume has no room.
    #[error("the disk is full")]
    DiskFull,
    /// Too many bytes wait for the writer.
    #[error("too many appends wait to be written")]
    QueueFull,
    /// An append is larger than a frame may be.
    #[error("an append of {bytes} bytes or {events} events is more than one frame holds")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// Its events.
        events: usize,
    },
    /// The log has been closed.
    #[error("the log is closed")]
    Closed,
    /// A file of a later format.
    #[error("{file} has format version {version}; this build reads version 1")]
    Format {
        /// The file.
        file: String,
        /// Its version.
        version: u32,
    },
    /// An operation on a file failed.
    #[error("{operation} {file}: {reason}")]
    Io {
        /// What was tried: `write`, `sync`, `open`, ...
        operation: &'static str,
        /// The file's name in the log's folder.
        file: String,
        /// What the system said.
        reason: String,
    },
}

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes of a torn tail that were cut off the last segment.
    pub torn_bytes: u64,
    /// Damaged places in the last segment, set aside; their events are lost.
    pub corrupt: Vec<Corruption>,
    /// Positions from the log's end to `at_least` that are skipped: `(first, first that is used)`.
    pub skipped: Option<(u64, u64)>,
}

/// A damaged place in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// The segment's file name.
    pub file: String,
    /// Where the damage begins, in bytes from the file's beginning.
    pub at_byte: u64,
    /// The first offset that is lost.
    pub from_offset: u64,
    /// The first offset that is there again.
    pub to_offset: u64,
}

/// What is known of a segment without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its first offset.
    pub base: u64,
    /// The offset after its last.
    pub end: u64,
    /// Its size on disk.
    pub bytes: u64,
    /// When its first event was appended (when it was created, while it is empty).
    pub first_time: Timestamp,
    /// When its last event was appended, or a little later.
    pub last_time: Timestamp,
    /// No more appends go to it.
    pub sealed: bool,
}

/// An open log. Cheap to clone: clones are the same log.
#[derive(Clone, Debug)]
pub struct Log {}

/// Reads on from an offset, from memory at the head and from disk behind it.
#[derive(Debug)]
pub struct LogReader {}

impl Log {
    /// Opens the folder: recovers, and syncs what it found before serving it. The next offset is at least `at_least`
    /// (one more than the highest that state names). Blocking.
    pub fn open(files: Arc<dyn Files>, options: LogOptions, at_least: u64) -> Result<(Self, Recovery), LogError> {
        todo!()
    }
    /// Stores the events, all or none; returns the first one's offset when they are durable.
    pub async fn append(&self, events: Vec<Event>) -> Result<u64, LogError> {
        todo!()
    }
    /// The next offset; everything below it is durable.
    pub fn head(&self) -> u64 {
        todo!()
    }
    /// The oldest offset that is retained.
    pub fn oldest(&self) -> u64 {
        todo!()
    }
    /// Follows the head; its sender goes when the log is closed.
    pub fn head_changed(&self) -> watch::Receiver<u64> {
        todo!()
    }
    /// From memory only, without I/O; `None` when `from` is not there.
    pub fn read(&self, from: u64, max_events: usize, max_bytes: usize) -> Option<Batch> {
        todo!()
    }
    /// From disk. Blocking.
    pub fn read_disk(&self, from: u64, max_events: usize, max_bytes: usize) -> Result<Batch, LogError> {
        todo!()
    }
    /// A reader that begins at `from`.
    pub fn reader(&self, from: u64) -> LogReader {
        todo!()
    }
    /// One event. Blocking.
    pub fn get(&self, offset: u64) -> Result<Option<Record>, LogError> {
        todo!()
    }
    /// The segments in order; the last is the one that is written.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        todo!()
    }
    /// Deletes whole sealed segments that end at or below `base`; returns the bytes freed. Blocking.
    pub fn delete_before(&self, base: u64) -> Result<u64, LogError> {
        todo!()
    }
    /// Seals the segment that is written, if it holds anything, so that it can be deleted.
    pub async fn roll(&self) -> Result<(), LogError> {
        todo!()
    }
    /// The first offset appended at or after `time`; the head when there is none. Blocking.
    pub fn offset_at(&self, time: Timestamp) -> Result<u64, LogError> {
        todo!()
    }
    /// Makes everything below the head survive a power failure. At once unless `Durability::Os` left something. Blocking.
    pub fn sync(&self) -> Result<(), LogError> {
        todo!()
    }
    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        todo!()
    }
    /// Bytes of appends that are not answered yet.
    pub fn waiting_bytes(&self) -> usize {
        todo!()
    }
    /// Takes no more appends, finishes those that wait, syncs and ends the writer.
    pub async fn close(&self) -> Result<(), LogError> {
        todo!()
    }
}

#[async_trait::async_trait]
impl crate::Reader for LogReader {
    async fn next(&mut self, max_events: usize, max_bytes: usize) -> Result<Batch, ChannelError> {
        todo!()
    }
    async fn try_next(&mut self, max_events: usize, max_bytes: usize) -> Result<Batch, ChannelError> {
        todo!()
    }
    fn position(&self) -> Position {
        todo!()
    }
}
