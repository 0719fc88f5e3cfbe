//! What the log counts. The code that assembles the channel registers these.

use prometheus_client::metrics::counter::Counter;

/// Counters of one log; clones share them.
#[derive(Clone, Debug, Default)]
pub struct LogMetrics {
    /// Appends that became durable, each one frame.
    pub appends: Counter,
    /// Events in them.
    pub events: Counter,
    /// Bytes of frames.
    pub bytes: Counter,
    /// Groups of appends that were written and synced together.
    pub groups: Counter,
    /// Microseconds spent in writing and syncing groups.
    pub write_micros: Counter,
    /// Groups of appends that failed.
    pub failures: Counter,
    /// Damaged places found (`millrace_channel_corrupt_frames_total`).
    pub corrupt_frames: Counter,
    /// Bytes cut off as torn tails at opening.
    pub torn_bytes: Counter,
    /// Chunks that readers took from disk, because memory did not hold them any more.
    pub disk_reads: Counter,
}
