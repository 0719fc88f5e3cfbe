//! A clock for tests: its two times stand still until the test moves them.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::{Timestamp, millis};

/// The state of a manual clock.
#[derive(Debug)]
pub struct Manual {
    wall: AtomicI64,
    steady: AtomicI64,
    moves: watch::Sender<u64>,
}

// === impl Manual ===

impl Manual {
    pub(super) fn new(start: Timestamp) -> Self {
        Self {
            wall: AtomicI64::new(start.0),
            steady: AtomicI64::new(start.0),
            moves: watch::Sender::new(0),
        }
    }

    pub(super) fn wall(&self) -> Timestamp {
        Timestamp(self.wall.load(Ordering::Acquire))
    }

    pub(super) fn steady(&self) -> Timestamp {
        Timestamp(self.steady.load(Ordering::Acquire))
    }

    pub(super) fn moves(&self) -> watch::Receiver<u64> {
        self.moves.subscribe()
    }

    pub(super) fn advance(&self, by: Duration) {
        self.wall.fetch_add(millis(by), Ordering::AcqRel);
        self.steady.fetch_add(millis(by), Ordering::AcqRel);
        self.moves.send_modify(|count| *count += 1);
    }

    pub(super) fn set(&self, wall: Timestamp) {
        self.wall.store(wall.0, Ordering::Release);
        self.moves.send_modify(|count| *count += 1);
    }
}
