//! The byte budget of all queues of the process: however many lanes stand still, memory is bounded.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of events queued in lanes, process-wide.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
}

// === impl Budget ===

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            used: AtomicUsize::new(0),
        }
    }

    /// Takes `bytes` if there is room.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        if self.used.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.limit {
            return true;
        }
        self.give_back(bytes);
        false
    }

    /// Takes `bytes` even beyond the limit: for what a lane must have to go on at all.
    pub(crate) fn take_anyway(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether queues that stand still should be dropped now: three quarters are used.
    pub(crate) fn is_tight(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.limit / 4 * 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_up_to_the_limit_and_gives_back() {
        let budget = Budget::new(100);
        assert!(budget.take(60));
        assert!(!budget.take(50));
        assert!(!budget.is_tight());
        assert!(budget.take(40));
        assert!(budget.is_tight());
        budget.give_back(100);
        assert!(budget.take(100));
    }
}
