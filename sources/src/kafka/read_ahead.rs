//! How much Kafka's client reads ahead: a bound in bytes, all of which counts against the memory budget while
//! the client lives.

use std::sync::Arc;

use millrace_budget::{Ledger, Use as _};

/// What one client may read ahead; given back when dropped.
#[derive(Debug)]
pub(super) struct ReadAhead {
    ledger: Arc<Ledger>,
    bytes: usize,
}

/// The usual read-ahead. Not more, so that records are still in the processor's cache when they are taken.
const USUAL: usize = 8 << 20;
/// The least read-ahead: with less, nothing would be read at all.
const LEAST: usize = 1 << 20;

// === impl ReadAhead ===

impl ReadAhead {
    /// Takes the usual amount, or as much of it as is free: of many sources the later ones read less far
    /// ahead.
    pub(super) fn take(ledger: &Arc<Ledger>) -> Self {
        let mut bytes = USUAL;
        while bytes > LEAST && !ledger.take(bytes) {
            bytes /= 2;
        }
        if bytes == LEAST {
            ledger.take_anyway(bytes);
        }
        tracing::debug!(bytes, of = ledger.limit(), "Kafka's client may read so far ahead");
        Self {
            ledger: Arc::clone(ledger),
            bytes,
        }
    }

    /// The value of librdkafka's `queued.max.messages.kbytes`.
    pub(super) fn kib(&self) -> String {
        (self.bytes / 1024).to_string()
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.ledger.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_sources_share_what_there_is_and_each_has_some() {
        let ledger = Arc::new(Ledger::new(20 << 20));
        let all: Vec<_> = (0..5).map(|_| ReadAhead::take(&ledger)).collect();
        let kib: Vec<_> = all.iter().map(ReadAhead::kib).collect();
        assert_eq!(kib, ["8192", "8192", "4096", "1024", "1024"]);
        drop(all);
        assert_eq!(ledger.used(), 0);
    }
}
