//! Finds events wherever they are kept: in memory, in the log, among the copies beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_event::Timestamp;
use parking_lot::Mutex;

use super::Embedded;
use crate::embedded::blocking::blocking;
use crate::embedded::log::{Log, LogError, LogReader, Recovery};
use crate::embedded::metrics::ChannelMetrics;
use crate::{Batch, ChannelError, Gap, GapReason, Parked, Position, Reader, Record, Stage};

/// Known damage, so that several readers that meet the same place do not count it several times.
#[derive(Debug)]
pub(super) struct Damage {
    log: Log,
    metrics: Arc<ChannelMetrics>,
    /// What was lost, by its first offset: the offset after it.
    places: Mutex<BTreeMap<u64, u64>>,
    frames: Mutex<u64>,
}

/// A reader that counts the damage it comes across. The log has already reported it.
#[derive(Debug)]
struct CountingReader {
    reader: LogReader,
    damage: Arc<Damage>,
}

/// A fault of the log as an error for the channel's caller.
#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
pub(super) fn log_fault(error: LogError) -> ChannelError {
    match error {
        LogError::Closed => ChannelError::Closed,
        LogError::DiskFull
        | LogError::QueueFull
        | LogError::TooLarge { .. }
        | LogError::Format { .. }
        | LogError::Gone { .. }
        | LogError::Io { .. } => ChannelError::Storage(error.to_string()),
    }
}

// === impl Damage ===

impl Damage {
    /// Places remembered at most; beyond that one may be counted again.
    const KEPT: usize = 10_000;

    /// Begins with what opening the log found.
    pub(super) fn new(log: Log, metrics: Arc<ChannelMetrics>, recovery: &Recovery) -> Self {
        let damage = Self {
            log,
            metrics,
            places: Mutex::default(),
            frames: Mutex::default(),
        };
        for found in &recovery.corrupt {
            damage.lost(found.from_offset, found.to_offset);
        }
        damage.count_frames();
        damage
    }

    /// Takes over what the log has counted since the last time.
    pub(super) fn count_frames(&self) {
        let mut seen = self.frames.lock();
        let now = self.log.metrics().corrupt_frames.get();
        self.metrics.corrupt_frames.inc_by(now.saturating_sub(*seen));
        *seen = now;
    }

    /// Counts what of these offsets was not counted before.
    fn lost(&self, from: u64, to: u64) {
        let mut places = self.places.lock();
        let known = |(&first, &end): (&u64, &u64)| end.min(to).saturating_sub(first.max(from));
        let known: u64 = places.range(..to).map(known).sum();
        self.metrics
            .lost_events
            .inc_by(to.saturating_sub(from).saturating_sub(known));
        if places.len() >= Self::KEPT {
            places.pop_first();
        }
        places.insert(from, to);
    }

    fn count(&self, gaps: &[Gap]) {
        for gap in gaps.iter().filter(|gap| gap.reason == GapReason::Corrupt) {
            self.lost(gap.from.offset, gap.to.offset);
            self.count_frames();
        }
    }
}

#[async_trait::async_trait]
impl Reader for CountingReader {
    async fn next(&mut self, max_events: usize, max_bytes: usize) -> Result<Batch, ChannelError> {
        let batch = self.reader.next(max_events, max_bytes).await?;
        self.damage.count(&batch.gaps);
        Ok(batch)
    }

    async fn try_next(&mut self, max_events: usize, max_bytes: usize) -> Result<Batch, ChannelError> {
        let batch = self.reader.try_next(max_events, max_bytes).await?;
        self.damage.count(&batch.gaps);
        Ok(batch)
    }

    fn position(&self) -> Position {
        self.reader.position()
    }

    fn read_ahead(&self) -> usize {
        self.reader.read_ahead()
    }
}

// === impl Embedded ===

impl Embedded {
    pub(super) fn counting_reader(&self, from: Position) -> Box<dyn Reader> {
        Box::new(CountingReader {
            reader: self.log.reader(from.offset),
            damage: self.damage.clone(),
        })
    }

    /// One event, from memory, from the log or from the copies.
    pub(super) async fn record_at(&self, offset: u64) -> Result<Option<Record>, ChannelError> {
        if offset >= self.log.head() {
            return Ok(None);
        }
        let near = self
            .log
            .read(offset, 1, usize::MAX)
            .and_then(|batch| batch.records.into_iter().next());
        if let Some(record) = near.filter(|record| record.position.offset == offset) {
            return Ok(Some(record));
        }
        if offset >= self.log.oldest() {
            let log = self.log.clone();
            if let Some(record) = self.blocking(move || log.get(offset)).await? {
                return Ok(Some(record));
            }
        }
        // Its segment may have gone meanwhile: what rows name was copied before.
        let copy = self.state.copy(offset).await?;
        if copy.is_none() && offset >= self.log.oldest() {
            self.damage.lost(offset, offset + 1);
            self.damage.count_frames();
        }
        Ok(copy)
    }

    /// Fills in the event of a parked row, unless the row has its own.
    pub(super) async fn find_event(&self, parked: &mut Parked) -> Result<(), ChannelError> {
        if parked.event.is_none() && parked.stage != Stage::Reply {
            parked.event = self
                .record_at(parked.position.offset)
                .await?
                .map(|record| record.event);
        }
        Ok(())
    }

    /// The first position appended at or after a time.
    pub(super) async fn first_since(&self, time: Timestamp) -> Result<Position, ChannelError> {
        let log = self.log.clone();
        let offset = self.blocking(move || log.offset_at(time)).await?;
        Ok(Position { partition: 0, offset })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, ChannelError> {
        let done = blocking(self.span.clone(), work).await;
        done.map_err(|_| ChannelError::Closed)?.map_err(log_fault)
    }
}
