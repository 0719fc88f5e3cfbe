//! Notes attempts in the channel's history, so that `explain` can tell later why something was (not)
//! delivered. Costs two short texts for each attempt; the channel bounds how many it keeps.

use std::borrow::Cow;

use millrace_channel::{Stage, WorkKey};
use millrace_event::Timestamp;

use crate::attempt::Ended;
use crate::into_mesh::Reply;
use crate::lane::{Job, Lane};
use crate::next_step::Next;
use crate::serving::Serving;

/// Bytes of an answer's body that are noted.
const ANSWER_KEPT: usize = 256;

/// An attempt that has ended, before it is known what follows.
#[derive(Debug)]
pub(crate) struct Notice {
    key: WorkKey,
    attempt: u32,
    at: Timestamp,
    millis: u32,
    status: Option<u16>,
    outcome: &'static str,
    /// It was refused because the event had passed through too many brokers.
    looping: bool,
    detail: String,
    answer: String,
}

// === impl Notice ===

impl Notice {
    pub(crate) fn of(job: &Job, ended: &Ended, at: Timestamp, millis: u64) -> Self {
        let (status, outcome, detail, body) = match ended {
            Ended::Done {
                status, body, reply, ..
            } => {
                let (said, why) = match (reply, job.attempted.key.stage) {
                    (Reply::Stored, _) => ("replied", ""),
                    (Reply::Refused(refused, _), _) => (refused.in_a_word(), &*refused.reason),
                    (Reply::None, Stage::Subscriber) => ("delivered", ""),
                    (Reply::None, Stage::DeadLetter | Stage::Reply) => ("dead-lettered", ""),
                };
                (Some(*status), said, why.to_owned(), body)
            }
            Ended::Failed { failure, .. } => {
                (failure.status, "failed", failure.reason.clone(), &failure.body)
            }
        };
        Self {
            key: job.attempted.key,
            attempt: job.attempted.attempt,
            at,
            millis: u32::try_from(millis).unwrap_or(u32::MAX),
            status,
            outcome,
            looping: matches!(ended, Ended::Failed { looping: true, .. }),
            detail,
            answer: String::from_utf8_lossy(&body[..body.len().min(ANSWER_KEPT)]).into_owned(),
        }
    }

    /// Notes it, now that it is known what follows; returns the word for the outcome.
    pub(crate) fn note(self, serving: &Serving, lane: &Lane, next: &Next) -> &'static str {
        let outcome = match (self.looping, next) {
            (true, _) => "looping",
            (false, Next::Park { .. }) => "parked",
            (false, Next::Done | Next::Put(_)) => self.outcome,
        };
        serving.channel.record(millrace_channel::Attempt {
            position: self.key.position,
            trigger: lane.name.clone(),
            stage: self.key.stage,
            attempt: self.attempt,
            at: self.at,
            millis: self.millis,
            status: self.status,
            outcome: Cow::Borrowed(outcome),
            detail: self.detail,
            answer: self.answer,
        });
        outcome
    }
}

/// Notes an event that was given up on without an attempt: its target is not known any more, or it ends the
/// process. That there is no sink for a refused reply is no news: the refusal has been noted.
pub(crate) fn not_attempted(
    serving: &Serving,
    lane: &Lane,
    key: WorkKey,
    attempt: u32,
    next: &Next,
) -> Option<(&'static str, String)> {
    if key.stage == Stage::Reply {
        return None;
    }
    let (outcome, detail) = match next {
        Next::Park { reason, .. } => ("parked", reason.clone()),
        Next::Put(row) if row.key.stage != key.stage => (
            "failed",
            row.failures
                .last()
                .map_or_else(String::new, |failure| failure.reason.clone()),
        ),
        Next::Put(_) | Next::Done => return None,
    };
    serving.channel.record(millrace_channel::Attempt {
        position: key.position,
        trigger: lane.name.clone(),
        stage: key.stage,
        attempt,
        at: serving.moment().wall,
        millis: 0,
        status: None,
        outcome: Cow::Borrowed(outcome),
        detail: detail.clone(),
        answer: String::new(),
    });
    Some((outcome, detail))
}
