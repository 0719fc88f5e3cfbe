//! What becomes of the reply in an answer. It goes through intake and carries the attribute that ends a loop;
//! if it is refused for good, it becomes work of its own.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use millrace_channel::{AttemptOutcome, Work};
use millrace_delivery::reply::{self as answered, BadReply, Came};
use millrace_delivery::{Failure, Verdict};
use millrace_event::{Event, InnerSender, Invalid, Origin, Refusal, hops};

use crate::attempt::Ended;
use crate::bad_reply;
use crate::lane::Job;
use crate::next_step;
use crate::serving::Serving;

/// What became of the reply in an answer.
#[derive(Debug)]
pub(crate) enum Reply {
    /// There was none.
    None,
    /// It is stored.
    Stored,
    /// It was refused for good, and this row of work is made of it.
    Refused(Refused, Box<Work>),
}

/// Why a reply was refused for good.
#[derive(Debug)]
pub(crate) struct Refused {
    /// A sentence with the stable code and, where there is one, the header or member at fault.
    pub(crate) reason: String,
    /// It had passed through Brokers too often.
    pub(crate) looping: bool,
}

/// Stores the replies of an answer before the delivery counts as done. If they are refused for now, they are
/// offered again up to the policy's timeout; then the attempt has failed. If they are refused for good, or
/// their Broker is still in no document then, they become a row of work and the delivery is done.
pub(crate) async fn store(serving: &Serving, job: &Job, reply: answered::Reply) -> Ended {
    let counted = |event: &Event| hops::onward(event, &job.event).build();
    let events: Vec<Event> = match reply.events.iter().map(counted).collect() {
        Ok(events) => events,
        // It has so many attributes that there is no room for the one that ends a loop.
        Err(invalid) => return refuse(serving, job, Refused::from(&invalid), kept(job, reply)),
    };
    match offer(serving, job, &events).await {
        Ok(()) => {
            serving.metrics.replies.inc_by(events.len() as u64);
            done(Reply::Stored)
        }
        Err(refusal) if refusal.is_temporary() && !matches!(refusal, Refusal::UnknownBroker(_)) => {
            let reason = format!("the reply could not be stored: {refusal}");
            Ended::failed(Failure::without_answer(Verdict::Again, reason))
        }
        Err(refusal) => {
            let kept = kept(job, answered::Reply { events, ..reply });
            refuse(serving, job, Refused::from(&refusal), kept)
        }
    }
}

/// An answer that says it is a reply and cannot be taken: the delivery is done.
pub(crate) fn refuse_bad(serving: &Serving, job: &Job, bad: BadReply) -> Ended {
    let BadReply { invalid, came } = bad;
    refuse(serving, job, Refused::from(&invalid), wrapped(job, &came))
}

/// Offers the replies of one answer: all are taken or none.
async fn offer(serving: &Serving, job: &Job, events: &[Event]) -> Result<(), Refusal> {
    let origin = Origin::Mesh(InnerSender::trigger(&job.settings.trigger.name));
    let offer = || {
        let intake = &serving.common.intake;
        intake.admit(&serving.broker, events.to_vec(), origin.clone())
    };
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .with_total_delay(Some(job.settings.trigger.delivery.timeout))
        .without_max_times();
    offer
        .retry(backoff)
        .when(|refusal| refusal.is_temporary() && !serving.is_stopped())
        .await
}

/// The delivery is done, and the refused reply becomes work of its own.
fn refuse(serving: &Serving, job: &Job, refused: Refused, kept: Event) -> Ended {
    serving.metrics.refused_replies.inc();
    let key = job.attempted.key;
    serving.trigger_span(&job.settings.trigger.name).in_scope(
        || tracing::warn!(position = %key.position, reason = refused.reason, "a reply was refused"),
    );
    let row = next_step::refused_reply(&job.settings, key, kept, refused.reason.clone(), serving.moment());
    done(Reply::Refused(refused, Box::new(row)))
}

/// A refused reply as one event: the reply itself, or an event that holds the whole batch.
fn kept(job: &Job, mut reply: answered::Reply) -> Event {
    match (&reply.came, reply.events.pop()) {
        (None, Some(event)) => event,
        (came, _) => wrapped(job, came.as_ref().unwrap_or(&Came::default())),
    }
}

/// The contents of an answer as an event; it keeps the attribute that ends a loop, as its reply would have.
fn wrapped(job: &Job, came: &Came) -> Event {
    let (trigger, position) = (&job.settings.trigger.name, job.attempted.key.position);
    let event = bad_reply::event(trigger, position, &job.event, came);
    let counted = hops::onward(&event, &job.event).build();
    counted.unwrap_or(event)
}

// === impl Refused ===

impl Refused {
    fn new(code: &str, field: Option<&str>, message: &str) -> Self {
        let at = field.map_or_else(String::new, |field| format!(" ({field})"));
        Self {
            reason: format!("the reply was refused: {code}{at}: {message}"),
            looping: false,
        }
    }

    /// How the attempt ended that brought the reply.
    pub(crate) fn outcome(&self) -> AttemptOutcome {
        if self.looping {
            AttemptOutcome::Looping
        } else {
            AttemptOutcome::ReplyRefused
        }
    }
}

impl From<&Invalid> for Refused {
    fn from(invalid: &Invalid) -> Self {
        Self::new(invalid.code(), invalid.field.as_deref(), &invalid.message)
    }
}

impl From<&Refusal> for Refused {
    fn from(refusal: &Refusal) -> Self {
        Self {
            looping: *refusal == Refusal::Looping,
            ..Self::new(refusal.code(), None, &refusal.to_string())
        }
    }
}

/// A delivery that was answered with a 200.
fn done(reply: Reply) -> Ended {
    Ended::Done {
        status: Some(200),
        odd_body: false,
        body: Bytes::new(),
        reply,
    }
}
