//! What this process knows of the topic of the events between two looks at it.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Unreadable records are told in the log that often.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Of the topic of the events, as far as it has been seen.
#[derive(Debug, Default)]
pub(crate) struct Known {
    first: AtomicU64,
    next: AtomicU64,
    /// Everything below it is decided: no transaction below it is open.
    stable: AtomicU64,
    /// Records that were read, and their bytes.
    read: AtomicU64,
    bytes: AtomicU64,
    is_away: AtomicBool,
    has_lost: AtomicBool,
    /// Wakes whoever has to end because of a loss.
    pub(crate) lost: Notify,
    said: Mutex<Option<Instant>>,
}

// === impl Known ===

impl Known {
    /// Takes over what the partition's leader tells. A topic that ends before what was acknowledged or read
    /// has lost its end; `before` is what was known when it was asked.
    pub(crate) fn look(&self, before: u64, (first, next): (u64, u64), high: u64) {
        if high < before {
            return self.lose();
        }
        self.first.store(first, Ordering::Relaxed);
        self.stable.store(next, Ordering::Relaxed);
        self.next.fetch_max(next, Ordering::Relaxed);
    }

    /// The number that was acknowledged or read.
    pub(crate) fn saw(&self, number: u64) {
        self.next.fetch_max(number + 1, Ordering::Relaxed);
    }

    /// Counts a record that was read.
    pub(crate) fn read(&self, bytes: usize) {
        self.read.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn ends(&self) -> Range<u64> {
        let next = self.next.load(Ordering::Relaxed);
        self.first.load(Ordering::Relaxed).min(next)..next
    }

    pub(crate) fn stable(&self) -> u64 {
        self.stable.load(Ordering::Relaxed)
    }

    /// About how many bytes the records have, by those that were read: Kafka does not tell its clients.
    pub(crate) fn bytes(&self) -> u64 {
        let (read, bytes) = (
            self.read.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        );
        let ends = self.ends();
        (ends.end - ends.start) * bytes.checked_div(read).unwrap_or(0)
    }

    /// Notes a loss: the partition has to be claimed anew.
    pub(crate) fn lose(&self) {
        if !self.has_lost.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "Kafka has lost events that it had acknowledged; the channel is opened anew behind what is left"
            );
        }
        self.lost.notify_waiters();
    }

    pub(crate) fn has_lost(&self) -> bool {
        self.has_lost.load(Ordering::Relaxed)
    }

    /// Notes whether the servers answer; says so once for each change.
    pub(crate) fn answers(&self, answers: bool) {
        let was_away = self.is_away.swap(!answers, Ordering::Relaxed);
        match (was_away, answers) {
            (false, false) => tracing::warn!("the Kafka servers do not answer; events wait until they do"),
            (true, true) => tracing::info!("the Kafka servers answer again"),
            _ => {}
        }
    }

    pub(crate) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    /// Tells now and then that a record is skipped.
    pub(crate) fn say_unreadable(&self, offset: u64, topic: &str, reason: &str) {
        let mut said = self.said.lock();
        if said.is_none_or(|last| last.elapsed() >= SAY_EVERY) {
            *said = Some(Instant::now());
            tracing::warn!(
                topic,
                partition = 0,
                offset,
                reason,
                "a record in the topic of the events is no CloudEvent and is skipped (said once a minute)"
            );
        }
    }
}
