//! Metrics of the dispatcher: one series a broker, none for a trigger, so that 10 000 idle triggers cost
//! nothing.

use std::sync::Arc;

use millrace_event::ObjectName;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The labels of every series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BrokerLabels {
    namespace: Arc<str>,
    broker: Arc<str>,
}

/// The dispatcher's metrics, for all brokers.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    routed: Family<BrokerLabels, Counter>,
    matched: Family<BrokerLabels, Counter>,
    filter_errors: Family<BrokerLabels, Counter>,
    delivered: Family<BrokerLabels, Counter>,
    replies: Family<BrokerLabels, Counter>,
    refused_replies: Family<BrokerLabels, Counter>,
    odd_answers: Family<BrokerLabels, Counter>,
    failed_attempts: Family<BrokerLabels, Counter>,
    dead_lettered: Family<BrokerLabels, Counter>,
    parked: Family<BrokerLabels, Counter>,
    lost: Family<BrokerLabels, Counter>,
    unreadable: Family<BrokerLabels, Counter>,
    dropped: Family<BrokerLabels, Counter>,
    fell_behind: Family<BrokerLabels, Counter>,
    too_much_work: Family<BrokerLabels, Counter>,
    panics: Family<BrokerLabels, Counter>,
}

/// The counters of one broker.
#[derive(Clone, Debug)]
pub(crate) struct ServingMetrics {
    pub(crate) routed: Counter,
    pub(crate) matched: Counter,
    pub(crate) filter_errors: Counter,
    pub(crate) delivered: Counter,
    pub(crate) replies: Counter,
    pub(crate) refused_replies: Counter,
    pub(crate) odd_answers: Counter,
    pub(crate) failed_attempts: Counter,
    pub(crate) dead_lettered: Counter,
    pub(crate) parked: Counter,
    pub(crate) lost: Counter,
    pub(crate) unreadable: Counter,
    pub(crate) dropped: Counter,
    pub(crate) fell_behind: Counter,
    pub(crate) too_much_work: Counter,
    pub(crate) panics: Counter,
}

// === impl BrokerLabels ===

impl BrokerLabels {
    fn of(broker: &ObjectName) -> Self {
        Self {
            namespace: broker.namespace().into(),
            broker: broker.name().into(),
        }
    }
}

// === impl Metrics ===

impl Metrics {
    /// Registers the metrics; call once.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let all = [
            (
                "millrace_dispatch_routed_events",
                "Events read at the log's head",
                &metrics.routed,
            ),
            (
                "millrace_dispatch_matches",
                "Events given to a trigger by the router",
                &metrics.matched,
            ),
            (
                "millrace_dispatch_filter_errors",
                "Clauses that the router could not evaluate for an event",
                &metrics.filter_errors,
            ),
            (
                "millrace_dispatch_delivered_events",
                "Events a subscriber took",
                &metrics.delivered,
            ),
            (
                "millrace_dispatch_replies",
                "Replies stored as new events",
                &metrics.replies,
            ),
            (
                "millrace_dispatch_refused_replies",
                "Replies refused for good: a loop, their size, or no valid CloudEvent",
                &metrics.refused_replies,
            ),
            (
                "millrace_dispatch_odd_answers",
                "2xx answers whose body is no CloudEvent",
                &metrics.odd_answers,
            ),
            (
                "millrace_dispatch_failed_attempts",
                "Attempts that failed",
                &metrics.failed_attempts,
            ),
            (
                "millrace_dispatch_dead_lettered_events",
                "Events a dead-letter sink took",
                &metrics.dead_lettered,
            ),
            (
                "millrace_dispatch_parked_events",
                "Events parked",
                &metrics.parked,
            ),
            (
                "millrace_dispatch_lost_events",
                "Owed events that could not be read back",
                &metrics.lost,
            ),
            (
                "millrace_dispatch_unreadable_messages",
                "Messages of others in a log that are no CloudEvents and were skipped",
                &metrics.unreadable,
            ),
            (
                "millrace_dispatch_dropped_debts",
                "Debts of triggers that stayed away too long",
                &metrics.dropped,
            ),
            (
                "millrace_dispatch_fell_behind",
                "Times a lane left the router",
                &metrics.fell_behind,
            ),
            (
                "millrace_dispatch_too_much_work",
                "Events that did not match a trigger since its filters had no work left to decide",
                &metrics.too_much_work,
            ),
            (
                "millrace_dispatch_panics",
                "Panics of tasks, which begin again",
                &metrics.panics,
            ),
        ];
        for (name, help, family) in all {
            registry.register(name, help, family.clone());
        }
        metrics
    }

    /// Forgets the series of a broker that is no longer served. What was dropped with it stays counted.
    pub(crate) fn forget(&self, broker: &ObjectName) {
        let label = BrokerLabels::of(broker);
        let families = [
            &self.routed,
            &self.matched,
            &self.filter_errors,
            &self.delivered,
            &self.replies,
            &self.refused_replies,
            &self.odd_answers,
            &self.failed_attempts,
            &self.dead_lettered,
            &self.parked,
            &self.lost,
            &self.unreadable,
            &self.fell_behind,
            &self.too_much_work,
            &self.panics,
        ];
        for family in families {
            family.remove(&label);
        }
        if self.dropped.get(&label).is_some_and(|dropped| dropped.get() == 0) {
            self.dropped.remove(&label);
        }
    }

    pub(crate) fn of(&self, broker: &ObjectName) -> ServingMetrics {
        let label = BrokerLabels::of(broker);
        let counter = |family: &Family<BrokerLabels, Counter>| family.get_or_create(&label).clone();
        ServingMetrics {
            routed: counter(&self.routed),
            matched: counter(&self.matched),
            filter_errors: counter(&self.filter_errors),
            delivered: counter(&self.delivered),
            replies: counter(&self.replies),
            refused_replies: counter(&self.refused_replies),
            odd_answers: counter(&self.odd_answers),
            failed_attempts: counter(&self.failed_attempts),
            dead_lettered: counter(&self.dead_lettered),
            parked: counter(&self.parked),
            lost: counter(&self.lost),
            unreadable: counter(&self.unreadable),
            dropped: counter(&self.dropped),
            fell_behind: counter(&self.fell_behind),
            too_much_work: counter(&self.too_much_work),
            panics: counter(&self.panics),
        }
    }
}
