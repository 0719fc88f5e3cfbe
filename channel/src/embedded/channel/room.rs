//! Whether there is room for an append, and what is done before a producer is turned away.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::Embedded;
use crate::embedded::log::SegmentInfo;
use crate::{AppendError, Class};

/// When a producer that was turned away may come back.
const RETRY: Duration = Duration::from_secs(5);

/// Bytes of events that are not settled by everybody, remembered until progress changes.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    counted: Mutex<Option<Counted>>,
    since: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Counted {
    version: u64,
    bytes: u64,
}

/// Why a producer is turned away.
#[derive(Debug)]
pub(super) enum Shortage {
    /// The volume: so many bytes should be given free.
    Disk { missing: u64, reason: String },
    /// The broker's own limit: so many bytes are above it.
    Backlog { above: u64, reason: String },
}

/// A refusal for want of room on the volume.
pub(super) fn disk_full(reason: String) -> AppendError {
    AppendError::Full {
        code: "disk-full",
        reason,
        retry_after: RETRY,
    }
}

/// Bytes at or above `lowest`; of the segment it lies in, that part of its bytes.
pub(super) fn unsettled_bytes(segments: &[SegmentInfo], lowest: u64) -> u64 {
    let part = |segment: &SegmentInfo| {
        let (all, left) = (
            segment.end.saturating_sub(segment.base),
            segment.end.saturating_sub(lowest),
        );
        if left >= all || all == 0 {
            return if all == 0 { 0 } else { segment.bytes };
        }
        u64::try_from(u128::from(segment.bytes) * u128::from(left) / u128::from(all)).unwrap_or(u64::MAX)
    };
    segments
        .iter()
        .filter(|segment| segment.end > lowest)
        .map(part)
        .sum()
}

// === impl Backlog ===

impl Backlog {
    /// Counts an append.
    pub(super) fn appended(&self, bytes: u64) {
        self.since.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The backlog now. `version` changes with progress; `count` looks at log and lanes, which happens once a version.
    fn bytes(&self, version: u64, count: impl FnOnce() -> u64) -> u64 {
        let mut counted = self.counted.lock();
        let bytes = match *counted {
            Some(known) if known.version == version => known.bytes,
            _ => {
                self.since.store(0, Ordering::Relaxed);
                let bytes = count();
                *counted = Some(Counted { version, bytes });
                bytes
            }
        };
        bytes + self.since.load(Ordering::Relaxed)
    }

    /// Segments went without any progress: count again.
    pub(super) fn count_again(&self) {
        *self.counted.lock() = None;
    }
}

// === impl Shortage ===

impl From<Shortage> for AppendError {
    fn from(shortage: Shortage) -> Self {
        match shortage {
            Shortage::Disk { reason, .. } => disk_full(reason),
            Shortage::Backlog { reason, .. } => Self::Full {
                code: "backlog-full",
                reason,
                retry_after: RETRY,
            },
        }
    }
}

// === impl Embedded ===

impl Embedded {
    /// Lets an append in. Before a producer is turned away, settled history is deleted, and with `drop-oldest` what
    /// nobody has read yet. Replies and dead letters are never turned away here: they may use the reserve.
    pub(super) async fn admit(&self, class: Class, bytes: u64) -> Result<(), AppendError> {
        if class == Class::Reserve {
            return Ok(());
        }
        let Some(shortage) = self.shortage(bytes) else {
            return Ok(());
        };
        self.make_room(&shortage, bytes).await;
        let Some(shortage) = self.shortage(bytes) else {
            return Ok(());
        };
        self.turned_away.store(bytes, Ordering::Relaxed);
        Err(shortage.into())
    }

    /// Why producers are turned away now: whether what was turned away last would still not fit. What could be deleted for
    /// it does not count.
    pub(super) fn refusing(&self) -> Option<String> {
        let shortage = self.shortage(self.turned_away.load(Ordering::Relaxed))?;
        if self.can_make_room(&shortage) {
            return None;
        }
        let (Shortage::Disk { reason, .. } | Shortage::Backlog { reason, .. }) = shortage;
        Some(reason)
    }

    /// Whether a producer's append of so many bytes lacks room, and why.
    pub(super) fn shortage(&self, bytes: u64) -> Option<Shortage> {
        if let Some(space) = self.disk.space() {
            let missing = space.missing(bytes);
            if missing > 0 {
                let reason = format!(
                    "the volume of the data folder has {} free, of which {} are kept for delivering what is stored",
                    size(space.free),
                    size(space.reserve())
                );
                return Some(Shortage::Disk { missing, reason });
            }
        }
        let limit = self.options().backlog_bytes?;
        let backlog = self.backlog_bytes();
        // A backlog of nothing takes any event, also one that is larger than the limit.
        if backlog == 0 || backlog + bytes <= limit {
            return None;
        }
        let reason = format!(
            "{} of events wait for their triggers; the broker's limit is {}",
            size(backlog),
            size(limit)
        );
        Some(Shortage::Backlog {
            above: backlog + bytes - limit,
            reason,
        })
    }

    fn backlog_bytes(&self) -> u64 {
        let version = self.state.holds_version();
        self.backlog.bytes(version, || {
            unsettled_bytes(&self.log.segments(), self.state.lowest())
        })
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::channel::retention::testing::segment;

    #[test]
    fn the_backlog_is_what_lies_at_or_above_the_hindmost_position() {
        let segments = [
            segment(0, 100, 1_000),
            segment(100, 200, 2_000),
            segment(200, 200, 16),
        ];
        let cases = [
            (0, 3_000),
            (50, 2_500),
            (100, 2_000),
            (150, 1_000),
            (199, 20),
            (200, 0),
            (500, 0),
        ];
        for (lowest, bytes) in cases {
            assert_eq!(unsettled_bytes(&segments, lowest), bytes, "from {lowest}");
        }
    }

    #[test]
    fn the_backlog_is_counted_once_for_each_change_of_progress() {
        let backlog = Backlog::default();
        backlog.appended(5);
        assert_eq!(
            backlog.bytes(1, || 100),
            100,
            "the count includes what was appended"
        );
        backlog.appended(5);
        assert_eq!(backlog.bytes(1, || unreachable!()), 105);
        assert_eq!(backlog.bytes(2, || 7), 7);
        backlog.count_again();
        assert_eq!(backlog.bytes(2, || 3), 3);
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(size(5), "5 bytes");
        assert_eq!(size(1_536), "1.5 KiB");
        assert_eq!(size(3 << 30), "3.0 GiB");
    }
}
