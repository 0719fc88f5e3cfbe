//! The frame: what one append is on disk.
//!
//! ```text
//!  0  marker   u32  the segment's own random number (see `header`): where a frame may begin
//!  4  checksum u32  CRC32C of everything else
//!  8  length   u32  bytes of the body
//! 12  version  u8   1
//! 13  -        u8   0
//! 14  count    u16  events in the body; 0 is the mark of a clean end
//! 16  offset   u64  of the first event
//! 24  time     i64  when it was appended, milliseconds since 1970
//! 32  synced   u32  bytes of the segment that were durable when this was written
//! 36  body          `count` times: length u32, the event's stored form
//! ```
//! All numbers are little-endian. The checksum covers the offset, so a frame in the wrong place is a bad
//! frame. `synced` tells recovery whether a bad frame before this one had ever been durable.

use std::ops::Range;

use millrace_event::{Event, Timestamp};

/// Bytes before the body.
pub const HEADER_BYTES: usize = 36;
/// A body is never longer: what a damaged length can make a reader allocate.
pub const MAX_BODY_BYTES: usize = 64 << 20;
/// The version that is written.
const VERSION: u8 = 1;
/// The bytes that the checksum does not cover: its own.
const CHECKSUM: Range<usize> = 4..8;

/// A frame that has been checked, without its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The segment's random number.
    pub marker: u32,
    /// The first event's offset.
    pub offset: u64,
    /// How many events it holds; none in the mark of a clean end.
    pub count: u16,
    /// When it was appended.
    pub time: Timestamp,
    /// Bytes of the segment that were durable when it was written.
    pub synced: u32,
    /// Bytes of the whole frame.
    pub length: usize,
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAFrame {
    /// The frame goes on behind the end of the bytes.
    #[error("the frame needs {needed} bytes")]
    Short {
        /// Bytes it needs, as far as can be told.
        needed: usize,
    },
    /// This is no frame, or a damaged one.
    #[error("{0}")]
    Damaged(&'static str),
}

// === impl Frame ===

impl Frame {
    /// The offset after its last event.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.count))
    }

    /// Where its events' stored forms stand in the frame's bytes (those that were given to [`parse`]).
    pub fn events<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = Range<usize>> + use<'a> {
        let mut at = HEADER_BYTES;
        (0..self.count).map_while(move |_| {
            let start = at.checked_add(4)?;
            let length = usize::try_from(u32_at(bytes, at)?).ok()?;
            at = start.checked_add(length)?;
            (at <= bytes.len()).then_some(start..at)
        })
    }
}

/// Reads the frame at the beginning of `bytes`, which may be anything; never panics. With `marker` only a
/// frame of that segment is one.
pub fn parse(bytes: &[u8], marker: Option<u32>) -> Result<Frame, NotAFrame> {
    let (frame, checksum) = parse_header(bytes)?;
    if marker.is_some_and(|marker| marker != frame.marker) {
        return Err(NotAFrame::Damaged("the marker is not the segment's"));
    }
    let bytes = bytes
        .get(..frame.length)
        .ok_or(NotAFrame::Short { needed: frame.length })?;
    if checksum_of(bytes) != checksum {
        return Err(NotAFrame::Damaged("the checksum does not fit"));
    }
    let end = frame.events(bytes).last().map_or(HEADER_BYTES, |event| event.end);
    if frame.events(bytes).count() != usize::from(frame.count) || end != frame.length {
        return Err(NotAFrame::Damaged("the events do not fill the body"));
    }
    Ok(frame)
}

/// Reads the header alone: the lengths are plausible, the checksum has not been compared.
pub(super) fn parse_header(bytes: &[u8]) -> Result<(Frame, u32), NotAFrame> {
    let fields = || {
        Some((
            (u32_at(bytes, 0)?, u32_at(bytes, 4)?, u32_at(bytes, 8)?),
            (
                *bytes.get(12)?,
                *bytes.get(13)?,
                u16::from_le_bytes(array_at(bytes, 14)?),
            ),
            (
                u64::from_le_bytes(array_at(bytes, 16)?),
                i64::from_le_bytes(array_at(bytes, 24)?),
                u32_at(bytes, 32)?,
            ),
        ))
    };
    let ((marker, checksum, body), (version, reserved, count), (offset, time, synced)) =
        fields().ok_or(NotAFrame::Short { needed: HEADER_BYTES })?;
    if version != VERSION || reserved != 0 {
        return Err(NotAFrame::Damaged("the version is unknown"));
    }
    let body = usize::try_from(body).unwrap_or(usize::MAX);
    if body > MAX_BODY_BYTES || body < usize::from(count) * 4 {
        return Err(NotAFrame::Damaged("the length is impossible"));
    }
    let frame = Frame {
        marker,
        offset,
        count,
        time: Timestamp(time),
        synced,
        length: HEADER_BYTES + body,
    };
    Ok((frame, checksum))
}

/// What the bytes of an append will be, header and all; `None` when it does not fit one frame.
pub(super) fn encoded_bytes(events: &[Event]) -> Option<usize> {
    u16::try_from(events.len()).ok()?;
    let body = events
        .iter()
        .try_fold(0_usize, |sum, event| sum.checked_add(4 + event.stored().len()))?;
    (body <= MAX_BODY_BYTES).then_some(HEADER_BYTES + body)
}

/// What a frame says besides its events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) marker: u32,
    pub(super) offset: u64,
    pub(super) time: Timestamp,
    pub(super) synced: u32,
}

/// Appends a frame to `out`. The caller keeps to the bounds that [`encoded_bytes`] checks.
pub(super) fn encode<'a>(out: &mut Vec<u8>, stamp: Stamp, events: impl Iterator<Item = &'a [u8]>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    let mut count = 0_u16;
    for event in events {
        count = count.saturating_add(1);
        out.extend_from_slice(&u32::try_from(event.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(event);
    }
    let frame = &mut out[start..];
    let body = u32::try_from(frame.len() - HEADER_BYTES).unwrap_or(u32::MAX);
    frame[0..4].copy_from_slice(&stamp.marker.to_le_bytes());
    frame[8..12].copy_from_slice(&body.to_le_bytes());
    frame[12] = VERSION;
    frame[14..16].copy_from_slice(&count.to_le_bytes());
    frame[16..24].copy_from_slice(&stamp.offset.to_le_bytes());
    frame[24..32].copy_from_slice(&stamp.time.0.to_le_bytes());
    frame[32..36].copy_from_slice(&stamp.synced.to_le_bytes());
    let checksum = checksum_of(frame);
    frame[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
}

fn checksum_of(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..CHECKSUM.start]), &frame[CHECKSUM.end..])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(array_at(bytes, at)?))
}

pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamp() -> Stamp {
        Stamp {
            marker: 0x5eed_1e55,
            offset: 7,
            time: Timestamp(1_700_000_000_000),
            synced: 128,
        }
    }

    fn frame_of(events: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, stamp(), events.iter().map(Vec::as_slice));
        bytes
    }

    #[test]
    fn a_damaged_length_allocates_nothing() {
        let mut bytes = frame_of(&[vec![1; 10]]);
        bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(
            parse(&bytes, None),
            Err(NotAFrame::Damaged("the length is impossible"))
        );
    }

    #[test]
    fn a_frame_of_another_segment_is_none() {
        let bytes = frame_of(&[vec![1; 10]]);
        assert!(parse(&bytes, Some(0x5eed_1e55)).is_ok());
        assert!(matches!(parse(&bytes, Some(1)), Err(NotAFrame::Damaged(_))));
    }

    #[test]
    fn a_body_that_lies_about_its_events_is_refused_although_its_checksum_fits() {
        let mut bytes = frame_of(&[vec![1; 10], vec![2; 10]]);
        bytes[HEADER_BYTES] = 9;
        let checksum = checksum_of(&bytes);
        bytes[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(
            parse(&bytes, None),
            Err(NotAFrame::Damaged("the events do not fill the body"))
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(events in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20)) {
            let mut bytes = frame_of(&events);
            let length = bytes.len();
            bytes.extend_from_slice(b"what comes behind");
            let frame = parse(&bytes, Some(stamp().marker)).unwrap();
            prop_assert_eq!((frame.offset, frame.time, frame.synced, frame.length), (7, stamp().time, 128, length));
            let read: Vec<Vec<u8>> = frame.events(&bytes[..length]).map(|range| bytes[range].to_vec()).collect();
            prop_assert_eq!(read, events);
        }

        #[test]
        fn any_cut_asks_for_more(events in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..5), cut in any::<prop::sample::Index>()) {
            let bytes = frame_of(&events);
            let cut = cut.index(bytes.len());
            let fault = parse(&bytes[..cut], None).unwrap_err();
            prop_assert!(matches!(fault, NotAFrame::Short { needed } if needed > cut && needed <= bytes.len()), "{:?}", fault);
        }

        #[test]
        fn any_flipped_bit_is_noticed(events in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..5), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut bytes = frame_of(&events);
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert!(parse(&bytes, None).is_err());
        }

        #[test]
        fn anything_else_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes, None);
        }
    }
}
