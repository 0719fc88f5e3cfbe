//! Finds events by their id: in sealed segments by their index (`ids`). In the segment being written, the
//! keys collected so far answer, or a walk over it, which is bounded by a segment's size.
//!
//! Appending an event only notes its key, so that a segment need not be read back to be indexed.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use millrace_event::Event;
use parking_lot::MutexGuard;

use super::files::LogFile;
use super::frame::Frame;
use super::header::HEAD_BYTES;
use super::ids::{self, Candidate, Entries, Ids};
use super::segment::Segment;
use super::shared::Shared;
use super::walk::{Item, Walk};
use super::{LogError, io_error};

/// How many frames of sealed segments one look-up reads, the newest first: those that hold an event with the
/// wanted key. If more frames do (mostly with one id from many sources, which 8 bits do not distinguish),
/// older ones are not found.
const MAX_CANDIDATES: usize = 2_000;

/// Up to this many frames of a segment are read one by one; for more, a walk over all of it is no more work.
const FEW: usize = 200;

/// The most ids that are held of sealed segments until their indexes are made, 12 bytes each.
pub(super) const MAX_HELD: usize = 1 << 20;

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) id: &'a str,
    pub(super) source: Option<&'a str>,
}

// === impl Wanted ===

impl Wanted<'_> {
    fn is(&self, event: &Event) -> bool {
        event.id() == self.id && self.source.is_none_or(|source| source == event.source())
    }
}

/// The events of a frame with their offsets. The reader of a damaged frame reports it.
fn events<'a>(frame: &Frame, bytes: &'a Bytes) -> impl Iterator<Item = (u64, Event)> + use<'a> {
    (frame.offset..)
        .zip(frame.events(bytes))
        .filter_map(|(offset, range)| Some((offset, Event::from_stored(bytes.slice(range)).ok()?)))
}

// === impl Shared: finding ===

impl Shared {
    /// The newest offsets of events that are wanted, at most `limit`, in order. Blocking.
    pub(super) fn find(&self, wanted: Wanted<'_>, limit: usize) -> Result<Vec<u64>, LogError> {
        let mut found = Vec::new();
        let mut left = MAX_CANDIDATES;
        for segment in self.segments().iter().rev() {
            if found.len() >= limit || left == 0 {
                break;
            }
            match self.find_within(segment, wanted, &mut left) {
                Ok(offsets) => found.extend(offsets.into_iter().rev()),
                // It was deleted meanwhile.
                Err(_) if segment.base < self.oldest() => {}
                Err(error) => return Err(error),
            }
        }
        found.truncate(limit);
        found.reverse();
        Ok(found)
    }

    fn find_within(
        &self,
        segment: &Arc<Segment>,
        wanted: Wanted<'_>,
        left: &mut usize,
    ) -> Result<Vec<u64>, LogError> {
        let keys = ids::keys(wanted.id, wanted.source);
        if !segment.sealed() {
            let found = match segment.collected_of(&keys) {
                Some(candidates) if candidates.len() <= FEW => self.verify(segment, &candidates, wanted),
                _ => self.scan(segment, wanted),
            };
            return found.map_err(|error| io_error("read", &segment.name, &error));
        }
        let known = segment.collected_of(&keys);
        let candidates = match known.or_else(|| self.candidates(segment, &keys)) {
            Some(candidates) => candidates,
            // Absent or damaged.
            None => self.indexed(segment, &keys)?,
        };
        let newest = candidates.len().saturating_sub(*left);
        *left -= candidates.len() - newest;
        let found = self.verify(segment, &candidates[newest..], wanted);
        found.map_err(|error| io_error("read", &segment.name, &error))
    }

    /// The offsets of what is wanted in these frames of a segment.
    fn verify(
        &self,
        segment: &Segment,
        candidates: &[Candidate],
        wanted: Wanted<'_>,
    ) -> io::Result<Vec<u64>> {
        let file = segment.file(&*self.files)?;
        let mut found = Vec::new();
        for candidate in candidates {
            // Each by itself: they lie far apart.
            let mut walk = Walk::new(&*file, segment.extent(), candidate.at, candidate.offset);
            if let Item::Frame { frame, bytes, .. } = walk.next()? {
                let events = events(&frame, &bytes).filter(|(_, event)| wanted.is(event));
                found.extend(events.map(|(offset, _)| offset));
            }
        }
        Ok(found)
    }

    /// What the segment's index file says; `None` when there is none that can be relied on.
    fn candidates(&self, segment: &Segment, keys: &RangeInclusive<u32>) -> Option<Vec<Candidate>> {
        let file = self.files.open(&ids::file_name(segment.base)).ok()?;
        let index = Ids::open(&*file, segment).ok()??;
        index.candidates(keys).ok()?
    }

    /// Walks over the segment that is written.
    fn scan(&self, segment: &Segment, wanted: Wanted<'_>) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        self.each_frame(segment, |_, frame, bytes| {
            let same = events(frame, bytes).filter(|(_, event)| wanted.is(event));
            found.extend(same.map(|(offset, _)| offset));
        })?;
        Ok(found)
    }

    fn each_frame(&self, segment: &Segment, mut see: impl FnMut(u64, &Frame, &Bytes)) -> io::Result<()> {
        let file = segment.file(&*self.files)?;
        let mut walk = Walk::new(&*file, segment.extent(), HEAD_BYTES as u64, segment.base);
        loop {
            match walk.next()? {
                Item::Frame { at, frame, bytes } => see(at, &frame, &bytes),
                Item::Damage(damage) => self.report(segment, &*file, &damage),
                Item::End(_) => return Ok(()),
            }
        }
    }
}

// === impl Shared: indexing ===

impl Shared {
    /// Makes the index of a sealed segment that has none, of one that need not be read if there is one; says
    /// whether there was any. Blocking.
    pub(super) fn index_next(&self) -> Result<bool, LogError> {
        let mut segments = self.segments();
        segments.retain(|segment| segment.sealed() && !segment.is_indexed());
        let next = segments.iter().find(|segment| segment.collected() > 0);
        let next = next.or(segments.first());
        let Some(segment) = next else { return Ok(false) };
        let one = self.indexing.lock();
        if !segment.is_indexed() {
            self.index(segment, &one)?;
        }
        Ok(true)
    }

    /// The frames that may hold an event with such a key, of a segment without an index: by now another task
    /// may have made it.
    fn indexed(
        &self,
        segment: &Arc<Segment>,
        keys: &RangeInclusive<u32>,
    ) -> Result<Vec<Candidate>, LogError> {
        let one = self.indexing.lock();
        match self.candidates(segment, keys) {
            Some(candidates) => Ok(candidates),
            None => Ok(self.index(segment, &one)?.of(keys)),
        }
    }

    /// Whether a sealed segment has no index yet.
    pub(super) fn lacks_an_index(&self) -> bool {
        let segments = self.segments();
        segments
            .iter()
            .any(|segment| segment.sealed() && !segment.is_indexed())
    }

    /// Whether ids of a sealed segment wait for its index to be made.
    pub(super) fn holds_collected(&self) -> bool {
        let segments = self.segments();
        segments
            .iter()
            .any(|segment| segment.sealed() && segment.collected() > 0)
    }

    /// Keeps at most `most` collected ids of sealed segments. Those of the newest are dropped, and read again
    /// when there is time.
    pub(super) fn bound_collected(&self, most: usize) {
        let mut held = 0;
        for segment in self.segments().iter().filter(|segment| segment.sealed()) {
            held += segment.collected();
            if held > most {
                drop(segment.take_collected());
            }
        }
    }

    /// Makes the index of a sealed segment, one at a time; gives what is in it, whether it could be written
    /// or not.
    fn index(&self, segment: &Arc<Segment>, _: &MutexGuard<'_, ()>) -> Result<Entries, LogError> {
        let entries = match segment.take_collected() {
            Some(entries) => Ok(entries),
            None => self.read_ids(segment),
        };
        // Even if it cannot be written: it is tried again at the next look-up, not all the time.
        segment.set_indexed();
        let mut entries = entries.map_err(|error| io_error("read", &segment.name, &error))?;
        let name = ids::file_name(segment.base);
        let written = self.write_index(&name, &entries.encode(segment));
        let is_kept = self
            .segment_of(segment.base)
            .is_some_and(|kept| Arc::ptr_eq(&kept, segment));
        if let Err(error) = &written {
            tracing::debug!(file = name, %error, "the index of a segment was not written; it is made again when it is needed");
        }
        if written.is_err() || !is_kept {
            // The segment was deleted meanwhile, or half an index takes room.
            let _ = self.files.remove(&name);
        }
        Ok(entries)
    }

    fn read_ids(&self, segment: &Segment) -> io::Result<Entries> {
        let mut entries = Entries::new(segment.base);
        self.each_frame(segment, |at, frame, bytes| {
            let candidate = Candidate {
                offset: frame.offset,
                at,
            };
            events(frame, bytes)
                .for_each(|(_, event)| entries.add(candidate, ids::key(event.id(), event.source())));
        })?;
        Ok(entries)
    }

    fn write_index(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let file: Arc<dyn LogFile> = self.files.create(name)?;
        file.write_at(bytes, 0)
    }
}
