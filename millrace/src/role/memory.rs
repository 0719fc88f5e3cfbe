//! How the memory of `--memory-budget` is divided, and its default.

mod machine;

use std::fmt;
use std::sync::Arc;

use millrace_broker::Limits;
use millrace_budget::{Ledger, Part, Slots, Use};
use millrace_trigger_dispatcher::STRETCH_BYTES;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

/// The parts of the budget. Each holds at least one item of the largest size, even if the budget is small.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    /// Bodies coming in, from producers and webhooks, until their events are stored.
    pub(crate) bodies: Part,
    /// Events queued in lanes.
    pub(crate) queued: Arc<Ledger>,
    /// Events of attempts under way.
    pub(crate) in_flight: Arc<Ledger>,
    /// Answers of subscribers that may be replies, until they are stored.
    pub(crate) replies: Part,
    /// What is read from the log for Triggers that lag.
    pub(crate) readers: Slots,
    /// What the clients of sources read ahead, counted at its bound.
    pub(crate) read_ahead: Arc<Ledger>,
}

/// Sixteenths of the budget. Strangers send the bodies, so they get most.
const BODIES: usize = 5;
const QUEUED: usize = 2;
const IN_FLIGHT: usize = 4;
const REPLIES: usize = 2;
const READERS: usize = 1;
const READ_AHEAD: usize = 2;

/// The bounds of the default budget, a quarter of the memory.
const DEFAULT: (u64, u64) = (128 << 20, 1 << 30);

// === impl Memory ===

impl Memory {
    /// Divides the budget, or the default one. The other arguments are the sizes of the largest items.
    pub(crate) fn split(
        budget: Option<u64>,
        limits: &Limits,
        largest_call: usize,
        largest_reply: usize,
    ) -> Self {
        let budget = budget.unwrap_or_else(|| (machine::memory() / 4).clamp(DEFAULT.0, DEFAULT.1));
        let budget = usize::try_from(budget).unwrap_or(usize::MAX);
        let sixteenth = budget / 16;
        let event = limits.event_bytes.saturating_mul(2);
        let memory = Self {
            bodies: Part::new(sixteenth * BODIES, limits.largest_body().max(largest_call)),
            queued: Arc::new(Ledger::new((sixteenth * QUEUED).max(event))),
            in_flight: Arc::new(Ledger::new((sixteenth * IN_FLIGHT).max(event))),
            replies: Part::new(sixteenth * REPLIES, largest_reply),
            readers: Slots::new(sixteenth * READERS, STRETCH_BYTES.max(limits.event_bytes)),
            read_ahead: Arc::new(Ledger::new(sixteenth * READ_AHEAD)),
        };
        let needed: usize = memory.parts().iter().map(|(_, part)| part.limit()).sum();
        if needed > budget + (1 << 20) {
            tracing::warn!(
                memory_budget = budget,
                needed,
                "the memory budget is smaller than what the largest events need in each of its parts"
            );
        }
        memory
    }

    /// Registers `millrace_memory_*`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    fn parts(&self) -> [(&'static str, &dyn Use); 6] {
        [
            ("bodies", &self.bodies),
            ("queued", &*self.queued),
            ("in-flight", &*self.in_flight),
            ("replies", &self.replies),
            ("readers", &self.readers),
            ("read-ahead", &*self.read_ahead),
        ]
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartLabel {
    part: &'static str,
}

impl Collector for Memory {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        type Number = fn(&dyn Use) -> usize;
        let families: [(&str, &str, Number); 2] = [
            (
                "millrace_memory_used",
                "Bytes of this part of the memory budget in use",
                |part| part.used(),
            ),
            (
                "millrace_memory_limit",
                "Bytes that this part of the memory budget has",
                |part| part.limit(),
            ),
        ];
        for (name, help, number) in families {
            let kind = ConstGauge::new(0_i64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Bytes), kind)?;
            for (part, counted) in self.parts() {
                let gauge = ConstGauge::new(i64::try_from(number(counted)).unwrap_or(i64::MAX));
                gauge.encode(family.encode_family(&PartLabel { part })?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(budget: u64, event_bytes: usize) -> Memory {
        let limits = Limits {
            event_bytes,
            ..Limits::default()
        };
        Memory::split(
            Some(budget),
            &limits,
            event_bytes * 3 + 65_536,
            event_bytes * 2 + 65_536,
        )
    }

    #[test]
    fn the_parts_together_are_the_budget() {
        for budget in [128 << 20, 256 << 20, 1 << 30] {
            let total: usize = split(budget, 1 << 20)
                .parts()
                .iter()
                .map(|(_, part)| part.limit())
                .sum();
            let budget = usize::try_from(budget).unwrap();
            // The readers have whole stretches.
            let least = budget - STRETCH_BYTES - 8192;
            assert!((least..=budget).contains(&total), "{total} of {budget}");
        }
    }

    #[test]
    fn the_largest_item_fits_into_each_part_however_small_the_budget() {
        for (budget, event) in [(1, 1 << 20), (1 << 20, 32 << 20), (128 << 20, 32 << 20), (0, 1)] {
            let memory = split(budget, event);
            // Read-ahead has a least amount of its own, which does not depend on the largest event.
            for (name, part) in memory
                .parts()
                .into_iter()
                .filter(|(name, _)| *name != "read-ahead")
            {
                assert!(part.limit() >= event, "{name} of {budget}");
            }
        }
    }

    #[test]
    fn use_and_room_are_metrics() {
        let mut registry = Registry::default();
        let memory = split(128 << 20, 1 << 20);
        memory.register(&mut registry);
        memory.queued.take(5);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(
            text.contains("millrace_memory_used_bytes{part=\"queued\"} 5\n"),
            "{text}"
        );
        assert!(
            text.contains("millrace_memory_limit_bytes{part=\"in-flight\"} 33554432\n"),
            "{text}"
        );
    }
}
