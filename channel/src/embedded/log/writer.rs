//! The writer: one thread that takes all appends that wait, writes them with one write and makes them durable with one sync.
//!
//! # Guarantees
//! - An append is answered with its offset only after its frame is durable (`Durability::Sync`) or written (`Durability::Os`).
//! - Readers see an event before its producer is answered, and never before it is durable.
//! - A failed sync is not repeated: the kernel may have dropped the pages and report success the next time. The segment
//!   is cut where it was last durable and left; the offsets of the failed appends are skipped, since their frames may
//!   have reached the disk.
//!
//! # Assumptions
//! Nobody else writes to the folder.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_event::Timestamp;
use tokio::sync::watch;

use super::answers::{Answer, Answers};
use super::files::LogFile;
use super::frame::{self, Stamp};
use super::header::{HEAD_BYTES, Head};
use super::queue::{Append, Order, Work};
use super::segment::{Entry, Segment};
use super::{LogError, Shared, io_error};
use crate::embedded::Durability;
use crate::{Position, Record};

/// With `Durability::Os` what has been written is synced after so long without work.
const LAZY_SYNC: Duration = Duration::from_secs(1);
/// A buffer that has grown beyond this is given back.
const BUFFER_BYTES: usize = 1 << 20;

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn LogFile>,
    /// Bytes that hold frames that have been answered.
    pub(super) written: u64,
    /// Bytes that are durable.
    pub(super) synced: u64,
    /// It ends with the mark of a clean end.
    pub(super) marked: bool,
}

/// The writer's own state.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    head: watch::Sender<u64>,
    /// None after a failure, until the next append makes a new one.
    active: Option<Active>,
    /// The next offset to give out.
    next: u64,
    /// Where the log's events end; `next` is higher after a failure.
    end: u64,
    buffer: Vec<u8>,
    frames: Vec<Entry>,
    answers: Answers,
    synced_at: Instant,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        head: watch::Sender<u64>,
        active: Option<Active>,
        end: u64,
        next: u64,
    ) -> Self {
        Self {
            shared,
            head,
            active,
            next,
            end,
            buffer: Vec::new(),
            frames: Vec::new(),
            answers: Answers::new(),
            synced_at: Instant::now(),
        }
    }

    /// Works until the log is closed or its last handle is gone.
    pub(super) fn run(mut self) {
        let queue = Arc::clone(&self.shared);
        let _closes_the_queue = CloseOnEnd(&queue);
        let mut closers = Vec::new();
        while closers.is_empty() {
            let Some(work) = queue.queue.take(self.unsynced().then_some(LAZY_SYNC)) else {
                break;
            };
            let Work { appends, orders } = work;
            if !appends.is_empty() {
                self.commit(appends);
            }
            for order in orders {
                match order {
                    Order::Roll(answer) => drop(answer.send(self.roll())),
                    Order::Sync(answer) => drop(answer.send(self.sync())),
                    Order::Close(answer) => closers.push(answer),
                }
            }
            if self.synced_at.elapsed() >= LAZY_SYNC && self.unsynced() {
                // Reported where it fails; those appends have been answered.
                let _ = self.sync();
            }
        }
        let finished = self.finish();
        // The end of the head's channel tells readers that nothing more comes.
        drop(self);
        for closer in closers {
            let _ = closer.send(finished.clone());
        }
    }

    /// Makes a group durable, shows it to readers and answers its producers.
    fn commit(&mut self, appends: Vec<Append>) {
        let started = Instant::now();
        let bytes: usize = appends.iter().map(|append| append.bytes).sum();
        let result = self.store(&appends, bytes as u64);
        let metrics = &self.shared.metrics;
        metrics
            .write_micros
            .inc_by(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
        match result {
            Ok(time) => {
                metrics.groups.inc();
                metrics.appends.inc_by(appends.len() as u64);
                metrics.bytes.inc_by(bytes as u64);
                self.publish(appends, time);
            }
            Err(error) => {
                metrics.failures.inc();
                let failed = appends
                    .into_iter()
                    .map(|append| (append.answer, Err(error.clone())))
                    .collect();
                self.answers.send(failed);
            }
        }
        self.shared.queue.answered(bytes);
    }

    /// Writes a group to the segment, and syncs it if that is asked for.
    fn store(&mut self, appends: &[Append], bytes: u64) -> Result<Timestamp, LogError> {
        self.make_room(bytes)?;
        let time = self.shared.options.clock.now();
        let count = self.encode(appends, time);
        let active = self
            .active
            .as_mut()
            .expect("invariant: make_room leaves an active segment");
        if let Err(error) = active.file.write_at(&self.buffer, active.written) {
            let error = io_error("write", &active.segment.name, &error);
            // Nothing behind `written` was ever synced, so after a clean cut its place and its offsets are as if never used.
            // Only a full disk is expected to get well again: anything else ends the segment.
            let cut = active.file.set_len(active.written);
            if error != LogError::DiskFull || cut.is_err() {
                self.abandon(count, &error);
            }
            return Err(error);
        }
        if self.shared.options.durability == Durability::Sync {
            if let Err(error) = active.file.sync_data() {
                let error = io_error("sync", &active.segment.name, &error);
                self.abandon(count, &error);
                return Err(error);
            }
            active.synced = active.written + bytes;
        }
        active.written += bytes;
        active.marked = false;
        active
            .segment
            .grow(&self.frames, active.written, self.next + count);
        self.next += count;
        self.end = self.next;
        Ok(time)
    }

    /// Fills the buffer with the group's frames; returns how many events they hold.
    fn encode(&mut self, appends: &[Append], time: Timestamp) -> u64 {
        let active = self
            .active
            .as_ref()
            .expect("invariant: make_room leaves an active segment");
        let synced = u32::try_from(active.synced).unwrap_or(u32::MAX);
        let marker = active
            .segment
            .marker()
            .expect("invariant: a segment without a header is sealed");
        if self.buffer.capacity() > BUFFER_BYTES {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        self.frames.clear();
        let mut offset = self.next;
        for append in appends {
            self.frames.push(Entry {
                at: active.written + self.buffer.len() as u64,
                offset,
                time,
            });
            let events = append.events.iter().map(|event| event.stored().as_ref());
            frame::encode(
                &mut self.buffer,
                Stamp {
                    marker,
                    offset,
                    time,
                    synced,
                },
                events,
            );
            offset += append.events.len() as u64;
        }
        offset - self.next
    }

    /// The group is stored: readers first, then the producers.
    fn publish(&mut self, appends: Vec<Append>, time: Timestamp) {
        let mut offset = self.frames.first().map_or(self.next, |frame| frame.offset);
        let mut answers: Vec<Answer> = Vec::with_capacity(appends.len());
        let mut records = Vec::with_capacity(appends.len());
        for append in appends {
            answers.push((append.answer, Ok(offset)));
            for event in append.events {
                records.push(Record {
                    position: Position { partition: 0, offset },
                    appended: time,
                    event,
                });
                offset += 1;
            }
        }
        self.shared.metrics.events.inc_by(records.len() as u64);
        self.shared.tail.lock().extend(records.into_iter());
        self.shared.publish_head(self.next);
        self.head.send_replace(self.next);
        self.answers.send(answers);
    }

    /// Sees to it that there is a segment with room for a group.
    fn make_room(&mut self, bytes: u64) -> Result<(), LogError> {
        if let Some(active) = &self.active
            && active.written + bytes > self.shared.options.segment_bytes
        {
            self.roll()?;
        }
        if self.active.is_none() {
            self.active = Some(self.begin_segment()?);
        }
        Ok(())
    }

    /// Seals the segment that is written if it holds anything, and begins the next.
    fn roll(&mut self) -> Result<(), LogError> {
        if self
            .active
            .as_ref()
            .is_some_and(|active| active.written > HEAD_BYTES as u64 && !active.segment.is_empty())
        {
            self.sync()?;
            // If this fails the old one goes on being written: a full disk must not cost a segment each time.
            let next = self.begin_segment()?;
            if let Some(old) = self.active.replace(next) {
                old.segment.seal();
            }
        }
        Ok(())
    }

    fn begin_segment(&self) -> Result<Active, LogError> {
        let created = self.shared.options.clock.now();
        let head = Head {
            marker: fastrand::u32(..),
            base: self.next,
            previous_end: self.end,
            created,
        };
        let active = create_segment(&*self.shared.files, &head)?;
        self.shared.add_segment(Arc::clone(&active.segment));
        Ok(active)
    }

    /// Leaves the segment after a failure, cut where it was last good. `skipped` offsets are never given out again.
    fn abandon(&mut self, skipped: u64, why: &LogError) {
        if let Some(active) = self.active.take() {
            active.segment.seal();
            // The sync is for the cut alone; if either fails, the next segment's header says where this one ends.
            let cut = active
                .file
                .set_len(active.written)
                .and_then(|()| active.file.sync_data());
            tracing::error!(
                file = active.segment.name,
                end = self.end,
                skipped,
                cut = cut.is_ok(),
                error = %why,
                "the log could not be written; its segment is left and a new one begins"
            );
        }
        self.next += skipped;
    }

    fn unsynced(&self) -> bool {
        self.active
            .as_ref()
            .is_some_and(|active| active.synced < active.written)
    }

    /// Makes durable what has been written. After a failure the segment is left as it is, and a new one begins.
    fn sync(&mut self) -> Result<(), LogError> {
        self.synced_at = Instant::now();
        let Some(active) = self
            .active
            .as_mut()
            .filter(|active| active.synced < active.written)
        else {
            self.shared.publish_synced(self.end);
            return Ok(());
        };
        if let Err(error) = active.file.sync_data() {
            let error = io_error("sync", &active.segment.name, &error);
            self.shared.metrics.failures.inc();
            tracing::error!(file = active.segment.name, from = active.synced, %error, "events that were accepted with durability `os` may not survive a power failure");
            active.segment.seal();
            self.active = None;
            return Err(error);
        }
        active.synced = active.written;
        self.shared.publish_synced(self.end);
        Ok(())
    }

    /// Syncs, and marks the end as clean, so that damage to the last events is told from a torn tail.
    fn finish(&mut self) -> Result<(), LogError> {
        self.sync()?;
        let Some(active) = self
            .active
            .as_mut()
            .filter(|active| !active.marked && !active.segment.is_empty())
        else {
            return Ok(());
        };
        let Some(marker) = active.segment.marker() else {
            return Ok(());
        };
        let synced = u32::try_from(active.synced).unwrap_or(u32::MAX);
        let stamp = Stamp {
            marker,
            offset: self.next,
            time: self.shared.options.clock.now(),
            synced,
        };
        self.buffer.clear();
        frame::encode(&mut self.buffer, stamp, std::iter::empty());
        let marked = active
            .file
            .write_at(&self.buffer, active.written)
            .and_then(|()| active.file.sync_data());
        if let Err(error) = marked {
            // Everything is durable; only the mark is missing, which a full disk may well prevent.
            tracing::warn!(file = active.segment.name, %error, "the log is closed without the mark of a clean end");
        }
        Ok(())
    }
}

/// Makes the file of a new segment, durable with its name.
pub(super) fn create_segment(files: &dyn super::Files, head: &Head) -> Result<Active, LogError> {
    let name = super::header::file_name(head.base);
    let create = || {
        let file = files.create(&name)?;
        file.write_at(&head.encode(), 0)?;
        file.sync_data()?;
        files.sync_dir()?;
        Ok(file)
    };
    let file: Arc<dyn LogFile> = create().map_err(|error: std::io::Error| {
        // Half a segment in the folder does no harm (the next try begins it anew), but it takes room.
        let _ = files.remove(&name);
        io_error("create", &name, &error)
    })?;
    let bytes = HEAD_BYTES as u64;
    let segment = Arc::new(Segment::begun(head, &file));
    Ok(Active {
        segment,
        file,
        written: bytes,
        synced: bytes,
        marked: false,
    })
}

/// However the writer ends, nobody waits for it any more.
struct CloseOnEnd<'a>(&'a Shared);

impl Drop for CloseOnEnd<'_> {
    fn drop(&mut self) {
        self.0.queue.abandon();
    }
}
