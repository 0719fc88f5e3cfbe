//! How a channel is looked after. While its files are open a task of its own makes rounds. While it rests
//! that task sleeps, and the [rounds](crate::embedded::rounds) of all resting channels wake it when there is
//! something to do.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tracing::Instrument as _;

use super::Embedded;
use super::open::SEGMENT;
use crate::embedded::disk::Space;

/// Time between two rounds, unless something asks for one earlier.
const PAUSE: Duration = Duration::from_secs(2);
/// After so many rounds in which nothing happened the files are closed: 14 s.
const CALM: u32 = 7;
/// A log that is given more bytes a second than this is busy.
const BUSY: u64 = 32 << 20;

/// The task of one channel.
#[derive(Debug)]
struct Upkeep {
    channel: Weak<Embedded>,
    wake: Arc<Notify>,
    tending: Arc<tokio::sync::Mutex<()>>,
    idle_rounds: Arc<Semaphore>,
    /// Bytes of the log and commits of the state, at the last round.
    seen: (u64, u64),
    looked: Instant,
    /// Rounds in a row in which nothing happened.
    calm: u32,
}

/// When the next round is.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// After so long, or when somebody asks for it.
    Within(Duration),
    WhenAsked,
    Never,
}

/// Looks after the channel until it is closed or dropped.
pub(super) fn begin(channel: &Arc<Embedded>) {
    channel.measure();
    let rests = channel.rests();
    let upkeep = Upkeep {
        channel: Arc::downgrade(channel),
        wake: channel.upkeep.clone(),
        tending: channel.tending.clone(),
        idle_rounds: channel.idle_rounds.clone(),
        seen: if rests {
            channel.written()
        } else {
            (u64::MAX, u64::MAX)
        },
        looked: Instant::now(),
        // One that begins resting has been idle already.
        calm: if rests { CALM } else { 0 },
    };
    let first = match rests {
        true => {
            channel.rounds.join(channel);
            Next::WhenAsked
        }
        false => Next::Within(Duration::ZERO),
    };
    drop(tokio::spawn(upkeep.run(first).instrument(channel.span.clone())));
}

// === impl Upkeep ===

impl Upkeep {
    async fn run(mut self, mut next: Next) {
        loop {
            match next {
                Next::Within(pause) => drop(tokio::time::timeout(pause, self.wake.notified()).await),
                Next::WhenAsked => self.wake.notified().await,
                Next::Never => return,
            }
            next = self.round().await;
        }
    }

    async fn round(&mut self) -> Next {
        let (tending, idle_rounds) = (self.tending.clone(), self.idle_rounds.clone());
        // Before all else, so that no close waits for it.
        let _turn = self.turn(&idle_rounds).await;
        // Taken before the channel and released after it: once the channel is closed, no upkeep holds it.
        let _tended = tending.lock().await;
        let Some(channel) = self.channel.upgrade().filter(|channel| !channel.is_closing()) else {
            return Next::Never;
        };
        let written = channel.written();
        let is_busy = is_busy(written.0.saturating_sub(self.seen.0), self.looked.elapsed());
        let happened = written != self.seen;
        (self.looked, self.seen) = (Instant::now(), written);
        let in_order = channel.keep_up_once(is_busy, happened).await;
        self.calm = if happened || !in_order { 0 } else { self.calm + 1 };
        if self.calm >= CALM && !channel.rests() {
            channel.rest().await;
            // Not a sign of life of anybody else.
            self.seen = channel.written();
        }
        if channel.rests() && crate::Log::fault(&*channel).is_none() {
            channel.rounds.join(&channel);
            return Next::WhenAsked;
        }
        Next::Within(PAUSE)
    }

    /// Thousands of resting channels may have something to do at the same moment: if the volume is short, for
    /// example. One that is woken waits for none of them.
    async fn turn<'s>(&self, idle_rounds: &'s Semaphore) -> Option<SemaphorePermit<'s>> {
        if !self.channel.upgrade().is_some_and(|channel| channel.rests()) {
            return None;
        }
        tokio::select! {
            // The semaphore is never closed.
            turn = idle_rounds.acquire() => turn.ok(),
            () = self.wake.notified() => None,
        }
    }
}

/// Whether a log that was given so many bytes in that time is busy.
fn is_busy(bytes: u64, time: Duration) -> bool {
    bytes as f64 > BUSY as f64 * time.as_secs_f64()
}

// === impl Embedded ===

impl Embedded {
    /// Bytes of the log and commits of the state in this run.
    fn written(&self) -> (u64, u64) {
        (self.log.metrics().bytes.get(), self.metrics.state_commits.get())
    }

    /// Shows the log's size.
    fn measure(&self) {
        self.metrics
            .log_bytes
            .set(i64::try_from(self.log.bytes()).unwrap_or(i64::MAX));
    }

    /// Looks whether the files are in order. A fault is logged once, and once more when it has ended.
    async fn look_over(&self) {
        // The result is kept as a fault.
        let _ = self.log.look_over().await;
        self.state.look_over().await;
        let now = crate::Log::fault(self);
        let mut said = self.said_fault.lock();
        match (&*said, &now) {
            (before, Some(fault)) if before.as_ref() != Some(fault) => {
                tracing::error!(fault, "the broker is not ready: its files are not in order");
            }
            (Some(_), None) => tracing::info!("the broker's files are in order again"),
            _ => {}
        }
        *said = now;
    }

    /// What can wait does when the log is busy. Says whether all is in order. If nothing `happened` since the
    /// last round, there is less to look at.
    async fn keep_up_once(&self, is_busy: bool, happened: bool) -> bool {
        let missing = self.disk.space().map_or(0, |space| space.missing(0));
        if let Err(error) = self.retain(missing).await {
            tracing::warn!(%error, "settled history could not be deleted");
        }
        if let Err(error) = self.state.note_ahead(self.clock.ahead(), self.clock.now()).await {
            tracing::warn!(%error, "that the clock was set could not be written down");
        }
        if happened && let Err(error) = self.state.give_back().await {
            tracing::debug!(%error, "free pages of the state database were not given back");
        }
        self.look_over().await;
        if !self.ballast.is_kept() {
            let (ballast, disk) = (self.ballast.clone(), self.disk.clone());
            let _ = tokio::task::spawn_blocking(move || ballast.restore(&disk)).await;
        }
        if missing == 0 {
            self.borrowed.clear();
        }
        // Segments that need no reading are cheap. Of the others one is read at a time, so that nothing else
        // waits for long; in a calm moment the next one follows at once. An index is a small part of a
        // segment, and a segment is at most a 64th of the volume.
        let has_room = |space: Space| space.missing(SEGMENT.0.min(space.total / 64)) == 0;
        let mut was_one =
            self.log.lacks_an_index() && self.disk.space().is_none_or(has_room) && self.index_next().await;
        while was_one && self.log.may_index_without_reading() {
            was_one = self.index_next().await;
        }
        if was_one && !is_busy {
            self.upkeep.notify_one();
        }
        self.log.forget_near();
        self.damage.count_frames();
        self.measure();
        missing == 0 && crate::Log::fault(self).is_none()
    }

    /// Whether its files are closed.
    pub(super) fn rests(&self) -> bool {
        !self.state.is_open()
    }
}

// === impl Embedded: at rest ===

impl Embedded {
    /// Notes that it waits for the rounds; `false`: it did already.
    pub(crate) fn enters_rounds(&self) -> bool {
        !self.is_in_rounds.swap(true, Ordering::SeqCst)
    }

    /// Looks at it while it rests, on a volume that `is_short` or not, and wakes its upkeep if there is
    /// something to do. `false`: it does not rest any more, and leaves the rounds. Blocking.
    pub(crate) fn look_at_rest(&self, is_short: bool) -> bool {
        let _span = self.span.enter();
        let stays = self.rests() && !self.is_closing();
        if !stays {
            self.is_in_rounds.store(false, Ordering::SeqCst);
        }
        if !stays || self.needs_upkeep(is_short) {
            self.upkeep.notify_one();
        }
        stays
    }

    /// Looks whether there is something to do for its upkeep. Blocking.
    pub(super) fn needs_upkeep(&self, is_short: bool) -> bool {
        // What questions have left.
        self.log.forget_near();
        self.damage.count_frames();
        // Another Broker may have deleted history of this one to make room.
        self.measure();
        // The result is kept as a fault.
        let _ = self.log.look_over_now();
        self.state.look_over_now();
        *self.said_fault.lock() != crate::Log::fault(self)
            || self.log.lacks_an_index()
            || self.has_expired()
            || (is_short && self.can_give())
            || !self.state.has_noted(self.clock.ahead(), self.clock.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_busy_by_what_it_is_given_in_a_time() {
        for (bytes, millis, expected) in [
            (0, 0, false),
            (1, 0, true),
            (BUSY, 1_000, false),
            (BUSY + 1, 1_000, true),
            (BUSY, 500, true),
            (u64::MAX, 1_000, true),
        ] {
            assert_eq!(
                is_busy(bytes, Duration::from_millis(millis)),
                expected,
                "{bytes} in {millis} ms"
            );
        }
    }
}
