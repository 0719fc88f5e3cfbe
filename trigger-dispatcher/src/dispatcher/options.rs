//! What can be set.

use std::sync::Arc;
use std::time::Duration;

use millrace_budget::{Ledger, Slots};

use crate::catch_up::STRETCH_BYTES;

/// How often lanes are looked over: open attempts, queues that stand still.
pub(super) const LOOK_OVER: Duration = Duration::from_millis(250);
/// The bounds of [`sweep_interval`].
const ORPHAN_SWEEP: (Duration, Duration) = (LOOK_OVER, Duration::from_secs(60));

/// How often what is gone is looked at: four times in a grace period, between bounds.
pub fn sweep_interval(grace: Duration) -> Duration {
    (grace / 4).clamp(ORPHAN_SWEEP.0, ORPHAN_SWEEP.1)
}

/// What can be set.
#[derive(Clone, Debug)]
pub struct DispatcherOptions {
    /// How long a worker and its connection stay when there is nothing to do; 5 s.
    pub linger: Duration,
    /// Memory of events queued in all lanes together; 32 MiB.
    pub queued: Arc<Ledger>,
    /// Memory of events in flight; 64 MiB. Each lane can have one attempt under way beyond it.
    pub in_flight: Arc<Ledger>,
    /// Memory of what is read from the log for lanes that lag; 16 MiB.
    pub readers: Slots,
    /// How long the debts of a trigger that is gone are kept; 24 h.
    pub orphan_grace: Duration,
    /// How long attempts in flight may take to end at shutdown; 30 s.
    pub drain_timeout: Duration,
}

// === impl DispatcherOptions ===

impl Default for DispatcherOptions {
    fn default() -> Self {
        Self {
            linger: Duration::from_secs(5),
            queued: Arc::new(Ledger::new(32 << 20)),
            in_flight: Arc::new(Ledger::new(64 << 20)),
            readers: Slots::new(16 << 20, STRETCH_BYTES),
            orphan_grace: Duration::from_secs(24 * 3600),
            drain_timeout: Duration::from_secs(30),
        }
    }
}
