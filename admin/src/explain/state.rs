//! What became of an event for one Trigger, as a closed set of words.

/// The state of one event for one Trigger (docs/guides/why-was-my-service-not-called.md explains each).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventState {
    /// Its filter does not let it pass.
    NotMatched,
    /// The Trigger was admitted after the event.
    AdmittedLater,
    /// Its Broker does not serve the Trigger yet.
    NotServed,
    /// The Trigger has not read it yet.
    Behind,
    /// It is queued, or an attempt is under way.
    InHand,
    /// It waits for another attempt.
    Retrying,
    /// It was given up on, and the dead-letter sink does not have it yet.
    DeadLettering,
    /// Something is still to be done, and the Trigger is paused.
    Paused,
    /// Something is still to be done, and the Trigger is in no document any more.
    Orphaned,
    /// Something is still to be done, and the Trigger cannot be served.
    NotReady,
    /// Something is still to be done, and the Trigger holds as many parked or waiting events as it may.
    Blocked,
    /// An end: the subscriber has it.
    Delivered,
    /// An end: the dead-letter sink has it.
    DeadLettered,
    /// An end, until somebody decides: it was given up on and is kept.
    Parked,
    /// An end: it went round through too many Brokers.
    Looping,
    /// An end: it was parked, and dropped by command.
    Dropped,
    /// An end: it is settled, and nothing is known any more of how.
    Settled,
}

// === impl EventState ===

impl EventState {
    /// The stable word: the member `state` of an explanation.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NotMatched => "not-matched",
            Self::AdmittedLater => "admitted-later",
            Self::NotServed => "not-served",
            Self::Behind => "behind",
            Self::InHand => "in-hand",
            Self::Retrying => "retrying",
            Self::DeadLettering => "dead-lettering",
            Self::Paused => "paused",
            Self::Orphaned => "orphaned",
            Self::NotReady => "not-ready",
            Self::Blocked => "blocked",
            Self::Delivered => "delivered",
            Self::DeadLettered => "dead-lettered",
            Self::Parked => "parked",
            Self::Looping => "looping",
            Self::Dropped => "dropped",
            Self::Settled => "settled",
        }
    }
}
