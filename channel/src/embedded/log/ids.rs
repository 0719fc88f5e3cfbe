//! The index of a sealed segment from ids of events to offsets: a file beside the segment, so that looking an
//! id up is no scan of history.
//!
//! ```text
//!  0  magic     8 bytes  "MILLRIDS"
//!  8  version   u32      2
//! 12  marker    u32      the segment's own random number
//! 16  base      u64      the segment's first offset
//! 24  end       u64      the offset after its last event
//! 32  entries   u32
//! 36  -                  zeroes
//! 60  checksum  u32      CRC32C of what stands before it
//! 64  blocks of 4 096 bytes: up to 341 entries in order, and at 4 092 the CRC32C of the block and its number
//! ```
//! An entry is the key of an event (u32) and the frame that holds it: how far its first offset is from the
//! base (u32) and the byte at which it begins (u32). The key is the CRC32C of the id, but for its last 8
//! bits, which are the first 8 of the CRC32C of the source: ids are unique only within a source, so that many
//! events may have one (sources that count from 1), and yet an id without a source is looked for too.
//! Different events may have one key, so what is found is a candidate until its frame has been read. Nothing
//! here is synced: a file that does not fit its checksums or its segment is made anew from the segment.
//!
//! The entries of a segment are collected while it is written, if that begins and ends in one process and
//! they are not too many: then nothing is read to make the file.

use std::io;
use std::ops::RangeInclusive;

use super::files::LogFile;
use super::frame::{array_at, u32_at};
use super::segment::Segment;

const MAGIC: &[u8; 8] = b"MILLRIDS";
const VERSION: u32 = 2;
const HEAD_BYTES: usize = 64;
const HEAD_CHECKSUM_AT: usize = HEAD_BYTES - 4;
const BLOCK_BYTES: usize = 4_096;
const BLOCK_CHECKSUM_AT: usize = BLOCK_BYTES - 4;
const ENTRY_BYTES: usize = 12;
/// Entries of a block.
pub(super) const BLOCK_ENTRIES: usize = BLOCK_CHECKSUM_AT / ENTRY_BYTES;

const SUFFIX: &str = ".ids";

/// The bits of a key that tell the source.
const OF_SOURCE: u32 = 0xff;

/// What an event is found by.
pub(super) fn key(id: &str, source: &str) -> u32 {
    // The first bits, because the last ones are alike for some sources that differ in one letter.
    (crc32c::crc32c(id.as_bytes()) & !OF_SOURCE) | (crc32c::crc32c(source.as_bytes()) >> 24)
}

/// The keys that an event of that id may have, and of that source where it is given.
pub(super) fn keys(id: &str, source: Option<&str>) -> RangeInclusive<u32> {
    match source {
        Some(source) => key(id, source)..=key(id, source),
        None => {
            let first = crc32c::crc32c(id.as_bytes()) & !OF_SOURCE;
            first..=first | OF_SOURCE
        }
    }
}

/// The name of the index of the segment that begins at `base`.
pub(super) fn file_name(base: u64) -> String {
    format!("{base:020}{SUFFIX}")
}

/// The base of the segment whose index has that name; `None` for any other file.
pub(super) fn base_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    (digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// A frame that may hold what is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The offset of its first event.
    pub(super) offset: u64,
    /// The byte at which it begins.
    pub(super) at: u64,
}

/// The key, the frame's offset from the base, the frame's byte.
type Entry = (u32, u32, u32);

/// The entries of a segment, in any order until they are encoded.
#[derive(Debug)]
pub(super) struct Entries {
    base: u64,
    list: Vec<Entry>,
}

/// An index file that fits its segment, open.
#[derive(Debug)]
pub(super) struct Ids<'a> {
    file: &'a dyn LogFile,
    base: u64,
    entries: usize,
}

// === impl Entries ===

impl Entries {
    pub(super) fn new(base: u64) -> Self {
        Self {
            base,
            list: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Adds an event in that frame with its [`key`].
    pub(super) fn add(&mut self, frame: Candidate, key: u32) {
        // Segments end far below 4 GiB.
        let from_base = u32::try_from(frame.offset.saturating_sub(self.base));
        if let (Ok(from_base), Ok(at)) = (from_base, u32::try_from(frame.at)) {
            self.list.push((key, from_base, at));
        }
    }

    /// The frames that may hold an event with such a key, in order.
    pub(super) fn of(&self, wanted: &RangeInclusive<u32>) -> Vec<Candidate> {
        let same = self.list.iter().filter(|(key, ..)| wanted.contains(key));
        in_order(frames(self.base, same).collect())
    }

    /// The bytes of the file.
    pub(super) fn encode(&mut self, segment: &Segment) -> Vec<u8> {
        self.list.sort_unstable();
        // A batch may hold one id more than once; its frame is one candidate.
        self.list.dedup();
        let blocks = self.list.len().div_ceil(BLOCK_ENTRIES);
        let mut bytes = Vec::with_capacity(HEAD_BYTES + blocks * BLOCK_BYTES);
        bytes.extend_from_slice(&head(segment, self.list.len()));
        for (number, chunk) in self.list.chunks(BLOCK_ENTRIES).enumerate() {
            let start = bytes.len();
            for part in chunk.iter().flat_map(|(key, from_base, at)| [key, from_base, at]) {
                bytes.extend_from_slice(&part.to_le_bytes());
            }
            bytes.resize(start + BLOCK_CHECKSUM_AT, 0);
            let checksum = block_checksum(&bytes[start..], number);
            bytes.extend_from_slice(&checksum.to_le_bytes());
        }
        bytes
    }
}

fn frames<'a>(base: u64, entries: impl Iterator<Item = &'a Entry>) -> impl Iterator<Item = Candidate> {
    entries.map(move |(_, from_base, at)| Candidate {
        offset: base + u64::from(*from_base),
        at: u64::from(*at),
    })
}

/// Each frame once.
fn in_order(mut frames: Vec<Candidate>) -> Vec<Candidate> {
    frames.sort_unstable_by_key(|frame| frame.offset);
    frames.dedup();
    frames
}

fn head(segment: &Segment, entries: usize) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[0..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    head[12..16].copy_from_slice(&segment.marker().unwrap_or(0).to_le_bytes());
    head[16..24].copy_from_slice(&segment.base.to_le_bytes());
    head[24..32].copy_from_slice(&segment.end().to_le_bytes());
    head[32..36].copy_from_slice(&u32::try_from(entries).unwrap_or(u32::MAX).to_le_bytes());
    let checksum = crc32c::crc32c(&head[..HEAD_CHECKSUM_AT]);
    head[HEAD_CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    head
}

fn block_checksum(content: &[u8], number: usize) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(content), &(number as u64).to_le_bytes())
}

// === impl Ids ===

impl<'a> Ids<'a> {
    /// The index in `file`; `None` when it is not that of this segment.
    pub(super) fn open(file: &'a dyn LogFile, segment: &Segment) -> io::Result<Option<Self>> {
        let mut found = [0; HEAD_BYTES];
        if file.read_at(&mut found, 0)? < HEAD_BYTES {
            return Ok(None);
        }
        let entries = u32_at(&found, 32).unwrap_or(0) as usize;
        Ok((found == head(segment, entries)).then_some(Self {
            file,
            base: segment.base,
            entries,
        }))
    }

    /// The frames that may hold an event with such a key, in order; `None` when a block that had to be read
    /// is damaged.
    pub(super) fn candidates(&self, wanted: &RangeInclusive<u32>) -> io::Result<Option<Vec<Candidate>>> {
        let blocks = self.entries.div_ceil(BLOCK_ENTRIES);
        let (mut low, mut high) = (0, blocks);
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.block(middle)? {
                None => return Ok(None),
                Some(block) if block.last().is_some_and(|(key, ..)| key < wanted.start()) => low = middle + 1,
                Some(_) => high = middle,
            }
        }
        let mut found = Vec::new();
        for number in low..blocks {
            let Some(block) = self.block(number)? else {
                return Ok(None);
            };
            found.extend(frames(
                self.base,
                block.iter().filter(|(key, ..)| wanted.contains(key)),
            ));
            if block.last().is_some_and(|(key, ..)| key > wanted.end()) {
                break;
            }
        }
        Ok(Some(in_order(found)))
    }

    fn block(&self, number: usize) -> io::Result<Option<Vec<Entry>>> {
        let mut bytes = vec![0; BLOCK_BYTES];
        let read = self
            .file
            .read_at(&mut bytes, (HEAD_BYTES + number * BLOCK_BYTES) as u64)?;
        let checksum = array_at(&bytes, BLOCK_CHECKSUM_AT).map(u32::from_le_bytes);
        if read < BLOCK_BYTES || checksum != Some(block_checksum(&bytes[..BLOCK_CHECKSUM_AT], number)) {
            return Ok(None);
        }
        let count = self
            .entries
            .saturating_sub(number * BLOCK_ENTRIES)
            .min(BLOCK_ENTRIES);
        let entry = |index: usize| {
            Some((
                u32_at(&bytes, index * ENTRY_BYTES)?,
                u32_at(&bytes, index * ENTRY_BYTES + 4)?,
                u32_at(&bytes, index * ENTRY_BYTES + 8)?,
            ))
        };
        Ok((0..count).map(entry).collect())
    }
}
