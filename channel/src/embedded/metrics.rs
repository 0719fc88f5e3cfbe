//! What the channels count, by broker: as many series as there are brokers, whatever passes through.

use std::sync::Arc;

use millrace_event::ObjectName;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Broker {
    namespace: Arc<str>,
    broker: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    namespace: Arc<str>,
    broker: Arc<str>,
    code: &'static str,
}

/// The families of all brokers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    appended_events: Family<Broker, Counter>,
    append_bytes: Family<Broker, Counter>,
    refused: Family<Refused, Counter>,
    log_bytes: Family<Broker, Gauge>,
    corrupt_frames: Family<Broker, Counter>,
    torn_bytes: Family<Broker, Counter>,
    lost_events: Family<Broker, Counter>,
    dropped_events: Family<Broker, Counter>,
    dropped_orphans: Family<Broker, Counter>,
    copied_events: Family<Broker, Counter>,
    state_commits: Family<Broker, Counter>,
    history_dropped: Family<Broker, Counter>,
    /// Brokers whose folder was given back. Not a family: their series are gone.
    pub(crate) forgotten_brokers: Counter,
}

/// The series of one broker.
#[derive(Clone, Debug)]
pub(crate) struct ChannelMetrics {
    label: Broker,
    refused: Family<Refused, Counter>,
    /// Events stored.
    pub(crate) appended_events: Counter,
    /// Their bytes in stored form.
    pub(crate) append_bytes: Counter,
    /// Bytes of the log on disk.
    pub(crate) log_bytes: Gauge,
    /// Damaged places found in the log.
    pub(crate) corrupt_frames: Counter,
    /// Bytes of torn tails that were cut.
    pub(crate) torn_bytes: Counter,
    /// Positions whose events damage took.
    pub(crate) lost_events: Counter,
    /// Positions skipped to make room although a trigger had not settled them.
    pub(crate) dropped_events: Counter,
    /// Triggers that were gone and whose debts were dropped to make room.
    pub(crate) dropped_orphans: Counter,
    /// Events copied into state before their segment went.
    pub(crate) copied_events: Counter,
    /// Transactions of state.
    pub(crate) state_commits: Counter,
    /// Attempts that the bounded history did not take.
    pub(crate) history_dropped: Counter,
}

// === impl Broker ===

impl Broker {
    fn of(broker: &ObjectName) -> Self {
        Self {
            namespace: broker.namespace().into(),
            broker: broker.name().into(),
        }
    }

    fn refusing(&self, code: &'static str) -> Refused {
        let Self { namespace, broker } = self.clone();
        Refused {
            namespace,
            broker,
            code,
        }
    }
}

// === impl Metrics ===

impl Metrics {
    /// Makes the families known to a registry.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let mut counter = |name: &str, help: &str, family: &Family<Broker, Counter>| {
            registry.register(format!("millrace_channel_{name}"), help, family.clone());
        };
        counter("appended_events", "Events stored", &self.appended_events);
        counter("append_bytes", "Bytes of the events stored", &self.append_bytes);
        counter(
            "corrupt_frames",
            "Damaged places found in the log",
            &self.corrupt_frames,
        );
        counter(
            "torn_bytes",
            "Bytes of torn tails cut off the log",
            &self.torn_bytes,
        );
        counter(
            "lost_events",
            "Positions whose events were lost to damage",
            &self.lost_events,
        );
        counter(
            "dropped_events",
            "Unsettled positions skipped to make room",
            &self.dropped_events,
        );
        counter(
            "dropped_orphans",
            "Triggers that were gone and whose debts were dropped to make room",
            &self.dropped_orphans,
        );
        counter(
            "copied_events",
            "Events kept beside the log because work or parked events name them",
            &self.copied_events,
        );
        counter(
            "state_commits",
            "Transactions of the state database",
            &self.state_commits,
        );
        counter(
            "history_dropped",
            "Attempts that the bounded history did not take",
            &self.history_dropped,
        );
        registry.register(
            "millrace_channel_forgotten_brokers",
            "Brokers that were gone and whose folder was given back",
            self.forgotten_brokers.clone(),
        );
        registry.register(
            "millrace_channel_refused",
            "Appends refused, by code",
            self.refused.clone(),
        );
        registry.register_with_unit(
            "millrace_channel_log",
            "Size of the log on disk",
            Unit::Bytes,
            self.log_bytes.clone(),
        );
    }

    /// The series of a broker.
    pub(crate) fn of(&self, broker: &ObjectName) -> ChannelMetrics {
        let label = Broker::of(broker);
        let counter = |family: &Family<Broker, Counter>| family.get_or_create(&label).clone();
        ChannelMetrics {
            refused: self.refused.clone(),
            appended_events: counter(&self.appended_events),
            append_bytes: counter(&self.append_bytes),
            log_bytes: self.log_bytes.get_or_create(&label).clone(),
            corrupt_frames: counter(&self.corrupt_frames),
            torn_bytes: counter(&self.torn_bytes),
            lost_events: counter(&self.lost_events),
            dropped_events: counter(&self.dropped_events),
            dropped_orphans: counter(&self.dropped_orphans),
            copied_events: counter(&self.copied_events),
            state_commits: counter(&self.state_commits),
            history_dropped: counter(&self.history_dropped),
            label,
        }
    }

    /// Forgets the series of a broker that was removed.
    pub(crate) fn forget(&self, broker: &ObjectName) {
        let label = Broker::of(broker);
        let counters = [
            &self.appended_events,
            &self.append_bytes,
            &self.corrupt_frames,
            &self.torn_bytes,
            &self.lost_events,
            &self.dropped_events,
            &self.dropped_orphans,
            &self.copied_events,
            &self.state_commits,
            &self.history_dropped,
        ];
        for family in counters {
            family.remove(&label);
        }
        self.log_bytes.remove(&label);
        for code in ["disk-full", "backlog-full", "append-queue-full"] {
            self.refused.remove(&label.refusing(code));
        }
    }
}

// === impl ChannelMetrics ===

impl ChannelMetrics {
    /// Counts an append that was refused.
    pub(crate) fn refused(&self, code: &'static str) {
        self.refused.get_or_create(&self.label.refusing(code)).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_names_are_what_is_encoded() {
        let (metrics, mut registry) = (Metrics::default(), Registry::default());
        metrics.register(&mut registry);
        let broker = ObjectName::new("shop", "default");
        let series = metrics.of(&broker);
        series.corrupt_frames.inc();
        series.log_bytes.set(7);
        series.refused("disk-full");
        let encode = |registry: &Registry| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
            text
        };
        let text = encode(&registry);
        for line in [
            r#"millrace_channel_corrupt_frames_total{namespace="shop",broker="default"} 1"#,
            r#"millrace_channel_log_bytes{namespace="shop",broker="default"} 7"#,
            r#"millrace_channel_refused_total{namespace="shop",broker="default",code="disk-full"} 1"#,
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        metrics.forget(&broker);
        assert!(!encode(&registry).contains("shop"));
    }
}
