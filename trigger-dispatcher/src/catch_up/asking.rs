//! What the filter of a lane that lags says to the events it reads.

use std::sync::Arc;

use millrace_channel::Batch;
use millrace_event::Event;
use millrace_filter::{Allowance, Compiled, Decision, Subject};

use crate::lane::{Lane, Place};
use crate::provoke;
use crate::router::LaneAnswer;
use crate::serving::Serving;
use crate::watched::{Task, caught_at_once};

/// A lane that is being fed: its position and the filter that judges from there on.
pub(super) struct Asking {
    pub(super) compiled: Arc<Compiled>,
    pub(super) cursor: u64,
    /// The offset at which another filter takes over.
    pub(super) until: Option<u64>,
    /// The first record that it has not read.
    pub(super) from: usize,
    /// The first record that this filter does not judge.
    pub(super) end: usize,
    /// The most matches that the lane has room for.
    pub(super) room: usize,
}

// === impl Asking ===

impl Asking {
    /// `None`: this stretch is no longer what the lane needs.
    pub(super) fn of(lane: &Lane, batch: &Batch) -> Option<Self> {
        let inner = lane.inner.lock();
        let Place::Behind { cursor } = inner.place else {
            return None;
        };
        if !inner.is_hungry() || inner.window.owes_from_before() || cursor > batch.next.offset {
            return None;
        }
        let (compiled, until) = inner.filter_at(cursor);
        let records = &batch.records;
        let first_at = |offset| records.partition_point(|record| record.position.offset < offset);
        Some(Self {
            compiled: compiled.clone(),
            cursor,
            until,
            from: first_at(cursor),
            end: until.map_or(records.len(), first_at),
            room: inner.room(),
        })
    }

    /// Asks the filter about as many records as the allowance suffices for and the lane has room for; the
    /// rest is not noted.
    pub(super) fn ask(
        &self,
        serving: &Serving,
        lane: &Lane,
        batch: &Batch,
        subjects: &[Subject<'_>],
    ) -> Vec<Option<LaneAnswer>> {
        let allowance = Allowance::brief();
        let (mut answers, mut matches) = (Vec::new(), 0);
        let range = self.from..self.end;
        for (record, subject) in batch.records[range.clone()].iter().zip(&subjects[range]) {
            let asked = caught_at_once(|| {
                provoke::at(serving, Task::CatchUp, Some(subject.event()));
                self.compiled.decide(subject, &allowance)
            });
            let answer = match asked {
                Ok(Decision::Match) => Some(LaneAnswer::Match),
                Ok(Decision::NoMatch) => None,
                Ok(Decision::TooMuchWork) => Some(LaneAnswer::TooMuchWork),
                Ok(Decision::Later) if lane.inner.lock().may_be_suspect(record.position.offset) => {
                    Some(LaneAnswer::Undecided)
                }
                Ok(Decision::Later) => break,
                Err(panic) => {
                    serving.note_panic(Task::CatchUp, &panic);
                    Some(LaneAnswer::Undecided)
                }
            };
            answers.push(answer);
            matches += usize::from(answer == Some(LaneAnswer::Match));
            if matches >= self.room {
                break;
            }
        }
        answers
    }

    /// Asks the filter about one event that needs more work. `None`: the broker is no longer served.
    pub(super) async fn ask_in_turns(
        &self,
        serving: &Arc<Serving>,
        event: &Event,
    ) -> Option<Option<LaneAnswer>> {
        let subject = Subject::new(event).into_owned();
        let asked = serving.decide_in_turns(Task::CatchUp, subject, self.compiled.clone());
        let asked = tokio::select! {
            biased;
            () = serving.stop.cancelled() => return None,
            asked = asked => asked,
        };
        Some(match asked {
            Ok((_, Decision::Match)) => Some(LaneAnswer::Match),
            Ok((_, Decision::TooMuchWork)) => Some(LaneAnswer::TooMuchWork),
            Ok((_, Decision::NoMatch | Decision::Later)) => None,
            Err(panic) => {
                serving.note_panic(Task::CatchUp, &panic);
                Some(LaneAnswer::Undecided)
            }
        })
    }
}

/// Queues the matches, if the lane still stands at the same position with the same filter. Returns whether
/// this stretch holds more for it.
pub(super) async fn offer(
    serving: &Arc<Serving>,
    lane: &Arc<Lane>,
    batch: &Batch,
    asking: &Asking,
    answers: &[Option<LaneAnswer>],
) -> bool {
    let _gate = serving.gate.lock().await;
    let router = serving.routes.lock();
    let mut inner = lane.inner.lock();
    // A lane whose trigger has gone meanwhile stays where it is: the router would pass it by.
    let stands = inner.halt.is_none()
        && inner.place
            == (Place::Behind {
                cursor: asking.cursor,
            });
    if !stands || !Arc::ptr_eq(inner.filter_at(asking.cursor).0, &asking.compiled) {
        return false;
    }
    let mut cursor = asking.cursor;
    let mut full = false;
    for (record, answer) in batch.records[asking.from..].iter().zip(answers) {
        let offset = record.position.offset;
        if let Some(answer) = answer
            && !serving.hand_over(lane, &mut inner, offset, &record.event.compact(), *answer)
        {
            cursor = offset;
            full = true;
            break;
        }
        cursor = offset + 1;
    }
    let judged_all = !full && asking.from + answers.len() == asking.end;
    let at_end = judged_all && asking.end == batch.records.len();
    if at_end {
        cursor = cursor.max(batch.next.offset);
    } else if let (true, Some(until)) = (judged_all, asking.until) {
        cursor = cursor.max(until);
    }
    let moved = inner.place != Place::Behind { cursor };
    inner.place = if at_end && cursor >= router.position.max(inner.read_before) {
        Place::Live { from: cursor }
    } else {
        Place::Behind { cursor }
    };
    inner.dirty |= moved || matches!(inner.place, Place::Live { .. });
    serving.stir(lane, &mut inner);
    !full && !at_end
}
