//! What stays in the mesh: a delivery to one of its Brokers, and the reply in an answer. Both go through intake, and both
//! carry the attribute that ends a loop.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use millrace_channel::Work;
use millrace_delivery::{Failure, Outcome, Verdict};
use millrace_event::{Event, ObjectName, Origin, Refusal};

use crate::lane::Job;
use crate::next_step;
use crate::serving::Serving;

/// The attribute that counts down the brokers an event may still pass.
const TTL: &str = "knativebrokerttl";
/// What an event without the attribute may still pass (design §6).
const FULL_TTL: u32 = 255;

/// What became of the reply in an answer.
pub(crate) enum Reply {
    /// There was none.
    None,
    /// It is stored.
    Stored,
    /// It was refused for good, and this row of work is made of it.
    Refused(Refusal, Box<Work>),
}

/// A delivery to a Broker of this mesh. `looping` is set where that refuses it because it went round too often.
pub(crate) async fn hand_over(
    serving: &Serving,
    broker: &ObjectName,
    event: &Event,
    extra: &[(&'static str, String)],
    looping: &mut bool,
) -> Outcome {
    let mut builder = event.edit().attribute(TTL, &ttl(event).to_string());
    for (name, value) in extra {
        builder = builder.attribute(name, value);
    }
    let event = match builder.build() {
        Ok(event) => event,
        Err(invalid) => return failed(Verdict::Final, invalid.to_string()),
    };
    match serving
        .common
        .intake
        .admit(broker, vec![event], Origin::Mesh)
        .await
    {
        Ok(()) => done(202, false),
        Err(Refusal::Full {
            reason, retry_after, ..
        }) => Outcome::Failed(Failure {
            verdict: Verdict::Again,
            status: Some(503),
            reason,
            body: Bytes::new(),
            retry_after: Some(retry_after),
        }),
        Err(refusal @ (Refusal::UnknownBroker(_) | Refusal::Unavailable { .. })) => {
            failed(Verdict::Again, refusal.to_string())
        }
        Err(refusal) => {
            *looping = refusal == Refusal::Looping;
            failed(Verdict::Final, refusal.to_string())
        }
    }
}

/// Stores a reply before the delivery counts as done. Refused for now, it is offered again up to the policy's timeout,
/// then the attempt has failed; refused for good, it becomes a row of work of its own and the delivery is done.
pub(crate) async fn take_reply(serving: &Serving, job: &Job, outcome: Outcome) -> (Outcome, Reply) {
    let Outcome::Reply { event: reply } = outcome else {
        return (outcome, Reply::None);
    };
    let Ok(reply) = reply.edit().attribute(TTL, &ttl(&job.event).to_string()).build() else {
        return (done(200, true), Reply::None);
    };
    let offer = || {
        serving
            .common
            .intake
            .admit(&serving.broker, vec![reply.clone()], Origin::Mesh)
    };
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .with_total_delay(Some(job.settings.trigger.delivery.timeout))
        .without_max_times();
    match offer
        .retry(backoff)
        .when(|refusal| refusal.is_temporary() && !serving.stop.is_cancelled())
        .await
    {
        Ok(()) => {
            serving.metrics.replies.inc();
            (done(200, false), Reply::Stored)
        }
        Err(refusal) if refusal.is_temporary() => {
            let reason = format!("the reply could not be stored: {refusal}");
            (failed(Verdict::Again, reason), Reply::None)
        }
        Err(refusal) => {
            serving.metrics.refused_replies.inc();
            let key = job.attempted.key;
            tracing::warn!(broker = %serving.broker, trigger = %job.settings.trigger.name, position = %key.position, %refusal, "a reply was refused");
            let row =
                next_step::refused_reply(&job.settings, key, reply, &refusal.to_string(), serving.moment());
            (done(200, false), Reply::Refused(refusal, Box::new(row)))
        }
    }
}

fn ttl(event: &Event) -> u32 {
    event
        .get(TTL)
        .and_then(|value| value.text.parse().ok())
        .unwrap_or(FULL_TTL)
}

fn done(status: u16, odd_body: bool) -> Outcome {
    Outcome::Done {
        status,
        odd_body,
        body: Bytes::new(),
    }
}

fn failed(verdict: Verdict, reason: String) -> Outcome {
    Outcome::Failed(Failure {
        verdict,
        status: None,
        reason,
        body: Bytes::new(),
        retry_after: None,
    })
}
