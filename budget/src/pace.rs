//! Whether something that is being received keeps coming.

use std::time::Duration;

use tokio::time::Instant;

/// Measures how fast something arrives. It answers two questions: whether it lags, so that memory set aside
/// for it is better used by another; and whether it is too slow to be waited for at all.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Start of the present window of [`Pace::WINDOW`], and the bytes that came in it.
    window: (Instant, u64),
    /// Start of the present step of [`Pace::STEP`], and the bytes that came in it.
    step: (Instant, u64),
    lags: bool,
    is_too_slow: bool,
}

// === impl Pace ===

impl Pace {
    /// How long the least rate is measured: what ends sooner is never too slow.
    pub const WINDOW: Duration = Duration::from_secs(10);
    /// The least number of bytes in a window: 1 KiB a second.
    pub const LEAST: u64 = 10 * 1024;
    /// The length of a step. What brings too little in a step lags.
    pub const STEP: Duration = Duration::from_millis(250);
    /// The least number of bytes in a step of what does not lag: 256 KiB a second.
    const KEEPS_UP: u64 = 64 * 1024;

    /// Begins to measure.
    pub fn begin(now: Instant) -> Self {
        Self {
            window: (now, 0),
            step: (now, 0),
            lags: false,
            is_too_slow: false,
        }
    }

    /// Notes that so many bytes have come.
    pub fn came(&mut self, bytes: usize) {
        self.window.1 += bytes as u64;
        self.step.1 += bytes as u64;
    }

    /// Whether less than 256 KiB a second came in the last complete step.
    pub fn lags(&mut self, now: Instant) -> bool {
        if now.duration_since(self.step.0) >= Self::STEP {
            self.lags = self.step.1 < Self::KEEPS_UP;
            self.step = (now, 0);
        }
        self.lags
    }

    /// Whether less than 1 KiB a second came in the last complete window of ten seconds.
    pub fn is_too_slow(&mut self, now: Instant) -> bool {
        if now.duration_since(self.window.0) >= Self::WINDOW {
            self.is_too_slow = self.window.1 < Self::LEAST;
            self.window = (now, 0);
        }
        self.is_too_slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_trickles_lags_and_is_too_slow_and_what_flows_is_neither() {
        let begin = Instant::now();
        let mut trickle = Pace::begin(begin);
        let mut flow = Pace::begin(begin);
        for tick in 1..=40 {
            let now = begin + Pace::STEP * tick;
            trickle.came(200);
            flow.came(64 * 1024);
            assert!(trickle.lags(now));
            assert!(!flow.lags(now));
            assert!(!flow.is_too_slow(now));
            assert_eq!(trickle.is_too_slow(now), tick == 40, "{tick}");
        }
    }

    #[test]
    fn a_kibibyte_a_second_is_enough() {
        let begin = Instant::now();
        let mut pace = Pace::begin(begin);
        for window in 1..=3 {
            pace.came(10 * 1024);
            assert!(!pace.is_too_slow(begin + Pace::WINDOW * window));
        }
        assert!(
            pace.is_too_slow(begin + Pace::WINDOW * 4),
            "nothing came any more"
        );
    }
}
