//! Parked events: given up on without a dead-letter sink, or refused for good by it; kept until somebody
//! decides.

use millrace_event::{Event, ObjectName, Timestamp};

use crate::{FailedAttempt, LaneId, Position, Stage, Work, WorkKey};

/// A parked event. It outlives its trigger.
#[derive(Clone, Debug, PartialEq)]
pub struct Parked {
    /// Its own id, unique across brokers, safe in a URL path.
    pub id: String,
    /// The lane that gave up on it.
    pub lane: LaneId,
    /// The trigger's name at that time.
    pub trigger: ObjectName,
    /// Where the event stood.
    pub position: Position,
    /// The stage that ended here.
    pub stage: Stage,
    /// The event (in stage `Reply`: the reply). `None` when the event itself was lost to damage.
    pub event: Option<Event>,
    /// A sentence: why it was given up on.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Attempts made in all.
    pub attempts: u32,
    /// The last failures, oldest first.
    pub failures: Vec<FailedAttempt>,
}

// === impl Parked ===

impl Parked {
    /// The row that it becomes again: a reply is to be dead-lettered, anything else goes to the subscriber.
    /// Its attempts begin anew, due now; the history stays.
    pub(crate) fn redriven(self, now: Timestamp) -> Work {
        let (stage, body) = match self.stage {
            Stage::Reply => (Stage::Reply, self.event),
            Stage::Subscriber | Stage::DeadLetter => (Stage::Subscriber, None),
        };
        Work {
            key: WorkKey {
                lane: self.lane,
                position: self.position,
                stage,
            },
            attempt: 0,
            due: now,
            open: false,
            crashes: 0,
            suspect: false,
            undecided: false,
            failures: self.failures,
            body,
        }
    }
}

/// Which parked events to list, in order of parking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParkedQuery {
    /// Only of this trigger.
    pub trigger: Option<ObjectName>,
    /// Only after this id (for the next page).
    pub after: Option<String>,
    /// At most so many; the events of the page are held in memory together.
    pub limit: usize,
}
