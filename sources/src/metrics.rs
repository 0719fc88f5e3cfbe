//! What sources count. A source that is gone takes its series with it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

use millrace_model::SourceKey;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The metrics of all sources. Made once a process; the default counts into the void.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    events: Family<Labels, Counter>,
    refused: Family<CodeLabels, Counter>,
    taken_otherwise: Family<CodeLabels, Counter>,
    not_taken: Family<CodeLabels, Counter>,
    paused_partitions: Family<Labels, Gauge>,
    deleted_unread: Family<Labels, Counter>,
    /// The codes that were counted, so that their series can be taken away.
    codes: Arc<Mutex<BTreeSet<(SourceKey, &'static str)>>>,
}

/// The numbers of one source.
pub(crate) struct SourceMetrics {
    key: SourceKey,
    events: Counter,
    /// From its first use on: only a KafkaSource has one.
    #[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "no other source pauses"))]
    paused_partitions: OnceLock<Gauge>,
    all: Metrics,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: &'static str,
    namespace: Arc<str>,
    source: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    kind: &'static str,
    namespace: Arc<str>,
    source: Arc<str>,
    code: &'static str,
}

// === impl Metrics ===

impl Metrics {
    /// Registers the families `millrace_source_*`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "millrace_source_events",
            "Events that the sink of the source has taken",
            metrics.events.clone(),
        );
        registry.register(
            "millrace_source_refused",
            "What the origin offered and was not taken for an event, by the stable code of the reason",
            metrics.refused.clone(),
        );
        registry.register(
            "millrace_source_taken_otherwise",
            "What the origin offered and was taken, but not for all that it seemed to be, by the stable code of the reason",
            metrics.taken_otherwise.clone(),
        );
        registry.register(
            "millrace_source_not_taken",
            "Attempts in which the sink did not take events, by the stable code of the reason",
            metrics.not_taken.clone(),
        );
        registry.register(
            "millrace_source_paused_partitions",
            "Partitions of Kafka that are not read on, because the sink has not taken what is in hand of them",
            metrics.paused_partitions.clone(),
        );
        registry.register(
            "millrace_source_deleted_unread",
            "Offsets that Kafka has deleted before the source had read their records",
            metrics.deleted_unread.clone(),
        );
        metrics
    }

    pub(crate) fn source(&self, key: &SourceKey) -> SourceMetrics {
        SourceMetrics {
            events: self.events.get_or_create_owned(&labels(key)),
            paused_partitions: OnceLock::new(),
            key: key.clone(),
            all: self.clone(),
        }
    }

    /// Takes the series of a source away that is gone.
    pub(crate) fn forget(&self, key: &SourceKey) {
        self.events.remove(&labels(key));
        self.paused_partitions.remove(&labels(key));
        self.deleted_unread.remove(&labels(key));
        self.codes.lock().retain(|(of, code)| {
            if of == key {
                self.refused.remove(&coded(key, code));
                self.taken_otherwise.remove(&coded(key, code));
                self.not_taken.remove(&coded(key, code));
            }
            of != key
        });
    }
}

fn labels(key: &SourceKey) -> Labels {
    Labels {
        kind: key.kind.as_str(),
        namespace: key.name.namespace().into(),
        source: key.name.name().into(),
    }
}

fn coded(key: &SourceKey, code: &'static str) -> CodeLabels {
    let Labels {
        kind,
        namespace,
        source,
    } = labels(key);
    CodeLabels {
        kind,
        namespace,
        source,
        code,
    }
}

// === impl SourceMetrics ===

impl SourceMetrics {
    pub(crate) fn taken(&self, events: u64) {
        self.events.inc_by(events);
    }

    pub(crate) fn refused(&self, code: &'static str) {
        self.all.refused.get_or_create(&self.coded(code)).inc();
    }

    pub(crate) fn taken_otherwise(&self, code: &'static str) {
        self.all.taken_otherwise.get_or_create(&self.coded(code)).inc();
    }

    pub(crate) fn not_taken(&self, code: &'static str) {
        self.all.not_taken.get_or_create(&self.coded(code)).inc();
    }

    #[cfg(feature = "kafka")]
    pub(crate) fn paused_partitions(&self, partitions: usize) {
        let partitions = i64::try_from(partitions).unwrap_or(i64::MAX);
        let family = &self.all.paused_partitions;
        let gauge = || family.get_or_create_owned(&labels(&self.key));
        self.paused_partitions.get_or_init(gauge).set(partitions);
    }

    #[cfg(feature = "kafka")]
    pub(crate) fn deleted_unread(&self, offsets: u64) {
        self.all
            .deleted_unread
            .get_or_create(&labels(&self.key))
            .inc_by(offsets);
    }

    fn coded(&self, code: &'static str) -> CodeLabels {
        self.all.codes.lock().insert((self.key.clone(), code));
        coded(&self.key, code)
    }
}

impl fmt::Debug for SourceMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceMetrics")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
