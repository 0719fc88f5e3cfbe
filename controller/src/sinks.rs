//! How sinks of Kafka stand, for their statuses.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_model::status::SinkStatus;
use millrace_model::{KafkaSink, Mesh, ObjectName, SinkState};

/// The states of all sinks that were looked at.
#[derive(Debug, Default)]
pub(crate) struct Sinks(BTreeMap<ObjectName, (Arc<KafkaSink>, SinkStatus)>);

// === impl Sinks ===

impl Sinks {
    /// Takes in how all sinks stand; says whether another state is shown now. The reason stays as it was when
    /// the state began, so that other words for the same are no write.
    pub(crate) fn observe(&mut self, all: &BTreeMap<ObjectName, (Arc<KafkaSink>, SinkStatus)>) -> bool {
        let before = self.0.len();
        self.0.retain(|name, (sink, _)| {
            let now = all.get(name);
            now.is_some_and(|(now, _)| Arc::ptr_eq(now, sink))
        });
        let mut has_changed = before != self.0.len();
        for (name, (sink, status)) in all {
            let shown = self.0.get(name).map(|(_, status)| status.state);
            if status.state != SinkState::Starting && shown != Some(status.state) {
                self.0.insert(name.clone(), (sink.clone(), status.clone()));
                has_changed = true;
            }
        }
        has_changed
    }

    /// Forgets what was said of sinks that are not in effect as they were looked at.
    pub(crate) fn keep(&mut self, mesh: &Mesh) {
        self.0.retain(|name, (sink, _)| {
            let now = mesh.kafka_sinks.get(name);
            now.is_some_and(|now| Arc::ptr_eq(now, sink))
        });
    }

    /// How a sink stands; nothing before it was looked at.
    pub(crate) fn of(&self, name: &ObjectName) -> Option<&SinkStatus> {
        self.0.get(name).map(|(_, status)| status)
    }
}
