//! The channel contract: what every backend promises. The conformance suite tests each sentence
//! of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use millrace_event::{Event, ObjectName, Timestamp};
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::{
    Attempt, Batch, Lane, LaneId, LaneSpec, LaneState, Parked, ParkedQuery, Position, Record, Rows, Work,
    WorkKey,
};

/// A broker's durable log and the state beside it.
///
/// # Flow
/// Intake appends. The dispatcher asks for its lanes, reads from the router's position on, and commits
/// changes. Commands (pause, redrive, drop) are changes of the same state, which the dispatcher watches with
/// [`Channel::commands`].
///
/// # Guarantees
/// - `append` returns when the events are durable, in order; a batch is all or nothing.
/// - Only durable events are read. State never names a position that is not durable.
/// - `commit` is atomic and durable when it returns; every change is idempotent by its key; changes of one
///   call are applied in order.
/// - Times to wait for (due times, since when a lane is orphaned) are in the steady time of this process
///   ([`millrace_event::clock`]), which a set wall clock does not move. What is stored is right for the next
///   process too.
/// - Events that rows of work or parked rows name stay readable by `get` until the row is gone, whatever
///   retention deletes.
///
/// # Assumptions
/// One process, one dispatcher per channel.
#[async_trait::async_trait]
pub trait Channel: Send + Sync + fmt::Debug {
    /// Stores the events, all or none; returns the position of the first. The others follow it directly.
    async fn append(&self, events: Vec<Event>, class: Class) -> Result<Position, AppendError>;

    /// The next position to be written: everything below it is durable.
    fn head(&self) -> Position;

    /// A reader that begins at `from`.
    fn reader(&self, from: Position) -> Box<dyn Reader>;

    /// The event at a position, from the log or from the copies kept for rows; `None` when it is gone.
    async fn get(&self, at: Position) -> Result<Option<Record>, ChannelError>;

    /// The first position appended at or after `time` (the head when there is none), among what is retained.
    async fn position_at(&self, time: Timestamp) -> Result<Position, ChannelError>;

    /// The positions of the events with that `id` (and `source`, where it is given), in order: the newest, at
    /// most `limit` of them, also of events that are kept only because rows name them. No scan of what is
    /// retained: of thousands of events with that id the oldest may be left out.
    async fn find(&self, id: &str, source: Option<&str>, limit: usize)
    -> Result<Vec<Position>, ChannelError>;

    /// Whether the last run ended uncleanly. Positions from the router's (or a lane's cursor) up to the
    /// `head` at opening may then have been attempted although nothing says so. An end with nothing owed, and
    /// nothing stored or changed for a while before it, may count as clean.
    fn recovered_uncleanly(&self) -> bool;

    /// The router's position: the next event it has not given to its lanes.
    async fn router(&self) -> Result<Position, ChannelError>;

    /// Every lane that is stored.
    async fn lanes(&self) -> Result<Vec<Lane>, ChannelError>;

    /// Finds or makes a lane for each spec, in one durable step, and sets it active unless it is paused. A
    /// new lane starts at the head; another lane of the same name with another uid becomes orphaned. Work
    /// that is due later than the spec's longest wait is brought forward to it. A running router may have
    /// passed the new lane's `start` when this returns: the lane must then read by itself what lies between.
    async fn open_lanes(&self, specs: Vec<LaneSpec>) -> Result<Vec<Lane>, ChannelError>;

    /// Forgets a lane with its progress and its work, for good; says how many rows of work went. Its parked
    /// events stay.
    async fn drop_lane(&self, lane: LaneId) -> Result<u64, ChannelError>;

    /// Forgets every lane of a trigger that is gone (orphaned), as `drop_lane` does. An operator asks for it
    /// before the grace period has ended.
    async fn forget_orphan(&self, trigger: &ObjectName) -> Result<Forgotten, ChannelError>;

    /// Applies all changes or none. A change for a lane that is gone does nothing: its debts went with it.
    async fn commit(&self, changes: Vec<Change>) -> Result<(), ChannelError>;

    /// The lane's rows of work due at or before `until`, earliest first, at most `limit`. Rows already handed
    /// out are handed out again.
    async fn due(&self, lane: LaneId, until: Timestamp, limit: usize) -> Result<Vec<Work>, ChannelError>;

    /// The earliest due time of the lane's rows that is later than `after`.
    async fn next_due(&self, lane: LaneId, after: Timestamp) -> Result<Option<Timestamp>, ChannelError>;

    /// What these lanes have written down of one event; a lane with nothing is left out. The events of parked
    /// rows are not looked up (but for replies).
    async fn rows_of(&self, lanes: &[LaneId], at: Position) -> Result<HashMap<LaneId, Rows>, ChannelError>;

    /// Parked events, in order of parking.
    async fn parked(&self, query: ParkedQuery) -> Result<Vec<Parked>, ChannelError>;

    /// One parked event.
    async fn parked_by_id(&self, id: &str) -> Result<Option<Parked>, ChannelError>;

    /// Puts a parked event back to the subscriber (a reply: back to being dead-lettered) in its lane,
    /// atomically: attempt 0, due now, same event, history kept. `false`: there is none of that id.
    /// [`ChannelError::LaneGone`]: its trigger is gone.
    async fn redrive(&self, id: &str) -> Result<bool, ChannelError>;

    /// Drops a parked event for good; `false`: there is none of that id.
    async fn drop_parked(&self, id: &str) -> Result<bool, ChannelError>;

    /// Sets a lane's state durably (pause, resume, orphan).
    async fn set_lane_state(&self, lane: LaneId, state: LaneState) -> Result<(), ChannelError>;

    /// Changes whenever a command (redrive, drop, lane state) changed something, so that the dispatcher looks
    /// again.
    fn commands(&self) -> watch::Receiver<u64>;

    /// Notes an attempt: not durable, bounded, never waits.
    fn record(&self, attempt: Attempt);

    /// The attempts noted for a position, oldest first, as far as they are still kept.
    async fn attempts(&self, of: Position) -> Result<Vec<Attempt>, ChannelError>;

    /// Whether attempts for events around this position were left out since the process started: more came
    /// than could be written.
    fn attempts_left_out(&self, _around: Position) -> bool {
        false
    }

    /// Why the channel cannot take events, for people: its files were removed or cannot be written. `None`
    /// while all is well, and while the volume is only full.
    fn fault(&self) -> Option<String>;

    /// How full the channel is.
    fn usage(&self) -> Usage;

    /// Stops taking appends, makes everything durable, marks the stop as clean.
    async fn close(&self) -> Result<(), ChannelError>;
}

/// Reads on from a position; follows the head.
#[async_trait::async_trait]
pub trait Reader: Send + fmt::Debug {
    /// The next records, at most so many events and about so many bytes (at least one record, however large).
    /// Waits while there is nothing below the head. Dropping the future loses nothing.
    async fn next(&mut self, max_events: usize, max_bytes: usize) -> Result<Batch, ChannelError>;

    /// As `next`, but gives an empty batch instead of waiting at the head.
    async fn try_next(&mut self, max_events: usize, max_bytes: usize) -> Result<Batch, ChannelError>;

    /// The position the next record will have, or a later one.
    fn position(&self) -> Position;

    /// Bytes of memory that hold what it has read and not given out yet.
    fn read_ahead(&self) -> usize;
}

/// The kind of append: producers are turned away first when room gets short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Events from outside.
    Producer,
    /// Replies and dead letters: they may use the reserve.
    Reserve,
}

/// One change of state. Changes given to one [`Channel::commit`] are applied together or not at all.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The router's position. Committed only together with the `Progress` of every lane that has something
    /// unsettled below it.
    Router(Position),
    /// A lane's progress: where it reads on (`None`: follows the router) and what is unsettled below that.
    Progress {
        /// The lane.
        lane: LaneId,
        /// Where it reads on.
        cursor: Option<Position>,
        /// What matched below that and is not settled, in order.
        unsettled: Vec<Position>,
    },
    /// Puts a row of work (new, or the same key with its next attempt). One with fewer attempts than the
    /// stored row is old news and does nothing.
    Put(Work),
    /// Moves a row to another stage: the row of the old key goes, the new one comes, in one step.
    Advance {
        /// The row that goes.
        from: WorkKey,
        /// The row that comes.
        to: Work,
    },
    /// The row is done.
    Complete(WorkKey),
    /// Parks an event; the row of that key, if any, goes. The failures are the row's and the last one.
    /// Parking the same key again keeps the id.
    Park {
        /// The row that goes; also names lane, position and stage.
        key: WorkKey,
        /// Why.
        reason: String,
        /// Since when.
        since: Timestamp,
        /// Attempts made in all.
        attempts: u32,
        /// The history, oldest first.
        failures: Vec<crate::Failure>,
        /// The reply, in stage `Reply`.
        body: Option<Event>,
    },
}

/// The result of forgetting a trigger that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// It is forgotten, with so many rows of work.
    Rows(u64),
    /// The channel has no lane of that name.
    Unknown,
    /// The trigger exists: its lane is in use.
    InUse,
}

/// How full a channel is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The next position to be written.
    pub head: Position,
    /// The oldest position that can be read.
    pub oldest: Position,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// Why producers are turned away now; `None` while they are not.
    pub refusing: Option<String>,
    /// Positions skipped since the opening to make room, although a lane had not settled them
    /// (`drop-oldest`).
    pub dropped: u64,
    /// Triggers that were gone and whose debts were dropped since the opening, to make room before their
    /// grace period ended.
    pub forgotten: u64,
}

/// Why events were not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No room for this class of events now.
    #[error("{reason}")]
    Full {
        /// `backlog-full`, `disk-full` or `append-queue-full`.
        code: &'static str,
        /// A sentence for people.
        reason: String,
        /// When to come back.
        retry_after: Duration,
    },
    /// The write or the sync failed; nothing was stored as far as anybody will be told.
    #[error("the events could not be made durable: {0}")]
    Storage(String),
    /// The channel is being closed.
    #[error("the channel is being closed")]
    Closed,
}

/// Why the channel could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// The disk, the state database or the server behind it failed.
    #[error("{0}")]
    Storage(String),
    /// A redrive for a trigger that is gone.
    #[error("the trigger {0} is gone; its parked events can only be read or dropped")]
    LaneGone(ObjectName),
    /// The channel is being closed.
    #[error("the channel is being closed")]
    Closed,
}

/// The open channels by broker, for every part of the process. Cheap to clone; all clones are the same
/// registry.
#[derive(Clone, Debug, Default)]
pub struct Channels {
    open: Arc<RwLock<HashMap<ObjectName, Arc<dyn Channel>>>>,
}

// === impl Channels ===

impl Channels {
    /// The channel of a broker, if it is open.
    pub fn get(&self, broker: &ObjectName) -> Option<Arc<dyn Channel>> {
        self.open.read().get(broker).cloned()
    }

    /// Makes a channel known.
    pub fn insert(&self, broker: ObjectName, channel: Arc<dyn Channel>) {
        self.open.write().insert(broker, channel);
    }

    /// Forgets a channel; its holders may go on using it.
    pub fn remove(&self, broker: &ObjectName) -> Option<Arc<dyn Channel>> {
        self.open.write().remove(broker)
    }

    /// All open channels, by broker.
    pub fn all(&self) -> Vec<(ObjectName, Arc<dyn Channel>)> {
        let mut all: Vec<_> = self
            .open
            .read()
            .iter()
            .map(|(name, channel)| (name.clone(), channel.clone()))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}
