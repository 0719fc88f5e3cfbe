//! The log: our own append-only segments with group commit. Knows nothing of lanes.
//!
//! # Flow
//! Producers put appends in the `queue`; the `writer`, at its `station` in the pool, writes what waits as
//! [`frame`]s of the `active` segment, syncs once, shows them to readers through the `tail` and gives the
//! `answers`. Who is behind reads from disk (`reader`, over `walk`). `recover` makes sense of the folder at
//! opening, `torn` tells a crash from damage, `damage` sets aside what cannot be read. `find` looks events up
//! by id, with the indexes of `ids`. Under all of it are [`files`], which tests replace by a `simulated`
//! disk.
//!
//! # Guarantees
//! - An append is durable when it is answered; its events have consecutive offsets; all of them are there or
//!   none.
//! - Only durable events are read, in order. An offset is never used twice.
//! - One damaged place costs the events of the frames that it touches, no others.
//!
//! # Assumptions
//! One process has the folder open; the disk keeps what it has synced.

use std::sync::Arc;

use millrace_event::{Clock, Event, Timestamp};
use tokio::sync::{oneshot, watch};

use crate::embedded::Durability;
use crate::embedded::pool::Pool;
use crate::{Batch, Record};

mod active;
mod answers;
pub(crate) mod copies;
mod damage;
mod direct;
mod error;
pub mod files;
mod find;
pub mod frame;
mod header;
mod ids;
mod metrics;
mod near;
mod queue;
mod reader;
mod recover;
mod segment;
mod shared;
#[cfg(test)]
mod simulated;
mod station;
mod survey;
mod tail;
#[cfg(test)]
mod tests;
mod torn;
mod walk;
mod writer;

pub use error::LogError;
pub use files::{Files, Folder, LogFile};
pub use metrics::LogMetrics;
pub use reader::LogReader;
pub use segment::SegmentInfo;

use error::io_error;
use queue::Order;
use shared::Shared;

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
    /// Bytes of the newest events that are kept in memory for readers at the head. If a large group has more,
    /// readers that keep up get its beginning from the disk.
    pub tail_bytes: usize,
    /// The threads that write.
    pub pool: Pool,
    /// The last run closed the log, after it had synced it: it is synced again only before the first write.
    pub ended_cleanly: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            durability: Durability::Sync,
            clock: Clock::System,
            max_waiting_bytes: 64 << 20,
            tail_bytes: 2 * queue::GROUP_BYTES,
            pool: Pool::default(),
            ended_cleanly: false,
        }
    }
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

/// An open log. Cheap to clone: clones are the same log. The last one to go ends the writer, as `close` does.
#[derive(Clone, Debug)]
pub struct Log {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    near: near::Near,
    station: Arc<station::Station>,
}

// === impl Log ===

impl Log {
    /// Opens the folder: recovers, and syncs what it found before serving it, unless the last run did. The
    /// next offset is at least `at_least` (one more than the highest that state names). Blocking. Within a
    /// runtime, that one gives out the answers.
    pub fn open(
        files: Arc<dyn Files>,
        options: LogOptions,
        at_least: u64,
    ) -> Result<(Self, Recovery), LogError> {
        let metrics = LogMetrics::default();
        let recovered = recover::recover(&*files, &options, &metrics, at_least)?;
        let (ahead, now) = (options.clock.ahead(), options.clock.steady());
        // Newest first: a segment from the future counts as old as the one after it. Otherwise neither it nor
        // its predecessors would be deleted before the clock gets there.
        let mut next = now;
        for segment in recovered.segments.iter().rev() {
            let steady = Timestamp(segment.last_time().0.saturating_sub(ahead));
            next = if steady > now { next } else { steady };
            segment.appended_at(next);
        }
        let (head, head_seen) = watch::channel(recovered.next);
        let pool = options.pool.clone();
        let begun = pool.begin();
        begun.map_err(|error| io_error("start", "the writer", &error))?;
        let shared = Shared::new(files, options, metrics, recovered.segments, head_seen);
        let shared = Arc::new(shared);
        let writer = writer::Writer::new(
            Arc::clone(&shared),
            head,
            Some(recovered.active),
            recovered.end,
            recovered.next,
        );
        let inner = Inner {
            station: Arc::new(station::Station::new(Arc::clone(&shared), writer)),
            shared,
            near: near::Near::default(),
        };
        Ok((
            Self {
                inner: Arc::new(inner),
            },
            recovered.recovery,
        ))
    }

    /// Stores the events, all or none; returns the first one's offset when they are durable. Dropping the
    /// future after it has been polled does not take the events back. No events are no append: the answer is
    /// the head.
    pub async fn append(&self, events: Vec<Event>) -> Result<u64, LogError> {
        if events.is_empty() {
            return Ok(self.head());
        }
        let answered = self.inner.shared.queue.append(events)?;
        self.inner.call();
        answered.await.unwrap_or(Err(LogError::Closed))
    }

    /// The next offset; everything below it is durable.
    pub fn head(&self) -> u64 {
        self.inner.shared.head()
    }

    /// The oldest offset that is retained.
    pub fn oldest(&self) -> u64 {
        self.inner.shared.oldest()
    }

    /// Follows the head; its sender goes when the log is closed.
    pub fn head_changed(&self) -> watch::Receiver<u64> {
        self.inner.shared.head_changed()
    }

    /// From memory only, without I/O, at least one record however large; empty at the head; `None` when
    /// `from` is not in memory.
    pub fn read(&self, from: u64, max_events: usize, max_bytes: usize) -> Option<Batch> {
        self.inner.shared.tail.lock().read(from, max_events, max_bytes)
    }

    /// From disk, at most what one read gives, at least one record or gap; empty at the head. Blocking.
    pub fn read_disk(&self, from: u64, max_events: usize, max_bytes: usize) -> Result<Batch, LogError> {
        let (mut chunk, _) = self.inner.shared.read_chunk(from, max_events.max(1), None)?;
        Ok(chunk.take(max_events, max_bytes))
    }

    /// A reader that begins at `from`.
    pub fn reader(&self, from: u64) -> LogReader {
        LogReader::new(Arc::clone(&self.inner.shared), from)
    }

    /// One event, in a buffer of its own; `None` when it is not there (any more, or yet). Blocking.
    pub fn get(&self, offset: u64) -> Result<Option<Record>, LogError> {
        if let Some(batch) = self.read(offset, 1, usize::MAX) {
            return Ok(batch.records.into_iter().next());
        }
        if let Some(record) = self.inner.near.get(offset) {
            return Ok(Some(record));
        }
        let records = self.read_disk(offset, usize::MAX, usize::MAX)?.records;
        let first = records.first().filter(|record| record.position.offset == offset);
        let record = first.map(near::alone);
        self.inner.near.keep(records);
        Ok(record)
    }

    /// The newest offsets of events with that id (and source), at most `limit`, in order. Reads a few blocks
    /// of each sealed segment's index, and walks over the segment that is written if its ids are not in
    /// memory. At most 2 000 frames of sealed segments are looked at, the newest. Blocking.
    pub fn find(&self, id: &str, source: Option<&str>, limit: usize) -> Result<Vec<u64>, LogError> {
        self.inner.shared.find(find::Wanted { id, source }, limit)
    }

    /// Makes the index of a sealed segment that has none, for [`Log::find`]; says whether there was one.
    /// Those that need not be read for it come first. An index that cannot be written (a full disk) is not
    /// tried again here. Blocking.
    pub fn index_next(&self) -> Result<bool, LogError> {
        self.inner.shared.index_next()
    }

    /// Whether a sealed segment has no index yet.
    pub fn lacks_an_index(&self) -> bool {
        self.inner.shared.lacks_an_index()
    }

    /// Whether the next index can be made without reading.
    pub fn may_index_without_reading(&self) -> bool {
        self.inner.shared.holds_collected()
    }

    /// Closes the file that is written, until there is more to write; `false`: that is now. Blocking.
    pub(crate) fn rest(&self) -> bool {
        self.inner.station.rest()
    }

    /// Gives back the memory of what was read for single events.
    pub fn forget_near(&self) {
        self.inner.near.forget();
    }

    /// Bytes that the file system would have again if all sealed segments were deleted.
    pub fn winnable(&self) -> u64 {
        let shared = &self.inner.shared;
        let segments = shared.segments();
        let own = segments
            .iter()
            .filter(|segment| segment.info().sealed && !shared.files.has_other_names(&segment.name));
        own.map(|segment| segment.info().bytes).sum()
    }

    /// The segments in order. The last one that is not sealed is being written.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.inner
            .shared
            .segments()
            .iter()
            .map(|segment| segment.info())
            .collect()
    }

    /// Deletes whole sealed segments that end at or below `base`, but never the last one; returns the bytes
    /// freed. Blocking.
    pub fn delete_before(&self, base: u64) -> Result<u64, LogError> {
        self.inner.shared.delete_before(base)
    }

    /// Seals the segment that is written, if it holds anything, so that it can be deleted.
    pub async fn roll(&self) -> Result<(), LogError> {
        let (answer, answered) = oneshot::channel();
        self.inner.order(Order::Roll(answer))?;
        answered.await.unwrap_or(Err(LogError::Closed))
    }

    /// The first offset appended at or after `time`; the head when there is none. Supposes that the clock was
    /// not set back; where it was, the answer is a place near. Blocking.
    pub fn offset_at(&self, time: Timestamp) -> Result<u64, LogError> {
        self.inner.shared.offset_at(time)
    }

    /// Looks whether the files are where they should be and can be written, and mends what it can.
    /// [`Log::fault`] tells what was found.
    pub async fn look_over(&self) -> Result<(), LogError> {
        let (answer, answered) = oneshot::channel();
        self.inner.order(Order::LookOver(answer))?;
        answered.await.unwrap_or(Err(LogError::Closed))
    }

    /// The same at once, on this thread. Blocking.
    pub(crate) fn look_over_now(&self) -> Result<(), LogError> {
        self.inner.station.look_over()
    }

    /// Why the log cannot be written, in words; `None` while all is well. A full disk is not a fault.
    pub fn fault(&self) -> Option<String> {
        self.inner.shared.fault.get()
    }

    /// Makes everything below the head survive a power failure. At once unless `Durability::Os` left
    /// something. Blocking.
    pub fn sync(&self) -> Result<(), LogError> {
        if self.inner.shared.is_synced() {
            return Ok(());
        }
        self.inner.station.sync()
    }

    /// Bytes of all segments on disk.
    pub fn bytes(&self) -> u64 {
        self.inner
            .shared
            .segments()
            .iter()
            .map(|segment| segment.bytes())
            .sum()
    }

    /// Bytes of appends that are not answered yet.
    pub fn waiting_bytes(&self) -> usize {
        self.inner.shared.queue.waiting_bytes()
    }

    /// What the log counts.
    pub fn metrics(&self) -> &LogMetrics {
        &self.inner.shared.metrics
    }

    /// Takes no more appends, finishes those that wait, syncs and ends the writer. Closed again, it is closed
    /// already.
    pub async fn close(&self) -> Result<(), LogError> {
        let (answer, answered) = oneshot::channel();
        match self.inner.order(Order::Close(answer)) {
            Ok(()) => answered.await.unwrap_or(Err(LogError::Closed)),
            Err(_) => Ok(()),
        }
    }
}

// === impl Inner ===

impl Inner {
    fn order(&self, order: Order) -> Result<(), LogError> {
        self.shared.queue.order(order)?;
        self.call();
        Ok(())
    }

    /// There is work for the writer.
    fn call(&self) {
        self.shared.options.pool.call(&self.station);
    }
}

impl Drop for Inner {
    /// Ends the writer here, so that the folder can be opened again at once.
    fn drop(&mut self) {
        self.shared.queue.close();
        self.station.end();
    }
}
