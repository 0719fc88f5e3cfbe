//! What the controller counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The metrics of the controller. The default counts into the void.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    writes: Family<Labels, Counter>,
    pub(crate) builds: Counter,
    pub(crate) failures: Counter,
    pub(crate) reached: Gauge,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    /// It was taken.
    Written,
    /// The object had changed or was gone.
    Outdated,
    /// It may not be written, or the definition does not allow it.
    Refused,
    /// It is tried again.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: &'static str,
}

// === impl Metrics ===

impl Metrics {
    /// Registers the families `millrace_controller_*`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "millrace_controller_status_writes",
            "Statuses that were sent to the API server, by what became of them",
            metrics.writes.clone(),
        );
        registry.register(
            "millrace_controller_builds",
            "How often a mesh was made of all objects",
            metrics.builds.clone(),
        );
        registry.register(
            "millrace_controller_list_failures",
            "Lists that the API server did not give",
            metrics.failures.clone(),
        );
        registry.register(
            "millrace_controller_api_server_reached",
            "Whether the API server answers (1) or not (0)",
            metrics.reached.clone(),
        );
        metrics
    }

    pub(crate) fn count(&self, outcome: WriteOutcome) {
        let outcome = match outcome {
            WriteOutcome::Written => "written",
            WriteOutcome::Outdated => "outdated",
            WriteOutcome::Refused => "refused",
            WriteOutcome::Failed => "failed",
        };
        self.writes.get_or_create(&Labels { outcome }).inc();
    }
}
