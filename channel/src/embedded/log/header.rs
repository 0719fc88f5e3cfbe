//! A segment file's name and its header, which stands in it twice so that one damaged sector or bit loses
//! nothing.
//!
//! ```text
//!  0  magic        8 bytes  "MILLRLOG"
//!  8  version      u32      1
//! 12  marker       u32      random; begins each frame of this segment
//! 16  base         u64      the first offset, as in the file's name
//! 24  previous_end u64      end of the segment before it; positions from there to `base` were never used
//! 32  created      i64      milliseconds since 1970
//! 40  -                     zeroes
//! 60  checksum     u32      CRC32C of what stands before it
//! 64                        the same again
//! ```
//! The marker is random, so data that an event carries cannot pose as a frame when recovery searches for the
//! next one.

use millrace_event::Timestamp;

use super::frame::{array_at, u32_at};

/// Bytes of both copies: where the first frame begins.
pub(super) const HEAD_BYTES: usize = 2 * COPY_BYTES;
/// The only format version there is.
pub(super) const VERSION: u32 = 1;

const COPY_BYTES: usize = 64;
const CHECKSUM_AT: usize = COPY_BYTES - 4;
const MAGIC: &[u8; 8] = b"MILLRLOG";
const SUFFIX: &str = ".log";

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) marker: u32,
    pub(super) base: u64,
    pub(super) previous_end: u64,
    pub(super) created: Timestamp,
}

/// What the first bytes of a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// A header.
    Good(Head),
    /// A header of a version that this build does not know.
    Later(u32),
    /// Both copies are damaged, or the file is shorter.
    Damaged,
}

/// The name of the segment whose first offset is `base`.
pub(super) fn file_name(base: u64) -> String {
    format!("{base:020}{SUFFIX}")
}

/// The first offset of the segment of that name; `None` for any other file.
pub(super) fn base_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    (digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit())).then(|| digits.parse().ok())?
}

impl Head {
    pub(super) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut copy = [0; COPY_BYTES];
        copy[0..8].copy_from_slice(MAGIC);
        copy[8..12].copy_from_slice(&VERSION.to_le_bytes());
        copy[12..16].copy_from_slice(&self.marker.to_le_bytes());
        copy[16..24].copy_from_slice(&self.base.to_le_bytes());
        copy[24..32].copy_from_slice(&self.previous_end.to_le_bytes());
        copy[32..40].copy_from_slice(&self.created.0.to_le_bytes());
        let checksum = crc32c::crc32c(&copy[..CHECKSUM_AT]);
        copy[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        let mut both = [0; HEAD_BYTES];
        both[..COPY_BYTES].copy_from_slice(&copy);
        both[COPY_BYTES..].copy_from_slice(&copy);
        both
    }

    /// Reads the first copy that is sound.
    pub(super) fn decode(bytes: &[u8]) -> Decoded {
        let copies = bytes.chunks_exact(COPY_BYTES).take(2);
        copies.filter_map(decode_copy).next().unwrap_or(Decoded::Damaged)
    }
}

fn decode_copy(copy: &[u8]) -> Option<Decoded> {
    if u32_at(copy, CHECKSUM_AT)? != crc32c::crc32c(&copy[..CHECKSUM_AT]) || !copy.starts_with(MAGIC) {
        return None;
    }
    let version = u32_at(copy, 8)?;
    if version != VERSION {
        return Some(Decoded::Later(version));
    }
    Some(Decoded::Good(Head {
        marker: u32_at(copy, 12)?,
        base: u64::from_le_bytes(array_at(copy, 16)?),
        previous_end: u64::from_le_bytes(array_at(copy, 24)?),
        created: Timestamp(i64::from_le_bytes(array_at(copy, 32)?)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head {
        marker: 7,
        base: 1000,
        previous_end: 990,
        created: Timestamp(5),
    };

    #[test]
    fn one_flipped_bit_loses_no_header() {
        for bit in 0..HEAD_BYTES * 8 {
            let mut bytes = HEAD.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::decode(&bytes), Decoded::Good(HEAD), "bit {bit}");
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let mut bytes = HEAD.encode();
        for copy in bytes.chunks_exact_mut(COPY_BYTES) {
            copy[8] = 2;
            let checksum = crc32c::crc32c(&copy[..CHECKSUM_AT]);
            copy[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        }
        assert_eq!(Head::decode(&bytes), Decoded::Later(2));
        assert_eq!(Head::decode(&[0; HEAD_BYTES]), Decoded::Damaged);
        assert_eq!(Head::decode(&HEAD.encode()[..40]), Decoded::Damaged);
    }

    #[test]
    fn only_segments_have_a_base() {
        assert_eq!(base_of(&file_name(42)), Some(42));
        assert_eq!(base_of(&file_name(u64::MAX)), Some(u64::MAX));
        for other in [
            "42.log",
            "00000000000000000042.log.corrupt-128",
            "lock",
            "99999999999999999999.log",
            ".log",
        ] {
            assert_eq!(base_of(other), None, "{other}");
        }
    }
}
