//! Walks over the frames of one file in order, says where offsets are missing, and finds the next good frame
//! behind a bad one.

use std::io;

use bytes::{Bytes, BytesMut};

use super::files::LogFile;
use super::frame::{self, Frame, HEADER_BYTES, NotAFrame};

/// How much is read at once.
pub(super) const CHUNK_BYTES: usize = 256 << 10;
/// How much is read at once to check what might be a frame.
const CANDIDATE_BYTES: usize = 4 << 10;

/// The part of a segment's file that may be read, and what its frames must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// The marker of its frames; `None` when the header is lost: then that of the first good frame.
    pub(super) marker: Option<u32>,
    /// Where the readable bytes end.
    pub(super) bytes: u64,
    /// The offset at which its events end, if that is known: everything below must be there, everything from
    /// there on is not the segment's.
    pub(super) until: Option<u64>,
}

/// What stands next in a segment.
#[derive(Debug)]
pub(super) enum Item {
    /// A good frame with the offset that was expected.
    Frame {
        /// Where it begins.
        at: u64,
        /// What it says.
        frame: Frame,
        /// Its bytes.
        bytes: Bytes,
    },
    /// Offsets that are missing; the walk goes on behind them.
    Damage(Damage),
    /// Nothing more. What stands behind this byte, if anything, is no frame.
    End(u64),
}

/// A damaged place in a segment. `bytes` is 0 when frames are missing without a trace; `from == to` when no
/// event is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) at: u64,
    pub(super) bytes: u64,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// A walk over a segment's frames that knows which offset comes next.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    scan: Scan<'a>,
    until: Option<u64>,
    expected: u64,
}

// === impl Walk ===

impl<'a> Walk<'a> {
    /// Begins at byte `at`, where the frame of `offset` (or one that holds it) is expected.
    pub(super) fn new(file: &'a dyn LogFile, extent: Extent, at: u64, offset: u64) -> Self {
        let scan = Scan::new(file, extent.marker, at, extent.bytes, CHUNK_BYTES);
        Self {
            scan,
            until: extent.until,
            expected: offset,
        }
    }

    /// The next frame's first byte.
    pub(super) fn at(&self) -> u64 {
        self.scan.at
    }

    /// The next frame's offset.
    pub(super) fn expected(&self) -> u64 {
        self.expected
    }

    /// Whether the next frame can be had without reading from the file.
    pub(super) fn buffered(&self) -> bool {
        frame::parse_header(self.scan.window())
            .is_ok_and(|(frame, _)| frame.length <= self.scan.window().len())
    }

    /// The next thing.
    pub(super) fn next(&mut self) -> io::Result<Item> {
        if self.until.is_some_and(|until| self.expected >= until) {
            return Ok(Item::End(self.scan.at));
        }
        let at = self.scan.at;
        let last = self.until.unwrap_or(u64::MAX);
        match self.scan.step()? {
            Step::Frame(frame, bytes) if frame.offset == self.expected && frame.end() <= last => {
                self.expected = frame.end();
                Ok(Item::Frame { at, frame, bytes })
            }
            Step::Frame(frame, _) if frame.offset > self.expected && frame.end() <= last => {
                self.scan.at = at;
                Ok(self.missing(at, 0, frame.offset))
            }
            // What a failed append left behind the segment's end.
            Step::Frame(frame, _) if frame.offset >= self.expected => Ok(self.finish(at)),
            Step::End => Ok(self.finish(at)),
            Step::Frame(..) | Step::Bad => match self.scan.find(at + 1, self.expected, last)? {
                Some((found, offset)) => {
                    self.scan.at = found;
                    Ok(self.missing(at, found - at, offset))
                }
                None => Ok(self.finish(at)),
            },
        }
    }

    fn missing(&mut self, at: u64, bytes: u64, to: u64) -> Item {
        let damage = Damage {
            at,
            bytes,
            from: self.expected,
            to,
        };
        self.expected = to;
        Item::Damage(damage)
    }

    /// No good frame follows: all that should is missing.
    fn finish(&mut self, at: u64) -> Item {
        self.scan.at = at;
        match self.until {
            Some(until) if self.expected < until => {
                let bytes = self.scan.end.saturating_sub(at);
                self.missing(at, bytes, until)
            }
            _ => Item::End(at),
        }
    }
}

/// What stands at a byte.
#[derive(Debug)]
enum Step {
    Frame(Frame, Bytes),
    Bad,
    End,
}

/// Reads a file frame by frame, a chunk at a time; knows nothing of offsets.
#[derive(Debug)]
struct Scan<'a> {
    file: &'a dyn LogFile,
    marker: Option<u32>,
    at: u64,
    end: u64,
    chunk: Bytes,
    chunk_at: u64,
    chunk_bytes: usize,
}

// === impl Scan ===

impl<'a> Scan<'a> {
    fn new(file: &'a dyn LogFile, marker: Option<u32>, at: u64, end: u64, chunk_bytes: usize) -> Self {
        Self {
            file,
            marker,
            at,
            end,
            chunk: Bytes::new(),
            chunk_at: at,
            chunk_bytes,
        }
    }

    /// The frame at this place; goes behind it if it is a good one.
    fn step(&mut self) -> io::Result<Step> {
        if self.at >= self.end {
            return Ok(Step::End);
        }
        // At most twice more: for the header, and for the length that it tells.
        for _ in 0..3 {
            match frame::parse(self.window(), self.marker) {
                Ok(frame) => {
                    let start = self.start();
                    let bytes = self.chunk.slice(start..start + frame.length);
                    self.at += frame.length as u64;
                    self.marker = Some(frame.marker);
                    return Ok(Step::Frame(frame, bytes));
                }
                Err(NotAFrame::Short { needed }) if self.at + needed as u64 <= self.end => {
                    self.load(needed)?
                }
                Err(_) => return Ok(Step::Bad),
            }
        }
        Ok(Step::Bad)
    }

    /// The next good frame that begins at or behind byte `from` and whose offset is in the range; its place
    /// and its offset.
    fn find(&self, mut from: u64, lowest: u64, highest: u64) -> io::Result<Option<(u64, u64)>> {
        let plausible = |frame: &Frame| frame.offset >= lowest && frame.end() <= highest;
        while from < self.end {
            let mut window = Self::new(self.file, None, from, self.end, CHUNK_BYTES);
            window.load(HEADER_BYTES)?;
            let starts = window.chunk.len().saturating_sub(HEADER_BYTES - 1);
            let mut skipped = 0;
            while let Some(start) = next_start(&window.chunk, skipped, starts, self.marker, plausible) {
                let at = from + start as u64;
                let mut candidate = Self::new(self.file, self.marker, at, self.end, CANDIDATE_BYTES);
                match candidate.step()? {
                    Step::Frame(frame, _) if plausible(&frame) => return Ok(Some((at, frame.offset))),
                    _ => skipped = start + 1,
                }
            }
            if starts == 0 {
                break;
            }
            from += starts as u64;
        }
        Ok(None)
    }

    fn start(&self) -> usize {
        usize::try_from(self.at.saturating_sub(self.chunk_at)).unwrap_or(usize::MAX)
    }

    /// What is in memory from this place on.
    fn window(&self) -> &[u8] {
        if self.at < self.chunk_at {
            &[]
        } else {
            self.chunk.get(self.start()..).unwrap_or(&[])
        }
    }

    fn load(&mut self, needed: usize) -> io::Result<()> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let mut chunk = BytesMut::zeroed(self.chunk_bytes.max(needed).min(left));
        let read = self.file.read_at(&mut chunk, self.at)?;
        if read < chunk.len() {
            // The file is shorter than it should be: there is nothing behind what came.
            chunk.truncate(read);
            self.end = self.at + read as u64;
        }
        self.chunk = chunk.freeze();
        self.chunk_at = self.at;
        Ok(())
    }
}

/// The next place in `bytes` that looks like a frame's header; by its marker, or without one by all its
/// fields.
fn next_start(
    bytes: &[u8],
    from: usize,
    end: usize,
    marker: Option<u32>,
    plausible: impl Fn(&Frame) -> bool,
) -> Option<usize> {
    let header =
        |start: &usize| frame::parse_header(&bytes[*start..]).is_ok_and(|(frame, _)| plausible(&frame));
    match marker.map(u32::to_le_bytes) {
        Some(marker) => (from..end)
            .filter(|start| bytes[*start..*start + 4] == marker)
            .find(header),
        None => (from..end).find(header),
    }
}
