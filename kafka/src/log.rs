//! What only librdkafka's log tells: why a server cannot be reached, and that a topic was recreated.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use tracing::Span;

use crate::ConnectionFault;

/// What clients have logged. Clients of the same cluster may share one.
#[derive(Debug)]
pub struct ClientLog {
    /// The span of the source that made it: librdkafka's own threads are in none.
    span: Span,
    fault: Mutex<Option<(Instant, ConnectionFault)>>,
    recreated: Mutex<BTreeSet<String>>,
    is_any_recreated: AtomicBool,
}

/// The value of `debug` that makes librdkafka log recreated topics.
const DEBUG: &str = "topic";
/// How long a fault counts. Of one that lasts there is a new line within that time: an attempt to connect
/// takes up to 30 s, and librdkafka leaves out equal lines for 30 s.
const FRESH: Duration = Duration::from_secs(90);

/// Makes a client log recreated topics too.
pub fn with_recreated(config: &mut ClientConfig) {
    config.set("debug", DEBUG);
    config.set_log_level(RDKafkaLogLevel::Debug);
}

/// The same client without that.
pub fn without_recreated(config: &mut ClientConfig) {
    config.remove("debug");
}

// === impl ClientLog ===

impl Default for ClientLog {
    /// An empty log, whose lines stand in the span of the caller.
    fn default() -> Self {
        Self {
            span: Span::current(),
            fault: Mutex::default(),
            recreated: Mutex::default(),
            is_any_recreated: AtomicBool::new(false),
        }
    }
}

impl ClientLog {
    /// Notes one line, and passes it on to the log of the process, unless its level is `debug`.
    pub fn line(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};

        let _span = self.span.enter();
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
            Warning => {
                tracing::warn!(target: "librdkafka", "librdkafka: {facility} {text}")
            }
            Notice | Info => {
                tracing::info!(target: "librdkafka", "librdkafka: {facility} {text}")
            }
        }
        if facility == "FAIL" {
            *self.fault.lock() = Some((Instant::now(), ConnectionFault::of(text)));
        }
    }

    /// Why a server could not be reached, most recently; `None` if that was long ago.
    pub fn fault(&self) -> Option<ConnectionFault> {
        self.fault_at(Instant::now())
    }

    fn fault_at(&self, now: Instant) -> Option<ConnectionFault> {
        let fault = self.fault.lock();
        let fresh = fault
            .as_ref()
            .filter(|(since, _)| now.saturating_duration_since(*since) < FRESH);
        fresh.map(|(_, fault)| fault.clone())
    }

    /// Notes that the servers are reached again.
    pub fn clear(&self) {
        *self.fault.lock() = None;
    }

    /// The topics that were deleted and recreated since the last call.
    pub fn take_recreated(&self) -> BTreeSet<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_fault_does_not_count() {
        let log = ClientLog::default();
        log.line(RDKafkaLogLevel::Error, "FAIL", "Connection refused");
        let now = Instant::now();
        assert!(log.fault_at(now).is_some());
        assert_eq!(log.fault_at(now + FRESH), None);
        log.line(RDKafkaLogLevel::Error, "FAIL", "Connection refused");
        log.clear();
        assert_eq!(log.fault_at(now), None);
    }

    #[test]
    fn a_topic_that_was_recreated_is_known_by_its_identity() {
        let line = "[thrd:main]: Topic orders.v1 changed id from Zm9vYmFyZm9vYmFyMTI to YmFyZm9vYmFyZm9vMTI";
        let first =
            "[thrd:main]: Topic orders.v1 changed id from AAAAAAAAAAAAAAAAAAAAAA to YmFyZm9vYmFyZm9vMTI";
        assert_eq!(recreated(line), Some("orders.v1"));
        assert_eq!(recreated(first), None);
        assert_eq!(recreated("Topic orders [0] Leader 1 Epoch 0"), None);
        let log = ClientLog::default();
        log.line(RDKafkaLogLevel::Debug, "METADATA", first);
        assert_eq!(log.take_recreated(), BTreeSet::new());
        log.line(RDKafkaLogLevel::Debug, "METADATA", line);
        assert_eq!(log.take_recreated(), BTreeSet::from(["orders.v1".to_owned()]));
        assert_eq!(log.take_recreated(), BTreeSet::new());
    }
}
