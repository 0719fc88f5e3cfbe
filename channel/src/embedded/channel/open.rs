//! How a channel comes up: state first, then the log from the position that state demands, then the upkeep.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use millrace_event::ObjectName;
use tracing::Instrument as _;

use super::history::History;
use super::read::Damage;
use super::room::{Backlog, Patience};
use super::{Embedded, Surroundings};
use crate::Channel;
use crate::embedded::Durability;
use crate::embedded::disk::Space;
use crate::embedded::folder::{fault, sync_dir};
use crate::embedded::log::{Folder, Log, LogError, LogOptions, Recovery};
use crate::embedded::metrics::BrokerMetrics;
use crate::embedded::shares::Borrowed;
use crate::embedded::state::{Hooks, Opened, SchemaError, StateError, set_aside};
use crate::embedded::store::{ChannelOptions, OpenError};

/// Time between two rounds of upkeep, unless something asks for one earlier.
const UPKEEP: Duration = Duration::from_secs(2);
/// The time doubles so often while the files are closed: to 64 s. Whoever opens them asks for a round at
/// once.
const DOUBLED: u32 = 5;
/// After so many rounds in which nothing happened the files are closed: 14 s.
const CALM: u32 = 7;
/// A log that is given more bytes a second than this is busy.
const BUSY: u64 = 32 << 20;

/// A segment's size where nothing asks for smaller ones, and the least.
const SEGMENT: (u64, u64) = (64 << 20, 256 << 10);

/// State that has been opened.
struct Begun {
    state: Opened,
    /// It had to be made anew beside an older log.
    rebuilt: bool,
    /// There was something in the log's folder.
    has_log: bool,
}

impl Surroundings {
    /// Does what opens files, on a full volume in the room of the ballast.
    fn backed<T, E>(&self, open: impl FnMut() -> Result<T, E>) -> Result<T, E> {
        self.ballast.backing(&self.disk, open)
    }
}

impl Embedded {
    /// Opens the channel's files, or makes them, and starts its upkeep. On a volume that is
    /// full to the last block it does so in the room of the ballast. Blocking; within a runtime.
    pub(crate) fn open(
        broker: &ObjectName,
        options: ChannelOptions,
        around: Surroundings,
        metrics: BrokerMetrics,
    ) -> Result<Arc<Self>, OpenError> {
        let span = tracing::error_span!(parent: None, "broker", %broker);
        let _entered = span.enter();
        let path = around.backed(|| around.folder.make_broker(broker))?;
        let file = path.join("state.db");
        let Begun {
            mut state,
            rebuilt,
            has_log,
        } = begin_state(&path, &file, &around)?;
        let volume = around.disk.space().map_or(u64::MAX, |space| space.total);
        let segment_bytes = segment_bytes(&options, volume);
        // State that names nothing is that of a Broker that is being made, perhaps since before a crash.
        let is_new = state.at_least == 0;
        let at_least = match is_new {
            true => around.folder.end_of_earlier(broker)?,
            false => state.at_least,
        };
        let (log, recovery) = around.backed(|| open_log(broker, &path, segment_bytes, &around, at_least))?;
        report(&recovery, &metrics);
        if !has_log && state.at_least > 0 {
            let lost = state.at_least.saturating_sub(state.lowest());
            tracing::warn!(
                lost,
                "the log is missing or corrupt although state names its events; they are lost"
            );
            metrics.lost_events.inc_by(lost);
        }
        let state_fault = |error: StateError| OpenError::State {
            file: file.clone(),
            reason: error.to_string(),
        };
        state.bound_journal(volume).map_err(state_fault)?;
        if is_new && at_least > 0 && log.oldest() >= at_least {
            around
                .backed(|| state.begin_at(log.oldest()))
                .map_err(state_fault)?;
        }
        let clock = &around.options.clock;
        let unclean = state.unclean || rebuilt;
        // What is owed, or may have been attempted, keeps it awake.
        let asleep = !unclean
            && recovery == Recovery::default()
            && state.lowest() >= log.head()
            && !state.has_work().map_err(state_fault)?;
        let take_over = || {
            if !asleep {
                state.begin_run()?;
            }
            if rebuilt {
                state.begin_at(log.oldest())?;
            }
            state.take_over(clock.ahead(), clock.steady())
        };
        around.backed(take_over).map_err(state_fault)?;
        let hooks = hooks(&log, &around, &metrics);
        let state = state.start(hooks, asleep).map_err(state_fault)?;
        if asleep {
            log.rest();
        }
        let metrics = Arc::new(metrics);
        let channel = Arc::new(Self {
            span: span.clone(),
            rebuilt_from: rebuilt.then(|| log.oldest()),
            damage: Arc::new(Damage::new(log.clone(), metrics.clone(), &recovery)),
            log,
            state,
            history: History::open(
                &path.join("history"),
                around.options.history_bytes,
                around.disk.clone(),
            ),
            backlog: Backlog::default(),
            turned_away: AtomicU64::new(0),
            options: parking_lot::RwLock::new(options),
            metrics,
            disk: around.disk,
            ballast: around.ballast,
            shares: around.shares,
            idle_rounds: around.idle_rounds,
            borrowed: Borrowed::default(),
            patience: Patience::default(),
            clock: around.options.clock,
            unclean,
            retaining: tokio::sync::Mutex::default(),
            finding: tokio::sync::Mutex::default(),
            upkeep: Arc::default(),
            closing: AtomicBool::new(false),
            closed: tokio::sync::Mutex::default(),
            tending: Arc::default(),
            is_closed: AtomicBool::new(false),
            is_asleep: AtomicBool::new(asleep),
            appending: AtomicUsize::new(0),
            said_fault: parking_lot::Mutex::default(),
            _folder: around.folder,
        });
        channel.shares.join(&channel);
        keep_up(&channel);
        Ok(channel)
    }
}

/// Opens the state, or with leave to do so begins anew beside a log whose state cannot be read.
fn begin_state(path: &Path, file: &Path, around: &Surroundings) -> Result<Begun, OpenError> {
    let logs = path.join("log");
    // An index that its segment left behind is no log.
    let is_index = |entry: &std::fs::DirEntry| entry.path().extension().is_some_and(|suffix| suffix == "ids");
    let has_log = std::fs::read_dir(&logs)
        .map_err(|error| fault("list", &logs, error))?
        .any(|entry| entry.is_ok_and(|entry| !is_index(&entry)));
    let open = |must_exist| around.backed(|| open_state(file, must_exist));
    let begun = match open(has_log) {
        Err(OpenError::StateUnreadable { reason, .. }) if around.options.rebuild_state => {
            let aside = set_aside(file).map_err(|error| fault("rename", file, error))?;
            tracing::warn!(
                reason,
                ?aside,
                "the state database was corrupt and is made anew; every trigger begins at the oldest event"
            );
            Begun {
                state: open(false)?,
                rebuilt: true,
                has_log,
            }
        }
        opened => Begun {
            state: opened?,
            rebuilt: false,
            has_log,
        },
    };
    sync_dir(path)?;
    Ok(begun)
}

fn open_log(
    broker: &ObjectName,
    path: &Path,
    segment_bytes: u64,
    around: &Surroundings,
    at_least: u64,
) -> Result<(Log, Recovery), OpenError> {
    let log_options = LogOptions {
        segment_bytes,
        durability: around.options.durability,
        clock: around.options.clock.clone(),
        pool: around.pool.clone(),
        ..LogOptions::default()
    };
    let logs = path.join("log");
    let folder = Folder::open(&logs).map_err(|error| fault("open", &logs, error))?;
    let files = match around.options.durability {
        Durability::Sync => folder.past_cache(),
        Durability::Os => folder,
    };
    Log::open(Arc::new(files), log_options, at_least).map_err(|source| OpenError::Log {
        broker: broker.clone(),
        source,
    })
}

fn hooks(log: &Log, around: &Surroundings, metrics: &BrokerMetrics) -> Hooks {
    let (log, ballast) = (log.clone(), around.ballast.clone());
    Hooks {
        before_commit: Box::new(move || match log.sync() {
            // A closed log has synced everything.
            Ok(()) | Err(LogError::Closed) => Ok(()),
            Err(error) => Err(error.to_string()),
        }),
        on_full: Box::new(move || ballast.release()),
        commits: metrics.state_commits.clone(),
        pool: around.pool.clone(),
    }
}

fn open_state(file: &Path, must_exist: bool) -> Result<Opened, OpenError> {
    Opened::open(file, must_exist).map_err(|error| match error {
        SchemaError::Unreadable(reason) => OpenError::StateUnreadable {
            file: file.to_owned(),
            reason,
        },
        SchemaError::TooNew { .. } | SchemaError::Other(_) => OpenError::State {
            file: file.to_owned(),
            reason: error.to_string(),
        },
    })
}

/// Only whole segments can be deleted, so a segment is a small part of whatever limits the log.
fn segment_bytes(options: &ChannelOptions, volume: u64) -> u64 {
    let limits = [
        volume / 64,
        options.retention_bytes / 4,
        options.backlog_bytes.unwrap_or(u64::MAX) / 8,
    ];
    limits.into_iter().fold(SEGMENT.0, u64::min).max(SEGMENT.1)
}

/// Says and counts what opening the log found.
fn report(recovery: &Recovery, metrics: &BrokerMetrics) {
    if recovery.torn_bytes > 0 {
        tracing::info!(
            bytes = recovery.torn_bytes,
            "cut a torn tail off the log: appends that were never answered"
        );
        metrics.torn_bytes.inc_by(recovery.torn_bytes);
    }
    if let Some((from, to)) = recovery.skipped {
        tracing::warn!(
            from,
            to,
            "state names positions that the log does not have; they are skipped, their events are lost"
        );
        metrics.lost_events.inc_by(to.saturating_sub(from));
    }
}

/// Looks after the channel until it is closed or dropped.
fn keep_up(channel: &Arc<Embedded>) {
    let (weak, wake) = (Arc::downgrade(channel), channel.upkeep.clone());
    let tending = channel.tending.clone();
    // One that begins resting has been idle already.
    let rested = channel.rests();
    let (mut bytes, mut commits, mut calm) = match rested {
        true => (
            channel.log.metrics().bytes.get(),
            channel.metrics.state_commits.get(),
            CALM,
        ),
        false => (u64::MAX, u64::MAX, 0),
    };
    let (span, idle_rounds) = (channel.span.clone(), channel.idle_rounds.clone());
    let upkeep = async move {
        let (mut looked, mut is_idle) = (Instant::now(), rested);
        loop {
            // Thousands of idle Brokers may ask at the same moment; one that is woken waits for none of them.
            // Taken before all else, so that no close waits for it; the semaphore is never closed.
            let turn = match is_idle {
                true => tokio::select! {
                    turn = idle_rounds.acquire() => turn.ok(),
                    () = wake.notified() => None,
                },
                false => None,
            };
            // Taken before the channel and released after it: once the channel is closed, no upkeep holds it.
            let tended = tending.lock().await;
            let Some(channel) = weak.upgrade() else { return };
            if channel.is_closing() {
                return;
            }
            let written = channel.log.metrics().bytes.get();
            let is_busy = is_busy(written.saturating_sub(bytes), looked.elapsed());
            let committed = channel.metrics.state_commits.get();
            let happened = (written, committed) != (bytes, commits);
            (looked, bytes, commits) = (Instant::now(), written, committed);
            let in_order = channel.keep_up_once(is_busy, happened).await;
            calm = if happened || !in_order { 0 } else { calm + 1 };
            if calm >= CALM && !channel.rests() {
                channel.rest().await;
                // Not a sign of life of anybody else.
                commits = channel.metrics.state_commits.get();
            }
            // One that is open may be given much at any moment.
            let resting = if channel.rests() {
                calm.saturating_sub(CALM)
            } else {
                0
            };
            let rests = channel.rests();
            drop((channel, tended, turn));
            let pause = UPKEEP * 2_u32.pow(resting.min(DOUBLED));
            let was_asked = tokio::time::timeout(pause, wake.notified()).await.is_ok();
            is_idle = rests && !was_asked;
        }
    };
    drop(tokio::spawn(upkeep.instrument(span)));
}

/// Whether a log that was given so many bytes in that time is busy.
fn is_busy(bytes: u64, time: Duration) -> bool {
    bytes as f64 > BUSY as f64 * time.as_secs_f64()
}

impl Embedded {
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
        self.metrics
            .log_bytes
            .set(i64::try_from(self.log.bytes()).unwrap_or(i64::MAX));
        missing == 0 && crate::Log::fault(self).is_none()
    }

    /// Whether its files are closed.
    pub(super) fn rests(&self) -> bool {
        self.is_asleep.load(Ordering::SeqCst) && !self.state.is_open()
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // Ends the upkeep at once.
        self.upkeep.notify_one();
        if !self.is_closed() {
            self.span.in_scope(
                || tracing::debug!(head = %self.head(), "the channel was dropped without being closed"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::channel::testing::OPTIONS;

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

    #[test]
    fn a_segment_is_a_small_part_of_whatever_limits_the_log() {
        let with = |retention_bytes, backlog_bytes| ChannelOptions {
            retention_bytes,
            backlog_bytes,
            ..OPTIONS
        };
        let cases = [
            (with(1 << 30, None), 1 << 40, 64 << 20),
            (with(1 << 30, None), 64 << 20, 1 << 20),
            (with(8 << 20, None), 1 << 40, 2 << 20),
            (with(1 << 30, Some(16 << 20)), 1 << 40, 2 << 20),
            (with(0, Some(0)), 0, 256 << 10),
        ];
        for (options, volume, bytes) in cases {
            assert_eq!(segment_bytes(&options, volume), bytes, "{options:?} on {volume}");
        }
    }
}
