//! What this process knows of the streams between two looks at them.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::Info;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Unreadable messages are told in the log that often.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Of the event stream, as far as it has been seen.
#[derive(Debug, Default)]
pub(crate) struct Known {
    first: AtomicU64,
    next: AtomicU64,
    bytes: AtomicU64,
    max_bytes: AtomicU64,
    is_away: AtomicBool,
    has_lost: AtomicBool,
    /// Wakes whoever has to end because of a loss.
    pub(crate) lost: Notify,
    said: Mutex<Option<Instant>>,
}

// === impl Known ===

impl Known {
    /// Takes over what the stream's leader tells. A stream that ends before what was acknowledged or read has
    /// lost its end.
    pub(crate) fn look(&self, info: &Info) {
        let next = info.state.last_sequence + 1;
        self.first
            .store(info.state.first_sequence.max(1), Ordering::Relaxed);
        self.bytes.store(info.state.bytes, Ordering::Relaxed);
        let max_bytes = u64::try_from(info.config.max_bytes).unwrap_or(u64::MAX);
        self.max_bytes.store(max_bytes, Ordering::Relaxed);
        self.next.fetch_max(next, Ordering::Relaxed);
    }

    /// The number that was acknowledged or read.
    pub(crate) fn saw(&self, sequence: u64) {
        self.next.fetch_max(sequence + 1, Ordering::Relaxed);
    }

    /// Counts bytes that were stored since the last look.
    pub(crate) fn stored(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn ends(&self) -> Range<u64> {
        let next = self.next.load(Ordering::Relaxed).max(1);
        self.first.load(Ordering::Relaxed).clamp(1, next)..next
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes that the stream may have.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.max_bytes.load(Ordering::Relaxed)
    }

    /// Notes a loss: the partition has to be claimed anew.
    pub(crate) fn lose(&self) {
        if !self.has_lost.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "the NATS server has lost events that it had acknowledged; the channel is opened anew behind \
                 what is left"
            );
        }
        self.lost.notify_waiters();
    }

    pub(crate) fn has_lost(&self) -> bool {
        self.has_lost.load(Ordering::Relaxed)
    }

    /// Notes whether the servers answer. One partition of a Broker says so, once for each change.
    pub(crate) fn answers(&self, answers: bool, says_so: bool) {
        let was_away = self.is_away.swap(!answers, Ordering::Relaxed);
        match (was_away, answers) {
            _ if !says_so => {}
            (false, false) => tracing::warn!("the NATS servers do not answer; events wait until they do"),
            (true, true) => tracing::info!("the NATS servers answer again"),
            _ => {}
        }
    }

    pub(crate) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    /// Tells now and then that a message is skipped.
    pub(crate) fn say_unreadable(&self, sequence: u64, subject: &str, reason: &str) {
        let mut said = self.said.lock();
        if said.is_none_or(|last| last.elapsed() >= SAY_EVERY) {
            *said = Some(Instant::now());
            tracing::warn!(
                sequence,
                subject,
                reason,
                "a message in the event stream is no CloudEvent and is skipped (said once a minute)"
            );
        }
    }
}
