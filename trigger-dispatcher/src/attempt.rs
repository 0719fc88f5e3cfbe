//! One attempt: its target, what is sent there, and how it ended, including what became of the reply.

use bytes::Bytes;
use millrace_channel::{AttemptOutcome, Stage};
use millrace_delivery::target::try_attempt;
use millrace_delivery::{Connection, Failure, Outcome, Request, Sender, dead_letter};
use millrace_event::http::Outgoing;
use millrace_event::{InnerSender, Origin, Refusal};
use millrace_model::Shortage;

use crate::lane::Job;
use crate::reply::{self, Reply};
use crate::serving::Serving;
use crate::settings::{NamedTarget, Settings};

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The target has the event.
    Done {
        /// The status of the answer, if it has one.
        status: Option<u16>,
        /// The answer has a body that was not taken for a reply.
        odd_body: bool,
        /// The beginning of the answer's body.
        body: Bytes,
        reply: Reply,
    },
    /// The target does not have it. `looping`: it was refused because it had passed through too many brokers.
    Failed { failure: Failure, looping: bool },
}

/// Where a job of this stage goes; or why it is given up on, in the words of the failure that led there.
pub(crate) fn target<'a>(
    stage: Stage,
    settings: &'a Settings,
    failures: &[millrace_channel::FailedAttempt],
) -> Result<&'a NamedTarget, String> {
    let cause = || failures.last().map_or("", |failure| failure.reason.as_str());
    match (stage, &settings.dead_letter) {
        (Stage::Subscriber, _) => settings.subscriber.as_ref().map_err(ToString::to_string),
        (Stage::DeadLetter | Stage::Reply, Some(sink)) => sink.as_ref().map_err(|_| cause().to_owned()),
        (Stage::Reply, None) => Err(cause().to_owned()),
        (Stage::DeadLetter, None) => Err(format!("{}; there is no dead-letter sink any more", cause())),
    }
}

/// Makes the attempt, and stores the reply that it brought.
///
/// # Errors
/// Something of our own was short, so no attempt was made.
pub(crate) async fn attempt(
    serving: &Serving,
    job: &Job,
    target: &NamedTarget,
    connection: &mut Connection,
) -> Result<Ended, Shortage> {
    let extra = extra_attributes(job);
    let extra: Vec<_> = extra
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let policy = &job.settings.trigger.delivery;
    let request = Request {
        event: &job.event,
        origin: Origin::Mesh(InnerSender::trigger(&job.settings.trigger.name)),
        outgoing: Outgoing {
            extra: &extra,
            ttl: None,
        },
        format: policy.format,
        namespace: job.settings.trigger.name.namespace(),
        wants_reply: job.attempted.key.stage == Stage::Subscriber,
        timeout: policy.timeout,
        sender: target.auth.as_ref().map(|auth| Sender {
            auth,
            name: &job.settings.trigger.name,
            stage: stage_word(job.attempted.key.stage),
        }),
    };
    let intake = &*serving.common.intake;
    let ended = match try_attempt(&target.target, &request, intake, connection).await? {
        Outcome::Done {
            status,
            odd_body,
            body,
        } => Ended::Done {
            status,
            odd_body,
            body,
            reply: Reply::None,
        },
        Outcome::Failed(failure) => Ended::failed(failure),
        Outcome::Refused(refusal) => Ended::Failed {
            looping: refusal == Refusal::Looping,
            failure: refusal.into(),
        },
        Outcome::Reply(reply) => {
            connection.rest();
            Box::pin(reply::store(serving, job, *reply)).await
        }
        Outcome::BadReply(bad) => reply::refuse_bad(serving, job, *bad),
    };
    connection.reply_stored();
    Ok(ended)
}

/// What distinguishes the deliveries of one event by one Trigger.
fn stage_word(stage: Stage) -> &'static str {
    match stage {
        Stage::Subscriber => "subscriber",
        Stage::DeadLetter => "dead-letter",
        Stage::Reply => "reply",
    }
}

/// The failure attributes of a dead letter; none for a delivery to the subscriber.
fn extra_attributes(job: &Job) -> Vec<(&'static str, String)> {
    let stage = job.attempted.key.stage;
    if stage == Stage::Subscriber {
        return Vec::new();
    }
    let told = if stage == Stage::Reply {
        Stage::Reply
    } else {
        Stage::Subscriber
    };
    let Some(cause) = job
        .attempted
        .failures
        .iter()
        .rev()
        .find(|failure| failure.stage == told)
    else {
        return Vec::new();
    };
    let what = if cause.body.is_empty() {
        cause.reason.as_bytes()
    } else {
        &cause.body
    };
    dead_letter::attributes(&job.settings.documented_subscriber(), cause.status, what).into()
}

// === impl Ended ===

impl Ended {
    /// A failure that has nothing to do with a loop.
    pub(crate) fn failed(failure: Failure) -> Self {
        Self::Failed {
            failure,
            looping: false,
        }
    }

    /// The outcome of an attempt in this stage that ended so. Whether a failure parks the event is not known
    /// yet.
    pub(crate) fn outcome(&self, stage: Stage) -> AttemptOutcome {
        match self {
            Self::Failed { looping: true, .. } => AttemptOutcome::Looping,
            Self::Failed { looping: false, .. } => AttemptOutcome::Failed,
            Self::Done { reply, .. } => match (reply, stage) {
                (Reply::Stored, _) => AttemptOutcome::Replied,
                (Reply::Refused(refused, _), _) => refused.outcome(),
                (Reply::None, Stage::Subscriber) => AttemptOutcome::Delivered,
                (Reply::None, Stage::DeadLetter | Stage::Reply) => AttemptOutcome::DeadLettered,
            },
        }
    }
}
