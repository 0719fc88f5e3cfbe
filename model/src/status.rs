//! What is: the board on which owners write the state of brokers and lanes, and others read it.

use std::collections::BTreeMap;

use millrace_event::{ObjectName, Timestamp};
use parking_lot::RwLock;

/// The board. Writers replace whole entries; readers copy them. One lock, held for a copy only.
#[derive(Debug, Default)]
pub struct StatusBoard {
    triggers: RwLock<BTreeMap<ObjectName, TriggerStatus>>,
    brokers: RwLock<BTreeMap<ObjectName, BrokerStatus>>,
}

/// The state of one trigger's lane. Counts are since the process started, but for what says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TriggerStatus {
    /// `live`, `behind`, `paused`, `orphaned`, `not-ready`, `blocked`.
    pub state: &'static str,
    /// Why it is in that state, where that needs saying.
    pub reason: Option<String>,
    /// The position up to which everything is settled (the next one is not).
    pub cursor: u64,
    /// Positions not read yet: an upper bound, since the filter has not seen them.
    pub backlog: u64,
    /// Events queued or in flight.
    pub queued: u64,
    /// Events waiting for another attempt, durable.
    pub deferred: u64,
    /// Parked events, durable.
    pub parked: u64,
    /// Events delivered.
    pub delivered: u64,
    /// Failed attempts.
    pub failed_attempts: u64,
    /// Events given to the dead-letter sink.
    pub dead_lettered: u64,
    /// The last failure: when and what.
    pub last_failure: Option<(Timestamp, String)>,
}

/// The state of one broker's channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerStatus {
    /// `ready`, `orphaned`, `not-ready`.
    pub state: &'static str,
    /// Why it is in that state, where that needs saying.
    pub reason: Option<String>,
    /// The next position to be written.
    pub head: u64,
    /// The oldest position still readable.
    pub oldest: u64,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// Whether producers are being turned away, and why.
    pub refusing: Option<String>,
}

// === impl StatusBoard ===

impl StatusBoard {
    /// Writes one trigger's state.
    pub fn set_trigger(&self, name: &ObjectName, status: TriggerStatus) {
        self.triggers.write().insert(name.clone(), status);
    }

    /// Forgets a trigger that is gone for good.
    pub fn remove_trigger(&self, name: &ObjectName) {
        self.triggers.write().remove(name);
    }

    /// All triggers' states, in order of name.
    pub fn triggers(&self) -> BTreeMap<ObjectName, TriggerStatus> {
        self.triggers.read().clone()
    }

    /// Writes one broker's state.
    pub fn set_broker(&self, name: &ObjectName, status: BrokerStatus) {
        self.brokers.write().insert(name.clone(), status);
    }

    /// Forgets a broker that is gone for good.
    pub fn remove_broker(&self, name: &ObjectName) {
        self.brokers.write().remove(name);
    }

    /// All brokers' states, in order of name.
    pub fn brokers(&self) -> BTreeMap<ObjectName, BrokerStatus> {
        self.brokers.read().clone()
    }
}
