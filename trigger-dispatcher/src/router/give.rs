//! Gives events to the lanes that want them, and moves the router on.

use std::ops::Range;
use std::sync::Arc;

use millrace_channel::{Batch, Gap, GapReason, Record};
use millrace_event::Event;

use super::LaneAnswer;
use super::answers::Answers;
use crate::lane::{Lane, Place};
use crate::metrics::ServingMetrics;
use crate::observer::{Observation, Observer};
use crate::provoke;
use crate::serving::{Routes, Serving};
use crate::watched::Task;

/// Counts what was given with one addition for many events. A panic in between loses no count.
struct Given<'a> {
    metrics: &'a ServingMetrics,
    routed: u64,
    matched: u64,
}

/// Gives events to their lanes and moves the router past each at once, so that a panic makes none of them be
/// given twice.
pub(super) fn give(serving: &Arc<Serving>, batch: &Batch, range: Range<usize>, answers: &mut Answers) {
    let observer = serving.observer();
    let mut given = Given::nothing(&serving.metrics);
    let mut routes = serving.routes.lock();
    for (index, answers) in range.clone().zip(answers.of_each()) {
        let record = &batch.records[index];
        if let Some(observer) = observer {
            tell(observer, serving, &routes, record, answers);
        }
        give_to_lanes(serving, &routes, record, answers, &mut given);
        given.routed += 1;
        move_to(serving, &mut routes, batch, index + 1);
    }
    if range.is_empty() {
        move_to(serving, &mut routes, batch, range.end);
    }
    serving.metrics.filter_errors.inc_by(answers.take_errors());
    answers.clear();
}

/// Tells observers which triggers an event matches.
fn tell(
    observer: &Observer,
    serving: &Serving,
    routes: &Routes,
    record: &Record,
    answers: &[(u32, LaneAnswer)],
) {
    let triggers: Vec<_> = answers
        .iter()
        .filter(|(_, answer)| *answer == LaneAnswer::Match)
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

fn give_to_lanes(
    serving: &Arc<Serving>,
    routes: &Routes,
    record: &Record,
    answers: &[(u32, LaneAnswer)],
    given: &mut Given<'_>,
) {
    if answers.is_empty() {
        return;
    }
    // Queues may keep it for long, so it must not keep alive the buffer of everything read or stored with it.
    let event = record.event.compact();
    for (key, answer) in answers {
        if let Some(lane) = routes.lanes.get(key) {
            let took = give_one(serving, lane, record.position.offset, &event, *answer);
            given.matched += u64::from(took && *answer == LaneAnswer::Match);
        }
        provoke::panic_at(serving, Task::Router, Some(&record.event));
    }
}

/// Whether the lane took it: it reads here, and has room.
fn give_one(
    serving: &Arc<Serving>,
    lane: &Arc<Lane>,
    offset: u64,
    event: &Event,
    answer: LaneAnswer,
) -> bool {
    let mut inner = lane.inner.lock();
    let Place::Live { from } = inner.place else {
        return false;
    };
    if offset < from {
        return false;
    }
    let took = serving.hand_over(lane, &mut inner, offset, event, answer);
    if took {
        // After a panic the router may pass here again.
        inner.place = Place::Live { from: offset + 1 };
    } else {
        inner.leave_router(offset);
        serving.metrics.fell_behind.inc();
    }
    serving.stir(lane, &mut inner);
    took
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
        // At most: positions have gaps.
        let events = gap.to.offset - gap.from.offset;
        match gap.reason {
            GapReason::Corrupt => {
                serving.metrics.lost.inc_by(events);
                serving.span.in_scope(|| tracing::error!(from = %gap.from, to = %gap.to, "events are corrupt and cannot be delivered"));
            }
            GapReason::Lost => {
                serving.metrics.lost.inc_by(events);
                serving.span.in_scope(|| tracing::error!(from = %gap.from, to = %gap.to, "the backend has lost events that it had acknowledged; they cannot be delivered"));
            }
            GapReason::Unreadable => {
                serving.metrics.unreadable.inc_by(events);
                // Whoever wrote it may write many: the backend says so now and then.
                serving.span.in_scope(|| tracing::debug!(from = %gap.from, to = %gap.to, "something in the log is no CloudEvent and is skipped"));
            }
            GapReason::Dropped | GapReason::Unused => {}
        }
    }
}

fn gaps_within(batch: &Batch, passed: Range<u64>) -> impl Iterator<Item = &Gap> {
    batch
        .gaps
        .iter()
        .filter(move |gap| passed.contains(&gap.from.offset))
}

// === impl Given ===

impl<'a> Given<'a> {
    fn nothing(metrics: &'a ServingMetrics) -> Self {
        Self {
            metrics,
            routed: 0,
            matched: 0,
        }
    }
}

impl Drop for Given<'_> {
    fn drop(&mut self) {
        self.metrics.routed.inc_by(self.routed);
        self.metrics.matched.inc_by(self.matched);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::tests::at;

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
