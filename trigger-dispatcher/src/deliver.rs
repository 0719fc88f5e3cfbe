//! One job: the attempt at its target once there is room, its outcome, and the settlement.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use millrace_channel::{Change, Stage};
use millrace_delivery::{Connection, Outcome, Request, dead_letter};
use millrace_event::Timestamp;
use millrace_event::http::Outgoing;
use millrace_filter::{Decision, Subject};
use millrace_model::{Shortage, Target};

use crate::alone::{Alone, Turn};
use crate::history::{self, Notice};
use crate::into_mesh::{self, Reply};
use crate::lane::{Job, Lane};
use crate::next_step::{self, MAX_CRASHES, Next};
use crate::observer::Observation;
use crate::provoke;
use crate::serving::Serving;
use crate::settings::Settings;
use crate::watched::{Task, caught};

/// A job with what it needs.
pub(crate) struct Attempt<'a> {
    pub(crate) serving: &'a Arc<Serving>,
    pub(crate) lane: &'a Arc<Lane>,
    pub(crate) job: Job,
}

/// The result of one try.
enum Came {
    /// The next step is known; `attempted`: an attempt was made.
    Next { next: Next, attempted: bool },
    /// No attempt was made, because something of our own was short.
    Short(Box<Job>, Shortage),
}

/// Makes the attempt and settles it. A job that meets a shortage of our own waits here, and is given back to
/// the lane when the lane ends or is halted.
pub(crate) async fn run(attempt: Attempt<'_>, connection: &mut Connection) {
    let Attempt { serving, lane, job } = attempt;
    let key = job.attempted.key;
    let (is_new, number) = (job.is_new, job.attempted.attempt);
    let bytes = job.event.stored().len();
    let watched = serving.observer().map(|observer| (observer, job.event.clone()));
    let before = (job.settings.clone(), job.attempted.clone());
    let (next, attempted, turn) = match caught(make(serving, lane, job, connection)).await {
        Ok(Made::Ended {
            next,
            attempted,
            turn,
        }) => (next, attempted, turn),
        Ok(Made::GivenBack) => return,
        Err(panic) => {
            serving.note_panic(Task::Worker, &panic);
            // After the panic its state is unknown.
            *connection = lane.share.slot();
            let (settings, attempted) = before;
            let now = serving.moment();
            lane.inner.lock().tally.last_failure =
                Some((now.wall, format!("an attempt panicked at {}", panic.place())));
            (
                next_step::after_panic(&settings, attempted, &panic, now),
                false,
                None,
            )
        }
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
        inner.settle(key, is_new, next, serving.moment().wall);
        inner.flight.end(bytes);
        serving.stir(lane, &mut inner);
    }
    serving.common.budget.end(bytes);
    if let Some(turn) = turn {
        turn.end(serving).await;
    }
}

/// How an attempt ended, after all its tries.
enum Made<'a> {
    Ended {
        next: Next,
        /// Whether an attempt was made.
        attempted: bool,
        turn: Option<Turn<'a>>,
    },
    /// The job was given back to its lane.
    GivenBack,
}

/// Makes one attempt, up to its settlement.
async fn make<'a>(
    serving: &'a Arc<Serving>,
    lane: &Arc<Lane>,
    mut job: Job,
    connection: &mut Connection,
) -> Made<'a> {
    let ended = |next, attempted, turn| Made::Ended {
        next,
        attempted,
        turn,
    };
    loop {
        let turn = match prepare(serving, &job).await {
            Ok(turn) => turn,
            Err(next) => return ended(next, false, None),
        };
        provoke::at(serving, Task::Worker, Some(&job.event));
        if std::mem::take(&mut job.attempted.undecided) && !is_wanted(serving, lane, &job).await {
            return ended(Next::Done, false, turn);
        }
        match attempt_once(serving, lane, job, connection).await {
            Came::Next { next, attempted } => return ended(next, attempted, turn),
            // Others wait for their turn too, and this one is not being attempted.
            Came::Short(back, _) if back.attempted.suspect => {
                connection.close();
                let due = serving.steady().after(Alone::again(fastrand::f64()));
                let row = back.attempted.into_row(due, false);
                return ended(Next::Put(Box::new(row)), false, turn);
            }
            Came::Short(back, shortage) => {
                job = *back;
                if !wait_for_room(serving, lane, &mut job, shortage, connection).await {
                    return Made::GivenBack;
                }
            }
        }
    }
}

/// Waits until another try makes sense. `false`: the job is given back, since the lane ends, is halted or has
/// no subscriber.
async fn wait_for_room(
    serving: &Arc<Serving>,
    lane: &Arc<Lane>,
    job: &mut Job,
    shortage: Shortage,
    connection: &mut Connection,
) -> bool {
    lane.inner.lock().wait_for(job, shortage, serving.steady());
    tokio::select! {
        () = connection.room(shortage) => {}
        () = serving.stop.cancelled() => {}
    }
    if !serving.stop.is_cancelled() && lane.inner.lock().go_on(job, serving.steady()) {
        return true;
    }
    give_back(serving, lane, job);
    connection.close();
    false
}

/// Makes the lane owe the event again. The routes are locked: the lane leaves the router at the router's
/// position.
fn give_back(serving: &Arc<Serving>, lane: &Arc<Lane>, job: &Job) {
    let bytes = job.event.stored().len();
    {
        let routes = serving.routes.lock();
        let mut inner = lane.inner.lock();
        inner.give_back(job, routes.position);
        inner.flight.end(bytes);
        serving.stir(lane, &mut inner);
    }
    serving.common.budget.end(bytes);
}

/// Asks the filter about an event that was handed over without asking it.
async fn is_wanted(serving: &Arc<Serving>, lane: &Lane, job: &Job) -> bool {
    let (subject, filter) = (
        Subject::new(&job.event).into_owned(),
        job.settings.trigger.compiled.clone(),
    );
    match serving.decide_in_turns(Task::Worker, subject, filter).await {
        Ok((_, Decision::Match)) => {
            serving.metrics.matched.inc();
            true
        }
        Ok((_, Decision::TooMuchWork)) => {
            serving.note_too_much_work(lane, &mut lane.inner.lock());
            false
        }
        Ok((_, Decision::NoMatch | Decision::Later)) => false,
        // The panic belongs to the attempt.
        Err(panic) => panic.go_on(),
    }
}

/// Before the attempt: an event under suspicion waits for calm and its turn and is written down as open; it is given up on when it
/// ended the process too often.
async fn prepare<'a>(serving: &'a Serving, job: &Job) -> Result<Option<Turn<'a>>, Next> {
    let attempted = &job.attempted;
    if attempted.crashes >= MAX_CRASHES {
        return Err(next_step::after_crashes(
            &job.settings,
            attempted.clone(),
            serving.moment(),
        ));
    }
    if !attempted.suspect {
        return Ok(None);
    }
    let row = |due, open| attempted.clone().into_row(due, open);
    let later = |wait| Next::Put(Box::new(row(serving.steady().after(wait), false)));
    let wait = Alone::calm(attempted.crashes).saturating_sub(serving.since.elapsed());
    if !wait.is_zero() {
        return Err(later(wait));
    }
    let turn = serving.common.alone.turn(attempted.crashes);
    let turn = turn.ok_or_else(|| later(Alone::again(fastrand::f64())))?;
    let open = row(serving.steady(), true);
    if let Err(error) = serving.channel.commit(vec![Change::Put(open)]).await {
        tracing::warn!(broker = %serving.broker, %error, "an attempt cannot be written down; trying again in a second");
        return Err(later(Duration::from_secs(1)));
    }
    Ok(Some(turn))
}

/// Makes the attempt and decides what comes next.
async fn attempt_once(serving: &Arc<Serving>, lane: &Lane, job: Job, connection: &mut Connection) -> Came {
    let stage = job.attempted.key.stage;
    let settings = job.settings.clone();
    let target = match target(stage, &settings, &job.attempted.failures) {
        Ok(target) => target,
        Err(why) => {
            return Came::Next {
                next: next_step::give_up(&job.settings, job.attempted, why, serving.moment()),
                attempted: false,
            };
        }
    };
    let began = serving.steady();
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
            match connection.try_attempt(&request).await {
                Ok(outcome) => outcome,
                Err(shortage) => return Came::Short(Box::new(job), shortage),
            }
        }
        Target::Broker(broker) => {
            into_mesh::hand_over(serving, broker, &job.event, &extra, &mut looping).await
        }
    };
    let (outcome, reply) = into_mesh::take_reply(serving, &job, outcome).await;
    connection.reply_stored();
    let end = Concluding {
        target,
        began,
        outcome,
        reply,
        looping,
    };
    Came::Next {
        next: conclude(serving, lane, job, end),
        attempted: true,
    }
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
    /// In steady time.
    began: Timestamp,
    outcome: Outcome,
    reply: Reply,
    /// The Broker that it was handed to refused it because it went round too often.
    looping: bool,
}

fn conclude(serving: &Arc<Serving>, lane: &Lane, mut job: Job, end: Concluding<'_>) -> Next {
    let now = serving.moment();
    // The process has outlived this attempt: what it was suspected of before was not its doing.
    job.attempted.crashes = 0;
    let millis = u64::try_from(now.steady.since(end.began).as_millis()).unwrap_or(u64::MAX);
    let subscriber = job.attempted.key.stage == Stage::Subscriber;
    let target: Cow<'_, str> = match end.target {
        Target::Http(_) if subscriber => Cow::Borrowed(&*job.settings.subscriber_text),
        target => Cow::Owned(target.to_string()),
    };
    tally(serving, lane, &job, &end.outcome, now.wall);
    let observer = serving
        .observer()
        .map(|observer| (observer, describe(&end.outcome)));
    let (position, attempt) = (job.attempted.key.position, job.attempted.attempt);
    let mut notice = Notice::of(&job, &end.outcome, now.wall, millis);
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
        (Outcome::Done { .. } | Outcome::Reply(_) | Outcome::BadReply(_), Reply::None) => Next::Done,
        (Outcome::Done { .. } | Outcome::Reply(_) | Outcome::BadReply(_), Reply::Stored) => {
            notice.replied();
            Next::Done
        }
        (Outcome::Done { .. } | Outcome::Reply(_) | Outcome::BadReply(_), Reply::Refused(why, row)) => {
            notice.reply_refused(&why);
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
        Outcome::Reply(_) | Outcome::BadReply(_) => {}
    }
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done { status, .. } => status.to_string(),
        Outcome::Reply(_) => "200 with a reply".to_owned(),
        Outcome::BadReply(_) => "200 with a reply that cannot be taken".to_owned(),
        Outcome::Failed(failure) => failure.reason.clone(),
    }
}
