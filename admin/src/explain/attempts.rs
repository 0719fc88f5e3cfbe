//! The attempts of one trigger at one event: those of the history, and the failures that rows of state keep
//! for longer.

use millrace_channel::{Attempt, AttemptOutcome, FailedAttempt, Position, Rows, Stage};
use millrace_event::ObjectName;

/// What is known of the attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attempts {
    /// Oldest first.
    pub(super) list: Vec<Attempt>,
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
    pub(super) fn of(trigger: &ObjectName, history: Vec<Attempt>, rows: &Rows) -> Self {
        let mut list = history;
        let work = rows.work.iter().map(|work| (work.key.position, &work.failures));
        let parked = rows
            .parked
            .iter()
            .map(|parked| (parked.position, &parked.failures));
        for (position, failures) in work.chain(parked) {
            for failure in failures {
                if !list.iter().any(|noted| is_of(noted, failure)) {
                    list.push(kept(trigger, position, failure));
                }
            }
        }
        list.sort_by_key(|attempt| attempt.at);
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

    pub(super) fn last(&self) -> Option<&Attempt> {
        self.list.last()
    }

    /// The last one at the subscriber that failed.
    pub(super) fn last_failure(&self) -> Option<&Attempt> {
        let failed = |one: &&Attempt| one.stage == Stage::Subscriber && !one.detail.is_empty();
        self.list.iter().rev().find(failed)
    }
}

/// Whether the history has noted that failure already. The refusal of a reply is noted of the attempt that
/// the reply came with.
fn is_of(noted: &Attempt, failure: &FailedAttempt) -> bool {
    let is_refusal = matches!(
        noted.outcome,
        AttemptOutcome::Looping | AttemptOutcome::ReplyRefused
    ) && noted.detail == failure.reason;
    let is_same = (noted.at, noted.stage, noted.attempt) == (failure.at, failure.stage, failure.attempt);
    is_same || is_refusal
}

/// A failure that a row of this trigger keeps.
fn kept(trigger: &ObjectName, position: Position, failure: &FailedAttempt) -> Attempt {
    let body = &failure.body[..failure.body.len().min(ANSWER)];
    Attempt {
        position,
        trigger: trigger.clone(),
        stage: failure.stage,
        attempt: failure.attempt,
        at: failure.at,
        millis: u32::try_from(failure.millis).unwrap_or(u32::MAX),
        status: failure.status,
        outcome: AttemptOutcome::Failed,
        detail: failure.reason.clone(),
        answer: String::from_utf8_lossy(body).into_owned(),
    }
}
