//! The states of what runs: a closed set for each kind, and the one place that spells them for people and for
//! JSON.

use std::fmt;

/// The state of a Trigger's lane. The later ones are the worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TriggerState {
    /// The router feeds it.
    Live,
    /// It reads by itself what the router has read already.
    Behind,
    /// It attempts nothing until somebody resumes it.
    Paused,
    /// Its Trigger is in no document any more, and its place is still kept.
    Orphaned,
    /// Its subscriber is not known, or no Broker serves it.
    #[default]
    NotReady,
    /// As many events as allowed are parked, or wait for another attempt.
    Blocked,
}

/// The state of a Broker. The later ones are the worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum BrokerState {
    /// It takes events, unless its status says why it refuses them.
    Ready,
    /// It is in no document any more; what it holds is still kept.
    Orphaned,
    /// Its channel is not open, or has a fault.
    #[default]
    NotReady,
}

/// The state of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceState {
    /// It has not said anything yet.
    #[default]
    Starting,
    /// It is at work, at least in part.
    Ready,
    /// It is not at work.
    NotReady,
}

/// The state of a sink of Kafka.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SinkState {
    /// Nobody has looked at it yet.
    #[default]
    Starting,
    /// Its topic can be reached.
    Ready,
    /// It cannot.
    NotReady,
}

// === impl TriggerState ===

impl TriggerState {
    /// The stable word: the member `state` in the admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Behind => "behind",
            Self::Paused => "paused",
            Self::Orphaned => "orphaned",
            Self::NotReady => "not-ready",
            Self::Blocked => "blocked",
        }
    }
}

impl fmt::Display for TriggerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl BrokerState ===

impl BrokerState {
    /// The stable word: the member `state` in the admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Orphaned => "orphaned",
            Self::NotReady => "not-ready",
        }
    }
}

impl fmt::Display for BrokerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl SourceState ===

impl SourceState {
    /// The stable word: the member `state` in the admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::NotReady => "not-ready",
        }
    }
}

impl fmt::Display for SourceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl SinkState ===

impl SinkState {
    /// The stable word: the member `state` in the admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::NotReady => "not-ready",
        }
    }
}

impl fmt::Display for SinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
