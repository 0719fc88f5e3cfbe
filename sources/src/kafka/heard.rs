//! What only librdkafka's log tells: why a server cannot be reached, and that a topic was recreated.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;

/// What the clients of a source have logged.
#[derive(Debug, Default)]
pub(super) struct Heard {
    fault: Mutex<Option<(Instant, String)>>,
    recreated: Mutex<BTreeSet<String>>,
    is_any_recreated: AtomicBool,
}

/// The value of `debug` that makes librdkafka log recreated topics.
pub(super) const DEBUG: &str = "topic";
/// How long a fault counts. Of one that lasts there is a new line within that time: an attempt to connect
/// takes up to 30 s, and librdkafka leaves out equal lines for 30 s.
const FRESH: Duration = Duration::from_secs(90);

// === impl Heard ===

impl Heard {
    /// Notes one line, and passes it on to the log of the process, unless its level is `debug`.
    pub(super) fn line(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};

        match level {
            Debug => {
                if let Some(topic) = recreated(text) {
                    self.recreated.lock().insert(topic.to_owned());
                    self.is_any_recreated.store(true, Ordering::Release);
                }
                return;
            }
            Emerg | Alert | Critical | Error => {
                tracing::error!(target: "librdkafka", "librdkafka: {facility} {text}");
            }
            Warning => tracing::warn!(target: "librdkafka", "librdkafka: {facility} {text}"),
            Notice | Info => tracing::info!(target: "librdkafka", "librdkafka: {facility} {text}"),
        }
        if facility == "FAIL" {
            *self.fault.lock() = Some((Instant::now(), fault(text)));
        }
    }

    /// Why a server could not be reached, most recently; `None` if that was long ago.
    pub(super) fn fault(&self) -> Option<String> {
        self.fault_at(Instant::now())
    }

    fn fault_at(&self, now: Instant) -> Option<String> {
        let fault = self.fault.lock();
        let fresh = fault
            .as_ref()
            .filter(|(since, _)| now.saturating_duration_since(*since) < FRESH);
        fresh.map(|(_, fault)| fault.clone())
    }

    /// Notes that the servers are reached again.
    pub(super) fn clear(&self) {
        *self.fault.lock() = None;
    }

    /// The topics that were deleted and recreated since the last call.
    pub(super) fn take_recreated(&self) -> BTreeSet<String> {
        if !self.is_any_recreated.swap(false, Ordering::Acquire) {
            return BTreeSet::new();
        }
        std::mem::take(&mut self.recreated.lock())
    }
}

/// The topic whose id has changed, if the line says so. librdkafka only logs a change, and continues at the
/// old offset.
fn recreated(text: &str) -> Option<&str> {
    let (before, ids) = text.split_once(" changed id from ")?;
    let (_, topic) = before.split_once("Topic ")?;
    let (from, _) = ids.split_once(" to ")?;
    // The id of a topic that is not known yet is all zeros.
    let is_known = !from.trim_end_matches('=').bytes().all(|letter| letter == b'A');
    is_known.then_some(topic)
}

/// The kind of fault, and librdkafka's words without its internals.
fn fault(text: &str) -> String {
    const KINDS: [(&str, &str); 9] = [
        ("Failed to resolve", "name not found"),
        ("Connection refused", "connection refused"),
        (
            "mechanism handshake failed",
            "the mechanism of the login is not supported",
        ),
        ("SASL authentication error", "the login is refused"),
        ("SSL handshake failed", "encryption failed"),
        ("SSL", "encryption failed"),
        ("timed out", "no answer"),
        ("No route to host", "no route"),
        ("unreachable", "no route"),
    ];
    let text = match text.strip_prefix("[thrd:") {
        Some(rest) => rest.split_once("]: ").map_or(text, |(_, rest)| rest),
        None => text,
    };
    let text = text.split_once(" (after ").map_or(text, |(text, _)| text);
    let text = text.replace("/bootstrap: ", ": ");
    let lower = text.to_ascii_lowercase();
    // librdkafka writes *timed out* and *Timed out*.
    let is_kind = |sign: &str| text.contains(sign) || (sign == "timed out" && lower.contains(sign));
    let kind = KINDS.iter().find(|(sign, _)| is_kind(sign));
    match kind {
        Some((_, kind)) => format!("{kind}: {text}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_apart() {
        for (line, expected) in [
            (
                "[thrd:127.0.0.1:1/bootstrap]: 127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
                "connection refused: 127.0.0.1:1: Connect to ipv4#127.0.0.1:1 failed: Connection refused",
            ),
            (
                "[thrd:sasl_plaintext://k:1/bootstrap]: sasl_plaintext://k:1/bootstrap: SASL authentication error: Authentication failed: Invalid username or password (after 3ms in state AUTH_REQ)",
                "the login is refused: sasl_plaintext://k:1: SASL authentication error: Authentication failed: Invalid username or password",
            ),
            (
                "[thrd:k]: k:1/1: SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: SCRAM-SHA-512 (after 3ms in state AUTH_HANDSHAKE)",
                "the mechanism of the login is not supported: k:1/1: SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: SCRAM-SHA-512",
            ),
            (
                "[thrd:k]: ssl://k:1/1: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed (after 9ms in state SSL_HANDSHAKE)",
                "encryption failed: ssl://k:1/1: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed",
            ),
            (
                "[thrd:k]: k:1/bootstrap: Failed to resolve 'k:1': Name or service not known (after 1ms in state CONNECT)",
                "name not found: k:1: Failed to resolve 'k:1': Name or service not known",
            ),
            (
                "[thrd:k]: k:1/1: ApiVersionRequest failed: Local: Timed out: probably due to broker version < 0.10",
                "no answer: k:1/1: ApiVersionRequest failed: Local: Timed out: probably due to broker version < 0.10",
            ),
            ("something else", "something else"),
        ] {
            assert_eq!(fault(line), expected);
        }
    }

    #[test]
    fn an_old_fault_does_not_count() {
        let heard = Heard::default();
        heard.line(RDKafkaLogLevel::Error, "FAIL", "Connection refused");
        let now = Instant::now();
        assert!(heard.fault_at(now).is_some());
        assert_eq!(heard.fault_at(now + FRESH), None);
        heard.line(RDKafkaLogLevel::Error, "FAIL", "Connection refused");
        heard.clear();
        assert_eq!(heard.fault_at(now), None);
    }

    #[test]
    fn a_topic_that_was_recreated_is_known_by_its_identity() {
        let line = "[thrd:main]: Topic orders.v1 changed id from Zm9vYmFyZm9vYmFyMTI to YmFyZm9vYmFyZm9vMTI";
        let first =
            "[thrd:main]: Topic orders.v1 changed id from AAAAAAAAAAAAAAAAAAAAAA to YmFyZm9vYmFyZm9vMTI";
        assert_eq!(recreated(line), Some("orders.v1"));
        assert_eq!(recreated(first), None);
        assert_eq!(recreated("Topic orders [0] Leader 1 Epoch 0"), None);
        let heard = Heard::default();
        heard.line(RDKafkaLogLevel::Debug, "METADATA", first);
        assert_eq!(heard.take_recreated(), BTreeSet::new());
        heard.line(RDKafkaLogLevel::Debug, "METADATA", line);
        assert_eq!(heard.take_recreated(), BTreeSet::from(["orders.v1".to_owned()]));
        assert_eq!(heard.take_recreated(), BTreeSet::new());
    }
}
