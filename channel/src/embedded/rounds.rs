//! Looks at the Brokers that rest: one task for all of them, so that thousands cost no timer and no thread.
//!
//! Every 2 s it takes some of them in turn: at least 160, and as many as it takes to look at each once a
//! minute. A look is a handful of calls to the file system. It says whether the Broker's files are in order,
//! and whether its own upkeep is needed: history is too old, the volume is short, the clock was set.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::ballast::Ballast;
use super::channel::Embedded;
use super::disk::Disk;

/// Time between two looks at some of them.
const PAUSE: Duration = Duration::from_secs(2);
/// So many are looked at together at least.
const FEW: usize = 160;
/// Each has its turn within so many pauses: a minute.
const PAUSES: usize = 30;

/// The resting channels of a data folder.
#[derive(Debug)]
pub(crate) struct Rounds {
    /// The next one first.
    resting: Mutex<VecDeque<Weak<Embedded>>>,
    disk: Arc<Disk>,
    ballast: Arc<Ballast>,
    /// Somebody rests, or this is about to end.
    joined: Arc<Notify>,
    has_begun: AtomicBool,
}

/// How many are looked at together of so many.
fn at_once(resting: usize) -> usize {
    resting.div_ceil(PAUSES).max(FEW).min(resting)
}

// === impl Rounds ===

impl Rounds {
    pub(crate) fn of(disk: Arc<Disk>, ballast: Arc<Ballast>) -> Arc<Self> {
        Arc::new(Self {
            resting: Mutex::default(),
            disk,
            ballast,
            joined: Arc::default(),
            has_begun: AtomicBool::new(false),
        })
    }

    /// A channel rests from now on, or still does. Within a runtime.
    pub(crate) fn join(self: &Arc<Self>, channel: &Arc<Embedded>) {
        if !channel.enters_rounds() {
            return;
        }
        self.resting.lock().push_back(Arc::downgrade(channel));
        self.joined.notify_one();
        if !self.has_begun.swap(true, Ordering::SeqCst) {
            drop(tokio::spawn(run(Arc::downgrade(self), self.joined.clone())));
        }
    }

    fn nobody_rests(&self) -> bool {
        self.resting.lock().is_empty()
    }

    /// Looks at the next ones. Blocking.
    fn look(&self) {
        if !self.ballast.is_kept() {
            self.ballast.restore(&self.disk);
        }
        let is_short = self.disk.space().is_some_and(|space| space.missing(0) > 0);
        let mut some: Vec<_> = {
            let mut resting = self.resting.lock();
            let count = at_once(resting.len());
            resting.drain(..count).collect()
        };
        some.retain(|channel| {
            let channel = channel.upgrade();
            channel.is_some_and(|channel| channel.look_at_rest(is_short))
        });
        self.resting.lock().extend(some);
    }
}

impl Drop for Rounds {
    fn drop(&mut self) {
        self.joined.notify_one();
    }
}

/// Makes rounds until the data folder is closed.
async fn run(rounds: Weak<Rounds>, joined: Arc<Notify>) {
    loop {
        match rounds.upgrade().map(|rounds| rounds.nobody_rests()) {
            None => return,
            Some(true) => joined.notified().await,
            Some(false) => tokio::time::sleep(PAUSE).await,
        }
        let Some(rounds) = rounds.upgrade() else { return };
        let looked = tokio::task::spawn_blocking(move || rounds.look());
        // It fails only when the process ends.
        let _ = looked.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_turn_within_a_minute_and_few_are_looked_at_every_time() {
        for (resting, expected) in [
            (0, 0),
            (1, 1),
            (160, 160),
            (161, 160),
            (4_800, 160),
            (4_801, 161),
            (5_000, 167),
            (100_000, 3_334),
        ] {
            let some = at_once(resting);
            assert_eq!(some, expected, "of {resting}");
            assert!(some * PAUSES >= resting, "of {resting}");
        }
    }
}
