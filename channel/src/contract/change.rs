//! What a commit changes.

use millrace_event::{Event, Timestamp};

use crate::{FailedAttempt, LaneId, Position, Work, WorkKey};

/// One change of state. It is never stored in part: what it removes goes in the step in which the rest comes.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Puts a row of work (new, or the same key with its next attempt). One with fewer attempts than the
    /// stored row is old news and does nothing.
    Put(Work),
    /// Moves a row to another stage: the row of the old key goes, the new one comes.
    Advance {
        /// The row that goes.
        from: WorkKey,
        /// The row that comes.
        to: Work,
    },
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
        failures: Vec<FailedAttempt>,
        /// The reply, in stage `Reply`.
        body: Option<Event>,
    },
    /// From a position on another filter judges the lane's events. What the lane has read below it is still
    /// judged by the filter that counted then ([`Lane::earlier`](crate::Lane::earlier)).
    Filter {
        /// The lane.
        lane: LaneId,
        /// The first position for which it counts: where the lane reads on.
        from: Position,
        /// The filter, in the words of [`LaneSpec::filter`](crate::LaneSpec::filter).
        filter: String,
    },
    /// The partition's progress. A commit has at most one.
    Progress(Progress),
    /// The row is done.
    Complete(WorkKey),
}

/// How far a partition's router and lanes have come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The router's position; `None`: as it was. Committed only together with the progress of every lane that
    /// has something unsettled below it.
    pub router: Option<Position>,
    /// The lanes whose progress has changed.
    pub lanes: Vec<LaneProgress>,
}

/// How far one lane has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneProgress {
    /// The lane.
    pub lane: LaneId,
    /// Where it reads on (`None`: follows the router).
    pub cursor: Option<Position>,
    /// The first position of its queue, if something is queued. Nothing from there on has been attempted or
    /// written down.
    pub queued: Option<Position>,
    /// What matched below that and is not settled, in order.
    pub unsettled: Vec<Position>,
}

// === impl Progress ===

impl Progress {
    /// Only the router's.
    pub fn router(at: Position) -> Self {
        Self {
            router: Some(at),
            lanes: Vec::new(),
        }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.router.is_none() && self.lanes.is_empty()
    }
}

/// Only that lane's.
impl From<LaneProgress> for Progress {
    fn from(lane: LaneProgress) -> Self {
        Self {
            router: None,
            lanes: vec![lane],
        }
    }
}

impl From<Progress> for Change {
    fn from(progress: Progress) -> Self {
        Self::Progress(progress)
    }
}

impl From<LaneProgress> for Change {
    fn from(lane: LaneProgress) -> Self {
        Self::Progress(lane.into())
    }
}
