//! How a channel comes up: state first, then the log from the position that state demands, then the upkeep.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use millrace_event::ObjectName;
use tokio::sync::Notify;

use super::history::History;
use super::read::Damage;
use super::room::{Backlog, Patience};
use super::{Embedded, Surroundings, upkeep};
use crate::embedded::folder::{fault, sync_dir};
use crate::embedded::log::{Folder, Log, LogError, LogOptions, Recovery};
use crate::embedded::metrics::ChannelMetrics;
use crate::embedded::shares::Borrowed;
use crate::embedded::state::{Hooks, Opened, SchemaError, StateError, set_aside};
use crate::embedded::{ChannelOptions, Durability, OpenError};

/// A segment's size where nothing asks for smaller ones, and the least.
pub(super) const SEGMENT: (u64, u64) = (64 << 20, 256 << 10);

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
        metrics: ChannelMetrics,
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
        // State that names nothing is that of a Broker that is being made, perhaps since before a crash.
        let is_new = state.at_least == 0;
        let at_least = match is_new {
            true => around.folder.end_of_earlier(broker)?,
            false => state.at_least,
        };
        let unclean = state.unclean || rebuilt;
        let log_options = LogOptions {
            segment_bytes: segment_bytes(&options, volume),
            durability: around.options.durability,
            clock: around.options.clock.clone(),
            pool: around.pool.clone(),
            ended_cleanly: !unclean,
            ..LogOptions::default()
        };
        let (log, recovery) = around.backed(|| open_log(broker, &path, log_options.clone(), at_least))?;
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
            around.backed(|| prepare_to_write(&mut state, &file))?;
            around
                .backed(|| state.begin_at(log.oldest()))
                .map_err(state_fault)?;
        }
        let clock = &around.options.clock;
        // What is owed, or may have been attempted, keeps it awake.
        let asleep = !unclean
            && recovery == Recovery::default()
            && state.lowest() >= log.head()
            && !state.has_work().map_err(state_fault)?;
        let (ahead, now) = (clock.ahead(), clock.steady());
        if !asleep || state.must_take_over(ahead, now).map_err(state_fault)? {
            around.backed(|| prepare_to_write(&mut state, &file))?;
        }
        let take_over = || {
            if !asleep {
                state.begin_run()?;
            }
            if rebuilt {
                state.begin_at(log.oldest())?;
            }
            state.take_over(ahead, now)
        };
        around.backed(take_over).map_err(state_fault)?;
        let upkeep = Arc::<Notify>::default();
        let hooks = hooks(&log, &around, &metrics, &upkeep);
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
            rounds: around.rounds,
            is_in_rounds: AtomicBool::new(false),
            borrowed: Borrowed::default(),
            patience: Patience::default(),
            clock: around.options.clock,
            is_synced: around.options.durability == Durability::Sync,
            unclean,
            retaining: tokio::sync::Mutex::default(),
            finding: tokio::sync::Mutex::default(),
            upkeep,
            closing: AtomicBool::new(false),
            closed: tokio::sync::Mutex::default(),
            tending: Arc::default(),
            is_closed: AtomicBool::new(false),
            appending: AtomicUsize::new(0),
            said_fault: parking_lot::Mutex::default(),
            _folder: around.folder,
        });
        channel.shares.join(&channel);
        upkeep::begin(&channel);
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
    if let Some(state) = Opened::peek(file) {
        return Ok(Begun {
            state,
            rebuilt: false,
            has_log,
        });
    }
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
    options: LogOptions,
    at_least: u64,
) -> Result<(Log, Recovery), OpenError> {
    let logs = path.join("log");
    let folder = Folder::open(&logs).map_err(|error| fault("open", &logs, error))?;
    let files = match options.durability {
        Durability::Sync => folder.past_cache(),
        Durability::Os => folder,
    };
    Log::open(Arc::new(files), options, at_least).map_err(|source| OpenError::Log {
        broker: broker.clone(),
        source,
    })
}

fn hooks(log: &Log, around: &Surroundings, metrics: &ChannelMetrics, upkeep: &Arc<Notify>) -> Hooks {
    let (log, ballast, upkeep) = (log.clone(), around.ballast.clone(), upkeep.clone());
    Hooks {
        before_commit: Box::new(move || match log.sync() {
            // A closed log has synced everything.
            Ok(()) | Err(LogError::Closed) => Ok(()),
            Err(error) => Err(error.to_string()),
        }),
        on_full: Box::new(move || ballast.release()),
        on_wake: Box::new(move || upkeep.notify_one()),
        commits: metrics.state_commits.clone(),
        pool: around.pool.clone(),
    }
}

fn open_state(file: &Path, must_exist: bool) -> Result<Opened, OpenError> {
    Opened::open(file, must_exist).map_err(|error| not_opened(file, error))
}

fn prepare_to_write(state: &mut Opened, file: &Path) -> Result<(), OpenError> {
    state.prepare_to_write().map_err(|error| not_opened(file, error))
}

fn not_opened(file: &Path, error: SchemaError) -> OpenError {
    let file = file.to_owned();
    match error {
        SchemaError::Unreadable(reason) => OpenError::StateUnreadable { file, reason },
        SchemaError::TooNew { .. } | SchemaError::Other(_) => OpenError::State {
            file,
            reason: error.to_string(),
        },
    }
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
fn report(recovery: &Recovery, metrics: &ChannelMetrics) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::channel::testing::OPTIONS;

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
