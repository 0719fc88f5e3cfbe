//! The reader at the log's head: each event is read once and given to the lanes that want it.
//!
//! Filters run on the reading thread for a short while ([`Allowance::brief`]), holding no lock that other
//! tasks of that thread wait for. An event that needs more work is asked about in turns with other brokers,
//! and the next events wait for it: the order of the log is kept.

use std::ops::Range;
use std::sync::Arc;

use millrace_channel::{Batch, Gap, GapReason, Record};
use millrace_event::Event;
use millrace_filter::turns::SLICE;
use millrace_filter::{Allowance, Index, Matching, Subject};

use crate::lane::{Lane, Place, at};
use crate::observer::Observation;
use crate::provoke;
use crate::serving::{Gate, Routes, Serving};
use crate::watched::{Panic, Task, caught, caught_at_once, with_place};

/// Events and bytes of one batch.
const BATCH_EVENTS: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
/// How often an event is asked about in turns while filters change.
const PASSES: usize = 2;

/// The answer of a filter, as far as a lane is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The event passes.
    Match,
    /// The event does not match, because deciding needs too much work.
    TooMuchWork,
    /// The filter is not asked here: it may end the process, or it has changed too often.
    Undecided,
}

/// The answers of filters for consecutive events. Kept from batch to batch, so that nothing is allocated for
/// an event.
#[derive(Default)]
struct Answers {
    /// The answers for the event that is being asked about.
    found: Matching,
    /// Lane and answer, event by event.
    list: Vec<(u32, Said)>,
    /// Where the answers of each event end.
    ends: Vec<usize>,
    errors: u64,
}

/// An event that some filters have been asked about, and others not yet.
struct Begun {
    /// The generation of the filters.
    generation: u64,
    /// Kept, so that its data is not parsed again.
    subject: Subject,
    found: Matching,
}

/// Reads and routes until the broker is no longer served.
pub(crate) async fn run(serving: Arc<Serving>) {
    // Everything before this position was given: the next batch begins here.
    let mut given_to = position(&serving);
    let mut reader = serving.channel.reader(at(given_to));
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
                tracing::error!(broker = %serving.broker, read_from = given_to, "the router is not where it read on; reading again");
                answers.clear();
            }
            Err(error) => {
                tracing::error!(broker = %serving.broker, %error, "the log cannot be read; trying again in a second");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
        given_to = position(&serving);
        reader = serving.channel.reader(at(given_to));
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
    loop {
        let gate = serving.gate.lock().await;
        let (first, allowance) = (next, Allowance::brief());
        let mut begun = None;
        while let (None, Some(record)) = (&begun, records.get(next)) {
            begun = answers.ask(serving, &gate, &record.event, &allowance);
            next += usize::from(begun.is_none());
        }
        if next > first || records.is_empty() {
            give(serving, batch, first..next, answers);
        }
        drop(gate);
        if next == records.len() {
            return true;
        }
        match begun {
            Some(begun) if next == first => {
                if !route_in_turns(serving, batch, next, begun, answers).await {
                    return false;
                }
                next += 1;
            }
            // The allowance is used up: other tasks get a turn, and then a new allowance begins.
            _ => tokio::task::yield_now().await,
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
                answers.found = found;
                answers.keep(&subject);
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
    subject: Subject,
    found: Matching,
) -> Option<Result<(Subject, Matching), Panic>> {
    let provoked = serving.clone();
    let job = (subject, found, provoked);
    let asked = caught(serving.common.turns.work(job, |(subject, found, serving)| {
        with_place(|| {
            provoke::at(serving, Task::Router, Some(subject.event()));
            found.go_on(subject, SLICE)
        })
    }));
    tokio::select! {
        () = serving.stop.cancelled() => None,
        asked = asked => Some(asked.map(|(subject, found, _)| (subject, found))),
    }
}

/// Gives events to their lanes and moves the router past each at once, so that a panic makes none of them be
/// given twice.
fn give(serving: &Arc<Serving>, batch: &Batch, range: Range<usize>, answers: &mut Answers) {
    let mut routes = serving.routes.lock();
    for (index, answers) in range.clone().zip(answers.of_each()) {
        give_to_lanes(serving, &routes, &batch.records[index], answers);
        serving.metrics.routed.inc();
        move_to(serving, &mut routes, batch, index + 1);
    }
    if range.is_empty() {
        move_to(serving, &mut routes, batch, range.end);
    }
    serving
        .metrics
        .filter_errors
        .inc_by(std::mem::take(&mut answers.errors));
    answers.clear();
}

fn give_to_lanes(serving: &Arc<Serving>, routes: &Routes, record: &Record, answers: &[(u32, Said)]) {
    if let Some(observer) = serving.observer() {
        let triggers: Vec<_> = answers
            .iter()
            .filter(|(_, said)| *said == Said::Match)
            .filter_map(|(key, _)| routes.lanes.get(key))
            .map(|lane| lane.name.clone())
            .collect();
        observer.tell(&Observation::Matched {
            broker: &serving.broker,
            position: record.position,
            event: &record.event,
            triggers: &triggers,
        });
    }
    if answers.is_empty() {
        return;
    }
    // Queues may keep it for long, so it must not keep alive the buffer of everything read or stored with it.
    let event = record.event.compact();
    for (key, said) in answers {
        if let Some(lane) = routes.lanes.get(key) {
            give_one(serving, lane, record.position.offset, &event, *said);
        }
        provoke::panic_at(serving, Task::Router, Some(&record.event));
    }
}

fn give_one(serving: &Arc<Serving>, lane: &Arc<Lane>, offset: u64, event: &Event, said: Said) {
    let mut inner = lane.inner.lock();
    let Place::Live { from } = inner.place else { return };
    if offset < from {
        return;
    }
    if serving.hand_over(lane, &mut inner, offset, event, said) {
        // After a panic the router may pass here again.
        inner.place = Place::Live { from: offset + 1 };
        if said == Said::Match {
            serving.metrics.matched.inc();
        }
    } else {
        inner.leave_router(offset);
        serving.metrics.fell_behind.inc();
    }
    serving.stir(lane, &mut inner);
}

/// Moves the router before this record of the batch, or past all of them.
fn move_to(serving: &Serving, routes: &mut Routes, batch: &Batch, record: usize) {
    let next = batch.records.get(record);
    let next = next.map_or(batch.next, |record| record.position).offset;
    report_gaps(serving, batch, routes.position..next);
    routes.position = next;
    if !routes.position_moved {
        routes.position_moved = true;
        serving.dirty_waker.notify_one();
    }
}

/// Counts and reports positions that are gone when the router passes them, so that each is reported once.
fn report_gaps(serving: &Serving, batch: &Batch, passed: Range<u64>) {
    for gap in gaps_within(batch, passed) {
        let events = gap.to.offset - gap.from.offset;
        if gap.reason == GapReason::Corrupt {
            serving.metrics.lost.inc_by(events);
            tracing::error!(broker = %serving.broker, from = %gap.from, to = %gap.to, "events are corrupt and cannot be delivered");
        }
    }
}

fn gaps_within(batch: &Batch, passed: Range<u64>) -> impl Iterator<Item = &Gap> {
    batch
        .gaps
        .iter()
        .filter(move |gap| passed.contains(&gap.from.offset))
}

// === impl Begun ===

impl Begun {
    /// Attributes are answered at once; everything else remains to be asked.
    fn anew(gate: &Gate, event: &Event) -> Self {
        let subject = Subject::new(event);
        let mut found = Matching::default();
        gate.index()
            .matching_within(&subject, &Allowance::nothing(), &mut found);
        Self {
            generation: gate.generation(),
            subject,
            found,
        }
    }
}

// === impl Answers ===

impl Answers {
    /// Asks all filters about the next event. If the allowance does not suffice, nothing is noted, and the
    /// answers so far are returned.
    fn ask(&mut self, serving: &Serving, gate: &Gate, event: &Event, allowance: &Allowance) -> Option<Begun> {
        let subject = Subject::new(event);
        self.found.clear();
        let asked = caught_at_once(|| {
            provoke::at(serving, Task::Router, Some(event));
            gate.index().matching_within(&subject, allowance, &mut self.found);
        });
        match asked {
            Ok(()) if !self.found.later.is_empty() => {
                return Some(Begun {
                    generation: gate.generation(),
                    subject,
                    found: std::mem::take(&mut self.found),
                });
            }
            Ok(()) => self.keep(&subject),
            Err(panic) => {
                // The filter at fault will show when each lane decides for itself.
                serving.note_panic(Task::Router, &panic);
                self.leave_undecided(gate.index(), event);
            }
        }
        None
    }

    /// Leaves every filter undecided that needs more than a comparison of attributes.
    fn leave_undecided(&mut self, index: &Index, event: &Event) {
        let subject = Subject::new(event);
        self.found.clear();
        index.matching_within(&subject, &Allowance::nothing(), &mut self.found);
        self.keep(&subject);
    }

    /// Notes the answers for the next event.
    fn keep(&mut self, subject: &Subject) {
        let matched = self.found.matched.iter().map(|key| (*key, Said::Match));
        self.list.extend(matched);
        let exhausted = self.found.exhausted.iter();
        self.list.extend(exhausted.map(|key| (*key, Said::TooMuchWork)));
        let later = self.found.later.iter();
        self.list.extend(later.map(|(key, _)| (*key, Said::Undecided)));
        self.ends.push(self.list.len());
        self.errors += u64::from(subject.errors());
    }

    fn of_each(&self) -> impl Iterator<Item = &[(u32, Said)]> {
        let mut from = 0;
        self.ends.iter().map(move |end| {
            let answers = &self.list[from..*end];
            from = *end;
            answers
        })
    }

    fn clear(&mut self) {
        self.list.clear();
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(gaps: &[(u64, u64)]) -> Batch {
        let gaps = gaps.iter().map(|(from, to)| Gap {
            from: at(*from),
            to: at(*to),
            reason: GapReason::Corrupt,
        });
        Batch {
            records: Vec::new(),
            next: at(12),
            gaps: gaps.collect(),
        }
    }

    fn told(batch: &Batch, passed: Range<u64>) -> Vec<(u64, u64)> {
        let told = gaps_within(batch, passed);
        told.map(|gap| (gap.from.offset, gap.to.offset)).collect()
    }

    #[test]
    fn each_gap_is_told_once_although_a_batch_is_read_again_from_its_middle() {
        // The records are at 3, 7 and 10.
        let whole = batch(&[(0, 3), (4, 7), (8, 10), (11, 12)]);
        assert_eq!(
            told(&whole, 0..7),
            [(0, 3), (4, 7)],
            "with the record between them"
        );
        // The second record was not given: it is read again, with everything behind it.
        let rest = batch(&[(8, 10), (11, 12)]);
        assert_eq!(told(&rest, 7..10), [(8, 10)]);
        assert_eq!(told(&rest, 10..12), [(11, 12)]);
        assert_eq!(told(&batch(&[(0, 12)]), 0..12), [(0, 12)], "without any record");
    }
}
