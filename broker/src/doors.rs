//! The doors of all brokers of the mesh, found by the text of a path: one hash and no allocation for each
//! request.
//!
//! When the snapshot of the mesh has changed, the first caller afterwards makes the doors anew; no task runs
//! beside the requests for that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use millrace_event::{ObjectName, Origin};
use millrace_model::Mesh;
use millrace_model::event_policy::Policies;
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{error_span, warn};

use crate::metrics::{DoorMetrics, IngressMetrics};

/// What is kept of one broker between requests.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) name: ObjectName,
    /// The name as paths and limits have it.
    pub(crate) path: Box<str>,
    pub(crate) metrics: DoorMetrics,
    loop_said: Mutex<Option<Instant>>,
    policies: ArcSwap<Policies>,
}

/// All doors.
#[derive(Debug)]
pub(crate) struct Doors {
    mesh: watch::Receiver<Arc<Mesh>>,
    metrics: IngressMetrics,
    current: ArcSwap<Made>,
    making: Mutex<()>,
}

/// The doors of one snapshot.
#[derive(Debug, Default)]
struct Made {
    of: Arc<Mesh>,
    by_path: HashMap<Box<str>, Arc<Door>>,
    by_name: HashMap<ObjectName, Arc<Door>>,
}

/// A circle of brokers stops thousands of events: one log line a broker in that time tells it.
const SAY_EVERY: Duration = Duration::from_secs(60);

// === impl Door ===

impl Door {
    /// Who may send events here.
    pub(crate) fn policies(&self) -> Arc<Policies> {
        self.policies.load_full()
    }

    /// Counts a refusal.
    pub(crate) fn refused(&self, code: &'static str) {
        self.metrics.refused(code);
    }

    /// Logs now and then that an event went round in a loop.
    pub(crate) fn say_loop(&self) {
        if self.may_say() {
            let _span = error_span!("broker", broker = %self.name).entered();
            warn!(
                "an event went round through too many brokers and was refused: a trigger's answers, or those of \
                 several brokers, lead back to where they come from (said once a minute)"
            );
        }
    }

    fn may_say(&self) -> bool {
        let mut said = self.loop_said.lock();
        let may = said.is_none_or(|last| last.elapsed() >= SAY_EVERY);
        if may {
            *said = Some(Instant::now());
        }
        may
    }
}

// === impl Doors ===

impl Doors {
    pub(crate) fn new(mesh: watch::Receiver<Arc<Mesh>>, metrics: IngressMetrics) -> Self {
        Self {
            mesh,
            metrics,
            current: ArcSwap::default(),
            making: Mutex::new(()),
        }
    }

    /// The door of the broker at `namespace/name`.
    pub(crate) fn at(&self, path: &str) -> Option<Arc<Door>> {
        self.with(|made| made.by_path.get(path).cloned())
    }

    /// The door of that broker.
    pub(crate) fn of(&self, name: &ObjectName) -> Option<Arc<Door>> {
        self.with(|made| made.by_name.get(name).cloned())
    }

    /// Whether that is a Trigger sending to the Broker that it reads.
    pub(crate) fn is_answer(&self, broker: &ObjectName, origin: &Origin) -> bool {
        let Origin::Mesh(sender) = origin else {
            return false;
        };
        let mesh = self.mesh.borrow();
        let trigger = mesh.triggers.get(&sender.name);
        trigger.is_some_and(|trigger| trigger.broker == *broker)
    }

    pub(crate) fn metrics(&self) -> &IngressMetrics {
        &self.metrics
    }

    fn with<T>(&self, look: impl FnOnce(&Made) -> T) -> T {
        let made = self.current.load();
        if Arc::ptr_eq(&made.of, &self.mesh.borrow()) {
            return look(&made);
        }
        drop(made);
        look(&self.make())
    }

    fn make(&self) -> Arc<Made> {
        let _one_at_a_time = self.making.lock();
        let old = self.current.load_full();
        let of = self.mesh.borrow().clone();
        if Arc::ptr_eq(&old.of, &of) {
            return old;
        }
        for (name, door) in &old.by_name {
            if !of.brokers.contains_key(name) {
                door.metrics.forget();
            }
        }
        let mut made = Made {
            of,
            ..Made::default()
        };
        for name in made.of.brokers.keys() {
            let door = old
                .by_name
                .get(name)
                .cloned()
                .unwrap_or_else(|| Arc::new(self.door(name)));
            let policies = made.of.policies.values();
            door.policies.store(Arc::new(Policies::of(name, policies)));
            made.by_path.insert(door.path.clone(), door.clone());
            made.by_name.insert(name.clone(), door);
        }
        let made = Arc::new(made);
        self.current.store(made.clone());
        made
    }

    fn door(&self, name: &ObjectName) -> Door {
        Door {
            path: name.to_string().into(),
            name: name.clone(),
            metrics: self.metrics.door(name),
            loop_said: Mutex::default(),
            policies: ArcSwap::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace_model::{Broker, OnFull, Retention};

    use super::*;

    fn mesh(names: &[&str]) -> Arc<Mesh> {
        let brokers = names.iter().map(|name| {
            let name: ObjectName = name.parse().unwrap();
            let broker = Broker {
                name: name.clone(),
                uid: None,
                backend: millrace_model::Backend::Embedded,
                retention: Retention::default(),
                backlog_bytes: None,
                on_full: OnFull::Refuse,
            };
            (name, Arc::new(broker))
        });
        Arc::new(Mesh {
            brokers: brokers.collect(),
            ..Mesh::default()
        })
    }

    #[test]
    fn doors_follow_the_mesh_and_those_that_stay_are_the_same() {
        let (sender, receiver) = watch::channel(mesh(&["a/x", "a/y"]));
        let doors = Doors::new(receiver, IngressMetrics::default());
        let x = doors.at("a/x").unwrap();
        assert!(doors.of(&ObjectName::new("a", "y")).is_some());
        assert!(doors.at("b/x").is_none());
        sender.send_replace(mesh(&["a/x", "b/x"]));
        assert!(doors.at("a/y").is_none());
        assert!(doors.at("b/x").is_some());
        assert!(Arc::ptr_eq(&x, &doors.at("a/x").unwrap()));
    }

    #[test]
    fn a_loop_is_said_once_a_minute() {
        let (_sender, receiver) = watch::channel(mesh(&["a/x"]));
        let door = Doors::new(receiver, IngressMetrics::default()).at("a/x").unwrap();
        assert!(door.may_say());
        assert!(!door.may_say());
    }
}
