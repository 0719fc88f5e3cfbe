//! What one process has: the brokers' logs, and the partitions that it owns.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use millrace_event::ObjectName;
use parking_lot::RwLock;
use tokio::sync::watch;

use super::{Channel, Log};

/// The open logs by broker. Cheap to clone; all clones are the same registry.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    open: Arc<RwLock<HashMap<ObjectName, Arc<dyn Log>>>>,
}

/// The partitions that this process owns, by broker. A backend gains and loses them; the dispatcher serves
/// what is owned. Cheap to clone; all clones are the same registry.
///
/// A partition that was lost and gained again is another [`Channel`]: nothing that the old one held counts.
#[derive(Clone, Debug, Default)]
pub struct Ownership {
    owned: Arc<RwLock<BTreeMap<ObjectName, ByNumber>>>,
    elsewhere: Arc<RwLock<BTreeMap<ObjectName, Elsewhere>>>,
    changes: Arc<watch::Sender<u64>>,
}

/// The owned partitions of one broker.
type ByNumber = BTreeMap<u32, Arc<dyn Channel>>;

/// The partitions of one broker that other processes own, with the owner in words; `None`: nobody has one
/// now.
pub type Elsewhere = BTreeMap<u32, Option<String>>;

// === impl Logs ===

impl Logs {
    /// The log of a broker, if it is open.
    pub fn get(&self, broker: &ObjectName) -> Option<Arc<dyn Log>> {
        self.open.read().get(broker).cloned()
    }

    /// Whether the log of a broker is open.
    pub fn has(&self, broker: &ObjectName) -> bool {
        self.open.read().contains_key(broker)
    }

    /// Makes a log known.
    pub fn insert(&self, broker: ObjectName, log: Arc<dyn Log>) {
        self.open.write().insert(broker, log);
    }

    /// Forgets a log; its holders may go on using it.
    pub fn remove(&self, broker: &ObjectName) -> Option<Arc<dyn Log>> {
        self.open.write().remove(broker)
    }

    /// All open logs, in order of the brokers' names.
    pub fn all(&self) -> Vec<(ObjectName, Arc<dyn Log>)> {
        let open = self.open.read();
        let mut all: Vec<_> = open
            .iter()
            .map(|(name, log)| (name.clone(), log.clone()))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}

// === impl Ownership ===

impl Ownership {
    /// Notes that this process owns these partitions now. One that it has already changes nothing.
    pub fn gain(&self, gained: impl IntoIterator<Item = (ObjectName, Arc<dyn Channel>)>) {
        let mut owned = self.owned.write();
        let mut has_changed = false;
        for (broker, channel) in gained {
            let of_broker = owned.entry(broker).or_default();
            let before = of_broker.insert(channel.partition(), channel.clone());
            has_changed |= before.is_none_or(|before| !Arc::ptr_eq(&before, &channel));
        }
        drop(owned);
        self.note(has_changed);
    }

    /// Notes that this process has lost a partition.
    pub fn lose(&self, broker: &ObjectName, partition: u32) -> Option<Arc<dyn Channel>> {
        let mut owned = self.owned.write();
        let of_broker = owned.get_mut(broker)?;
        let lost = of_broker.remove(&partition);
        if of_broker.is_empty() {
            owned.remove(broker);
        }
        drop(owned);
        self.note(lost.is_some());
        lost
    }

    /// The owned partitions of a broker, in order of their numbers.
    pub fn of(&self, broker: &ObjectName) -> Vec<Arc<dyn Channel>> {
        let owned = self.owned.read();
        let of_broker = owned.get(broker).into_iter().flat_map(ByNumber::values);
        of_broker.cloned().collect()
    }

    /// Whether this very channel is owned.
    pub fn has(&self, broker: &ObjectName, channel: &Arc<dyn Channel>) -> bool {
        let owned = self.owned.read();
        let now = owned.get(broker).and_then(|of| of.get(&channel.partition()));
        now.is_some_and(|now| Arc::ptr_eq(now, channel))
    }

    /// The partitions of a broker that this process does not own, as it knows it; none where it owns all.
    pub fn elsewhere(&self, broker: &ObjectName) -> Elsewhere {
        self.elsewhere.read().get(broker).cloned().unwrap_or_default()
    }

    /// Notes who owns what this process does not.
    pub fn set_elsewhere(&self, broker: &ObjectName, partitions: Elsewhere) {
        let mut elsewhere = self.elsewhere.write();
        if partitions.is_empty() {
            elsewhere.remove(broker);
        } else {
            elsewhere.insert(broker.clone(), partitions);
        }
    }

    /// All owned partitions, in order of the brokers' names and of their numbers.
    pub fn all(&self) -> Vec<(ObjectName, Arc<dyn Channel>)> {
        let owned = self.owned.read();
        let each = owned
            .iter()
            .flat_map(|(broker, of)| of.values().map(move |channel| (broker.clone(), channel.clone())));
        each.collect()
    }

    /// Changes whenever a partition was gained or lost.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn note(&self, has_changed: bool) {
        if has_changed {
            self.changes.send_modify(|count| *count += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::embedded::{ChannelOptions, Store, StoreOptions};

    const OPTIONS: ChannelOptions = ChannelOptions {
        retention_age: Duration::from_secs(60),
        retention_bytes: 1 << 20,
        backlog_bytes: None,
        drop_oldest: false,
    };

    #[tokio::test]
    async fn only_what_was_gained_or_lost_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| ObjectName::new("shop", name));
        let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
        let a: Arc<dyn Channel> = store.channel(&one, OPTIONS).await.unwrap();
        let b: Arc<dyn Channel> = store.channel(&other, OPTIONS).await.unwrap();
        let owned = Ownership::default();
        let mut changes = owned.changes();
        changes.mark_unchanged();
        let mut has_changed = || {
            let has = changes.has_changed().unwrap();
            changes.mark_unchanged();
            has
        };
        owned.gain([(one.clone(), a.clone()), (other.clone(), b.clone())]);
        assert!(has_changed());
        owned.gain([(one.clone(), a.clone())]);
        assert!(!has_changed(), "it is owned already");
        assert!(owned.has(&one, &a) && !owned.has(&one, &b));
        assert_eq!((owned.all().len(), owned.of(&one).len()), (2, 1));
        assert!(
            owned.lose(&one, 1).is_none() && !has_changed(),
            "there is no such partition"
        );
        assert!(owned.lose(&one, 0).is_some_and(|lost| Arc::ptr_eq(&lost, &a)));
        assert!(has_changed() && !owned.has(&one, &a));
        assert_eq!((owned.all().len(), owned.of(&one).len()), (1, 0));
        owned.gain([(other.clone(), a.clone())]);
        assert!(
            has_changed() && !owned.has(&other, &b),
            "another channel is another owner"
        );
    }
}
