//! What a listener counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::progress::Expired;

/// The metrics of all listeners, told apart by the label `listener`. Made once a process.
#[derive(Clone, Debug, Default)]
pub struct ServeMetrics {
    connections: Family<ListenerLabel, Gauge>,
    limit: Family<ListenerLabel, Gauge>,
    waiting: Family<ListenerLabel, Gauge>,
    made_room: Family<ListenerLabel, Counter>,
    turned_away: Family<ListenerLabel, Counter>,
    accepted: Family<ListenerLabel, Counter>,
    accept_errors: Family<ListenerLabel, Counter>,
    expired: Family<ReasonLabels, Counter>,
    abused: Family<ReasonLabels, Counter>,
    no_handshake: Family<ReasonLabels, Counter>,
}

/// The metrics of one listener; the default counts into the void.
#[derive(Clone, Debug, Default)]
pub struct ListenerMetrics {
    pub(crate) connections: Gauge,
    pub(crate) limit: Gauge,
    pub(crate) waiting: Gauge,
    pub(crate) made_room: Counter,
    pub(crate) turned_away: Counter,
    pub(crate) accepted: Counter,
    pub(crate) accept_errors: Counter,
    expired_idle: Counter,
    expired_header: Counter,
    expired_write: Counter,
    abused_flood: Counter,
    abused_resets: Counter,
    handshake_failed: Counter,
    handshake_timeout: Counter,
}

/// How a client misuses HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abuse {
    /// With frames that cost more than they bring.
    Flood,
    /// It cancels nearly everything that it asks for.
    Resets,
}

/// Why a TLS handshake came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHandshake {
    /// The two sides do not agree, or the client's certificate is not taken.
    Failed,
    /// It took too long.
    Timeout,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    listener: &'static str,
    reason: &'static str,
}

// === impl ServeMetrics ===

impl ServeMetrics {
    /// Registers the families `millrace_http_*`.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "millrace_http_connections",
            "Connections open now",
            metrics.connections.clone(),
        );
        registry.register(
            "millrace_http_connections_limit",
            "Connections that may be open at one time",
            metrics.limit.clone(),
        );
        registry.register(
            "millrace_http_connections_waiting",
            "Connections accepted that wait for one to end",
            metrics.waiting.clone(),
        );
        registry.register(
            "millrace_http_connections_made_room",
            "Connections ended because others waited; none with a request in hand",
            metrics.made_room.clone(),
        );
        registry.register(
            "millrace_http_connections_turned_away",
            "Connections closed because there was no room and none to wait in",
            metrics.turned_away.clone(),
        );
        registry.register(
            "millrace_http_connections_accepted",
            "Connections accepted",
            metrics.accepted.clone(),
        );
        registry.register(
            "millrace_http_accept_errors",
            "Connections that could not be accepted, as when the process has no file descriptor left",
            metrics.accept_errors.clone(),
        );
        registry.register(
            "millrace_http_connections_expired",
            "Connections ended because the client was idle, sent its header or took its answer too slowly",
            metrics.expired.clone(),
        );
        registry.register(
            "millrace_http_connections_abused",
            "HTTP/2 connections ended because the client flooded them or cancelled nearly all its requests",
            metrics.abused.clone(),
        );
        registry.register(
            "millrace_http_tls_handshakes_failed",
            "TLS handshakes that came to nothing: they failed, or took too long",
            metrics.no_handshake.clone(),
        );
        metrics
    }

    /// The metrics of the listener of that name (`ingress`, `admin`).
    pub fn listener(&self, listener: &'static str) -> ListenerMetrics {
        let label = ListenerLabel { listener };
        let of = |family: &Family<ReasonLabels, Counter>, reason| {
            family.get_or_create_owned(&ReasonLabels { listener, reason })
        };
        ListenerMetrics {
            connections: self.connections.get_or_create_owned(&label),
            limit: self.limit.get_or_create_owned(&label),
            waiting: self.waiting.get_or_create_owned(&label),
            made_room: self.made_room.get_or_create_owned(&label),
            turned_away: self.turned_away.get_or_create_owned(&label),
            accepted: self.accepted.get_or_create_owned(&label),
            accept_errors: self.accept_errors.get_or_create_owned(&label),
            expired_idle: of(&self.expired, "idle"),
            expired_header: of(&self.expired, "header"),
            expired_write: of(&self.expired, "write"),
            abused_flood: of(&self.abused, "flood"),
            abused_resets: of(&self.abused, "resets"),
            handshake_failed: of(&self.no_handshake, "failed"),
            handshake_timeout: of(&self.no_handshake, "timeout"),
        }
    }
}

// === impl ListenerMetrics ===

impl ListenerMetrics {
    pub(crate) fn expired(&self, what: Expired) {
        match what {
            Expired::Idle => self.expired_idle.inc(),
            Expired::Header => self.expired_header.inc(),
            Expired::Write => self.expired_write.inc(),
        };
    }

    pub(crate) fn abused(&self, how: Abuse) {
        match how {
            Abuse::Flood => self.abused_flood.inc(),
            Abuse::Resets => self.abused_resets.inc(),
        };
    }

    pub(crate) fn no_handshake(&self, why: NoHandshake) {
        match why {
            NoHandshake::Failed => self.handshake_failed.inc(),
            NoHandshake::Timeout => self.handshake_timeout.inc(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_share_families_and_keep_their_own_numbers() {
        let mut registry = Registry::default();
        let metrics = ServeMetrics::new(&mut registry);
        metrics.listener("ingress").connections.inc();
        metrics.listener("admin").expired(Expired::Header);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(
            text.contains("millrace_http_connections{listener=\"ingress\"} 1"),
            "{text}"
        );
        let expired = "millrace_http_connections_expired_total{listener=\"admin\",reason=\"header\"} 1";
        assert!(text.contains(expired), "{text}");
    }
}
