//! Work due later: an event already attempted (or owed), and what to do with it next.

use millrace_event::{Event, Timestamp};

use crate::{LaneId, Parked, Position};

/// What is to be done with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Deliver it to the subscriber.
    Subscriber,
    /// Deliver it to the dead-letter sink.
    DeadLetter,
    /// Deliver the reply that intake refused for good (the row's `body`) to the dead-letter sink.
    Reply,
}

/// The key of a row: putting it again replaces it, so that reading a position twice never makes a second row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkKey {
    /// The lane.
    pub lane: LaneId,
    /// The position of the event that caused it.
    pub position: Position,
    /// What is to be done.
    pub stage: Stage,
}

/// A row of work.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// Its key.
    pub key: WorkKey,
    /// Attempts made in this stage; only rises.
    pub attempt: u32,
    /// When the next attempt is due, in steady time ([`millrace_event::clock`]).
    pub due: Timestamp,
    /// An attempt is being made now: due at once after a restart, not before.
    pub open: bool,
    /// How often the process ended uncleanly during an attempt of this row.
    pub crashes: u32,
    /// Read again after an unclean stop: `open` must be durable before each attempt, so that an event that
    /// kills the process is found out.
    pub suspect: bool,
    /// It is not known whether the event matches: the filter is asked before the first attempt, under the
    /// same suspicion.
    pub undecided: bool,
    /// The last failures, oldest first, at most [`Work::KEPT_FAILURES`].
    pub failures: Vec<FailedAttempt>,
    /// The reply, in stage [`Stage::Reply`].
    pub body: Option<Event>,
}

/// What a lane has written down of one event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Work due later, by stage.
    pub work: Vec<Work>,
    /// What was given up on, by stage.
    pub parked: Vec<Parked>,
}

/// One failed attempt, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAttempt {
    /// When it ended.
    pub at: Timestamp,
    /// In which stage.
    pub stage: Stage,
    /// The number of the attempt in its stage, from 0.
    pub attempt: u32,
    /// The target that was tried.
    pub target: String,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// A sentence for people.
    pub reason: String,
    /// The first 1 024 bytes of the answer's body.
    pub body: Vec<u8>,
    /// How long the attempt took.
    pub millis: u64,
}

impl Work {
    /// Failures kept with a row.
    pub const KEPT_FAILURES: usize = 20;
}

impl FailedAttempt {
    /// The memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.target.len() + self.reason.len() + self.body.len()
    }
}
