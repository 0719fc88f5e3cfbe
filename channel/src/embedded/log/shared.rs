//! What the writer and the readers share: the list of segments, the head, the tail, the queue.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_event::Timestamp;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tracing::Span;

use super::files::Files;
use super::ids;
use super::metrics::LogMetrics;
use super::queue::Queue;
use super::segment::Segment;
use super::tail::Tail;
use super::walk::{Item, Walk};
use super::{LogError, LogOptions, io_error};
use crate::embedded::Durability;
use crate::embedded::fault::LastingFault;

/// The state of an open log.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) files: Arc<dyn Files>,
    pub(super) options: LogOptions,
    pub(super) metrics: LogMetrics,
    pub(super) queue: Queue,
    pub(super) tail: Mutex<Tail>,
    /// In order; never empty.
    segments: RwLock<Vec<Arc<Segment>>>,
    head: AtomicU64,
    head_seen: watch::Receiver<u64>,
    /// With `Durability::Os`: what survives a power failure.
    synced: AtomicU64,
    /// One deletion at a time.
    deletion: Mutex<()>,
    /// Why the log cannot be written, in words.
    pub(super) fault: LastingFault,
    /// One index is made at a time.
    pub(super) indexing: Mutex<()>,
    /// That in which the log was opened: log lines of its readers stand in it.
    pub(super) span: Span,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(
        files: Arc<dyn Files>,
        options: LogOptions,
        metrics: LogMetrics,
        segments: Vec<Arc<Segment>>,
        head_seen: watch::Receiver<u64>,
    ) -> Self {
        let head = *head_seen.borrow();
        Self {
            files,
            metrics,
            queue: Queue::new(options.max_waiting_bytes),
            tail: Mutex::new(Tail::new(head, options.tail_bytes)),
            options,
            segments: RwLock::new(segments),
            head: AtomicU64::new(head),
            head_seen,
            synced: AtomicU64::new(head),
            deletion: Mutex::new(()),
            fault: LastingFault::default(),
            indexing: Mutex::new(()),
            span: Span::current(),
        }
    }

    pub(super) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    pub(super) fn head_changed(&self) -> watch::Receiver<u64> {
        self.head_seen.clone()
    }

    pub(super) fn publish_head(&self, head: u64) {
        self.head.store(head, Ordering::Release);
    }

    pub(super) fn publish_synced(&self, synced: u64) {
        self.synced.store(synced, Ordering::Release);
    }

    /// Whether everything below the head is as durable as it gets.
    pub(super) fn is_synced(&self) -> bool {
        self.options.durability == Durability::Sync || self.synced.load(Ordering::Acquire) >= self.head()
    }

    pub(super) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.read().clone()
    }

    pub(super) fn oldest(&self) -> u64 {
        self.segments.read().first().map_or(0, |segment| segment.base)
    }

    /// The segment that holds `offset`, or the last one before it.
    pub(super) fn segment_of(&self, offset: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let behind = segments.partition_point(|segment| segment.base <= offset);
        segments.get(behind.checked_sub(1)?).cloned()
    }

    /// The segment after the one that begins at `base`.
    pub(super) fn segment_behind(&self, base: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        segments
            .get(segments.partition_point(|segment| segment.base <= base))
            .cloned()
    }

    pub(super) fn add_segment(&self, segment: Arc<Segment>) {
        self.segments.write().push(segment);
    }

    /// Forgets an empty segment whose file is gone: another one begins at the same offset.
    pub(super) fn forget_empty(&self, base: u64) {
        self.segments
            .write()
            .retain(|segment| segment.base != base || !segment.is_empty());
    }

    /// Deletes from the oldest on. Each deletion is durable before the next: a crash leaves no hole in the
    /// middle.
    pub(super) fn delete_before(&self, base: u64) -> Result<u64, LogError> {
        let _one = self.deletion.lock();
        let mut freed = 0;
        loop {
            let mut segments = self.segments.write();
            let oldest = match &segments[..] {
                [oldest, _, ..] if oldest.sealed() && oldest.end() <= base => Arc::clone(oldest),
                _ => return Ok(freed),
            };
            segments.remove(0);
            drop(segments);
            match self.files.remove(&oldest.name) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let error = io_error("remove", &oldest.name, &error);
                    self.segments.write().insert(0, oldest);
                    return Err(error);
                }
            }
            freed += oldest.bytes();
            // One that stays behind is removed at the next opening.
            let _ = self.files.remove(&ids::file_name(oldest.base));
            self.files
                .sync_dir()
                .map_err(|error| io_error("sync", "the folder", &error))?;
        }
    }

    /// The first offset appended at or after `time`.
    pub(super) fn offset_at(&self, time: Timestamp) -> Result<u64, LogError> {
        for segment in self.segments() {
            if segment.last_time() < time || segment.is_empty() {
                continue;
            }
            match self.offset_within(&segment, time) {
                Ok(Some(offset)) => return Ok(offset),
                Ok(None) => {}
                // It was deleted meanwhile.
                Err(_) if segment.base < self.oldest() => {}
                Err(error) => return Err(io_error("read", &segment.name, &error)),
            }
        }
        Ok(self.head())
    }

    fn offset_within(&self, segment: &Segment, time: Timestamp) -> io::Result<Option<u64>> {
        let file = segment.file(&*self.files)?;
        let report = |damage| self.report(segment, &*file, &damage);
        let (at, offset) = segment.locate_time(&*file, time, report)?;
        let mut walk = Walk::new(&*file, segment.extent(), at, offset);
        loop {
            match walk.next()? {
                Item::Frame { frame, .. } if frame.time >= time && frame.count > 0 => {
                    return Ok(Some(frame.offset));
                }
                Item::Frame { .. } => {}
                Item::Damage(damage) => self.report(segment, &*file, &damage),
                Item::End(_) => return Ok(None),
            }
        }
    }
}
