//! The attempts of one trigger at one event: those of the history, and the failures that rows of state keep
//! for longer.

use millrace_channel::{Attempt, Failure, Rows, Stage};
use millrace_event::Timestamp;

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) at: Timestamp,
    pub(super) stage: Stage,
    /// From 0.
    pub(super) attempt: u32,
    pub(super) status: Option<u16>,
    pub(super) millis: u64,
    pub(super) outcome: String,
    pub(super) reason: String,
    pub(super) answer: String,
}

/// What is known of the attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attempts {
    /// Oldest first.
    pub(super) list: Vec<Known>,
    /// There were others, of which nothing is known any more.
    pub(super) forgotten: bool,
    /// Attempts of that time were left out of the history, perhaps some for this event.
    pub(super) left_out: bool,
}

/// Attempts shown of one trigger: the newest.
const SHOWN: usize = 50;
/// Bytes shown of an answer.
const ANSWER: usize = 256;

// === impl Attempts ===

impl Attempts {
    /// Puts together what the history and the rows know.
    pub(super) fn of(history: impl Iterator<Item = Attempt>, rows: &Rows) -> Self {
        let mut list: Vec<Known> = history.map(Known::from).collect();
        let kept = rows.work.iter().flat_map(|work| &work.failures);
        let kept = kept.chain(rows.parked.iter().flat_map(|parked| &parked.failures));
        for failure in kept {
            let known = Known::from(failure);
            // The refusal of a reply is noted of the attempt that the reply came with.
            let is_refusal = |one: &Known| {
                ["looping", "reply-refused"].contains(&one.outcome.as_str()) && one.reason == known.reason
            };
            let same = |one: &Known| {
                (one.at, one.stage, one.attempt) == (known.at, known.stage, known.attempt) || is_refusal(one)
            };
            if !list.iter().any(same) {
                list.push(known);
            }
        }
        list.sort_by_key(|known| known.at);
        let begins = list
            .first()
            .is_none_or(|first| first.attempt == 0 && first.stage == Stage::Subscriber);
        let forgotten = !begins || list.len() > SHOWN;
        list.drain(..list.len().saturating_sub(SHOWN));
        Self {
            list,
            forgotten,
            left_out: false,
        }
    }

    pub(super) fn last(&self) -> Option<&Known> {
        self.list.last()
    }

    /// The last one at the subscriber that failed.
    pub(super) fn last_failure(&self) -> Option<&Known> {
        let failed = |known: &&Known| known.stage == Stage::Subscriber && !known.reason.is_empty();
        self.list.iter().rev().find(failed)
    }
}

// === impl Known ===

impl From<Attempt> for Known {
    fn from(attempt: Attempt) -> Self {
        Self {
            at: attempt.at,
            stage: attempt.stage,
            attempt: attempt.attempt,
            status: attempt.status,
            millis: u64::from(attempt.millis),
            outcome: attempt.outcome.into_owned(),
            reason: attempt.detail,
            answer: attempt.answer,
        }
    }
}

impl From<&Failure> for Known {
    fn from(failure: &Failure) -> Self {
        let body = &failure.body[..failure.body.len().min(ANSWER)];
        Self {
            at: failure.at,
            stage: failure.stage,
            attempt: failure.attempt,
            status: failure.status,
            millis: failure.millis,
            outcome: "failed".to_owned(),
            reason: failure.reason.clone(),
            answer: String::from_utf8_lossy(body).into_owned(),
        }
    }
}
