//! The whole mesh as one snapshot. Code that needs the newest one holds a `watch::Receiver<Arc<Mesh>>`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::{Authorities, Broker, EventPolicy, KafkaSink, ObjectName, Source, SourceKey, Trigger};

/// Everything that should be, at one moment. Parts that did not change are shared with the snapshot before
/// (`Arc`).
#[derive(Clone, Debug, Default)]
pub struct Mesh {
    /// Counts up with each change, from 1; 0 is the empty mesh before the first load.
    pub revision: u64,
    /// The brokers by name.
    pub brokers: BTreeMap<ObjectName, Arc<Broker>>,
    /// The triggers by name, also those whose broker is not here or that are not ready.
    pub triggers: BTreeMap<ObjectName, Arc<Trigger>>,
    /// The sources by kind and name, also those that cannot run.
    pub sources: BTreeMap<SourceKey, Arc<Source>>,
    /// Who vouches for every `https` target, beside those whom the machine trusts (trust bundles).
    pub authorities: Option<Authorities>,
    /// The sinks of Kafka by name, also those that nobody sends to. One that lacks a secret has it as
    /// [`Secret::Missing`](crate::Secret::Missing).
    pub kafka_sinks: BTreeMap<ObjectName, Arc<KafkaSink>>,
    /// Who may send events to Brokers: the policies by name.
    pub policies: BTreeMap<ObjectName, Arc<EventPolicy>>,
}

// === impl Mesh ===

impl Mesh {
    /// The triggers of one broker.
    pub fn triggers_of<'a>(&'a self, broker: &'a ObjectName) -> impl Iterator<Item = &'a Arc<Trigger>> {
        self.triggers
            .values()
            .filter(move |trigger| trigger.broker == *broker)
    }

    /// This mesh as the successor of `before`: parts that are equal are shared, and the revision counts up
    /// when anything differs.
    #[must_use]
    pub fn succeeding(mut self, before: &Self) -> Self {
        let brokers = share(&mut self.brokers, &before.brokers);
        let triggers = share(&mut self.triggers, &before.triggers);
        let sources = share(&mut self.sources, &before.sources);
        let sinks = share(&mut self.kafka_sinks, &before.kafka_sinks);
        let authorities = self.authorities == before.authorities;
        let policies = share(&mut self.policies, &before.policies);
        let is_same = brokers && triggers && sources && sinks && policies && authorities;
        self.revision = before.revision + u64::from(!is_same);
        self
    }

    /// This mesh, but with these brokers and their triggers as they were `before`.
    #[must_use]
    pub fn keeping(&self, brokers: &BTreeSet<ObjectName>, before: &Self) -> Self {
        let mut mesh = self.clone();
        for name in brokers {
            match before.brokers.get(name) {
                Some(broker) => mesh.brokers.insert(name.clone(), broker.clone()),
                None => mesh.brokers.remove(name),
            };
        }
        mesh.triggers
            .retain(|_, trigger| !brokers.contains(&trigger.broker));
        for (name, trigger) in &before.triggers {
            if brokers.contains(&trigger.broker) {
                mesh.triggers
                    .entry(name.clone())
                    .or_insert_with(|| trigger.clone());
            }
        }
        mesh
    }
}

/// Takes equal parts over from before; says whether everything is equal.
fn share<K: Ord, T: PartialEq>(new: &mut BTreeMap<K, Arc<T>>, before: &BTreeMap<K, Arc<T>>) -> bool {
    let mut same = new.len() == before.len();
    for (name, part) in new {
        match before.get(name) {
            Some(old) if old == part => *part = old.clone(),
            _ => same = false,
        }
    }
    same
}

#[cfg(test)]
mod tests {
    use millrace_filter::Compiled;

    use super::*;
    use crate::{DeliveryPolicy, NoTarget, OnFull, Retention};

    fn mesh(brokers: &[&str]) -> Mesh {
        let broker = |name: &&str| {
            let name = ObjectName::new("shop", *name);
            let broker = Broker {
                name: name.clone(),
                uid: None,
                backend: crate::Backend::Embedded,
                retention: Retention::default(),
                backlog_bytes: None,
                on_full: OnFull::Refuse,
            };
            (name, Arc::new(broker))
        };
        Mesh {
            brokers: brokers.iter().map(broker).collect(),
            ..Mesh::default()
        }
    }

    #[test]
    fn the_revision_counts_changes_and_equal_parts_are_shared() {
        let first = mesh(&["a", "b"]).succeeding(&Mesh::default());
        assert_eq!(first.revision, 1);
        let same = mesh(&["a", "b"]).succeeding(&first);
        assert_eq!(same.revision, 1);
        let other = mesh(&["a", "c"]).succeeding(&same);
        assert_eq!(other.revision, 2);
        let a = ObjectName::new("shop", "a");
        assert!(Arc::ptr_eq(&first.brokers[&a], &other.brokers[&a]));
        assert_eq!(mesh(&["a"]).succeeding(&other).revision, 3);
    }

    #[test]
    fn brokers_that_are_kept_are_as_they_were_and_so_are_their_triggers() {
        let trigger = |name: &str, broker: &str, parallelism| {
            let name = ObjectName::new("shop", name);
            let trigger = Trigger {
                name: name.clone(),
                uid: None,
                resume: false,
                broker: ObjectName::new("shop", broker),
                filters: Vec::new(),
                compiled: Arc::new(Compiled::new(&[]).unwrap()),
                subscriber: Err(NoTarget::NotNamed),
                subscriber_auth: None,
                dead_letter: None,
                dead_letter_auth: None,
                delivery: DeliveryPolicy::default(),
                parallelism,
                max_deferred: 1,
                max_parked: 1,
            };
            (name, Arc::new(trigger))
        };
        let before = Mesh {
            triggers: [trigger("moves", "a", 1), trigger("stays", "a", 1)].into(),
            ..mesh(&["a", "gone"])
        };
        let newest = Mesh {
            triggers: [
                trigger("moves", "b", 2),
                trigger("new", "a", 2),
                trigger("stays", "a", 2),
            ]
            .into(),
            ..mesh(&["a", "b", "new"])
        };
        let kept = ["a", "new", "gone"].map(|name| ObjectName::new("shop", name));
        let mixed = newest.keeping(&kept.into(), &before);
        let brokers: Vec<_> = mixed.brokers.keys().map(|broker| broker.name()).collect();
        assert_eq!(brokers, ["a", "b", "gone"]);
        let triggers: Vec<_> = mixed
            .triggers
            .values()
            .map(|trigger| (trigger.name.name(), trigger.parallelism))
            .collect();
        assert_eq!(
            triggers,
            [("moves", 2), ("stays", 1)],
            "one that moves goes with its new broker"
        );
    }
}
