//! Recognises a record: after a topic was deleted and recreated, another one is at the same offset.

use rdkafka::message::{BorrowedMessage, Message as _};
use serde::{Deserialize, Serialize};

/// A record by its offset, its time, and a checksum of key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    /// Its offset.
    pub(crate) offset: i64,
    /// Milliseconds since 1970; -1: it has none.
    pub(crate) timestamp: i64,
    /// CRC32C of key and value.
    pub(crate) checksum: u32,
}

/// How far a partition is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The offset that is read next.
    pub(crate) next: i64,
    /// The last record before that; `None`: not known.
    pub(crate) record: Option<Fingerprint>,
}

/// Of a longer key or value only its length and so many bytes at either end count.
const ENDS: usize = 512;

// === impl Fingerprint ===

impl Fingerprint {
    pub(crate) fn of(message: &BorrowedMessage<'_>) -> Self {
        Self {
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().unwrap_or(-1),
            checksum: checksum(message.key(), message.payload()),
        }
    }
}

fn checksum(key: Option<&[u8]>, value: Option<&[u8]>) -> u32 {
    [key, value].into_iter().fold(0, |sum, part| {
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        let sum = crc32c::crc32c_append(sum, &length.to_be_bytes());
        let part = part.unwrap_or_default();
        if part.len() <= 2 * ENDS {
            return crc32c::crc32c_append(sum, part);
        }
        let sum = crc32c::crc32c_append(sum, &part[..ENDS]);
        crc32c::crc32c_append(sum, &part[part.len() - ENDS..])
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A key or a value.
    type Part<'a> = Option<&'a [u8]>;

    #[test]
    fn other_keys_and_values_have_other_checksums() {
        let long = |at: usize, length: usize| {
            let mut octets = vec![b'x'; length];
            octets[at] = b'y';
            octets
        };
        let (first, last, longer) = (long(0, 5_000), long(4_999, 5_000), long(0, 5_001));
        let all: [[Part<'_>; 2]; 9] = [
            [None, None],
            [Some(b""), None],
            [None, Some(b"")],
            [Some(b"a"), Some(b"b")],
            [Some(b"ab"), Some(b"")],
            [Some(b""), Some(b"ab")],
            [None, Some(&first)],
            [None, Some(&last)],
            [None, Some(&longer)],
        ];
        let sums: BTreeSet<u32> = all.iter().map(|[key, value]| checksum(*key, *value)).collect();
        assert_eq!(sums.len(), all.len());
    }
}
