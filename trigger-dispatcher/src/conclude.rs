//! What follows from the end of an attempt: it is counted, noted and told, and the next step is decided.

use millrace_channel::{AttemptOutcome, Stage};
use millrace_event::Timestamp;

use crate::attempt::Ended;
use crate::history;
use crate::lane::{Counts, Job, Lane};
use crate::next_step::{self, Attempted, Next};
use crate::reply::Reply;
use crate::serving::Serving;
use crate::settings::NamedTarget;

/// What is known when an attempt has ended.
pub(crate) struct Concluding<'a> {
    pub(crate) target: &'a NamedTarget,
    /// In steady time.
    pub(crate) began: Timestamp,
    pub(crate) ended: Ended,
}

/// Decides the next step, and what the attempt counts as. The job stays as it is, since a panic may still
/// come.
pub(crate) fn conclude(serving: &Serving, lane: &Lane, job: &Job, end: Concluding<'_>) -> (Next, Counts) {
    let Concluding { target, began, ended } = end;
    let now = serving.moment();
    let millis = u64::try_from(now.steady.since(began).as_millis()).unwrap_or(u64::MAX);
    let counts = count(serving, job, &ended, now.wall);
    let mut attempt = history::attempt(lane, job, &ended, now.wall, millis);
    let next = match ended {
        Ended::Failed { failure, .. } => {
            let attempted = Attempted {
                // The process has survived this attempt, so the event is not to blame for earlier crashes.
                crashes: 0,
                ..job.attempted.clone()
            };
            let chance = fastrand::f64();
            next_step::after_failure(
                &job.settings,
                attempted,
                &failure,
                &target.name,
                millis,
                now,
                chance,
            )
        }
        Ended::Done {
            reply: Reply::Refused(_, row),
            ..
        } => Next::Put(row),
        Ended::Done { .. } => Next::Done,
    };
    if attempt.outcome == AttemptOutcome::Failed && matches!(next, Next::Park { .. }) {
        attempt.outcome = AttemptOutcome::Parked;
    }
    history::note(serving, &job.event, &target.name, attempt);
    (next, counts)
}

/// Counts it in the metrics. The lane counts it when it is settled.
fn count(serving: &Serving, job: &Job, ended: &Ended, now: Timestamp) -> Counts {
    let metrics = &serving.metrics;
    let odd_answer = match ended {
        Ended::Failed { failure, .. } => {
            metrics.failed_attempts.inc();
            return Counts::Failed(now, failure.reason.clone());
        }
        Ended::Done { odd_body, .. } => *odd_body,
    };
    if odd_answer {
        metrics.odd_answers.inc();
    }
    if job.attempted.key.stage == Stage::Subscriber {
        metrics.delivered.inc();
        Counts::Delivered { odd_answer }
    } else {
        metrics.dead_lettered.inc();
        Counts::DeadLettered { odd_answer }
    }
}
