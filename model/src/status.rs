//! What is: the board on which owners write the state of brokers and lanes, and others read it.

mod channels;
mod kafka_sinks;
mod sum;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;

use millrace_event::{ObjectName, Timestamp};
use parking_lot::{Mutex, RwLock};

use crate::{BrokerState, KafkaSink, Mesh, Shortage, Source, SourceKey, SourceState, TriggerState};

pub use channels::ChannelStatus;
pub use kafka_sinks::SinkStatus;

/// The board. Owners attach what they own; readers ask for a copy, which is computed when it is asked for.
#[derive(Default)]
pub struct StatusBoard {
    /// By broker and partition.
    brokers: RwLock<BTreeMap<(ObjectName, u32), Arc<dyn Statuses>>>,
    unserved: RwLock<BTreeMap<LaneName, TriggerStatus>>,
    sources: RwLock<BTreeMap<SourceKey, Told>>,
    /// The sinks that were looked at, and how they stand.
    kafka_sinks: RwLock<BTreeMap<ObjectName, (Arc<KafkaSink>, SinkStatus)>>,
    clock: Mutex<ClockStatus>,
}

/// What is said of a source, and who says it.
#[derive(Default)]
struct Told {
    /// `None`: nobody says anything yet.
    by: Option<Arc<Source>>,
    status: Arc<Mutex<SourceStatus>>,
}

/// Which lane: a trigger's on one broker. A trigger that was moved to another broker has one there too, while
/// its place on the old one is kept. Ordered by trigger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneName {
    /// The trigger.
    pub trigger: ObjectName,
    /// The broker whose events it is about.
    pub broker: ObjectName,
}

/// What the wall clock has done since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockStatus {
    /// How often it was set forward.
    pub forward: u64,
    /// How often it was set back.
    pub back: u64,
    /// The last jump: what the clock showed afterwards, and by how many milliseconds it was set (below zero:
    /// back).
    pub last: Option<(Timestamp, i64)>,
}

/// Tells the state of one partition of a broker and of its triggers there.
pub trait Statuses: Send + Sync {
    /// The broker's own state.
    fn broker(&self) -> BrokerStatus;

    /// The state of each of its triggers that is wanted.
    fn triggers(&self, wanted: &dyn Fn(&ObjectName) -> bool) -> Vec<(ObjectName, TriggerStatus)>;

    /// The attempts at the event of this position that are under way now, by trigger.
    fn under_way(&self, _position: u64) -> Vec<(ObjectName, UnderWay)> {
        Vec::new()
    }
}

/// An attempt that a trigger's lane has in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// Its number in its stage, from 0.
    pub attempt: u32,
    /// When it began; for an attempt that waits, when the wait began. In steady time
    /// ([`millrace_event::clock`]).
    pub since: Timestamp,
    /// What it waits for, if it has not begun because Millrace itself is short of something.
    pub shortage: Option<Shortage>,
}

/// The state of one trigger's lane. Counts are since the process started, unless their comment says
/// otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TriggerStatus {
    /// The state in a word.
    pub state: TriggerState,
    /// Why it is in that state, where that needs saying.
    pub reason: Option<String>,
    /// What some of its events wait for before an attempt, if Millrace itself is short of it.
    pub shortage: Option<Shortage>,
    /// The position up to which everything is settled (the next one is not).
    pub cursor: u64,
    /// The position that it reads next. What is below it and not below `cursor` is in hand, as far as it
    /// matched.
    pub reads_at: u64,
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
    /// Events that did not match because deciding would have needed more work than the filters of a trigger
    /// may do.
    pub too_much_work: u64,
}

/// The state of one broker's channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerStatus {
    /// The state in a word.
    pub state: BrokerState,
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
    /// Events dropped before every trigger had them (`millrace.dev/on-full: drop-oldest`), since the process
    /// started.
    pub dropped: u64,
    /// Triggers that were gone and whose debts were dropped to make room, since the process started.
    pub forgotten: u64,
    /// Parked events, durable, also those of triggers that are gone.
    pub parked: u64,
}

/// The state of one source. Counts are since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceStatus {
    /// The state in a word.
    pub state: SourceState,
    /// Why it is in that state, where that needs saying.
    pub reason: Option<String>,
    /// Events that its sink has taken.
    pub events: u64,
    /// How much its origin offered that was not taken as an event: unsigned, malformed, too large.
    pub refused: u64,
    /// When the sink took the last event.
    pub last_event: Option<Timestamp>,
    /// The last failure: when and what.
    pub last_error: Option<(Timestamp, String)>,
}

// === impl StatusBoard ===

impl StatusBoard {
    /// Asks `owner` from now on for the state of this partition of a broker and of its triggers there.
    pub fn attach(&self, broker: &ObjectName, partition: u32, owner: Arc<dyn Statuses>) {
        self.brokers.write().insert((broker.clone(), partition), owner);
    }

    /// Forgets a partition of a broker.
    pub fn detach(&self, broker: &ObjectName, partition: u32) {
        self.brokers.write().remove(&(broker.clone(), partition));
    }

    /// Replaces the states of the triggers that no broker here serves.
    pub fn set_unserved(&self, triggers: BTreeMap<LaneName, TriggerStatus>) {
        *self.unserved.write() = triggers;
    }

    /// The state of a source, to be written by its owner. A new one is `starting`.
    pub fn source(&self, key: &SourceKey) -> Arc<Mutex<SourceStatus>> {
        let mut sources = self.sources.write();
        sources.entry(key.clone()).or_default().status.clone()
    }

    /// The state of a source that begins to run, to be written by its owner. It is `starting`, whatever the
    /// source was that had its name before; what was counted goes on.
    pub fn begin_source(&self, source: &Arc<Source>) -> Arc<Mutex<SourceStatus>> {
        let mut sources = self.sources.write();
        let told = sources.entry(source.key()).or_default();
        let counted = told.status.lock().clone();
        let status = SourceStatus {
            state: SourceState::Starting,
            reason: None,
            ..counted
        };
        *told = Told {
            by: Some(source.clone()),
            status: Arc::new(Mutex::new(status)),
        };
        told.status.clone()
    }

    /// Forgets a source.
    pub fn forget_source(&self, key: &SourceKey) {
        self.sources.write().remove(key);
    }

    /// All sources' states, in order of kind and name.
    pub fn sources(&self) -> BTreeMap<SourceKey, SourceStatus> {
        let sources = self.sources.read();
        sources
            .iter()
            .map(|(key, told)| (key.clone(), told.status.lock().clone()))
            .collect()
    }

    /// The states of just these sources. One whose predecessor is still being ended is `starting`.
    pub fn sources_of(&self, mesh: &Mesh) -> BTreeMap<SourceKey, (Arc<Source>, SourceStatus)> {
        let sources = self.sources.read();
        let status = |source: &Arc<Source>| {
            let told = sources.get(&source.key())?;
            let is_its_own = told.by.as_ref().is_some_and(|by| Arc::ptr_eq(by, source));
            is_its_own.then(|| told.status.lock().clone())
        };
        let all = mesh.sources.iter();
        all.map(|(key, source)| (key.clone(), (source.clone(), status(source).unwrap_or_default())))
            .collect()
    }

    /// Notes that the wall clock was set by so many milliseconds, and now shows `now`.
    pub fn clock_was_set(&self, by: i64, now: Timestamp) {
        let mut clock = self.clock.lock();
        if by < 0 {
            clock.back += 1;
        } else {
            clock.forward += 1;
        }
        clock.last = Some((now, by));
    }

    /// What the wall clock has done since the process started.
    pub fn clock(&self) -> ClockStatus {
        *self.clock.lock()
    }

    /// The states of all lanes, in order of their triggers' names.
    pub fn triggers(&self) -> BTreeMap<LaneName, TriggerStatus> {
        let mut all = BTreeMap::new();
        for (broker, owner) in self.owners() {
            for (trigger, status) in of_one(&*owner, &|_| true) {
                let broker = broker.clone();
                join(&mut all, LaneName { trigger, broker }, status, TriggerStatus::add);
            }
        }
        for (lane, status) in self.unserved.read().iter() {
            all.entry(lane.clone()).or_insert_with(|| status.clone());
        }
        all
    }

    /// The states of those of one broker's lanes that are wanted, by trigger.
    pub fn triggers_of(
        &self,
        broker: &ObjectName,
        wanted: &dyn Fn(&ObjectName) -> bool,
    ) -> BTreeMap<ObjectName, TriggerStatus> {
        let mut all = BTreeMap::new();
        for owner in self.owners_of(broker) {
            for (trigger, status) in of_one(&*owner, wanted) {
                join(&mut all, trigger, status, TriggerStatus::add);
            }
        }
        all
    }

    /// As [`triggers_of`](Self::triggers_of), in one partition: its positions are its own.
    pub fn triggers_in(
        &self,
        broker: &ObjectName,
        partition: u32,
        wanted: &dyn Fn(&ObjectName) -> bool,
    ) -> BTreeMap<ObjectName, TriggerStatus> {
        let owner = self.brokers.read().get(&(broker.clone(), partition)).cloned();
        owner.map_or_else(BTreeMap::new, |owner| of_one(&*owner, wanted))
    }

    /// The attempts at the event of this position that are under way now, by trigger.
    pub fn under_way(
        &self,
        broker: &ObjectName,
        partition: u32,
        position: u64,
    ) -> BTreeMap<ObjectName, UnderWay> {
        let owner = self.brokers.read().get(&(broker.clone(), partition)).cloned();
        owner.map_or_else(BTreeMap::new, |owner| {
            owner.under_way(position).into_iter().collect()
        })
    }

    /// One broker's state, if somebody serves it.
    pub fn broker(&self, broker: &ObjectName) -> Option<BrokerStatus> {
        let mut all = self.owners_of(broker).into_iter();
        let first = all.next()?.broker();
        Some(all.fold(first, |mut sum, owner| {
            sum.add(owner.broker());
            sum
        }))
    }

    /// All brokers' states, in order of name.
    pub fn brokers(&self) -> BTreeMap<ObjectName, BrokerStatus> {
        let mut all = BTreeMap::new();
        for (broker, owner) in self.owners() {
            join(&mut all, broker, owner.broker(), BrokerStatus::add);
        }
        all
    }

    /// The status sources by broker, copied so that they are asked without the lock.
    fn owners(&self) -> Vec<(ObjectName, Arc<dyn Statuses>)> {
        let brokers = self.brokers.read();
        brokers
            .iter()
            .map(|((name, _), owner)| (name.clone(), owner.clone()))
            .collect()
    }

    fn owners_of(&self, broker: &ObjectName) -> Vec<Arc<dyn Statuses>> {
        let brokers = self.brokers.read();
        let all = brokers.range((broker.clone(), 0)..=(broker.clone(), u32::MAX));
        all.map(|(_, owner)| owner.clone()).collect()
    }
}

impl fmt::Debug for StatusBoard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusBoard")
            .field("brokers", &self.brokers.read().len())
            .finish_non_exhaustive()
    }
}

/// The states of one partition's lanes. Of two lanes of one name the last counts: the trigger's own, behind
/// one that is gone.
fn of_one(owner: &dyn Statuses, wanted: &dyn Fn(&ObjectName) -> bool) -> BTreeMap<ObjectName, TriggerStatus> {
    owner.triggers(wanted).into_iter().collect()
}

/// Puts a value, or adds it to the one that is there.
fn join<K: Ord, V>(all: &mut BTreeMap<K, V>, key: K, value: V, add: fn(&mut V, V)) {
    match all.entry(key) {
        Entry::Vacant(place) => {
            place.insert(value);
        }
        Entry::Occupied(mut there) => add(there.get_mut(), value),
    }
}
