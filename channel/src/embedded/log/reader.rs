//! Reads back: from memory at the head, from disk behind it, over gaps and damage.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use millrace_event::Event;
use tokio::sync::watch;

use super::files::LogFile;
use super::frame::Frame;
use super::segment::Segment;
use super::walk::{Damage, Item, Walk};
use super::{LogError, Shared, io_error};
use crate::embedded::blocking::blocking;
use crate::{Batch, ChannelError, Gap, GapReason, Position, Record};

/// What one read from disk gave, taken out bit by bit.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    records: VecDeque<Record>,
    gaps: VecDeque<Gap>,
    /// Where to read on behind it.
    next: u64,
    /// The frames that its records lie in.
    bytes: usize,
}

/// Where the next read from disk goes on without a search.
#[derive(Debug)]
pub(super) struct Cursor {
    segment: Arc<Segment>,
    file: Arc<dyn LogFile>,
    at: u64,
    offset: u64,
}

/// Reads on from an offset and follows the head. Events that are read from disk share their chunk's memory.
#[derive(Debug)]
pub struct LogReader {
    shared: Arc<Shared>,
    position: u64,
    chunk: Chunk,
    cursor: Option<Cursor>,
    head: watch::Receiver<u64>,
}

// === impl Chunk ===

impl Chunk {
    fn at(next: u64) -> Self {
        Self {
            next,
            ..Self::default()
        }
    }

    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.gaps.is_empty()
    }

    /// Takes out what the limits allow, at least one record or gap if there is any.
    pub(super) fn take(&mut self, max_events: usize, max_bytes: usize) -> Batch {
        let mut batch = Batch::default();
        let mut bytes = 0;
        while let Some(record) = self.records.front() {
            bytes += record.event.stored().len();
            if batch.records.len() >= max_events.max(1) || (bytes > max_bytes && !batch.records.is_empty()) {
                break;
            }
            batch.records.extend(self.records.pop_front());
        }
        let next = self
            .records
            .front()
            .map_or(self.next, |record| record.position.offset);
        while self.gaps.front().is_some_and(|gap| gap.to.offset <= next) {
            batch.gaps.extend(self.gaps.pop_front());
        }
        batch.next = position(next);
        batch
    }

    fn gap(&mut self, from: u64, to: u64, reason: GapReason) {
        if from < to {
            self.gaps.push_back(Gap {
                from: position(from),
                to: position(to),
                reason,
            });
        }
        self.next = self.next.max(to);
    }

    /// Takes a frame's events from `self.next` on, at most so many records in all.
    fn frame(&mut self, frame: &Frame, bytes: &Bytes, max_events: usize) {
        self.bytes += bytes.len();
        for (offset, range) in (frame.offset..).zip(frame.events(bytes)) {
            if offset < self.next {
                continue;
            }
            if self.records.len() >= max_events {
                return;
            }
            match Event::from_stored(bytes.slice(range)) {
                Ok(event) => {
                    self.records.push_back(Record {
                        position: position(offset),
                        appended: frame.time,
                        event,
                    });
                    self.next = offset + 1;
                }
                Err(error) => {
                    tracing::error!(offset, %error, "the log is corrupt here: the stored event cannot be read");
                    self.gap(offset, offset + 1, GapReason::Corrupt);
                }
            }
        }
    }
}

// === impl Shared: reading ===

impl Shared {
    /// Reads a chunk from disk: what one read of the file gives, at most so many records, or a gap. Nothing
    /// at the head.
    pub(super) fn read_chunk(
        &self,
        from: u64,
        max_events: usize,
        hint: Option<Cursor>,
    ) -> Result<(Chunk, Option<Cursor>), LogError> {
        let mut chunk = Chunk::at(from);
        if from >= self.head() {
            return Ok((chunk, hint));
        }
        let Some(segment) = self.segment_of(from) else {
            chunk.gap(from, self.oldest(), GapReason::Dropped);
            return Ok((chunk, None));
        };
        if from >= segment.end() {
            // Between two segments, unless another one has been begun just now.
            if let Some(next) = self.segment_behind(segment.base) {
                chunk.gap(from, next.base, GapReason::Unused);
            }
            return Ok((chunk, None));
        }
        self.metrics.disk_reads.inc();
        match self.cursor(&segment, from, hint) {
            Ok(cursor) => {
                let cursor = self.walk(cursor, &mut chunk, max_events)?;
                Ok((chunk, Some(cursor)))
            }
            // It was deleted since we looked it up.
            Err(_) if from < self.oldest() => {
                chunk.gap(from, self.oldest(), GapReason::Dropped);
                Ok((chunk, None))
            }
            // The file was removed. If its whole folder is away, it may come back.
            Err(error @ LogError::Gone { .. }) if self.files.check_place().is_ok() => {
                if segment.first_sight_of_absence() {
                    tracing::error!(
                        file = segment.name,
                        from,
                        to = segment.end(),
                        "the log is corrupt: {error}; its events are lost"
                    );
                    self.metrics.corrupt_frames.inc();
                }
                chunk.gap(from, segment.end(), GapReason::Corrupt);
                Ok((chunk, None))
            }
            Err(error) => Err(error),
        }
    }

    fn cursor(&self, segment: &Arc<Segment>, from: u64, hint: Option<Cursor>) -> Result<Cursor, LogError> {
        if let Some(hint) = hint.filter(|hint| hint.segment.base == segment.base && hint.offset == from) {
            return Ok(hint);
        }
        let fault = |error: std::io::Error| io_error("read", &segment.name, &error);
        let file = segment.file(&*self.files).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => LogError::Gone {
                file: segment.name.clone(),
            },
            _ => fault(error),
        })?;
        let report = |damage| self.report(segment, &*file, &damage);
        let (at, offset) = segment.locate(&*file, from, report).map_err(fault)?;
        Ok(Cursor {
            segment: Arc::clone(segment),
            file,
            at,
            offset,
        })
    }

    /// Walks on from the cursor and fills the chunk.
    fn walk(&self, mut cursor: Cursor, chunk: &mut Chunk, max_events: usize) -> Result<Cursor, LogError> {
        let Cursor {
            segment,
            file,
            at,
            offset,
        } = &mut cursor;
        let mut walk = Walk::new(&**file, segment.extent(), *at, *offset);
        loop {
            match walk
                .next()
                .map_err(|error| io_error("read", &segment.name, &error))?
            {
                Item::Frame { frame, bytes, .. } => {
                    chunk.frame(&frame, &bytes, max_events);
                    if chunk.records.len() >= max_events || (!chunk.is_empty() && !walk.buffered()) {
                        break;
                    }
                }
                Item::Damage(damage) => {
                    self.report(segment, &**file, &damage);
                    chunk.gap(damage.from.max(chunk.next), damage.to, GapReason::Corrupt);
                }
                Item::End(_) => break,
            }
        }
        *at = walk.at();
        *offset = walk.expected();
        Ok(cursor)
    }

    pub(super) fn report(&self, segment: &Segment, file: &dyn LogFile, damage: &Damage) {
        if segment.first_sight(damage) {
            super::damage::set_aside(&*self.files, &self.metrics, &segment.name, file, damage);
        }
    }
}

// === impl LogReader ===

impl LogReader {
    pub(super) fn new(shared: Arc<Shared>, from: u64) -> Self {
        let head = shared.head_changed();
        Self {
            shared,
            position: from,
            chunk: Chunk::at(from),
            cursor: None,
            head,
        }
    }

    /// What can be had without waiting for the head. What is read ahead stays in `self` when the future is
    /// dropped.
    async fn available(&mut self, max_events: usize, max_bytes: usize) -> Result<Batch, ChannelError> {
        if self.chunk.is_empty() {
            if let Some(batch) = self.shared.tail.lock().read(self.position, max_events, max_bytes) {
                self.position = batch.next.offset;
                return Ok(batch);
            }
            let (shared, position, cursor) = (Arc::clone(&self.shared), self.position, self.cursor.take());
            let span = self.shared.span.clone();
            let read = blocking(span, move || shared.read_chunk(position, usize::MAX, cursor)).await;
            let read = read.map_err(|error| ChannelError::Storage(error.to_string()))?;
            (self.chunk, self.cursor) = read.map_err(|error| ChannelError::Storage(error.to_string()))?;
        }
        let batch = self.chunk.take(max_events, max_bytes);
        self.position = batch.next.offset;
        Ok(batch)
    }
}

#[async_trait::async_trait]
impl crate::Reader for LogReader {
    async fn next(&mut self, max_events: usize, max_bytes: usize) -> Result<Batch, ChannelError> {
        loop {
            self.head.borrow_and_update();
            let batch = self.available(max_events, max_bytes).await?;
            if !batch.records.is_empty() || !batch.gaps.is_empty() {
                return Ok(batch);
            }
            // The writer has ended: the log is closed.
            self.head.changed().await.map_err(|_| ChannelError::Closed)?;
        }
    }

    async fn try_next(&mut self, max_events: usize, max_bytes: usize) -> Result<Batch, ChannelError> {
        self.available(max_events, max_bytes).await
    }

    fn position(&self) -> Position {
        position(self.position)
    }

    fn read_ahead(&self) -> usize {
        if self.chunk.is_empty() {
            0
        } else {
            self.chunk.bytes
        }
    }
}

pub(super) fn position(offset: u64) -> Position {
    Position { partition: 0, offset }
}
