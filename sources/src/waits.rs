//! How long to wait before something that did not work is tried again: longer each time, up to a bound, and a
//! little by chance.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Growing waits that can begin anew.
#[derive(Debug)]
pub(crate) struct Waits {
    backoff: ExponentialBuilder,
    waits: ExponentialBackoff,
    longest: Duration,
}

// === impl Waits ===

impl Waits {
    /// Waits without an end, from `first` up to `longest`.
    pub(crate) fn new((first, longest): (Duration, Duration)) -> Self {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(first)
            .with_max_delay(longest)
            .without_max_times()
            .with_jitter();
        Self {
            backoff,
            waits: backoff.build(),
            longest,
        }
    }

    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        self.waits.next().unwrap_or(self.longest)
    }

    /// What did not work has worked: the next wait is a first one again.
    pub(crate) fn begin_anew(&mut self) {
        self.waits = self.backoff.build();
    }
}
