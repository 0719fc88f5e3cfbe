//! What the owner of a partition may do with it.

use std::collections::HashMap;
use std::fmt;

use millrace_event::{ObjectName, Timestamp};
use tokio::sync::watch;

use super::{Change, ChannelError, Log};
use crate::{Attempt, Lane, LaneId, LaneSpec, LaneState, Parked, ParkedQuery, Position, Record, Rows, Work};

/// One partition of a broker, owned: its log and the state beside it. All positions are of this partition.
///
/// # Flow
/// The dispatcher asks for its lanes, reads from the router's position on, and commits changes. Commands
/// (pause, redrive, drop) are changes of the same state, which the dispatcher watches with
/// [`Channel::commands`].
///
/// # Guarantees
/// - State never names a position that is not durable.
/// - `commit` is durable when it returns. It is atomic where it fits. A larger one is stored in order: puts
///   (with what they replace) and filters, progress, removals; after a crash all of it or its first chunks
///   are there. The embedded backend stores all or none. Every change is idempotent by its key. Changes of
///   one key are applied in the order of the call.
/// - Times to wait for (due times, since when a lane or the Broker is gone) are in the steady time of this
///   process ([`millrace_event::clock`]), which a set wall clock does not move. What is stored is right for
///   the next process too.
/// - Events that rows of work or parked rows name stay readable by `get` until the row is gone, whatever
///   retention deletes.
/// - Once another process owns the partition, what this one commits is refused
///   ([`ChannelError::NotOwner`]) or does not count.
///
/// # Assumptions
/// One owner per partition, and one dispatcher in it.
#[async_trait::async_trait]
pub trait Channel: Send + Sync + fmt::Debug {
    /// The partition's number.
    fn partition(&self) -> u32;

    /// How many partitions the broker's log has: what is bounded for a trigger is shared among them.
    fn partitions(&self) -> u32 {
        1
    }

    /// Whether attempts may begin: this process has proved lately that it owns the partition, so nobody else
    /// has begun to. It may not know yet that it has lost it.
    fn is_held(&self) -> bool {
        true
    }

    /// The broker's log.
    fn log(&self) -> &dyn Log;

    /// The next position to be written in this partition: everything below it is durable.
    fn head(&self) -> Position;

    /// The event at a position, from the log or from the copies kept for rows; `None` when it is gone.
    async fn get(&self, at: Position) -> Result<Option<Record>, ChannelError>;

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
    /// new lane starts at the head; another lane of the same name with another uid becomes orphaned, unless
    /// the spec resumes it ([`LaneSpec::resume`]): then it gets the new uid and is no new lane. A lane
    /// that had another filter keeps it for what it has read ([`Lane::earlier`]): up to its cursor, or up to
    /// the head if it was active and had kept up with the router. Work that is due later than the spec's
    /// longest wait is brought forward to it. A running router may have passed the new lane's `start` when
    /// this returns: the lane must then read by itself what lies between.
    async fn open_lanes(&self, specs: Vec<LaneSpec>) -> Result<Vec<Lane>, ChannelError>;

    /// Forgets a lane with its progress and its work, for good; says how many rows of work went. Its parked
    /// events stay.
    async fn drop_lane(&self, lane: LaneId) -> Result<u64, ChannelError>;

    /// Forgets every lane of a trigger that is gone (orphaned), as `drop_lane` does. An operator asks for it
    /// before the grace period has ended.
    async fn forget_orphan(&self, trigger: &ObjectName) -> Result<Forgotten, ChannelError>;

    /// Forgets the work of every lane of a trigger that is gone (orphaned). The lanes stay: each would read
    /// on where it stands.
    async fn forget_work(&self, trigger: &ObjectName) -> Result<Forgotten, ChannelError>;

    /// Applies the changes, as the guarantees say. A change for a lane that is gone does nothing: its debts
    /// went with it. After an error other than [`ChannelError::NotOwner`] nothing is stored, and the same
    /// changes may be given again. A backend that does not know what became of a commit finds out before it
    /// returns, and stores nothing else meanwhile: a command in between would be undone by the second try.
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

    /// Notes durably that the Broker is in no document any more, since that time (`None`: it is in one). A
    /// time that is noted already stays.
    async fn set_orphaned(&self, since: Option<Timestamp>) -> Result<(), ChannelError>;

    /// Sets a lane's state durably (pause, resume, orphan). An orphan stays one until its trigger is back:
    /// [`open_lanes`](Self::open_lanes) alone ends that.
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

    /// How full the partition is.
    fn usage(&self) -> Usage;

    /// Stops taking appends and changes, makes everything durable, marks the stop as clean and gives the
    /// partition up.
    async fn close(&self) -> Result<(), ChannelError>;
}

/// The result of forgetting a trigger that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// It, or its work, is forgotten: so many rows.
    Rows(u64),
    /// The channel has no lane of that name.
    Unknown,
    /// The trigger exists: its lane is in use.
    InUse,
}

/// How full a partition is.
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
    /// Parked events, also those of triggers that are gone.
    pub parked: u64,
    /// Since when the Broker is in no document any more, as [`Channel::set_orphaned`] noted it.
    pub orphaned: Option<Timestamp>,
}
