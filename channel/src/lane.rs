//! A lane as the channel remembers it: one trigger's progress.

use std::time::Duration;

use millrace_event::{ObjectName, Timestamp};

use crate::Position;

/// The number of a lane within its channel; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub i64);

/// What is asked when a trigger is admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneSpec {
    /// The trigger's name.
    pub trigger: ObjectName,
    /// The uid from Kubernetes: another one than the stored makes a new lane at the end. `None` (files): the
    /// name is the identity.
    pub uid: Option<String>,
    /// The longest wait that a row of work can have. A row that waits longer was written while the clock was
    /// wrong.
    pub longest_wait: Duration,
}

/// A lane as stored.
///
/// # Progress
/// The lane has considered every position below its cursor (`cursor`, or the router's position where that is
/// `None`), and of those only `unsettled` and its rows of [`crate::Work`] are still owed. Positions below
/// `start` were never its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Its number.
    pub id: LaneId,
    /// The trigger's name.
    pub trigger: ObjectName,
    /// The uid, Kubernetes' or generated.
    pub uid: String,
    /// The log's end when the trigger was admitted.
    pub start: Position,
    /// Where it reads on; `None`: it follows the router.
    pub cursor: Option<Position>,
    /// Positions below the cursor that matched and are not settled, in order.
    pub unsettled: Vec<Position>,
    /// Positions that this progress still owes although a row or a parked event stands for each, in order: a
    /// commit was cut off behind its rows. They are passed without being offered again. Until stored progress
    /// has passed them, what stands for them is neither due nor listed. Empty where commits are atomic.
    pub covered: Vec<Position>,
    /// Active, paused or orphaned.
    pub state: LaneState,
    /// Rows of work.
    pub deferred: u64,
    /// Parked events.
    pub parked: u64,
    /// The earliest due time among its rows of work, in steady time.
    pub next_due: Option<Timestamp>,
}

/// Whether a lane runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneState {
    /// It runs.
    Active,
    /// Paused by command.
    Paused,
    /// Its trigger disappeared at this steady time; its debts are kept for the grace period.
    Orphaned(Timestamp),
}
