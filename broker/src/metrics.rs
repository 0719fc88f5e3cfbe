//! What the door counts. Labels name only brokers of the mesh: what a client makes up becomes no series.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_event::ObjectName;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The metrics of all brokers' doors. Made once a process; the default counts into the void.
#[derive(Clone, Debug, Default)]
pub struct IngressMetrics {
    events: Family<BrokerLabels, Counter>,
    bytes: Family<BrokerLabels, Counter>,
    refused: Family<RefusedLabels, Counter>,
}

/// The numbers of one broker, looked up once.
#[derive(Debug)]
pub(crate) struct DoorMetrics {
    labels: BrokerLabels,
    events: Counter,
    bytes: Counter,
    refused: Mutex<BTreeMap<&'static str, Counter>>,
    all: IngressMetrics,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BrokerLabels {
    namespace: Arc<str>,
    broker: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    namespace: Arc<str>,
    broker: Arc<str>,
    code: &'static str,
}

// === impl IngressMetrics ===

impl IngressMetrics {
    /// Registers the families `millrace_broker_*`.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "millrace_broker_events_accepted",
            "Events made durable and acknowledged",
            metrics.events.clone(),
        );
        registry.register(
            "millrace_broker_bytes_accepted",
            "Bytes of data of the events accepted",
            metrics.bytes.clone(),
        );
        registry.register(
            "millrace_broker_requests_refused",
            "Events or batches not accepted, by the stable code of the reason; without namespace and broker where \
             the request named no broker of the mesh",
            metrics.refused.clone(),
        );
        metrics
    }

    /// The numbers of a broker of the mesh.
    pub(crate) fn door(&self, name: &ObjectName) -> DoorMetrics {
        let labels = BrokerLabels {
            namespace: name.namespace().into(),
            broker: name.name().into(),
        };
        DoorMetrics {
            events: self.events.get_or_create_owned(&labels),
            bytes: self.bytes.get_or_create_owned(&labels),
            refused: Mutex::default(),
            all: self.clone(),
            labels,
        }
    }

    /// Counts a request that named no broker of the mesh.
    pub(crate) fn refused_elsewhere(&self, code: &'static str) {
        self.counter_of(&BrokerLabels::default(), code).inc();
    }

    fn counter_of(&self, labels: &BrokerLabels, code: &'static str) -> Counter {
        let labels = labels.clone();
        let labels = RefusedLabels {
            namespace: labels.namespace,
            broker: labels.broker,
            code,
        };
        self.refused.get_or_create_owned(&labels)
    }
}

// === impl DoorMetrics ===

impl DoorMetrics {
    pub(crate) fn accepted(&self, events: usize, bytes: usize) {
        self.events.inc_by(events as u64);
        self.bytes.inc_by(bytes as u64);
    }

    pub(crate) fn refused(&self, code: &'static str) {
        let mut refused = self.refused.lock();
        refused
            .entry(code)
            .or_insert_with(|| self.all.counter_of(&self.labels, code))
            .inc();
    }

    /// Takes the series of a broker that is gone out of the registry.
    pub(crate) fn forget(&self) {
        self.all.events.remove(&self.labels);
        self.all.bytes.remove(&self.labels);
        for code in self.refused.lock().keys() {
            let BrokerLabels { namespace, broker } = self.labels.clone();
            self.all.refused.remove(&RefusedLabels {
                namespace,
                broker,
                code,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text
    }

    #[test]
    fn a_broker_has_its_numbers_while_it_is_there() {
        let mut registry = Registry::default();
        let metrics = IngressMetrics::new(&mut registry);
        let door = metrics.door(&ObjectName::new("shop", "default"));
        door.accepted(2, 30);
        door.refused("looping");
        door.refused("looping");
        let labels = "namespace=\"shop\",broker=\"default\"";
        let shown = text(&registry);
        for line in [
            format!("millrace_broker_events_accepted_total{{{labels}}} 2"),
            format!("millrace_broker_bytes_accepted_total{{{labels}}} 30"),
            format!("millrace_broker_requests_refused_total{{{labels},code=\"looping\"}} 2"),
        ] {
            assert!(shown.contains(&line), "{line} in {shown}");
        }
        door.forget();
        assert!(!text(&registry).contains("shop"));
    }

    #[test]
    fn what_names_no_broker_is_counted_without_its_name() {
        let mut registry = Registry::default();
        let metrics = IngressMetrics::new(&mut registry);
        metrics.refused_elsewhere("unknown-broker");
        let line =
            "millrace_broker_requests_refused_total{namespace=\"\",broker=\"\",code=\"unknown-broker\"} 1";
        assert!(text(&registry).contains(line), "{}", text(&registry));
    }
}
