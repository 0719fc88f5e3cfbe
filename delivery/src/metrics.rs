//! Metrics of attempts. None is labelled with a trigger: a lane with nothing to do owns no series.

use std::time::Duration;

use millrace_model::Shortage;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::permits::Shown;

/// Bounds of the duration's buckets, in seconds: from a subscriber in the same rack to the default timeout.
const BUCKETS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 100.0, 300.0,
];

/// What an attempt is counted as: a closed set, the values of the label `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A 2xx without a reply.
    Delivered,
    /// A 2xx whose body is no CloudEvent where one could have been.
    DeliveredOddBody,
    /// A 200 with a reply.
    Reply,
    /// A 200 that claims to be a CloudEvent and cannot be taken.
    BadReply,
    /// A status that is final.
    Rejected,
    /// A status that is worth another attempt.
    Failed,
    /// No name, no connection, no TLS.
    Unreachable,
    /// Not in time.
    TimedOut,
    /// Closed or garbled.
    Broken,
    /// The guard, or a URL that is none.
    NotAllowed,
    /// What proves the sender could not be had.
    NoCredentials,
}

/// Each class with its label, in the order of the enum.
const CLASSES: [(Class, &str); 11] = [
    (Class::Delivered, "delivered"),
    (Class::DeliveredOddBody, "delivered_odd_body"),
    (Class::Reply, "reply"),
    (Class::BadReply, "bad_reply"),
    (Class::Rejected, "rejected"),
    (Class::Failed, "failed"),
    (Class::Unreachable, "unreachable"),
    (Class::TimedOut, "timed_out"),
    (Class::Broken, "broken"),
    (Class::NotAllowed, "not_allowed"),
    (Class::NoCredentials, "no_credentials"),
];

/// The metrics of all attempts of a process. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    family: Family<[(&'static str, &'static str); 1], Counter>,
    // The family's own counters, looked up once: an attempt takes no lock to count itself.
    attempts: [Counter; CLASSES.len()],
    seconds: Histogram,
    pub(crate) connections: Counter,
    pub(crate) stale: Counter,
    shortages: Family<[(&'static str, &'static str); 1], Counter>,
    /// Connections that are open, that may be open, and that are waited for.
    pub(crate) room: Shown,
    /// The same for name lookups.
    pub(crate) lookups: Shown,
}

// === impl Metrics ===

impl Default for Metrics {
    /// Metrics that no registry shows.
    fn default() -> Self {
        let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
        let attempts = CLASSES.map(|(_, name)| family.get_or_create_owned(&[("outcome", name)]));
        Self {
            family,
            attempts,
            seconds: Histogram::new(BUCKETS),
            connections: Counter::default(),
            stale: Counter::default(),
            shortages: Family::default(),
            room: Shown::default(),
            lookups: Shown::default(),
        }
    }
}

impl Metrics {
    /// Metrics that `registry` shows, under `millrace_delivery_`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "millrace_delivery_attempts",
            "Attempts to deliver an event, by outcome",
            metrics.family.clone(),
        );
        registry.register_with_unit(
            "millrace_delivery_attempt_duration",
            "How long an attempt took, from connecting to the end of the answer",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register(
            "millrace_delivery_connections",
            "Connections opened to targets",
            metrics.connections.clone(),
        );
        registry.register(
            "millrace_delivery_stale_connections",
            "Kept-alive connections that the target had closed when they were used again",
            metrics.stale.clone(),
        );
        registry.register(
            "millrace_delivery_shortages",
            "Deliveries that had to wait before they were attempted, by what was short",
            metrics.shortages.clone(),
        );
        metrics.register_limits(registry);
        metrics
    }

    fn register_limits(&self, registry: &mut Registry) {
        let gauges = [
            (
                "millrace_delivery_open_connections",
                "Connections to targets that are open now",
                &self.room.used,
            ),
            (
                "millrace_delivery_open_connections_limit",
                "Connections to targets that may be open at one time",
                &self.room.limit,
            ),
            (
                "millrace_delivery_waiting_for_connection",
                "Deliveries that wait for a connection now",
                &self.room.waiting,
            ),
            (
                "millrace_delivery_running_lookups",
                "Name lookups that run now",
                &self.lookups.used,
            ),
            (
                "millrace_delivery_running_lookups_limit",
                "Name lookups that may run at one time",
                &self.lookups.limit,
            ),
            (
                "millrace_delivery_waiting_lookups",
                "Name lookups that wait for their turn now",
                &self.lookups.waiting,
            ),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
    }

    /// Counts a delivery that begins to wait.
    pub(crate) fn short(&self, shortage: Shortage) {
        self.shortages
            .get_or_create_owned(&[("of", shortage.code())])
            .inc();
    }

    pub(crate) fn attempt(&self, class: Class, took: Duration) {
        self.attempts[class as usize].inc();
        self.seconds.observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_counted_under_its_own_name() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        for (index, (class, _)) in CLASSES.into_iter().enumerate() {
            assert_eq!(class as usize, index, "{class:?} stands where it is looked up");
            metrics.attempt(class, Duration::from_millis(3));
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        for (_, name) in CLASSES {
            let line = format!("millrace_delivery_attempts_total{{outcome=\"{name}\"}} 1");
            assert!(text.contains(&line), "{line} in {text}");
        }
        assert!(
            text.contains("millrace_delivery_attempt_duration_seconds_count 11"),
            "{text}"
        );
        assert!(text.contains("millrace_delivery_connections_total 0"), "{text}");
        assert!(
            text.contains("millrace_delivery_stale_connections_total 0"),
            "{text}"
        );
    }
}
