//! How the Brokers of one data folder share their volume while it is short.
//!
//! # Contract
//! A Broker that asks alone may use all that is free. Once the volume is down to its reserve, a producer is
//! turned away when its Broker's backlog would be above an *equal part*. That is what all Brokers hold and
//! the volume may still take, divided by the number of Brokers that hold anything. The largest backlog is
//! always above it, so its producers are refused first. Events of the other Brokers may enter the first half
//! of the reserve: none may take more of that half than it leaves for the rest. The second half is for
//! replies, dead letters and progress alone. No Broker's replies may take more than half of the whole reserve
//! while another Broker needs some.
//!
//! So one Broker with a dead subscriber does not shut the others out, and a full volume still drains by
//! itself.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::channel::Embedded;
use super::disk::Space;

/// How long a count over all Brokers is believed.
const BELIEVED: Duration = Duration::from_millis(100);

/// How long nothing more is given up after that gave no room back.
const IN_VAIN: Duration = Duration::from_secs(10);

/// KiB of events that producers hold while they wait for room.
const WAITING_KIB: u32 = 4096;

/// How long a Broker counts as needing room in the reserve after it asked for some.
const NEEDS: Duration = Duration::from_secs(10);

/// All open channels of a data folder.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    channels: Mutex<Vec<Weak<Embedded>>>,
    counted: Mutex<Option<(Instant, Held)>>,
    /// When a look last found that no Broker can give anything: refusals must be cheap.
    barren: Mutex<Option<Instant>>,
    /// When something was given up last that gave no room back.
    in_vain: Mutex<Option<Instant>>,
    /// What producers that wait for room hold in memory.
    pub(crate) waiting: Waiters,
    /// One producer at a time is let into what is left of a short volume.
    pub(crate) admitting: Mutex<()>,
    /// One caller at a time drops what is owed to triggers that are gone. A caller that waited may find room
    /// already made.
    pub(crate) forgetting: tokio::sync::Mutex<()>,
}

/// Room in memory for the events of producers that wait, in KiB: others need that memory too.
#[derive(Debug)]
pub(crate) struct Waiters(Semaphore);

/// What the Brokers hold together: events that are not settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) bytes: u64,
    /// How many Brokers hold any.
    pub(crate) brokers: u64,
}

/// What one Broker has taken of the reserve, and when it last needed some.
#[derive(Debug, Default)]
pub(crate) struct Borrowed {
    bytes: Mutex<u64>,
    asked: Mutex<Option<Instant>>,
}

// === impl Shares ===

impl Shares {
    /// Counts a channel, as long as it lives.
    pub(crate) fn join(&self, channel: &Arc<Embedded>) {
        let mut channels = self.channels.lock();
        channels.retain(|known| known.strong_count() > 0);
        channels.push(Arc::downgrade(channel));
    }

    /// The channels that are open.
    pub(crate) fn channels(&self) -> Vec<Arc<Embedded>> {
        let known = self.channels.lock().clone();
        let open = known.iter().filter_map(Weak::upgrade);
        open.filter(|channel| !channel.is_closing()).collect()
    }

    /// What all of them hold, at most a moment old.
    pub(crate) fn held(&self) -> Held {
        let mut counted = self.counted.lock();
        if let Some((_, held)) = counted.filter(|(at, _)| at.elapsed() < BELIEVED) {
            return held;
        }
        let owed = self.channels().into_iter().map(|channel| channel.owed_bytes());
        let held = owed.fold(Held::default(), Held::and);
        *counted = Some((Instant::now(), held));
        held
    }

    /// Whether so many bytes can be won at all by giving up what some Broker of the volume still owes. Not
    /// where that gave no room back a moment ago: somebody else takes what becomes free.
    pub(crate) fn may_win(&self, missing: u64, owner: &Embedded) -> bool {
        let in_vain = self.in_vain.lock().is_some_and(|at| at.elapsed() < IN_VAIN);
        if in_vain {
            return false;
        }
        let channels = self.channels();
        let can = channels
            .iter()
            .filter(|channel| channel.has_orphans() || std::ptr::eq(Arc::as_ptr(channel), owner));
        can.map(|channel| channel.winnable()).sum::<u64>() >= missing
    }

    /// Something was given up, and no room came back.
    pub(crate) fn won_nothing(&self) {
        *self.in_vain.lock() = Some(Instant::now());
    }

    /// Whether any Broker has something that can go without harm.
    pub(crate) fn can_give(&self) -> bool {
        let is_barren = self.barren.lock().is_some_and(|at| at.elapsed() < BELIEVED);
        if is_barren {
            return false;
        }
        let found = self.channels().iter().any(|channel| channel.can_give());
        *self.barren.lock() = (!found).then(Instant::now);
        found
    }

    /// A Broker has written progress. What it can give since then counts at once: the next producer is not
    /// turned away for what an earlier look found.
    pub(crate) fn progressed(&self, channel: &Embedded) {
        let is_barren = self.barren.lock().is_some();
        if is_barren && channel.can_give() {
            *self.barren.lock() = None;
        }
    }
}

// === impl Waiters ===

impl Waiters {
    /// Room for an event of so many bytes, if there is some now. The largest takes all of it.
    pub(crate) fn enter(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(WAITING_KIB);
        self.0.try_acquire_many(kib.min(WAITING_KIB)).ok()
    }
}

impl Default for Waiters {
    fn default() -> Self {
        Self(Semaphore::new(WAITING_KIB as usize))
    }
}

// === impl Held ===

impl Held {
    fn and(self, backlog: u64) -> Self {
        Self {
            bytes: self.bytes + backlog,
            brokers: self.brokers + u64::from(backlog > 0),
        }
    }

    /// An equal part of what the volume may hold, for a Broker that holds `own` bytes of it.
    pub(crate) fn equal_part(self, space: Space, own: u64) -> u64 {
        let more = space.free.saturating_sub(space.reserve());
        let brokers = self.brokers + u64::from(own == 0);
        (self.bytes + more) / brokers.max(1)
    }
}

// === impl Borrowed ===

impl Borrowed {
    /// The bytes taken; they cannot be more than the Broker's whole backlog.
    pub(crate) fn bytes(&self, backlog: u64) -> u64 {
        let mut bytes = self.bytes.lock();
        *bytes = (*bytes).min(backlog);
        *bytes
    }

    /// Takes so many bytes.
    pub(crate) fn take(&self, bytes: u64) {
        *self.bytes.lock() += bytes;
    }

    /// Gives everything back: the volume is no longer short.
    pub(crate) fn clear(&self) {
        *self.bytes.lock() = 0;
    }

    /// Notes that the Broker asks for room in the reserve.
    pub(crate) fn ask(&self) {
        *self.asked.lock() = Some(Instant::now());
    }

    /// Whether it asked a short time ago.
    pub(crate) fn is_needed(&self) -> bool {
        self.asked.lock().is_some_and(|asked| asked.elapsed() < NEEDS)
    }
}

/// Whether a producer of a Broker that is below its part may write `bytes` into the first half of the
/// reserve.
pub(crate) fn may_produce(space: Space, borrowed: u64, bytes: u64) -> bool {
    let left = space.free.checked_sub(space.reserve() / 2 + bytes);
    left.is_some_and(|left| borrowed + bytes <= left)
}

/// Whether a Broker's reply may be written into the reserve. `is_contended`: another Broker needs some of it
/// too.
pub(crate) fn may_reply(space: Space, borrowed: u64, bytes: u64, is_contended: bool) -> bool {
    !is_contended || borrowed + bytes <= space.reserve() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A volume of 64 MiB with a reserve of 16 MiB.
    fn with_free(mebibytes: u64) -> Space {
        Space {
            total: 64 * MIB,
            free: mebibytes * MIB,
        }
    }

    #[test]
    fn an_equal_part_is_of_what_all_hold_and_what_may_still_come() {
        let held = |bytes, brokers| Held {
            bytes: bytes * MIB,
            brokers,
        };
        let cases = [
            ("alone it may have all", held(0, 0), 64, 0, 48),
            ("alone with a backlog", held(40, 1), 24, 40, 48),
            ("a second one comes", held(40, 1), 16, 0, 20),
            ("two", held(40, 2), 16, 5, 20),
            ("what is below the reserve is nobody's", held(40, 2), 3, 5, 20),
            ("three", held(48, 3), 16, 5, 16),
        ];
        for (case, held, free, own, part) in cases {
            assert_eq!(held.equal_part(with_free(free), own * MIB), part * MIB, "{case}");
        }
    }

    #[test]
    fn nobody_takes_more_of_the_first_half_than_it_leaves() {
        let mut free = 16 * MIB;
        let mut taken = Vec::new();
        for _ in 0..4 {
            let mut borrowed = 0;
            while may_produce(
                Space {
                    total: 64 * MIB,
                    free,
                },
                borrowed,
                4096,
            ) {
                borrowed += 4096;
                free -= 4096;
            }
            taken.push(borrowed / MIB);
        }
        assert_eq!(taken, [4, 2, 1, 0]);
        assert!(free >= 8 * MIB, "the other half is left");
    }

    #[test]
    fn replies_of_one_broker_leave_half_of_the_reserve_while_another_needs_it() {
        let cases = [
            (0, 8, true, true),
            (1, 8, true, false),
            (1, 8, false, true),
            (15, 1, false, true),
        ];
        for (borrowed, bytes, is_contended, expected) in cases {
            assert_eq!(
                may_reply(with_free(16), borrowed * MIB, bytes * MIB, is_contended),
                expected,
                "{borrowed} and {bytes}, {is_contended}"
            );
        }
    }
}
