//! The channel of one broker: log and state put together, with what neither knows alone. It is both halves of
//! the contract, [`crate::Log`] and [`Channel`].
//!
//! [`open`] puts it together, [`append`] takes events, [`room`] says whether there is room for them,
//! [`retention`] deletes what nobody needs, [`upkeep`] looks after it, [`read`] finds events wherever they
//! are kept, [`find`] looks them up by id, [`history`] keeps the attempts.

mod append;
mod find;
mod history;
mod open;
mod read;
mod retention;
mod room;
mod upkeep;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use millrace_event::{Clock, ObjectName, Timestamp};
use parking_lot::RwLock;
use tokio::sync::{Notify, Semaphore, watch};
use tracing::Span;

use super::ballast::Ballast;
use super::blocking::blocking;
use super::disk::Disk;
use super::folder::DataFolder;
use super::log::Log;
use super::metrics::ChannelMetrics;
use super::pool::Pool;
use super::rounds::Rounds;
use super::shares::{Borrowed, Shares};
use super::state::{LaneStart, State};
use super::{ChannelOptions, StoreOptions};
use crate::{
    AppendError, Attempt, Change, Channel, ChannelError, Forgotten, Lane, LaneId, LaneSpec, LaneState,
    Parked, ParkedQuery, Position, Record, Rows, Usage, Work,
};
use history::History;
use room::{Backlog, Patience};

/// What the channels of one data folder share.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) options: StoreOptions,
    pub(crate) disk: Arc<Disk>,
    pub(crate) ballast: Arc<Ballast>,
    pub(crate) shares: Arc<Shares>,
    /// Resting channels whose upkeep works at one time.
    pub(crate) idle_rounds: Arc<Semaphore>,
    /// Looks at those that rest.
    pub(crate) rounds: Arc<Rounds>,
    pub(crate) pool: Pool,
    pub(crate) folder: Arc<DataFolder>,
}

/// The channel of one broker on the local disk: its log, and the only partition of it. Whoever has the data
/// folder owns it.
#[derive(Debug)]
pub struct Embedded {
    /// It names the Broker. Log lines of the channel's work stand in it, on whatever task or thread.
    span: Span,
    log: Log,
    state: State,
    history: History,
    backlog: Backlog,
    /// The bytes of the append that was turned away last.
    turned_away: AtomicU64,
    options: RwLock<ChannelOptions>,
    metrics: Arc<ChannelMetrics>,
    disk: Arc<Disk>,
    ballast: Arc<Ballast>,
    /// The Brokers of the same volume, and what this one has taken of its reserve.
    shares: Arc<Shares>,
    borrowed: Borrowed,
    patience: Patience,
    clock: Clock,
    /// Appends are synced before they are answered.
    is_synced: bool,
    unclean: bool,
    /// Where new lanes begin in a run that rebuilds state; otherwise at the head.
    rebuilt_from: Option<u64>,
    damage: Arc<read::Damage>,
    retaining: tokio::sync::Mutex<()>,
    /// One look-up by id at a time.
    finding: tokio::sync::Mutex<()>,
    /// The turns of the upkeep while it rests, which it shares with the others.
    idle_rounds: Arc<Semaphore>,
    rounds: Arc<Rounds>,
    /// Whether it waits there to be looked at.
    is_in_rounds: AtomicBool,
    /// Wakes the upkeep early.
    upkeep: Arc<Notify>,
    closing: AtomicBool,
    /// Whether closing has come to an end.
    closed: tokio::sync::Mutex<Option<Result<(), ChannelError>>>,
    is_closed: AtomicBool,
    /// Appends under way.
    appending: AtomicUsize,
    /// Held by the upkeep while it works.
    tending: Arc<tokio::sync::Mutex<()>>,
    /// The fault that has been logged.
    said_fault: parking_lot::Mutex<Option<String>>,
    /// The lock of the data folder lives as long as the last channel in it. Dropped last.
    _folder: Arc<DataFolder>,
}

/// One more while this lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

// === impl Embedded ===

impl Embedded {
    pub(crate) fn options(&self) -> ChannelOptions {
        *self.options.read()
    }

    /// Applies new options at once.
    pub(crate) fn set_options(&self, options: ChannelOptions) {
        *self.options.write() = options;
        self.upkeep.notify_one();
    }

    /// Whether it is being closed or has been.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Whether its files are free.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Opens what is closed while the Broker is idle, and notes durably that this run has not ended: only
    /// then may an event be stored, and attempted.
    async fn wake(&self) -> Result<(), AppendError> {
        if let Err(error) = self.state.wake().await {
            // Reports what is wrong, and notices soon that it has ended.
            self.upkeep.notify_one();
            return Err(AppendError::Storage(error.to_string()));
        }
        // It was looked after less often.
        self.upkeep.notify_one();
        Ok(())
    }

    /// Closes every file until there is something to do. Only if nothing is owed: then nothing that was
    /// acknowledged lies in a file that nobody holds open.
    async fn rest(self: &Arc<Self>) {
        if !self.may_rest() {
            return;
        }
        let channel = self.clone();
        let rested = blocking(self.span.clone(), move || {
            channel.state.rest(|| channel.may_rest() && channel.log.rest())
        });
        // It fails only when the process ends.
        let _ = rested.await;
    }

    fn may_rest(&self) -> bool {
        self.appending.load(Ordering::SeqCst) == 0 && self.owes_nothing() && crate::Log::fault(self).is_none()
    }

    /// Whether every stored event is settled.
    fn owes_nothing(&self) -> bool {
        self.state.lowest() >= self.log.head()
    }

    /// Seals the segment that is being written.
    #[cfg(test)]
    pub(crate) async fn roll(&self) {
        self.log.roll().await.unwrap();
    }

    fn oldest(&self) -> Position {
        Position {
            partition: 0,
            offset: self.log.oldest(),
        }
    }

    async fn close_once(&self) -> Result<(), ChannelError> {
        let log = self.log.close().await.map_err(read::log_fault);
        let noted = self.state.note_ahead(self.clock.ahead(), self.clock.now()).await;
        // Whatever went wrong, the files are free afterwards.
        let state = self.state.close(log.is_ok()).await;
        self.history.flush().await;
        log?;
        noted?;
        Ok(state?)
    }
}

#[async_trait::async_trait]
impl Channel for Embedded {
    fn partition(&self) -> u32 {
        0
    }

    fn log(&self) -> &dyn crate::Log {
        self
    }

    fn head(&self) -> Position {
        Position {
            partition: 0,
            offset: self.log.head(),
        }
    }

    async fn get(&self, at: Position) -> Result<Option<Record>, ChannelError> {
        self.record_at(at.offset).await
    }

    async fn find(
        &self,
        id: &str,
        source: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Position>, ChannelError> {
        self.find_by_id(id, source, limit).await
    }

    fn recovered_uncleanly(&self) -> bool {
        self.unclean
    }

    async fn router(&self) -> Result<Position, ChannelError> {
        Ok(Position {
            partition: 0,
            offset: self.state.router(),
        })
    }

    async fn lanes(&self) -> Result<Vec<Lane>, ChannelError> {
        Ok(self.state.lanes().await?)
    }

    async fn open_lanes(&self, specs: Vec<LaneSpec>) -> Result<Vec<Lane>, ChannelError> {
        let start = self
            .rebuilt_from
            .map_or(self.log.head(), |from| from.max(self.log.oldest()));
        let admission = LaneStart {
            start,
            now: self.clock.steady(),
        };
        Ok(self.state.open_lanes(specs, admission).await?)
    }

    async fn drop_lane(&self, lane: LaneId) -> Result<u64, ChannelError> {
        let rows = self.state.drop_lane(lane).await?;
        self.upkeep.notify_one();
        Ok(rows)
    }

    async fn forget_orphan(&self, trigger: &ObjectName) -> Result<Forgotten, ChannelError> {
        let forgotten = self.state.forget(trigger.clone()).await?;
        self.upkeep.notify_one();
        Ok(forgotten)
    }

    async fn forget_work(&self, trigger: &ObjectName) -> Result<Forgotten, ChannelError> {
        let forgotten = self.state.forget_work(trigger.clone()).await?;
        self.upkeep.notify_one();
        Ok(forgotten)
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), ChannelError> {
        self.state.commit(changes).await?;
        self.shares.progressed(self);
        Ok(())
    }

    async fn due(&self, lane: LaneId, until: Timestamp, limit: usize) -> Result<Vec<Work>, ChannelError> {
        Ok(self.state.due(lane, until, limit).await?)
    }

    async fn next_due(&self, lane: LaneId, after: Timestamp) -> Result<Option<Timestamp>, ChannelError> {
        Ok(self.state.next_due(lane, after).await?)
    }

    async fn rows_of(&self, lanes: &[LaneId], at: Position) -> Result<HashMap<LaneId, Rows>, ChannelError> {
        Ok(self.state.rows_of(lanes, at.offset).await?)
    }

    async fn parked(&self, query: ParkedQuery) -> Result<Vec<Parked>, ChannelError> {
        let mut page = self.state.parked(query).await?;
        for parked in &mut page {
            self.find_event(parked).await?;
        }
        Ok(page)
    }

    async fn parked_by_id(&self, id: &str) -> Result<Option<Parked>, ChannelError> {
        let mut found = self.state.parked_by_id(id).await?;
        if let Some(parked) = &mut found {
            self.find_event(parked).await?;
        }
        Ok(found)
    }

    async fn redrive(&self, id: &str) -> Result<bool, ChannelError> {
        Ok(self.state.redrive(id, self.clock.steady()).await?)
    }

    async fn drop_parked(&self, id: &str) -> Result<bool, ChannelError> {
        Ok(self.state.drop_parked(id).await?)
    }

    async fn set_orphaned(&self, since: Option<Timestamp>) -> Result<(), ChannelError> {
        Ok(self.state.set_orphaned(since).await?)
    }

    async fn set_lane_state(&self, lane: LaneId, state: LaneState) -> Result<(), ChannelError> {
        Ok(self.state.set_lane_state(lane, state).await?)
    }

    fn commands(&self) -> watch::Receiver<u64> {
        self.state.commands()
    }

    fn record(&self, attempt: Attempt) {
        if !self.history.record(attempt) {
            self.metrics.history_dropped.inc();
        }
    }

    async fn attempts(&self, of: Position) -> Result<Vec<Attempt>, ChannelError> {
        self.history.attempts(of).await
    }

    fn attempts_left_out(&self, around: Position) -> bool {
        self.history.is_incomplete(around)
    }

    fn usage(&self) -> Usage {
        Usage {
            head: self.head(),
            oldest: self.oldest(),
            log_bytes: self.log.bytes(),
            refusing: self.refusing(),
            dropped: self.metrics.dropped_events.get(),
            forgotten: self.metrics.dropped_orphans.get(),
            parked: self.state.parked_count(),
            orphaned: self.state.orphaned(),
        }
    }

    async fn close(&self) -> Result<(), ChannelError> {
        self.closing.store(true, Ordering::Release);
        self.upkeep.notify_one();
        self.state.wake_waiting();
        let mut closed = self.closed.lock().await;
        if let Some(outcome) = &*closed {
            return outcome.clone();
        }
        let tending = self.tending.lock().await;
        let outcome = self.close_once().await;
        drop(tending);
        *closed = Some(outcome.clone());
        self.is_closed.store(true, Ordering::Release);
        outcome
    }
}

#[cfg(test)]
mod tests;

/// What the tests of the backend share.
#[cfg(test)]
pub(crate) mod testing {
    use std::time::Duration;

    use millrace_event::{Event, SpecVersion};

    use super::*;
    use crate::Class;

    pub(crate) const OPTIONS: ChannelOptions = ChannelOptions {
        retention_age: Duration::from_secs(24 * 3600),
        retention_bytes: 1 << 30,
        backlog_bytes: None,
        drop_oldest: false,
    };

    pub(crate) fn broker() -> ObjectName {
        ObjectName::new("shop", "default")
    }

    pub(crate) fn event(id: &str) -> Event {
        sized(id, 0)
    }

    /// An event with so many bytes of data.
    pub(crate) fn sized(id: &str, bytes: usize) -> Event {
        let builder = Event::builder(SpecVersion::V10)
            .attribute("id", id)
            .attribute("source", "/test");
        let builder = builder.attribute("type", "test");
        builder
            .data(millrace_event::DataForm::Bytes, &vec![b'.'; bytes])
            .build()
            .unwrap()
    }

    pub(crate) fn spec(trigger: &str) -> LaneSpec {
        LaneSpec {
            trigger: ObjectName::new("shop", trigger),
            uid: None,
            resume: false,
            filter: String::new(),
            longest_wait: Duration::from_secs(3600),
        }
    }

    /// Appends events, and says where the first of them stands. Nobody else appends meanwhile.
    pub(crate) async fn append(channel: &dyn Channel, ids: &[&str]) -> Position {
        let events = ids.iter().map(|id| event(id)).collect();
        channel.log().append(events, Class::Producer).await.unwrap();
        Position {
            partition: 0,
            offset: channel.head().offset - ids.len() as u64,
        }
    }

    /// The ids of all events from an offset to the head.
    pub(crate) async fn events_from(channel: &dyn Channel, from: u64) -> Vec<String> {
        let mut reader = channel.log().reader(Position {
            partition: 0,
            offset: from,
        });
        let mut ids = Vec::new();
        while reader.position() < channel.head() {
            let batch = reader.try_next(100, 1 << 20).await.unwrap();
            ids.extend(batch.records.iter().map(|record| record.event.id().to_owned()));
        }
        ids
    }
}
