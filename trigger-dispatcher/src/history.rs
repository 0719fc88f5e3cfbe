//! Notes how attempts ended in the channel's history, so that `explain` can tell later why something was
//! (not) delivered, and tells observers the same. Costs two short texts for each attempt; the channel bounds
//! how many it keeps.

use millrace_channel::{Attempt, AttemptOutcome, Stage, WorkKey};
use millrace_event::{Event, Timestamp};

use crate::attempt::Ended;
use crate::lane::{Job, Lane};
use crate::next_step::Next;
use crate::observer::Observation;
use crate::reply::Reply;
use crate::serving::Serving;

/// Bytes of an answer's body that are noted.
const ANSWER_KEPT: usize = 256;

/// An attempt that has ended. Whether the event is parked for it is not known yet.
pub(crate) fn attempt(lane: &Lane, job: &Job, ended: &Ended, at: Timestamp, millis: u64) -> Attempt {
    let key = job.attempted.key;
    let (status, detail, body) = match ended {
        Ended::Done {
            status, body, reply, ..
        } => {
            let detail = match reply {
                Reply::Refused(refused, _) => refused.reason.clone(),
                Reply::None | Reply::Stored => String::new(),
            };
            (*status, detail, body)
        }
        Ended::Failed { failure, .. } => (failure.status, failure.reason.clone(), &failure.body),
    };
    Attempt {
        position: key.position,
        trigger: lane.name.clone(),
        stage: key.stage,
        attempt: job.attempted.attempt,
        at,
        millis: u32::try_from(millis).unwrap_or(u32::MAX),
        status,
        outcome: ended.outcome(key.stage),
        detail,
        answer: String::from_utf8_lossy(&body[..body.len().min(ANSWER_KEPT)]).into_owned(),
    }
}

/// An event that was given up on without an attempt: its target is not known any more, or it ends the
/// process. That there is no sink for a refused reply is no news: the refusal has been noted.
pub(crate) fn not_attempted(
    serving: &Serving,
    lane: &Lane,
    key: WorkKey,
    attempt: u32,
    next: &Next,
) -> Option<Attempt> {
    if key.stage == Stage::Reply {
        return None;
    }
    let (outcome, detail) = match next {
        Next::Park { reason, .. } => (AttemptOutcome::Parked, reason.clone()),
        Next::Put(row) if row.key.stage != key.stage => (
            AttemptOutcome::Failed,
            row.failures
                .last()
                .map_or_else(String::new, |failure| failure.reason.clone()),
        ),
        Next::Put(_) | Next::Done => return None,
    };
    Some(Attempt {
        position: key.position,
        trigger: lane.name.clone(),
        stage: key.stage,
        attempt,
        at: serving.moment().wall,
        millis: 0,
        status: None,
        outcome,
        detail,
        answer: String::new(),
    })
}

/// Notes an attempt in the history, and tells the observer of it. `target` is empty where none was tried.
pub(crate) fn note(serving: &Serving, event: &Event, target: &str, attempt: Attempt) {
    let watched = serving.observer().map(|observer| (observer, attempt.clone()));
    serving.channel.record(attempt);
    if let Some((observer, attempt)) = watched {
        observer.tell(&Observation::Attempted {
            broker: &serving.broker,
            event,
            target,
            attempt: &attempt,
        });
    }
}
