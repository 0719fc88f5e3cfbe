//! What a lane has done since the process started, as its status shows it.

use millrace_event::Timestamp;

/// The numbers of a lane.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) delivered: u64,
    pub(crate) failed_attempts: u64,
    pub(crate) dead_lettered: u64,
    /// In wall time.
    pub(crate) last_failure: Option<(Timestamp, String)>,
    odd_answer_told: bool,
    /// Events that did not match because the filter's work budget was used up.
    pub(crate) too_much_work: u64,
}

/// What an attempt counts as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Counts {
    /// The subscriber has the event. `odd_answer`: its answer has a body that is not a CloudEvent.
    Delivered { odd_answer: bool },
    /// The dead-letter sink has it.
    DeadLettered { odd_answer: bool },
    /// It failed then, for this reason.
    Failed(Timestamp, String),
    /// It ended in a panic then, which is no failure of the target.
    Panicked(Timestamp, String),
}

// === impl Tally ===

impl Tally {
    /// Counts an attempt. `true`: it is the lane's first odd answer, which is worth a log line.
    pub(crate) fn count(&mut self, counts: Counts) -> bool {
        let odd_answer = match counts {
            Counts::Delivered { odd_answer } => {
                self.delivered += 1;
                odd_answer
            }
            Counts::DeadLettered { odd_answer } => {
                self.dead_lettered += 1;
                odd_answer
            }
            Counts::Failed(at, reason) => {
                self.failed_attempts += 1;
                self.last_failure = Some((at, reason));
                false
            }
            Counts::Panicked(at, reason) => {
                self.last_failure = Some((at, reason));
                false
            }
        };
        odd_answer && !std::mem::replace(&mut self.odd_answer_told, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_counts_as_what_it_is_and_an_odd_answer_is_told_once() {
        let mut tally = Tally::default();
        let told: Vec<bool> = [
            Counts::Delivered { odd_answer: false },
            Counts::Delivered { odd_answer: true },
            Counts::DeadLettered { odd_answer: true },
            Counts::Failed(Timestamp(7), "503".to_owned()),
            Counts::Panicked(Timestamp(8), "a panic".to_owned()),
        ]
        .into_iter()
        .map(|counts| tally.count(counts))
        .collect();
        assert_eq!(told, [false, true, false, false, false]);
        assert_eq!(
            (tally.delivered, tally.dead_lettered, tally.failed_attempts),
            (2, 1, 1)
        );
        assert_eq!(tally.last_failure, Some((Timestamp(8), "a panic".to_owned())));
    }
}
