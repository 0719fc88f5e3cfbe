//! How a source reports its state: on the board that the admin API reads, and in metrics.

use std::fmt;
use std::sync::Arc;

use millrace_event::{Clock, Timestamp};
use millrace_model::SourceState;
use millrace_model::status::SourceStatus;
use parking_lot::Mutex;

use crate::metrics::SourceMetrics;

/// One source's pen for the board. Cheap to clone.
#[derive(Clone)]
pub struct Report {
    status: Arc<Mutex<SourceStatus>>,
    metrics: Arc<SourceMetrics>,
    clock: Clock,
}

// === impl Report ===

impl Report {
    pub(crate) fn new(status: Arc<Mutex<SourceStatus>>, metrics: Arc<SourceMetrics>, clock: Clock) -> Self {
        Self {
            status,
            metrics,
            clock,
        }
    }

    /// The source is at work.
    pub fn ready(&self) {
        let mut status = self.status.lock();
        status.state = SourceState::Ready;
        status.reason = None;
    }

    /// The source is at work, and this much of it is not: a resource that may not be read, a topic that is
    /// not there yet.
    pub fn ready_but(&self, reason: impl Into<String>) {
        let mut status = self.status.lock();
        status.state = SourceState::Ready;
        status.reason = Some(reason.into());
    }

    /// The source is not at work.
    pub fn not_ready(&self, reason: impl Into<String>) {
        let reason = reason.into();
        let mut status = self.status.lock();
        status.state = SourceState::NotReady;
        status.last_error = Some((self.clock.now(), reason.clone()));
        status.reason = Some(reason);
    }

    /// Something went wrong, and the source goes on.
    pub fn failed(&self, reason: impl Into<String>) {
        self.status.lock().last_error = Some((self.clock.now(), reason.into()));
    }

    /// What the origin offered was not taken for an event. `code` is a stable word for metrics, from a closed
    /// set.
    pub fn refused(&self, code: &'static str, reason: impl Into<String>) {
        self.metrics.refused(code);
        let mut status = self.status.lock();
        status.refused += 1;
        status.last_error = Some((self.clock.now(), reason.into()));
    }

    /// The origin's offer was taken with a change. `code` is a stable word for metrics, from a closed set.
    pub fn taken_otherwise(&self, code: &'static str, reason: impl Into<String>) {
        self.metrics.taken_otherwise(code);
        self.failed(reason);
    }

    /// So many offsets of what the origin had were deleted there before they were read.
    #[cfg(feature = "kafka")]
    pub(crate) fn deleted_unread(&self, offsets: i64, reason: impl Into<String>) {
        self.metrics
            .deleted_unread(u64::try_from(offsets).unwrap_or_default());
        self.failed(reason);
    }

    /// The sink has taken so many events.
    pub(crate) fn taken(&self, events: usize) {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        self.metrics.taken(events);
        let mut status = self.status.lock();
        status.events += events;
        status.last_event = Some(self.clock.now());
    }

    /// The sink has not taken an event.
    pub(crate) fn not_taken(&self, code: &'static str, reason: &str) {
        self.metrics.not_taken(code);
        self.failed(reason);
    }

    /// So many partitions are not read on for now.
    #[cfg(feature = "kafka")]
    pub(crate) fn paused_partitions(&self, partitions: usize) {
        self.metrics.paused_partitions(partitions);
    }

    /// When the sink took the last event.
    pub fn last_event(&self) -> Option<Timestamp> {
        self.status.lock().last_event
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("status", &*self.status.lock())
            .finish_non_exhaustive()
    }
}
