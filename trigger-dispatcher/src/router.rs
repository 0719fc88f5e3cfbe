//! The reader at the log's head: each event is read once and given to the lanes that want it.
//!
//! Filters run on the reading thread for a short while ([`brief`](millrace_filter::Allowance::brief)),
//! holding no lock that other tasks of that thread wait for. An event that needs more work is asked about in
//! turns with other brokers, and the next events wait for it: the order of the log is kept.
//!
//! The files follow an event: which lanes want it (`answers`), and how they get it (`give`).

mod answers;
mod give;

use std::pin::pin;
use std::sync::Arc;

use millrace_channel::Batch;
use millrace_filter::turns::SLICE;
use millrace_filter::{Matching, Subject};

use crate::provoke;
use crate::serving::Serving;
use crate::watched::{Panic, Task, caught, with_place};
use answers::{Answers, Begun};
use give::give;

/// Events and bytes of one batch.
const BATCH_EVENTS: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
/// How often an event is asked about in turns while filters change.
const PASSES: usize = 2;

/// The answer of a filter, as far as a lane is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneAnswer {
    /// The event passes.
    Match,
    /// The event does not match, because deciding needs too much work.
    TooMuchWork,
    /// The filter is not asked here: it may end the process, or it has changed too often.
    Undecided,
}

/// Reads and routes until the broker is no longer served.
pub(crate) async fn run(serving: Arc<Serving>) {
    // Everything before this position was given: the next batch begins here.
    let mut given_to = position(&serving);
    let mut reader = serving.channel.log().reader(serving.at(given_to));
    let mut answers = Answers::default();
    loop {
        let batch = tokio::select! {
            biased;
            () = serving.stop.cancelled() => return,
            batch = reader.next(BATCH_EVENTS, BATCH_BYTES) => batch,
        };
        provoke::at(&serving, Task::Router, None);
        match batch {
            Ok(batch) if position(&serving) == given_to => {
                if !route(&serving, &batch, &mut answers).await {
                    return;
                }
                given_to = batch.next.offset;
                continue;
            }
            Ok(_) => {
                serving.span.in_scope(|| {
                    tracing::error!(
                        read_from = given_to,
                        "the router is not where it read on; reading again"
                    )
                });
                answers.clear();
            }
            Err(error) => {
                serving
                    .span
                    .in_scope(|| tracing::error!(%error, "the log cannot be read; trying again in a second"));
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
        given_to = position(&serving);
        reader = serving.channel.log().reader(serving.at(given_to));
    }
}

/// All events before this one were given to their lanes.
fn position(serving: &Serving) -> u64 {
    serving.routes.lock().position
}

/// Gives all events of a batch to their lanes, as many at once as an allowance suffices for. `false`: the
/// broker is no longer served, and the rest of the batch is not given. Then nothing that follows may be
/// given, or the router would skip the rest.
async fn route(serving: &Arc<Serving>, batch: &Batch, answers: &mut Answers) -> bool {
    let records = &batch.records;
    let mut next = 0;
    let mut begun = None;
    loop {
        let gate = serving.gate.lock().await;
        let first = next;
        begun = answers.ask(serving, &gate, &records[first..], begun);
        next += answers.events();
        if next > first || records.is_empty() {
            give(serving, batch, first..next, answers);
        }
        drop(gate);
        if next == records.len() {
            return true;
        }
        match begun.take() {
            Some(begun) if next == first => {
                if !route_in_turns(serving, batch, next, begun, answers).await {
                    return false;
                }
                next += 1;
            }
            // The allowance is used up: other tasks get a turn, and then the next event goes on with a new
            // one.
            not_first => {
                begun = not_first;
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Gives one event that needs more than an allowance to its lanes. `false`: the broker is no longer served;
/// it is not given.
///
/// Filters may change meanwhile. Then they are asked once more, and after that each lane decides for itself.
/// Changes never wait for an event.
async fn route_in_turns(
    serving: &Arc<Serving>,
    batch: &Batch,
    at: usize,
    begun: Begun,
    answers: &mut Answers,
) -> bool {
    let record = &batch.records[at];
    let passes = if record.position.offset < serving.suspects_below {
        0
    } else {
        PASSES
    };
    let mut begun = Some(begun);
    for _ in 0..passes {
        let Begun {
            generation,
            subject,
            found,
        } = match begun.take() {
            Some(begun) => begun,
            None => Begun::anew(&*serving.gate.lock().await, &record.event),
        };
        let Some(asked) = ask_in_turns(serving, subject, found).await else {
            return false;
        };
        let gate = serving.gate.lock().await;
        match asked {
            Ok(_) if gate.generation() != generation => continue,
            Ok((subject, found)) => {
                answers.note(&subject, found);
                give(serving, batch, at..at + 1, answers);
                return true;
            }
            Err(panic) => {
                serving.note_panic(Task::Router, &panic);
                break;
            }
        }
    }
    let gate = serving.gate.lock().await;
    answers.leave_undecided(gate.index(), &record.event);
    give(serving, batch, at..at + 1, answers);
    true
}

/// `None`: the broker is no longer served.
async fn ask_in_turns(
    serving: &Arc<Serving>,
    subject: Subject<'static>,
    found: Matching,
) -> Option<Result<(Subject<'static>, Matching), Panic>> {
    let provoked = serving.clone();
    let job = (subject, found, provoked);
    let asked = pin!(serving.common.turns.work(job, |(subject, found, serving)| {
        with_place(|| {
            provoke::at(serving, Task::Router, Some(subject.event()));
            found.go_on(subject, SLICE)
        })
    }));
    tokio::select! {
        biased;
        () = serving.stop.cancelled() => None,
        asked = caught(asked) => Some(asked.map(|(subject, found, _)| (subject, found))),
    }
}
