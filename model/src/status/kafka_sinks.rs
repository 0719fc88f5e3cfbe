//! How the sinks of Kafka stand, on the board.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_event::ObjectName;

use super::StatusBoard;
use crate::{KafkaSink, Mesh, SinkState};

/// The state of one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkStatus {
    /// The state in a word.
    pub state: SinkState,
    /// Why it is in that state, where that needs saying.
    pub reason: Option<String>,
}

// === impl StatusBoard ===

impl StatusBoard {
    /// Says how a sink stands. Returns whether that is news.
    pub fn set_kafka_sink(&self, sink: &Arc<KafkaSink>, status: &SinkStatus) -> bool {
        let mut sinks = self.kafka_sinks.write();
        let before = sinks.insert(sink.name.clone(), (sink.clone(), status.clone()));
        before.is_none_or(|(_, before)| before != *status)
    }

    /// Forgets the sinks that are not in this mesh.
    pub fn keep_kafka_sinks(&self, mesh: &Mesh) {
        let is_there = |name: &ObjectName| mesh.kafka_sinks.contains_key(name);
        self.kafka_sinks.write().retain(|name, _| is_there(name));
    }

    /// The states of the sinks of a mesh. One that was edited is `starting` until it is looked at.
    pub fn kafka_sinks_of(&self, mesh: &Mesh) -> BTreeMap<ObjectName, (Arc<KafkaSink>, SinkStatus)> {
        let known = self.kafka_sinks.read();
        let status = |sink: &Arc<KafkaSink>| match known.get(&sink.name) {
            Some((looked_at, status)) if Arc::ptr_eq(looked_at, sink) => status.clone(),
            _ => SinkStatus::default(),
        };
        let all = mesh.kafka_sinks.iter();
        all.map(|(name, sink)| (name.clone(), (sink.clone(), status(sink))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, KafkaCluster};

    #[test]
    fn a_sink_that_was_edited_has_not_been_looked_at() {
        let sink = || {
            Arc::new(KafkaSink {
                name: ObjectName::new("shop", "orders"),
                cluster: KafkaCluster {
                    bootstrap_servers: vec!["a:1".to_owned()],
                    tls: None,
                    login: None,
                },
                topic: "orders".to_owned(),
                format: Format::Binary,
            })
        };
        let mesh = |sink: &Arc<KafkaSink>| Mesh {
            kafka_sinks: [(sink.name.clone(), sink.clone())].into(),
            ..Mesh::default()
        };
        let (board, first, edited) = (StatusBoard::default(), sink(), sink());
        let state = |sink: &Arc<KafkaSink>| {
            let all = board.kafka_sinks_of(&mesh(sink));
            all[&sink.name].1.state
        };
        assert_eq!(state(&first), SinkState::Starting);
        let ready = SinkStatus {
            state: SinkState::Ready,
            reason: None,
        };
        assert!(board.set_kafka_sink(&first, &ready), "it is news");
        assert!(!board.set_kafka_sink(&first, &ready), "it is none");
        assert_eq!(
            (state(&first), state(&edited)),
            (SinkState::Ready, SinkState::Starting)
        );
        board.keep_kafka_sinks(&Mesh::default());
        assert_eq!(state(&first), SinkState::Starting);
    }
}
