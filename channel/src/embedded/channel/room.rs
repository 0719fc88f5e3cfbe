//! Whether there is room for an append, and what is done before a producer is turned away.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Embedded;
use crate::embedded::disk::{Promise, Space};
use crate::embedded::log::SegmentInfo;
use crate::embedded::shares::{may_produce, may_reply};
use crate::embedded::state::Hindmost;
use crate::{AppendError, Class};

/// When a producer that was turned away may come back.
const RETRY: Duration = Duration::from_secs(5);

/// How long a producer waits for room, if its Broker holds less than its part.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many producers of one Broker may wait at a time.
const WAITING: usize = 8;

/// The most triggers that a refusal names.
const NAMED: usize = 3;

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

/// The producers that wait for this Broker's progress, and since when they do.
#[derive(Debug, Default)]
pub(super) struct Patience {
    waiting: Mutex<Option<Waiting>>,
    producers: AtomicUsize,
}

/// One producer that waits.
#[derive(Debug)]
struct Waits<'a>(&'a Patience);

#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// The version of the progress after which they wait.
    version: u64,
    since: Instant,
}

/// Why a producer is turned away, in numbers. Looked for often; words are made of it only for an answer.
#[derive(Debug)]
pub(super) enum Shortage {
    /// The volume: so many bytes should be given free.
    Disk {
        missing: u64,
        space: Space,
        /// What this Broker keeps for its triggers.
        own: u64,
        /// How much of the volume is this Broker's part.
        part: u64,
        /// This Broker holds less than its part, so room comes back as fast as its subscribers work.
        may_pass: bool,
    },
    /// The broker's own limit: so many bytes are above it.
    Backlog { above: u64, backlog: u64, limit: u64 },
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

    /// The backlog now. `version` changes with progress; `count` looks at log and lanes, which happens once a
    /// version.
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

// === impl Patience ===

impl Patience {
    /// A place for one more producer, if there is one.
    fn enter(&self) -> Option<Waits<'_>> {
        let entered = Waits(self);
        (self.producers.fetch_add(1, Ordering::Relaxed) < WAITING).then_some(entered)
    }

    /// Until when the next progress is waited for. Each progress begins another wait; without any the
    /// patience ends, and producers are turned away at once.
    fn ends(&self, version: u64) -> Instant {
        let mut waiting = self.waiting.lock();
        let known = waiting.filter(|known| known.version == version);
        let current = known.unwrap_or_else(|| Waiting {
            version,
            since: Instant::now(),
        });
        *waiting = Some(current);
        current.since + PATIENCE
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.producers.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Shortage ===

impl Shortage {
    fn may_pass(&self) -> bool {
        matches!(self, Self::Disk { may_pass: true, .. })
    }
}

// === impl Embedded ===

impl Embedded {
    /// Admits an append and gives it its room. Before a producer is turned away, settled history is deleted,
    /// then what is owed to triggers that are gone is dropped, and with `drop-oldest` events that nobody has
    /// read yet. A producer whose Broker holds less than its part waits for a moment until its subscribers
    /// have given room back.
    pub(super) async fn admit(&self, class: Class, bytes: u64) -> Result<Promise<'_>, AppendError> {
        if class == Class::Reserve {
            return self.admit_reply(bytes);
        }
        if self.above_limit(bytes).is_none()
            && let Some(room) = self.disk.try_promise(bytes)
        {
            return Ok(room);
        }
        if let Some(shortage) = self.shortage(bytes)
            && let Some(shortage) = self.make_room(shortage, bytes).await
            && shortage.may_pass()
        {
            self.wait_for_room(bytes).await;
        }
        // One at a time, so that many that find the same room do not all take it.
        let _one = self.shares.admitting.lock();
        let Some(shortage) = self.shortage(bytes) else {
            let room = self.disk.promise(bytes);
            if self.disk.space().is_some_and(|space| space.missing(0) > 0) {
                self.borrowed.take(bytes);
            }
            return Ok(room);
        };
        self.turned_away.store(bytes, Ordering::Relaxed);
        Err(self.refusal(&shortage))
    }

    /// Waits while the shortage may pass. What was delivered gives its room back with the next progress,
    /// which is written a moment after the deliveries.
    async fn wait_for_room(&self, bytes: u64) {
        let (Some(_place), Some(_memory)) = (self.patience.enter(), self.shares.waiting.enter(bytes)) else {
            return;
        };
        let longest = Instant::now() + PATIENCE;
        loop {
            let version = self.state.holds_version();
            let until = self.patience.ends(version).min(longest).into();
            let progress = self.state.progress_since(version);
            let is_over = tokio::time::timeout_at(until, progress).await.is_err() || self.is_closing();
            // Also at the end: another Broker may have settled something meanwhile.
            let Some(shortage) = self.shortage(bytes) else {
                return;
            };
            let left = self.make_room(shortage, bytes).await;
            if is_over || !left.is_some_and(|left| left.may_pass()) {
                return;
            }
        }
    }

    /// Replies and dead letters may use the reserve. A part of it is kept from them while another Broker
    /// needs some.
    fn admit_reply(&self, bytes: u64) -> Result<Promise<'_>, AppendError> {
        let Some(space) = self.disk.space().filter(|space| space.missing(bytes) > 0) else {
            return Ok(self.disk.promise(bytes));
        };
        self.borrowed.ask();
        let others = self.shares.channels();
        let is_contended = others
            .iter()
            .any(|other| !std::ptr::eq(&raw const **other, self) && other.borrowed.is_needed());
        let borrowed = self.borrowed.bytes(self.owed_bytes());
        if !may_reply(space, borrowed, bytes, is_contended) {
            return Err(disk_full(format!(
                "the volume of the data folder has {} free, and this broker has taken half of what is kept for delivering what is \
                 stored; other brokers need the rest",
                size(space.free)
            )));
        }
        self.borrowed.take(bytes);
        Ok(self.disk.promise(bytes))
    }

    /// Why producers are turned away now: whether what was turned away last would still not fit. What could
    /// be deleted for it does not count.
    pub(super) fn refusing(&self) -> Option<String> {
        let shortage = self.shortage(self.turned_away.load(Ordering::Relaxed))?;
        if self.can_make_room(&shortage) {
            return None;
        }
        Some(self.reason(&shortage))
    }

    /// Whether a producer's append of so many bytes lacks room, and why.
    pub(super) fn shortage(&self, bytes: u64) -> Option<Shortage> {
        self.above_part(bytes).or_else(|| self.above_limit(bytes))
    }

    /// The shortage, if the volume is short and this Broker holds more than its part or has taken its share
    /// of the reserve.
    fn above_part(&self, bytes: u64) -> Option<Shortage> {
        let space = self.disk.space()?;
        let missing = space.missing(bytes);
        if missing == 0 {
            return None;
        }
        let own = self.owed_bytes();
        let part = self.shares.held().equal_part(space, own);
        let is_below = own.saturating_add(bytes) <= part;
        if is_below && may_produce(space, self.borrowed.bytes(own), bytes) {
            return None;
        }
        Some(Shortage::Disk {
            missing,
            space,
            own,
            part,
            may_pass: is_below,
        })
    }

    /// The shortage, if the Broker is at its own limit.
    fn above_limit(&self, bytes: u64) -> Option<Shortage> {
        let limit = self.options().backlog_bytes?;
        let backlog = self.backlog_bytes();
        // A backlog of nothing takes any event, also one that is larger than the limit.
        if backlog == 0 || backlog + bytes <= limit {
            return None;
        }
        Some(Shortage::Backlog {
            above: backlog + bytes - limit,
            backlog,
            limit,
        })
    }

    fn refusal(&self, shortage: &Shortage) -> AppendError {
        let reason = self.reason(shortage);
        match shortage {
            Shortage::Disk { .. } => disk_full(reason),
            Shortage::Backlog { .. } => AppendError::Full {
                code: "backlog-full",
                reason,
                retry_after: RETRY,
            },
        }
    }

    /// The shortage in words.
    fn reason(&self, shortage: &Shortage) -> String {
        match *shortage {
            Shortage::Backlog { backlog, limit, .. } => format!(
                "{} of events wait for their triggers{}; the broker's limit is {}",
                size(backlog),
                self.whose(),
                size(limit)
            ),
            Shortage::Disk {
                space,
                own,
                part,
                may_pass,
                ..
            } => {
                let why = if may_pass {
                    "which other brokers need too".to_owned()
                } else {
                    format!(
                        "and {} of events are kept for this broker's triggers{}, where an equal part for each broker is {}",
                        size(own),
                        self.whose(),
                        size(part)
                    )
                };
                format!(
                    "the volume of the data folder has {} free, of which {} are kept for delivering what is stored, {why}",
                    size(space.free),
                    size(space.reserve())
                )
            }
        }
    }

    /// Names the triggers that the oldest events wait for.
    fn whose(&self) -> String {
        let Hindmost { triggers, more } = self.state.hindmost(NAMED);
        let names: Vec<_> = triggers.iter().map(ToString::to_string).collect();
        match (names.is_empty(), more) {
            (true, _) => String::new(),
            (false, 0) => format!(", the oldest for {}", names.join(", ")),
            (false, more) => format!(", the oldest for {} and {more} more", names.join(", ")),
        }
    }

    /// Bytes of events that are kept for triggers: the backlog, and copies of what waits for a retry or is
    /// parked.
    pub(crate) fn owed_bytes(&self) -> u64 {
        self.backlog_bytes() + self.state.copies()
    }

    /// Bytes of events that some lane still has to settle.
    pub(crate) fn backlog_bytes(&self) -> u64 {
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
