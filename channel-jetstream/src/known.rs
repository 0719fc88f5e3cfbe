//! What this process knows of the streams between two looks at them, and for which producers are refused.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::Info;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Unreadable messages are told in the log that often.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// From how many percent of the event stream on producers are refused; the rest is for replies and dead
/// letters.
const RESERVE_FROM: u64 = 90;
/// From how many percent of its share of bytes on the state has producers refused.
const STATE_FULL_FROM: u64 = 70;
/// From how many percent on it takes no more copies of events: they stay in the log.
const COPIES_UP_TO: u64 = 85;

/// What does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Away {
    /// The servers, or the stream of the events.
    Servers,
    /// Only the stream of the state.
    State,
}

/// Of the streams, as far as they have been seen.
#[derive(Debug, Default)]
pub(crate) struct Known {
    first: AtomicU64,
    next: AtomicU64,
    bytes: AtomicU64,
    max_bytes: AtomicU64,
    state_bytes: AtomicU64,
    /// Written to the state since the last look at it. What has replaced something counts twice until then.
    state_written: AtomicU64,
    state_share: AtomicU64,
    away: Mutex<Option<Away>>,
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

    /// Takes over what the leader of the state stream tells. An operator may have given it a bound that is
    /// below its share.
    pub(crate) fn look_at_state(&self, info: &Info, share: u64) {
        let bound = u64::try_from(info.config.max_bytes)
            .ok()
            .filter(|bound| *bound > 0);
        self.state_bytes.store(info.state.bytes, Ordering::Relaxed);
        self.state_written.store(0, Ordering::Relaxed);
        self.state_share
            .store(share.min(bound.unwrap_or(u64::MAX)), Ordering::Relaxed);
    }

    /// Why producers are refused now; `None`: they are not.
    pub(crate) fn is_full(&self) -> Option<String> {
        let (bytes, most) = (self.bytes(), self.max_bytes());
        if is_from(bytes, most, RESERVE_FROM) {
            return Some(format!(
                "the event stream has {bytes} of its {most} bytes: {RESERVE_FROM} % are for producers, the rest \
                 is for replies and dead letters"
            ));
        }
        let (bytes, share) = self.state();
        is_from(bytes, share, STATE_FULL_FROM).then(|| {
            format!(
                "the state, with its rows of work and parked events, has {bytes} of its {share} bytes: from \
                 {STATE_FULL_FROM} % on producers wait until some of them have gone"
            )
        })
    }

    /// Whether the state has room for copies of events. Between two looks many of them can be written.
    pub(crate) fn has_room_for_copies(&self) -> bool {
        let (bytes, share) = self.state();
        let written = self.state_written.load(Ordering::Relaxed);
        !is_from(bytes + written, share, COPIES_UP_TO)
    }

    /// Counts bytes that were written to the state since the last look.
    pub(crate) fn wrote_state(&self, bytes: usize) {
        self.state_written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The bytes of the state, and its share.
    fn state(&self) -> (u64, u64) {
        let share = self.state_share.load(Ordering::Relaxed);
        (self.state_bytes.load(Ordering::Relaxed), share)
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

    /// Notes that the state is gone: the Broker cannot be opened again until somebody has seen to it.
    pub(crate) fn lose_state(&self, stream: &str) {
        if !self.has_lost.swap(true, Ordering::Relaxed) {
            tracing::error!(
                stream,
                "the stream of a partition's state is gone; the channel is closed"
            );
        }
        self.lost.notify_waiters();
    }

    pub(crate) fn has_lost(&self) -> bool {
        self.has_lost.load(Ordering::Relaxed)
    }

    /// Notes what does not answer, and says so once for each change. Of the servers one partition does.
    pub(crate) fn answers(&self, away: Option<Away>, partition: u32) {
        let before = std::mem::replace(&mut *self.away.lock(), away);
        match (before, away) {
            (before, now) if before == now => {}
            (_, Some(Away::State)) => {
                tracing::warn!(partition, "{}; events wait until it does", Away::State.in_words());
            }
            (Some(Away::State), None) => {
                tracing::info!(partition, "the state of the partition answers again")
            }
            _ if partition != 0 => {}
            (_, Some(Away::Servers)) => {
                tracing::warn!("{}; events wait until they do", Away::Servers.in_words());
            }
            (_, None) => tracing::info!("the NATS servers answer again"),
        }
    }

    pub(crate) fn away(&self) -> Option<Away> {
        *self.away.lock()
    }

    pub(crate) fn is_away(&self) -> bool {
        self.away().is_some()
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

// === impl Away ===

impl Away {
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Self::Servers => "the NATS servers do not answer",
            Self::State => "the stream of a partition's state does not answer: it may have no leader",
        }
    }
}

/// Whether so many percent are reached.
fn is_from(bytes: u64, most: u64, percent: u64) -> bool {
    bytes / 100 >= most / 100 * percent / 100
}
