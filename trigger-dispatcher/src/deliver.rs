//! One job, from the worker that has taken it to its settlement: what has to happen before the attempt, the
//! attempt once there is room, and its outcome.
//!
//! Its future is part of each worker's task, so it is kept small: rare steps are boxed, and the job is
//! borrowed.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use millrace_channel::{Change, Stage};
use millrace_delivery::Connection;
use millrace_filter::{Decision, Subject};
use millrace_model::Shortage;
use tracing::Instrument as _;

use crate::alone::{Alone, Turn};
use crate::attempt::{attempt, target};
use crate::conclude::{Concluding, conclude};
use crate::history;
use crate::lane::{Counts, Job, Lane, bytes_of};
use crate::next_step::{self, Attempted, MAX_CRASHES, Next};
use crate::provoke;
use crate::serving::Serving;
use crate::watched::{Panic, Task, caught};

/// How a job ended, after all its tries.
struct Made<'a> {
    next: Next,
    /// What the attempt counts as; `None`: no attempt was made.
    counts: Option<Counts>,
    turn: Option<Turn<'a>>,
}

/// Makes the attempt and settles it. A job that meets a shortage of our own waits here, and is given back to
/// the lane when the lane ends or is halted.
pub(crate) async fn run(
    serving: &Arc<Serving>,
    lane: &Arc<Lane>,
    job: &mut Job,
    connection: &mut Connection,
) {
    let made = {
        let making = pin!(make(serving, lane, job, connection));
        caught(making).await
    };
    let Made { next, counts, turn } = match made {
        Ok(Some(made)) => made,
        // The job was given back to its lane.
        Ok(None) => return,
        Err(panic) => {
            // After the panic its state is unknown.
            *connection = lane.share.slot();
            after_panic(serving, job, &panic)
        }
    };
    if matches!(counts, None | Some(Counts::Panicked(..))) {
        tell_of_none(serving, lane, job, &next);
    }
    settle(serving, lane, job, next, counts);
    if let Some(turn) = turn {
        connection.rest();
        Box::pin(turn.end(serving)).await;
    }
}

/// Makes one attempt, up to its settlement. `None`: the job was given back to its lane.
async fn make<'a>(
    serving: &'a Arc<Serving>,
    lane: &Arc<Lane>,
    job: &mut Job,
    connection: &mut Connection,
) -> Option<Made<'a>> {
    loop {
        if job.attempted.key.stage != Stage::Subscriber && job.settings.awaits_sink() {
            let lasts = serving.since.elapsed();
            let next = next_step::await_sink(job.attempted.clone(), lasts, serving.moment());
            return Some(Made::without_attempt(next, None));
        }
        let turn = if job.attempted.suspect || job.attempted.crashes >= MAX_CRASHES {
            connection.rest();
            match Box::pin(prepare(serving, job)).await {
                Ok(turn) => turn,
                Err(next) => return Some(Made::without_attempt(next, None)),
            }
        } else {
            None
        };
        provoke::at(serving, Task::Worker, Some(&job.event));
        if job.attempted.undecided {
            connection.rest();
            if !Box::pin(is_wanted(serving, lane, job)).await {
                return Some(Made::without_attempt(Next::Done, turn));
            }
            job.attempted.undecided = false;
        }
        let target = match target(job.attempted.key.stage, &job.settings, &job.attempted.failures) {
            Ok(target) => target,
            Err(why) => {
                let attempted = job.attempted.clone();
                let next = next_step::give_up(&job.settings, attempted, why, serving.moment());
                return Some(Made::without_attempt(next, turn));
            }
        };
        let began = serving.steady();
        let shortage = match attempt(serving, job, target, connection).await {
            Ok(ended) => {
                let end = Concluding { target, began, ended };
                let (next, counts) = conclude(serving, lane, job, end);
                return Some(Made {
                    next,
                    counts: Some(counts),
                    turn,
                });
            }
            Err(shortage) => shortage,
        };
        // Others wait for their turn too, and this one is not being attempted.
        if job.attempted.suspect {
            connection.close();
            let due = serving.steady().after(Alone::again(fastrand::f64()));
            let row = job.attempted.clone().into_row(due, false);
            return Some(Made::without_attempt(Next::Put(Box::new(row)), turn));
        }
        if !Box::pin(wait_for_room(serving, lane, job, shortage, connection)).await {
            return None;
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
    let room = connection.room(shortage);
    tokio::select! {
        biased;
        () = room.instrument(serving.trigger_span(&lane.name)) => {}
        () = serving.stop.cancelled() => {}
    }
    if serving.may_begin() && lane.inner.lock().go_on(job, serving.steady()) {
        return true;
    }
    give_back(serving, lane, job);
    connection.close();
    false
}

/// Makes the lane owe the event again. The routes are locked: the lane leaves the router at the router's
/// position.
fn give_back(serving: &Arc<Serving>, lane: &Arc<Lane>, job: &Job) {
    let bytes = bytes_of(&job.event);
    {
        let routes = serving.routes.lock();
        let mut inner = lane.inner.lock();
        inner.give_back(job, &serving.common.budget, routes.position);
        inner.flight.end(bytes);
        serving.stir(lane, &mut inner);
    }
    serving.common.budget.end(bytes);
}

/// Asks the filter about an event that was handed over without asking it.
async fn is_wanted(serving: &Arc<Serving>, lane: &Lane, job: &Job) -> bool {
    let offset = job.attempted.key.position.offset;
    let filter = lane.inner.lock().filter_at(offset).0.clone();
    let subject = Subject::new(&job.event).into_owned();
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

/// Before the attempt: an event under suspicion waits for calm and its turn and is written down as open; it
/// is given up on when it ended the process too often.
async fn prepare<'a>(serving: &'a Serving, job: &Job) -> Result<Option<Turn<'a>>, Next> {
    let Job {
        attempted, settings, ..
    } = job;
    if attempted.crashes >= MAX_CRASHES {
        let now = serving.moment();
        return Err(next_step::after_crashes(settings, attempted.clone(), now));
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
    // It keeps its place among the due rows, which it has again after another crash.
    let open = row(job.due.unwrap_or_else(|| serving.steady()), true);
    if let Err(error) = serving.channel.commit(vec![Change::Put(open)]).await {
        serving.trigger_span(&settings.trigger.name).in_scope(
            || tracing::warn!(%error, "an attempt cannot be written down; trying again in a second"),
        );
        return Err(later(Duration::from_secs(1)));
    }
    Ok(Some(turn))
}

/// The end of a job whose attempt panicked.
fn after_panic<'a>(serving: &Serving, job: &Job, panic: &Panic) -> Made<'a> {
    serving.note_panic(Task::Worker, panic);
    let now = serving.moment();
    let words = format!("an attempt panicked at {}", panic.place());
    Made {
        next: next_step::after_panic(&job.settings, job.attempted.clone(), panic, now),
        counts: Some(Counts::Panicked(now.wall, words)),
        turn: None,
    }
}

/// Tells the history and the observer that an event was given up on without an attempt.
fn tell_of_none(serving: &Serving, lane: &Lane, job: &Job, next: &Next) {
    let Attempted { key, attempt, .. } = job.attempted;
    if let Some(attempt) = history::not_attempted(serving, lane, key, attempt, next) {
        history::note(serving, &job.event, "", attempt);
    }
}

/// Puts what comes next into the lane's next commit. The event is in flight no more.
fn settle(serving: &Arc<Serving>, lane: &Arc<Lane>, job: &mut Job, next: Next, counts: Option<Counts>) {
    if matches!(next, Next::Park { .. }) {
        serving.metrics.parked.inc();
    }
    let bytes = bytes_of(&job.event);
    let tells = {
        let mut inner = lane.inner.lock();
        let tells = counts.is_some_and(|counts| inner.tally.count(counts));
        inner.settle(job.attempted.key, next, &serving.common.clock);
        inner.remember(job.remembered.take());
        inner.flight.end(bytes);
        serving.stir(lane, &mut inner);
        tells
    };
    if tells {
        serving.trigger_span(&lane.name).in_scope(|| tracing::info!("the subscriber's answer has a body that is not a CloudEvent; it counts as delivered (told once)"));
    }
    serving.common.budget.end(bytes);
}

// === impl Made ===

impl<'a> Made<'a> {
    fn without_attempt(next: Next, turn: Option<Turn<'a>>) -> Self {
        Self {
            next,
            counts: None,
            turn,
        }
    }
}
