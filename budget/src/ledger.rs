//! A plain count of bytes against a limit.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Anything that can report how many bytes it uses, and how many it may use.
pub trait Use: Send + Sync + fmt::Debug {
    /// Bytes in use now.
    fn used(&self) -> usize;

    /// Bytes that may be in use.
    fn limit(&self) -> usize;
}

/// Bytes in use, and their limit.
///
/// Many threads change a ledger for every event, and ledgers are made side by side. Each has cache lines of
/// its own, so that changes of one do not slow down another.
#[derive(Debug)]
#[repr(align(128))]
pub struct Ledger {
    limit: usize,
    used: AtomicUsize,
}

// === impl Ledger ===

impl Ledger {
    /// A ledger with this limit in bytes; nothing is in use yet.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            used: AtomicUsize::new(0),
        }
    }

    /// Takes `bytes` if there is room. A caller that finds no room takes nothing, not even for a moment:
    /// others would find less room.
    pub fn take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.limit);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.is_ok()
    }

    /// Takes `bytes` even beyond the limit: for work that must go on whatever others hold.
    pub fn take_anyway(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives back what was taken.
    pub fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Use for Ledger {
    fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn limit(&self) -> usize {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_up_to_the_limit_and_gives_back() {
        let ledger = Ledger::new(100);
        assert!(ledger.take(60));
        assert!(!ledger.take(50));
        assert!(ledger.take(40));
        assert_eq!((ledger.used(), ledger.limit()), (100, 100));
        ledger.take_anyway(10);
        assert!(!ledger.take(0), "beyond the limit");
        ledger.give_back(110);
        assert!(ledger.take(100));
    }
}
