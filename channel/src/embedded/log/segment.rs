//! What is known in memory of one segment: its bounds, its file while somebody reads it, and a sparse index.

use std::io;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use millrace_event::Timestamp;
use parking_lot::Mutex;

use super::files::{Files, LogFile};
use super::header::{self, HEAD_BYTES, Head};
use super::ids::{Candidate, Entries};
use super::survey::{Entry, INDEX_BYTES, Survey};
use super::walk::{Damage, Extent};

/// The most ids that are held of a segment, 12 bytes each.
const MAX_COLLECTED: usize = 1 << 18;

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
    /// The same in the steady time of this process: the segment's age does not jump with the wall clock.
    pub last_steady: Timestamp,
    /// No more appends go to it.
    pub sealed: bool,
}

/// One segment. The writer moves the bounds of the one that it writes; everybody else only reads.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) name: String,
    pub(super) base: u64,
    /// `None` when the header is lost.
    marker: Option<u32>,
    end: AtomicU64,
    bytes: AtomicU64,
    first_time: AtomicI64,
    last_time: AtomicI64,
    last_steady: AtomicI64,
    sealed: AtomicBool,
    /// Its index from ids to offsets is there, or has been tried.
    indexed: AtomicBool,
    /// The ids of all of its events, from when it is begun until that index is made; `None` when they are too
    /// many.
    collected: Mutex<Option<Entries>>,
    index: Mutex<Index>,
    /// Open as long as a reader or the writer holds it: a log of thousands of segments needs few descriptors.
    file: Mutex<Option<Weak<dyn LogFile>>>,
    /// The open file, once it has lost its name: it could not be opened again.
    held: Mutex<Option<Arc<dyn LogFile>>>,
    /// Its file was looked for and not found.
    absent: AtomicBool,
}

/// Some of the frames, and the damage that has been reported.
#[derive(Debug, Default)]
struct Index {
    entries: Vec<Entry>,
    complete: bool,
    reported: Vec<u64>,
}

/// What a segment is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) base: u64,
    pub(super) marker: Option<u32>,
    pub(super) end: u64,
    pub(super) bytes: u64,
    pub(super) first_time: Timestamp,
    pub(super) last_time: Timestamp,
}

// === impl Segment ===

impl Segment {
    /// A sealed segment that has not been read yet.
    pub(super) fn found(bounds: Bounds) -> Self {
        Self {
            name: header::file_name(bounds.base),
            base: bounds.base,
            marker: bounds.marker,
            end: AtomicU64::new(bounds.end),
            bytes: AtomicU64::new(bounds.bytes),
            first_time: AtomicI64::new(bounds.first_time.0),
            last_time: AtomicI64::new(bounds.last_time.0),
            last_steady: AtomicI64::new(bounds.last_time.0),
            sealed: AtomicBool::new(true),
            indexed: AtomicBool::new(false),
            collected: Mutex::default(),
            index: Mutex::default(),
            file: Mutex::default(),
            held: Mutex::default(),
            absent: AtomicBool::new(false),
        }
    }

    /// A segment whose frames are all in `entries`, to be written on.
    pub(super) fn written(bounds: Bounds, entries: Vec<Entry>, file: &Arc<dyn LogFile>) -> Self {
        let segment = Self::found(bounds);
        *segment.index.lock() = Index {
            entries,
            complete: true,
            reported: Vec::new(),
        };
        *segment.file.lock() = Some(Arc::downgrade(file));
        segment.sealed.store(false, Ordering::Release);
        segment
    }

    /// The empty segment of that header.
    pub(super) fn begun(head: &Head, file: &Arc<dyn LogFile>) -> Self {
        let bounds = Bounds {
            base: head.base,
            marker: Some(head.marker),
            end: head.base,
            bytes: HEAD_BYTES as u64,
            first_time: head.created,
            last_time: head.created,
        };
        let segment = Self::written(bounds, Vec::new(), file);
        *segment.collected.lock() = Some(Entries::new(head.base));
        segment
    }

    pub(super) fn marker(&self) -> Option<u32> {
        self.marker
    }

    /// The offset after its last readable event.
    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Its bytes on disk, as far as they are written to stay.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    pub(super) fn first_time(&self) -> Timestamp {
        Timestamp(self.first_time.load(Ordering::Acquire))
    }

    pub(super) fn last_time(&self) -> Timestamp {
        Timestamp(self.last_time.load(Ordering::Acquire))
    }

    pub(super) fn sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.end() == self.base
    }

    pub(super) fn info(&self) -> SegmentInfo {
        SegmentInfo {
            base: self.base,
            end: self.end(),
            bytes: self.bytes(),
            first_time: self.first_time(),
            last_time: self.last_time(),
            last_steady: Timestamp(self.last_steady.load(Ordering::Acquire)),
            sealed: self.sealed(),
        }
    }

    /// Notes the steady time at which the last event was appended.
    pub(super) fn appended_at(&self, steady: Timestamp) {
        self.last_steady.store(steady.0, Ordering::Release);
    }

    /// The writer's next group is readable: `bytes` and `end` are the bounds now, `frames` where its frames
    /// begin.
    pub(super) fn grow(&self, frames: &[Entry], bytes: u64, end: u64) {
        let mut index = self.index.lock();
        for frame in frames {
            if index
                .entries
                .last()
                .is_none_or(|last| frame.at - last.at >= INDEX_BYTES)
            {
                index.entries.push(*frame);
            }
        }
        drop(index);
        if let (Some(first), Some(last)) = (frames.first(), frames.last()) {
            if self.is_empty() {
                self.first_time.store(first.time.0, Ordering::Release);
            }
            self.last_time.store(last.time.0, Ordering::Release);
        }
        // Readers load the end first, so the bytes they load then hold it.
        self.bytes.store(bytes, Ordering::Release);
        self.end.store(end, Ordering::Release);
    }

    /// Takes down the keys of a group's events, before readers see it.
    pub(super) fn collect(&self, keys: impl Iterator<Item = (Candidate, u32)>) {
        let mut collected = self.collected.lock();
        if let Some(entries) = &mut *collected {
            keys.for_each(|(frame, key)| entries.add(frame, key));
            if entries.len() > MAX_COLLECTED {
                *collected = None;
            }
        }
    }

    /// How many ids are held.
    pub(super) fn collected(&self) -> usize {
        self.collected.lock().as_ref().map_or(0, Entries::len)
    }

    /// The frames that may hold an event with such a key, if that is known without reading.
    pub(super) fn collected_of(&self, keys: &RangeInclusive<u32>) -> Option<Vec<Candidate>> {
        self.collected.lock().as_ref().map(|entries| entries.of(keys))
    }

    /// Lets go of the ids.
    pub(super) fn take_collected(&self) -> Option<Entries> {
        self.collected.lock().take()
    }

    pub(super) fn is_indexed(&self) -> bool {
        self.indexed.load(Ordering::Acquire)
    }

    pub(super) fn set_indexed(&self) {
        self.indexed.store(true, Ordering::Release);
    }

    /// No more frames come.
    pub(super) fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    /// Its file, opened if nobody has it open.
    pub(super) fn file(&self, files: &dyn Files) -> io::Result<Arc<dyn LogFile>> {
        let mut slot = self.file.lock();
        if let Some(file) = slot.as_ref().and_then(Weak::upgrade) {
            return Ok(file);
        }
        let file = files.open(&self.name)?;
        *slot = Some(Arc::downgrade(&file));
        Ok(file)
    }

    /// Keeps its file open as long as this value lives.
    pub(super) fn hold(&self, file: Arc<dyn LogFile>) {
        *self.held.lock() = Some(file);
    }

    /// What of it may be read now.
    pub(super) fn extent(&self) -> Extent {
        let until = Some(self.end());
        Extent {
            marker: self.marker,
            bytes: self.bytes(),
            until,
        }
    }

    /// A frame at or before the one that holds `offset`: its place and offset. Walks over the segment if that
    /// has not been done since it was found; hands what that showed to `report`.
    pub(super) fn locate(
        &self,
        file: &dyn LogFile,
        offset: u64,
        report: impl FnMut(Damage),
    ) -> io::Result<(u64, u64)> {
        if offset <= self.base {
            return Ok((HEAD_BYTES as u64, self.base));
        }
        self.search(file, |entry| entry.offset <= offset, report)
    }

    /// A frame before the first one that was appended at or after `time`.
    pub(super) fn locate_time(
        &self,
        file: &dyn LogFile,
        time: Timestamp,
        report: impl FnMut(Damage),
    ) -> io::Result<(u64, u64)> {
        self.search(file, |entry| entry.time < time, report)
    }

    fn search(
        &self,
        file: &dyn LogFile,
        before: impl Fn(&Entry) -> bool,
        mut report: impl FnMut(Damage),
    ) -> io::Result<(u64, u64)> {
        let mut damages = Vec::new();
        let mut index = self.index.lock();
        if !index.complete {
            let survey = Survey::of(file, self.extent(), self.base)?;
            index.entries = survey.entries;
            index.complete = true;
            damages = survey.damages;
        }
        let behind = index.entries.partition_point(before);
        let entry = behind.checked_sub(1).and_then(|at| index.entries.get(at));
        let place = entry.map_or((HEAD_BYTES as u64, self.base), |entry| (entry.at, entry.offset));
        drop(index);
        damages.drain(..).for_each(&mut report);
        Ok(place)
    }

    /// Whether this is the first time that the file was found missing.
    pub(super) fn first_sight_of_absence(&self) -> bool {
        !self.absent.swap(true, Ordering::AcqRel)
    }

    /// Whether this damage is seen for the first time.
    pub(super) fn first_sight(&self, damage: &Damage) -> bool {
        let mut index = self.index.lock();
        if index.reported.contains(&damage.at) {
            return false;
        }
        index.reported.push(damage.at);
        true
    }
}
