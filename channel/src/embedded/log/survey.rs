//! One walk over a whole segment: where its frames are, what is damaged, where it ends.

use std::io;

use millrace_event::Timestamp;

use super::files::LogFile;
use super::header::HEAD_BYTES;
use super::walk::{Damage, Extent, Item, Walk};

/// A segment's index has a place for about so many bytes of frames.
pub(super) const INDEX_BYTES: u64 = 256 << 10;

/// Where a frame begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) at: u64,
    pub(super) offset: u64,
    pub(super) time: Timestamp,
}

/// What a walk over a whole segment found.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) entries: Vec<Entry>,
    pub(super) damages: Vec<Damage>,
    /// The byte behind the last good frame.
    pub(super) end_byte: u64,
    /// The offset after the last event.
    pub(super) end: u64,
    /// The times of the first and the last frame with events. A mark has none and counts as no append.
    pub(super) times: Option<(Timestamp, Timestamp)>,
    /// The highest number of durable bytes that a frame names.
    pub(super) synced: u64,
    /// The last good frame is the mark of a clean end.
    pub(super) marked: bool,
}

// === impl Survey ===

impl Survey {
    /// Walks over a segment from its first frame on.
    pub(super) fn of(file: &dyn LogFile, extent: Extent, base: u64) -> io::Result<Self> {
        let mut walk = Walk::new(file, extent, HEAD_BYTES as u64, base);
        let mut survey = Self {
            entries: Vec::new(),
            damages: Vec::new(),
            end_byte: HEAD_BYTES as u64,
            end: base,
            times: None,
            synced: 0,
            marked: false,
        };
        loop {
            match walk.next()? {
                Item::Frame { at, frame, .. } => {
                    if survey
                        .entries
                        .last()
                        .is_none_or(|last| at - last.at >= INDEX_BYTES)
                    {
                        survey.entries.push(Entry {
                            at,
                            offset: frame.offset,
                            time: frame.time,
                        });
                    }
                    if frame.count > 0 {
                        let first = survey.times.map_or(frame.time, |(first, _)| first);
                        survey.times = Some((first, frame.time));
                    }
                    survey.synced = survey.synced.max(u64::from(frame.synced));
                    survey.marked = frame.count == 0;
                }
                Item::Damage(damage) => survey.damages.push(damage),
                Item::End(at) => {
                    survey.end_byte = at;
                    survey.end = walk.expected();
                    return Ok(survey);
                }
            }
        }
    }
}
