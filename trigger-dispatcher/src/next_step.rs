//! What comes after a failed attempt: again at T, the dead-letter sink, or parked. Pure, so that each case is
//! a row of a table.

use std::time::Duration;

use millrace_channel::{FailedAttempt, Stage, Work, WorkKey};
use millrace_delivery::{Verdict, backoff};
use millrace_event::{Event, Moment, Timestamp};

use crate::settings::Settings;
use crate::watched::{Panic, wait_after};

/// How often the process may end uncleanly during attempts of one event before the event is held responsible.
pub(crate) const MAX_CRASHES: u32 = 5;

/// The first pause before a dead letter is looked at again whose sink is not known yet, and the longest.
const AWAITED: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// The event being attempted, as far as its next step depends on it.
#[derive(Clone, Debug)]
pub(crate) struct Attempted {
    pub(crate) key: WorkKey,
    pub(crate) attempt: u32,
    pub(crate) crashes: u32,
    pub(crate) suspect: bool,
    /// The filter is still to be asked: it was not asked when the event was read.
    pub(crate) undecided: bool,
    pub(crate) failures: Vec<FailedAttempt>,
    pub(crate) body: Option<Event>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    /// Nothing: it is settled.
    Done,
    /// This row of work (of the same key, or of the next stage).
    Put(Box<Work>),
    /// It is given up on and kept for somebody to decide.
    Park {
        reason: String,
        attempts: u32,
        failures: Vec<FailedAttempt>,
        body: Option<Event>,
    },
}

// === impl Attempted ===

impl Attempted {
    /// The first attempt.
    pub(crate) fn first(key: WorkKey) -> Self {
        Self {
            key,
            attempt: 0,
            crashes: 0,
            suspect: false,
            undecided: false,
            failures: Vec::new(),
            body: None,
        }
    }

    /// The row for this attempt: `due` at a steady time, or `open`.
    pub(crate) fn into_row(self, due: Timestamp, open: bool) -> Work {
        Work {
            key: self.key,
            attempt: self.attempt,
            due,
            open,
            crashes: self.crashes,
            suspect: self.suspect,
            undecided: self.undecided,
            failures: self.failures,
            body: self.body,
        }
    }
}

/// The next step after a failed attempt that ended `now`; `random` in 0..1 is for the jitter.
pub(crate) fn after_failure(
    settings: &Settings,
    mut attempted: Attempted,
    failure: &millrace_delivery::Failure,
    target: &str,
    millis: u64,
    now: Moment,
    random: f64,
) -> Next {
    remember(
        &mut attempted.failures,
        FailedAttempt {
            at: now.wall,
            stage: attempted.key.stage,
            attempt: attempted.attempt,
            target: target.to_owned(),
            status: failure.status,
            reason: failure.reason.clone(),
            body: failure.body.to_vec(),
            millis,
        },
    );
    let policy = &settings.trigger.delivery;
    if failure.verdict == Verdict::Again && attempted.attempt < policy.retry {
        let wait = backoff::wait(policy, attempted.attempt, failure.retry_after, random);
        attempted.attempt += 1;
        return Next::Put(Box::new(attempted.into_row(now.steady.after(wait), false)));
    }
    let reason = if failure.verdict == Verdict::Final {
        failure.reason.clone()
    } else {
        let attempts = match attempted.attempt {
            0 => "1 attempt".to_owned(),
            last => format!("{} attempts", u64::from(last) + 1),
        };
        format!("{} after {attempts}", failure.reason)
    };
    give_up(settings, attempted, reason, now)
}

/// The next step for an event whose attempts the process did not survive too often.
pub(crate) fn after_crashes(settings: &Settings, mut attempted: Attempted, now: Moment) -> Next {
    let during = if attempted.undecided {
        "times while the filters of this trigger were asked about this event"
    } else {
        "attempts of this event"
    };
    let reason = format!(
        "the process ended uncleanly, or a task of it panicked, during {} {during}",
        attempted.crashes
    );
    let failure = unanswered(settings, &attempted, reason.clone(), now);
    remember(&mut attempted.failures, failure);
    attempted.crashes = 0;
    attempted.undecided = false;
    give_up(settings, attempted, reason, now)
}

/// The next step for an event whose attempt panicked: again a little later, alone and written down, as after
/// an unclean end of the process.
pub(crate) fn after_panic(settings: &Settings, mut attempted: Attempted, panic: &Panic, now: Moment) -> Next {
    let reason = format!("a task of Millrace panicked at {}", panic.place());
    let failure = unanswered(settings, &attempted, reason, now);
    remember(&mut attempted.failures, failure);
    attempted.crashes += 1;
    if attempted.crashes >= MAX_CRASHES {
        return after_crashes(settings, attempted, now);
    }
    attempted.suspect = true;
    let due = now.steady.after(wait_after(attempted.crashes));
    Next::Put(Box::new(attempted.into_row(due, false)))
}

/// The row for a reply refused for good, with this reason: it goes to the dead-letter sink in place of the
/// event.
pub(crate) fn refused_reply(
    settings: &Settings,
    key: WorkKey,
    reply: Event,
    reason: String,
    now: Moment,
) -> Work {
    let key = WorkKey {
        stage: Stage::Reply,
        ..key
    };
    let row = Attempted::first(key);
    Attempted {
        failures: vec![unanswered(settings, &row, reason, now)],
        body: Some(reply),
        ..row
    }
    .into_row(now.steady, false)
}

/// A failure that no answer told.
fn unanswered(settings: &Settings, attempted: &Attempted, reason: String, now: Moment) -> FailedAttempt {
    FailedAttempt {
        at: now.wall,
        stage: attempted.key.stage,
        attempt: attempted.attempt,
        target: settings.documented_subscriber(),
        status: None,
        reason,
        body: Vec::new(),
        millis: 0,
    }
}

/// The next step for a dead letter whose sink has not been looked up yet, which has lasted for so long: it is
/// looked at again, each time later. No attempt is counted.
pub(crate) fn await_sink(attempted: Attempted, lasts: Duration, now: Moment) -> Next {
    let wait = lasts.clamp(AWAITED.0, AWAITED.1);
    Next::Put(Box::new(attempted.into_row(now.steady.after(wait), false)))
}

/// To the dead-letter sink when there is one and this was not it; else parked.
pub(crate) fn give_up(settings: &Settings, attempted: Attempted, reason: String, now: Moment) -> Next {
    let sink = matches!(settings.dead_letter, Some(Ok(_))) || settings.awaits_sink();
    if attempted.key.stage == Stage::Subscriber && sink {
        let key = WorkKey {
            stage: Stage::DeadLetter,
            ..attempted.key
        };
        let dead_letter = Attempted {
            key,
            attempt: 0,
            body: None,
            ..attempted
        };
        return Next::Put(Box::new(dead_letter.into_row(now.steady, false)));
    }
    let reason = match (&settings.dead_letter, attempted.key.stage) {
        (Some(Err(why)), _) => format!("{reason}; the dead-letter sink is not known: {why}"),
        (Some(Ok(_)), Stage::DeadLetter | Stage::Reply) => {
            format!("the dead-letter sink failed too: {reason}")
        }
        _ => reason,
    };
    let attempts = attempts_made(&attempted);
    Next::Park {
        reason,
        attempts,
        failures: attempted.failures,
        body: attempted.body,
    }
}

/// Attempts at the subscriber and, where it came to that, at the dead-letter sink.
fn attempts_made(attempted: &Attempted) -> u32 {
    let here = attempted.attempt.saturating_add(1);
    if attempted.key.stage == Stage::Subscriber {
        return here;
    }
    let before = attempted
        .failures
        .iter()
        .rev()
        .find(|failure| failure.stage == Stage::Subscriber);
    here.saturating_add(before.map_or(0, |failure| failure.attempt.saturating_add(1)))
}

/// Keeps the last failures. The last one in stage `Subscriber` is kept whatever comes after it: the dead
/// letter tells it.
fn remember(failures: &mut Vec<FailedAttempt>, failure: FailedAttempt) {
    failures.push(failure);
    if failures.len() > Work::KEPT_FAILURES {
        let told = failures
            .iter()
            .rposition(|failure| failure.stage == Stage::Subscriber);
        failures.remove(usize::from(told == Some(0)));
    }
}

#[cfg(test)]
pub(crate) mod tests;
