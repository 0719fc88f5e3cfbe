//! A channel that counts the questions it is asked; another one answers them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millrace_channel::{
    Attempt, Change, Channel, ChannelError, Forgotten, Lane, LaneId, LaneSpec, LaneState, Log, Parked,
    ParkedQuery, Position, Record, Rows, Usage, Work,
};
use millrace_event::{ObjectName, Timestamp};
use tokio::sync::watch;

/// A channel with a count.
#[derive(Debug)]
pub(crate) struct Counted {
    answers: Arc<dyn Channel>,
    asked: AtomicUsize,
}

// === impl Counted ===

impl Counted {
    pub(crate) fn new(answers: Arc<dyn Channel>) -> Self {
        let asked = AtomicUsize::new(0);
        Self { answers, asked }
    }

    /// The questions since the last time.
    pub(crate) fn taken(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }

    fn ask(&self) -> &dyn Channel {
        self.asked.fetch_add(1, Ordering::Relaxed);
        &*self.answers
    }
}

#[async_trait::async_trait]
impl Channel for Counted {
    fn partition(&self) -> u32 {
        self.answers.partition()
    }
    fn log(&self) -> &dyn Log {
        self.ask().log()
    }
    fn head(&self) -> Position {
        self.ask().head()
    }
    async fn get(&self, at: Position) -> Result<Option<Record>, ChannelError> {
        self.ask().get(at).await
    }
    async fn find(
        &self,
        id: &str,
        source: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Position>, ChannelError> {
        self.ask().find(id, source, limit).await
    }
    fn recovered_uncleanly(&self) -> bool {
        self.ask().recovered_uncleanly()
    }
    async fn router(&self) -> Result<Position, ChannelError> {
        self.ask().router().await
    }
    async fn lanes(&self) -> Result<Vec<Lane>, ChannelError> {
        self.ask().lanes().await
    }
    async fn open_lanes(&self, specs: Vec<LaneSpec>) -> Result<Vec<Lane>, ChannelError> {
        self.ask().open_lanes(specs).await
    }
    async fn drop_lane(&self, lane: LaneId) -> Result<u64, ChannelError> {
        self.ask().drop_lane(lane).await
    }
    async fn forget_orphan(&self, trigger: &ObjectName) -> Result<Forgotten, ChannelError> {
        self.ask().forget_orphan(trigger).await
    }
    async fn forget_work(&self, trigger: &ObjectName) -> Result<Forgotten, ChannelError> {
        self.ask().forget_work(trigger).await
    }
    async fn commit(&self, changes: Vec<Change>) -> Result<(), ChannelError> {
        self.ask().commit(changes).await
    }
    async fn due(&self, lane: LaneId, until: Timestamp, limit: usize) -> Result<Vec<Work>, ChannelError> {
        self.ask().due(lane, until, limit).await
    }
    async fn next_due(&self, lane: LaneId, after: Timestamp) -> Result<Option<Timestamp>, ChannelError> {
        self.ask().next_due(lane, after).await
    }
    async fn rows_of(&self, lanes: &[LaneId], at: Position) -> Result<HashMap<LaneId, Rows>, ChannelError> {
        self.ask().rows_of(lanes, at).await
    }
    async fn parked(&self, query: ParkedQuery) -> Result<Vec<Parked>, ChannelError> {
        self.ask().parked(query).await
    }
    async fn parked_by_id(&self, id: &str) -> Result<Option<Parked>, ChannelError> {
        self.ask().parked_by_id(id).await
    }
    async fn redrive(&self, id: &str) -> Result<bool, ChannelError> {
        self.ask().redrive(id).await
    }
    async fn drop_parked(&self, id: &str) -> Result<bool, ChannelError> {
        self.ask().drop_parked(id).await
    }
    async fn set_orphaned(&self, since: Option<Timestamp>) -> Result<(), ChannelError> {
        self.ask().set_orphaned(since).await
    }
    async fn set_lane_state(&self, lane: LaneId, state: LaneState) -> Result<(), ChannelError> {
        self.ask().set_lane_state(lane, state).await
    }
    fn commands(&self) -> watch::Receiver<u64> {
        self.ask().commands()
    }
    fn record(&self, attempt: Attempt) {
        self.ask().record(attempt);
    }
    async fn attempts(&self, of: Position) -> Result<Vec<Attempt>, ChannelError> {
        self.ask().attempts(of).await
    }
    fn attempts_left_out(&self, around: Position) -> bool {
        self.ask().attempts_left_out(around)
    }
    fn usage(&self) -> Usage {
        self.ask().usage()
    }
    async fn close(&self) -> Result<(), ChannelError> {
        self.ask().close().await
    }
}
