//! From facts to a word and a sentence: what became of an event for one trigger. Pure, so that each story is
//! a row of a table.

use millrace_channel::{AttemptOutcome, LaneState, Parked, Stage, Work};
use millrace_event::Timestamp;
use millrace_model::TriggerState;
use millrace_model::status::UnderWay;

use super::facts::{Facts, Stored};
use super::state::EventState;
use crate::wire::{Rfc3339, ordinal};

/// What became of the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) state: EventState,
    pub(super) why: String,
    /// When the next attempt is due.
    pub(super) next_due: Option<Timestamp>,
    /// Positions that the trigger has to read before this one.
    pub(super) behind: Option<u64>,
}

/// What is known of an event of which nothing is left to do and nothing is remembered.
const READ_PAST: &str = "the trigger has read past it and owes nothing of it: it was settled so long ago that its attempts are not \
                         in the history any more, or the filter did not let it pass then";

/// The remark that is added where the history has a hole.
const LEFT_OUT: &str =
    "; the history is incomplete: it could not be written, and attempts of that time were left out";

/// What became of the event, by these facts.
pub(super) fn of(facts: &Facts) -> Fate {
    let untouched = facts.attempts.list.is_empty() && facts.rows == millrace_channel::Rows::default();
    let said = facts.explanation.as_ref();
    if let (Some(said), true) = (said.filter(|said| !said.matched), untouched) {
        let because = said.decided_by.as_ref().map(|clause| clause.because.clone());
        return end(EventState::NotMatched, because.unwrap_or_default());
    }
    let Some(lane) = facts.lane else {
        return end(
            EventState::NotServed,
            "its broker does not serve this trigger yet".to_owned(),
        );
    };
    if untouched && facts.position < lane.start {
        let why = format!(
            "the trigger was admitted after this event: it begins at position {}, the event is at {}",
            lane.start, facts.position
        );
        return end(EventState::AdmittedLater, why);
    }
    let mut fate = written_down(facts)
        .or_else(|| under_way(facts))
        .or_else(|| attempted(facts, lane))
        .unwrap_or_else(|| unattempted(facts, lane));
    if said.is_some_and(|said| !said.matched) {
        fate.why
            .push_str("; its filter does not match this event any more, but did when it was read");
    }
    if facts.attempts.left_out {
        fate.why.push_str(LEFT_OUT);
    }
    let is_open = matches!(
        fate.state,
        EventState::Behind | EventState::InHand | EventState::Retrying
    );
    if fate.next_due.is_some() || is_open {
        halted(&mut fate, facts, lane);
    }
    fate
}

fn end(state: EventState, why: String) -> Fate {
    Fate {
        state,
        why,
        next_due: None,
        behind: None,
    }
}

/// By the rows of state.
fn written_down(facts: &Facts) -> Option<Fate> {
    if let Some(parked) = facts.rows.parked.last() {
        return Some(is_parked(facts, parked));
    }
    let work = facts.rows.work.last()?;
    let cause = work
        .failures
        .last()
        .map_or("it failed", |failure| failure.reason.as_str());
    let (next, next_due) = next(facts, work);
    let (state, why) = match work.key.stage {
        Stage::Subscriber if work.open => (EventState::InHand, next),
        Stage::Subscriber if work.undecided => {
            let why = "the process ended when its filters were about to be asked; they are asked before the first attempt";
            (EventState::InHand, format!("{why}; {next}"))
        }
        Stage::Subscriber if work.failures.is_empty() && work.suspect => {
            let why = "it was being attempted, or may have been, when the process ended";
            (EventState::InHand, format!("{why}; {next}"))
        }
        Stage::Subscriber if work.failures.is_empty() => {
            (EventState::InHand, format!("owed since a change; {next}"))
        }
        Stage::Subscriber => (EventState::Retrying, format!("{cause}; {next}")),
        Stage::DeadLetter => (
            EventState::DeadLettering,
            format!("given up on ({cause}); at the dead-letter sink {next}"),
        ),
        Stage::Reply => (
            EventState::DeadLettering,
            format!("delivered, but {cause}; at the dead-letter sink {next}"),
        ),
    };
    Some(Fate {
        next_due,
        ..end(state, why)
    })
}

fn is_parked(facts: &Facts, parked: &Parked) -> Fate {
    let loops = facts
        .attempts
        .list
        .iter()
        .rev()
        .find(|attempt| attempt.stage == Stage::Subscriber)
        .is_some_and(|attempt| attempt.outcome == AttemptOutcome::Looping);
    let state = if loops {
        EventState::Looping
    } else {
        EventState::Parked
    };
    let since = Rfc3339(parked.since);
    let (id, reason) = (&parked.id, &parked.reason);
    let why = match parked.stage {
        Stage::Reply => format!("delivered, but {reason}; the reply is parked as {id} since {since}"),
        Stage::Subscriber | Stage::DeadLetter => format!("{reason}; parked as {id} since {since}"),
    };
    end(state, why)
}

/// The next attempt in words, and when it is due. One that is under way is not due any more.
fn next(facts: &Facts, work: &Work) -> (String, Option<Timestamp>) {
    let number = format!("attempt {}", ordinal(work.attempt));
    match facts.under_way.filter(|now| now.attempt == work.attempt) {
        Some(now) => (format!("{number} is {}", in_words(now)), None),
        None if work.open => (format!("{number} is under way"), None),
        None if work.due <= facts.now => {
            let why = format!(
                "{number} has been due since {} and waits for its turn",
                Rfc3339(work.due)
            );
            (why, Some(work.due))
        }
        None => (
            format!("{number} is due at {}", Rfc3339(work.due)),
            Some(work.due),
        ),
    }
}

fn in_words(now: UnderWay) -> String {
    let since = Rfc3339(now.since);
    match now.shortage {
        Some(shortage) => format!("{shortage}, since {since}"),
        None => format!("under way since {since}"),
    }
}

/// The fate by the attempt that is under way, for a first attempt: no row exists yet.
fn under_way(facts: &Facts) -> Option<Fate> {
    let now = facts.under_way?;
    Some(end(
        EventState::InHand,
        format!("its first attempt is {}", in_words(now)),
    ))
}

/// By the last attempt, where no row says more.
fn attempted(facts: &Facts, lane: Stored) -> Option<Fate> {
    let last = facts.attempts.last()?;
    let reason = &last.detail;
    let answered = || {
        let status = last
            .status
            .map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        format!("{status} at {}", Rfc3339(last.at))
    };
    let number = format!("attempt {}", u64::from(last.attempt) + 1);
    let just_now = lane.in_hand || facts.position >= lane.reads_at;
    Some(match last.outcome {
        AttemptOutcome::Delivered => end(EventState::Delivered, format!("{number}: {}", answered())),
        AttemptOutcome::Replied => end(
            EventState::Delivered,
            format!("{number}: {}, and its reply is stored", answered()),
        ),
        AttemptOutcome::DeadLettered => {
            let cause = facts
                .attempts
                .last_failure()
                .map_or("the cause is not known any more", |failed| failed.detail.as_str());
            let why = format!(
                "given up on ({cause}); the dead-letter sink took it: {}",
                answered()
            );
            end(EventState::DeadLettered, why)
        }
        AttemptOutcome::Looping => end(EventState::Looping, reason.clone()),
        AttemptOutcome::ReplyRefused => end(
            EventState::Delivered,
            format!("{number}: {}, but {reason}", answered()),
        ),
        AttemptOutcome::Parked if !just_now => end(
            EventState::Dropped,
            format!("{reason}; it was parked, and dropped by command since"),
        ),
        AttemptOutcome::Parked => end(EventState::Parked, reason.clone()),
        AttemptOutcome::Failed if just_now => end(
            EventState::Retrying,
            format!("{reason}; what follows is being written down"),
        ),
        AttemptOutcome::Failed => end(
            EventState::Settled,
            format!("{reason}; it was settled after that, and how is not in the history"),
        ),
    })
}

/// Without any attempt that is known of.
fn unattempted(facts: &Facts, lane: Stored) -> Fate {
    let reads_at = facts
        .status
        .as_ref()
        .map_or(lane.reads_at, |status| status.reads_at.max(lane.reads_at));
    if facts.position >= reads_at {
        let behind = facts.position - reads_at;
        let why = match behind {
            0 => "it is the next that the trigger reads".to_owned(),
            1 => "the trigger has one position to read before it".to_owned(),
            n => format!("the trigger has {n} positions to read before it"),
        };
        return Fate {
            behind: Some(behind),
            ..end(EventState::Behind, why)
        };
    }
    let first_open = facts.status.as_ref().map_or(0, |status| status.cursor);
    if lane.in_hand || (facts.position >= lane.reads_at && facts.position >= first_open) {
        return end(
            EventState::InHand,
            "queued, or its first attempt is under way".to_owned(),
        );
    }
    end(EventState::Settled, READ_PAST.to_owned())
}

/// Something is still to be done, and the lane may not do it.
fn halted(fate: &mut Fate, facts: &Facts, lane: Stored) {
    let status = facts
        .status
        .as_ref()
        .map(|status| (status.state, status.reason.as_deref()));
    let (state, reason) = match (status, lane.state) {
        (_, LaneState::Orphaned(since)) => (
            EventState::Orphaned,
            format!(
                "its trigger is in no document since {}; what it is owed is kept for the grace period",
                Rfc3339(since)
            ),
        ),
        (Some((TriggerState::NotReady, reason)), _) => (EventState::NotReady, cannot_go_on(reason)),
        (Some((TriggerState::Blocked, reason)), _) => (EventState::Blocked, cannot_go_on(reason)),
        (Some((TriggerState::Paused, _)), _) | (_, LaneState::Paused) => {
            (EventState::Paused, "the trigger is paused".to_owned())
        }
        (
            Some((TriggerState::Live | TriggerState::Behind | TriggerState::Orphaned, _)) | None,
            LaneState::Active,
        ) => return,
    };
    fate.state = state;
    fate.why = format!("{reason}; {}", fate.why);
}

fn cannot_go_on(reason: Option<&str>) -> String {
    reason.unwrap_or("the trigger cannot go on").to_owned()
}

#[cfg(test)]
mod tests;
