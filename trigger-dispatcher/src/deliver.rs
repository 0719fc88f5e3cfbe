//! One job: the attempt at its target, what comes of a reply, and the settlement.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use millrace_channel::{Change, Stage, Work};
use millrace_delivery::{Connection, Failure, Outcome, Request, Verdict, dead_letter};
use millrace_event::http::Outgoing;
use millrace_event::{Event, ObjectName, Origin, Refusal, Timestamp};
use millrace_model::Target;

use crate::alone::{Alone, Turn};
use crate::history::{self, Notice};
use crate::lane::{Job, Lane};
use crate::next_step::{self, MAX_CRASHES, Next};
use crate::observer::Observation;
use crate::serving::Serving;
use crate::settings::Settings;

/// The attribute that counts down the brokers an event may still pass.
const TTL: &str = "knativebrokerttl";
/// What an event without the attribute may still pass (design §6).
const FULL_TTL: u32 = 255;

/// A job with what it needs.
pub(crate) struct Attempt<'a> {
    pub(crate) serving: &'a Arc<Serving>,
    pub(crate) lane: &'a Arc<Lane>,
    pub(crate) job: Job,
}

/// Makes the attempt and settles it.
pub(crate) async fn run(attempt: Attempt<'_>, connection: &mut Connection) {
    let Attempt { serving, lane, job } = attempt;
    let key = job.attempted.key;
    let (is_new, number) = (job.is_new, job.attempted.attempt);
    let watched = serving.observer().map(|observer| (observer, job.event.clone()));
    let (next, attempted, turn) = match prepare(serving, &job).await {
        Ok(turn) => {
            let (next, attempted) = attempt_once(serving, lane, job, connection).await;
            (next, attempted, turn)
        }
        Err(next) => (next, false, None),
    };
    if !attempted
        && let Some((came, detail)) = history::not_attempted(serving, lane, key, number, &next)
        && let Some((observer, event)) = watched
    {
        observer.tell(&Observation::Attempted {
            broker: &serving.broker,
            position: key.position,
            event: &event,
            trigger: &lane.name,
            attempt: number,
            target: "",
            came,
            outcome: &detail,
            millis: 0,
        });
    }
    if matches!(next, Next::Park { .. }) {
        serving.metrics.parked.inc();
    }
    {
        let mut inner = lane.inner.lock();
        inner.settle(key, is_new, next, serving.now());
        serving.stir(lane, &mut inner);
    }
    if let Some(turn) = turn {
        turn.end(serving).await;
    }
}

/// Before the attempt: an event under suspicion waits for its turn and is written down as open; it is given up on when it
/// ended the process too often.
async fn prepare<'a>(serving: &'a Serving, job: &Job) -> Result<Option<Turn<'a>>, Next> {
    let attempted = &job.attempted;
    if attempted.crashes >= MAX_CRASHES {
        return Err(next_step::after_crashes(
            &job.settings,
            attempted.clone(),
            serving.now(),
        ));
    }
    if !attempted.suspect {
        return Ok(None);
    }
    let later = |wait| Next::Put(Box::new(row(job, serving.now().after(wait), false)));
    let turn = serving.common.alone.turn(attempted.crashes);
    let turn = turn.ok_or_else(|| later(Alone::again(fastrand::f64())))?;
    let open = row(job, serving.now(), true);
    if let Err(error) = serving.channel.commit(vec![Change::Put(open)]).await {
        tracing::warn!(broker = %serving.broker, %error, "an attempt cannot be written down; trying again in a second");
        return Err(later(Duration::from_secs(1)));
    }
    Ok(Some(turn))
}

fn row(job: &Job, due: Timestamp, open: bool) -> Work {
    let attempted = &job.attempted;
    Work {
        key: attempted.key,
        attempt: attempted.attempt,
        due,
        open,
        crashes: attempted.crashes,
        suspect: attempted.suspect,
        failures: attempted.failures.clone(),
        body: attempted.body.clone(),
    }
}

/// The attempt and what comes next; `false` when there was nothing to attempt.
async fn attempt_once(
    serving: &Arc<Serving>,
    lane: &Lane,
    job: Job,
    connection: &mut Connection,
) -> (Next, bool) {
    let stage = job.attempted.key.stage;
    let settings = job.settings.clone();
    let target = match target(stage, &settings, &job.attempted.failures) {
        Ok(target) => target,
        Err(why) => {
            let next = next_step::give_up(&job.settings, job.attempted, why, serving.now());
            return (next, false);
        }
    };
    let began = serving.now();
    let extra = extra_attributes(&job);
    let mut looping = false;
    let outcome = match target {
        Target::Http(uri) => {
            let extra: Vec<_> = extra
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let request = Request {
                uri,
                event: &job.event,
                outgoing: Outgoing {
                    ttl: None,
                    extra: &extra,
                },
                format: job.settings.trigger.delivery.format,
                namespace: lane.name.namespace(),
                wants_reply: stage == Stage::Subscriber,
                timeout: job.settings.trigger.delivery.timeout,
            };
            connection.attempt(&request).await
        }
        Target::Broker(broker) => hand_over(serving, broker, &job.event, &extra, &mut looping).await,
    };
    let (outcome, reply) = take_reply(serving, &job, outcome).await;
    let end = Concluding {
        target,
        began,
        outcome,
        reply,
        looping,
    };
    (conclude(serving, lane, job, end), true)
}

/// Where a job of this stage goes; or why it is given up on, in the words of the failure that led there.
fn target<'a>(
    stage: Stage,
    settings: &'a Settings,
    failures: &[millrace_channel::Failure],
) -> Result<&'a Target, String> {
    let cause = || failures.last().map_or("", |failure| failure.reason.as_str());
    match (stage, &settings.dead_letter) {
        (Stage::Subscriber, _) => settings.subscriber.as_ref().map_err(Clone::clone),
        (Stage::DeadLetter | Stage::Reply, Some(sink)) => sink.as_ref().map_err(|_| cause().to_owned()),
        (Stage::Reply, None) => Err(cause().to_owned()),
        (Stage::DeadLetter, None) => Err(format!("{}; there is no dead-letter sink any more", cause())),
    }
}

/// What is known when an attempt has ended.
struct Concluding<'a> {
    target: &'a Target,
    began: Timestamp,
    outcome: Outcome,
    reply: Reply,
    /// The Broker that it was handed to refused it because it went round too often.
    looping: bool,
}

/// What became of the reply in an answer.
enum Reply {
    /// There was none.
    None,
    /// It is stored.
    Stored,
    /// It was refused for good, and this row of work is made of it.
    Refused(Refusal, Box<Work>),
}

fn conclude(serving: &Arc<Serving>, lane: &Lane, mut job: Job, end: Concluding<'_>) -> Next {
    let now = serving.now();
    // The process has outlived this attempt: what it was suspected of before was not its doing.
    job.attempted.crashes = 0;
    let millis = u64::try_from(now.since(end.began).as_millis()).unwrap_or(u64::MAX);
    let subscriber = job.attempted.key.stage == Stage::Subscriber;
    let target: Cow<'_, str> = match end.target {
        Target::Http(_) if subscriber => Cow::Borrowed(&*job.settings.subscriber_text),
        target => Cow::Owned(target.to_string()),
    };
    tally(serving, lane, &job, &end.outcome, now);
    let observer = serving
        .observer()
        .map(|observer| (observer, describe(&end.outcome)));
    let (position, attempt) = (job.attempted.key.position, job.attempted.attempt);
    let mut notice = Notice::of(&job, &end.outcome, now, millis);
    let next = match (end.outcome, end.reply) {
        (Outcome::Failed(failure), _) => {
            let chance = fastrand::f64();
            next_step::after_failure(
                &job.settings,
                job.attempted,
                &failure,
                &target,
                millis,
                now,
                chance,
            )
        }
        (Outcome::Done { .. } | Outcome::Reply { .. }, Reply::None) => Next::Done,
        (Outcome::Done { .. } | Outcome::Reply { .. }, Reply::Stored) => {
            notice.replied();
            Next::Done
        }
        (Outcome::Done { .. } | Outcome::Reply { .. }, Reply::Refused(refusal, row)) => {
            notice.reply_refused(&refusal);
            Next::Put(row)
        }
    };
    let came = notice.note(serving, lane, &next, end.looping);
    if let Some((observer, outcome)) = observer {
        observer.tell(&Observation::Attempted {
            broker: &serving.broker,
            position,
            event: &job.event,
            trigger: &lane.name,
            attempt,
            target: &target,
            came,
            outcome: &outcome,
            millis,
        });
    }
    next
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
    dead_letter::attributes(&job.settings.subscriber_text, cause.status, what).into()
}

/// A delivery to a Broker of this mesh: through its intake, with the loop counter.
async fn hand_over(
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
    let failed = |verdict, reason: String| {
        Outcome::Failed(Failure {
            verdict,
            status: None,
            reason,
            body: Bytes::new(),
            retry_after: None,
        })
    };
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
        Ok(()) => Outcome::Done {
            status: 202,
            odd_body: false,
            body: Bytes::new(),
        },
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

fn ttl(event: &Event) -> u32 {
    event
        .get(TTL)
        .and_then(|value| value.text.parse().ok())
        .unwrap_or(FULL_TTL)
}

/// Stores a reply before the delivery counts as done. Refused for now, it is offered again up to the policy's timeout,
/// then the attempt has failed; refused for good, it becomes a row of work of its own and the delivery is done.
async fn take_reply(serving: &Serving, job: &Job, outcome: Outcome) -> (Outcome, Reply) {
    let Outcome::Reply { event: reply } = outcome else {
        return (outcome, Reply::None);
    };
    let done = Outcome::Done {
        status: 200,
        odd_body: false,
        body: Bytes::new(),
    };
    let reply = match reply.edit().attribute(TTL, &ttl(&job.event).to_string()).build() {
        Ok(reply) => reply,
        Err(_) => {
            return (
                Outcome::Done {
                    status: 200,
                    odd_body: true,
                    body: Bytes::new(),
                },
                Reply::None,
            );
        }
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
            (done, Reply::Stored)
        }
        Err(refusal) if refusal.is_temporary() => {
            let reason = format!("the reply could not be stored: {refusal}");
            let failure = Failure {
                verdict: Verdict::Again,
                status: None,
                reason,
                body: Bytes::new(),
                retry_after: None,
            };
            (Outcome::Failed(failure), Reply::None)
        }
        Err(refusal) => {
            serving.metrics.refused_replies.inc();
            let key = job.attempted.key;
            tracing::warn!(broker = %serving.broker, trigger = %job.settings.trigger.name, position = %key.position, %refusal, "a reply was refused");
            let row =
                next_step::refused_reply(&job.settings, key, reply, &refusal.to_string(), serving.now());
            (done, Reply::Refused(refusal, Box::new(row)))
        }
    }
}

fn tally(serving: &Serving, lane: &Lane, job: &Job, outcome: &Outcome, now: Timestamp) {
    let mut inner = lane.inner.lock();
    let tally = &mut inner.tally;
    match outcome {
        Outcome::Failed(failure) => {
            serving.metrics.failed_attempts.inc();
            tally.failed_attempts += 1;
            tally.last_failure = Some((now, failure.reason.clone()));
        }
        Outcome::Done { odd_body, .. } => {
            if job.attempted.key.stage == Stage::Subscriber {
                serving.metrics.delivered.inc();
                tally.delivered += 1;
            } else {
                serving.metrics.dead_lettered.inc();
                tally.dead_lettered += 1;
            }
            if *odd_body {
                serving.metrics.odd_answers.inc();
                if !std::mem::replace(&mut tally.odd_answer_told, true) {
                    tracing::info!(trigger = %lane.name, "the subscriber's answer has a body that is not a CloudEvent; it counts as delivered (told once)");
                }
            }
        }
        Outcome::Reply { .. } => {}
    }
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done { status, .. } => status.to_string(),
        Outcome::Reply { .. } => "200 with a reply".to_owned(),
        Outcome::Failed(failure) => failure.reason.clone(),
    }
}
