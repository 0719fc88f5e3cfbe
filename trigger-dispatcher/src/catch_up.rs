//! The reader behind the head: feeds lanes that left the router, those near each other together, and hands
//! them back.

mod costly;

use std::collections::{HashSet, VecDeque};
use std::ops::Bound;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use millrace_budget::Slot;
use millrace_channel::{Batch, ChannelError, Reader};
use millrace_event::Event;
use millrace_filter::{Allowance, Compiled, Decision, Subject};
use tokio::time::{Instant, sleep_until};

use crate::lane::{Lane, Place};
use crate::provoke;
use crate::router::Said;
use crate::serving::Serving;
use crate::watched::{Task, caught, caught_at_once, waits};
use costly::Costly;

const BATCH_EVENTS: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
/// Memory of a stretch: what a batch holds, and what [`KEPT_READERS`] have read ahead. The append that is
/// read may be larger.
pub const STRETCH_BYTES: usize = BATCH_BYTES + KEPT_READERS * KEPT_BYTES;
/// Readers kept where they stopped, so that a lane that comes back finds its place without a new look-up.
const KEPT_READERS: usize = 4;
/// What a reader that is kept may have read ahead, but for the one that was used last.
const KEPT_BYTES: usize = 256 << 10;
/// The most lanes that are fed at a time: the tasks of other Brokers wait for the memory meanwhile.
const LANES: usize = 64;

/// How soon a lane that stands where nothing can be read asks again.
const AGAIN: Duration = Duration::from_secs(1);

/// Feeds hungry lanes until the broker is no longer served.
pub(crate) async fn run(serving: Arc<Serving>) {
    take_up(&serving);
    let mut readers: Vec<Box<dyn Reader>> = Vec::new();
    let mut panics = waits();
    let mut last = u32::MAX;
    // Those that stand where nothing can be read. The others do not wait with them.
    let mut put_off: VecDeque<(Instant, Arc<Lane>)> = VecDeque::new();
    loop {
        for (_, lane) in put_off.drain(..put_off.partition_point(|(at, _)| *at <= Instant::now())) {
            ask_again(&serving, &lane);
        }
        let hungry = some_hungry(&serving, &mut last);
        if hungry.is_empty() {
            readers.clear();
            let next = put_off.front().map(|(at, _)| *at);
            tokio::select! {
                biased;
                () = serving.stop.cancelled() => return,
                () = serving.hungry_waker.notified() => continue,
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => continue,
            }
        }
        if serving.is_stopped() {
            return;
        }
        let Some(stretch) = stretch(&serving, &mut readers).await else {
            return;
        };
        provoke::at(&serving, Task::CatchUp, None);
        let lanes: Vec<_> = hungry.into_iter().filter_map(|key| serving.lane(key)).collect();
        let mut costly = Costly::default();
        let mut fed = {
            let feeding = pin!(feed(&serving, &lanes, &mut readers, &mut costly));
            caught(feeding).await
        };
        // Other Brokers read while this one waits for its turns.
        drop(stretch);
        if let (Ok(_), false) = (&fed, costly.events.is_empty()) {
            let deciding = pin!(costly.decide(&serving));
            fed = caught(deciding).await.and(fed);
        }
        let unread = match fed {
            Ok(unread) => {
                panics = waits();
                unread
            }
            Err(panic) => {
                // The lanes stand where they stood, and ask again.
                serving.note_panic(Task::CatchUp, &panic);
                readers.clear();
                tokio::select! {
                    biased;
                    () = serving.stop.cancelled() => return,
                    () = tokio::time::sleep(panics.next().unwrap_or_default()) => {}
                }
                HashSet::new()
            }
        };
        if !unread.is_empty() {
            readers.clear();
        }
        let at = Instant::now() + AGAIN;
        for lane in lanes {
            match unread.contains(&lane.key) {
                true => put_off.push_back((at, lane)),
                false => ask_again(&serving, &lane),
            }
        }
    }
}

fn ask_again(serving: &Arc<Serving>, lane: &Arc<Lane>) {
    let mut inner = lane.inner.lock();
    inner.asked = false;
    serving.stir(lane, &mut inner);
}

/// Takes some of the hungry lanes out, from the one behind `last` on, so that each has its turn.
fn some_hungry(serving: &Serving, last: &mut u32) -> Vec<u32> {
    let mut hungry = serving.hungry.lock();
    let behind = hungry.range((Bound::Excluded(*last), Bound::Unbounded));
    let some: Vec<_> = behind
        .chain(hungry.range(..=*last))
        .copied()
        .take(LANES)
        .collect();
    for key in &some {
        hungry.remove(key);
    }
    *last = some.last().copied().unwrap_or(*last);
    some
}

/// Memory for a stretch of the log. A task that has to wait for it gives up what its readers have read ahead.
/// `None`: the broker is no longer served.
async fn stretch(serving: &Serving, readers: &mut Vec<Box<dyn Reader>>) -> Option<Slot> {
    let slots = &serving.common.options.readers;
    if let Some(slot) = slots.take_now() {
        return Some(slot);
    }
    readers.clear();
    tokio::select! {
        biased;
        () = serving.stop.cancelled() => None,
        slot = slots.take() => Some(slot),
    }
}

/// Lanes that asked but were not fed, because this task panicked, ask again.
fn take_up(serving: &Serving) {
    let mut asked: Vec<_> = serving.routes.lock().lanes.values().cloned().collect();
    asked.retain(|lane| lane.inner.lock().asked);
    serving.hungry.lock().extend(asked.iter().map(|lane| lane.key));
}

/// Gives each lane what it owes from before, then reads one stretch of the log for each group of lanes near
/// each other, so that none waits for another that is further behind. Gives the lanes for which something
/// could not be read.
async fn feed(
    serving: &Arc<Serving>,
    lanes: &[Arc<Lane>],
    readers: &mut Vec<Box<dyn Reader>>,
    costly: &mut Costly,
) -> HashSet<u32> {
    let mut unread = HashSet::new();
    let mut behind = Vec::new();
    for lane in lanes {
        if let Err(error) = feed_owed(serving, lane).await {
            serving.trigger_span(&lane.name).in_scope(
                || tracing::error!(%error, "an owed event cannot be read; trying again in a second"),
            );
            unread.insert(lane.key);
            continue;
        }
        let inner = lane.inner.lock();
        if let (Place::Behind { cursor }, false) = (inner.place, inner.window.owes_from_before()) {
            behind.push((cursor, lane));
        }
    }
    behind.sort_by_key(|(cursor, _)| *cursor);
    let mut rest = &behind[..];
    while let Some((first, _)) = rest.first() {
        let fed = match feed_group(serving, rest, readers, costly).await {
            Ok(fed) => fed,
            // Those that are further on may be in a part that can be read.
            Err(error) => {
                serving
                    .span
                    .in_scope(|| tracing::error!(%error, "the log cannot be read; trying again in a second"));
                let stuck = rest.partition_point(|(cursor, _)| cursor <= first);
                unread.extend(rest[..stuck].iter().map(|(_, lane)| lane.key));
                stuck
            }
        };
        rest = &rest[fed..];
    }
    unread
}

/// Reads one stretch for the first of these lanes and those whose place it reaches; says how many those are.
async fn feed_group(
    serving: &Arc<Serving>,
    lanes: &[(u64, &Arc<Lane>)],
    readers: &mut Vec<Box<dyn Reader>>,
    costly: &mut Costly,
) -> Result<usize, ChannelError> {
    let first = lanes[0].0;
    let (at, router) = (serving.at(first), serving.routes.lock().position);
    let mut reader = match readers.iter().position(|reader| reader.position() == at) {
        Some(index) => readers.swap_remove(index),
        None => serving.channel.log().reader(at),
    };
    let batch = reader.try_next(BATCH_EVENTS, BATCH_BYTES).await?;
    if first < router && batch.next <= at {
        // A remote log may have lost its end. Asking again at once would never end.
        return Err(ChannelError::Storage(format!(
            "it ends at {at}, before what the router has read"
        )));
    }
    readers.retain(|reader| reader.read_ahead() <= KEPT_BYTES);
    readers.truncate(KEPT_READERS - 1);
    readers.insert(0, reader);
    let reached = lanes
        .partition_point(|(cursor, _)| *cursor <= batch.next.offset)
        .max(1);
    // The lanes share them, so that data is parsed once for all of them.
    let mut subjects: Vec<Subject<'_>> = batch
        .records
        .iter()
        .map(|record| Subject::new(&record.event))
        .collect();
    for (_, lane) in &lanes[..reached] {
        feed_batch(serving, lane, &batch, &mut subjects, costly).await;
    }
    Ok(reached)
}

/// Reads again, one by one, the positions that a lane owed when it was restored or its queue was dropped.
/// Each stays owed until it is queued: a commit may come while it is read.
async fn feed_owed(serving: &Arc<Serving>, lane: &Arc<Lane>) -> Result<(), ChannelError> {
    loop {
        let offset = {
            let inner = lane.inner.lock();
            match inner.window.next_owed() {
                Some(offset) if inner.is_hungry() => offset,
                _ => return Ok(()),
            }
        };
        let record = serving.channel.get(serving.at(offset)).await?;
        let mut inner = lane.inner.lock();
        if inner.window.next_owed() != Some(offset) {
            // The queue was dropped meanwhile: what it held comes first.
            continue;
        }
        match record {
            Some(record) => {
                if !inner.offer(offset, &record.event, &serving.common.budget) {
                    return Ok(());
                }
            }
            None => {
                serving.metrics.lost.inc();
                inner.dirty = true;
                serving
                    .trigger_span(&lane.name)
                    .in_scope(|| tracing::error!(position = offset, "an owed event is gone from the log"));
            }
        }
        inner.window.was_read();
        serving.stir(lane, &mut inner);
    }
}

/// Feeds one lane from a stretch of the log, up to an event whose filter needs more than an allowance: that
/// is put off until the stretch is given back.
async fn feed_batch(
    serving: &Arc<Serving>,
    lane: &Arc<Lane>,
    batch: &Batch,
    // Not shared: a subject parses its data on demand, for one thread.
    subjects: &mut [Subject<'_>],
    costly: &mut Costly,
) {
    loop {
        let Some(asking) = Asking::of(lane, batch) else {
            return;
        };
        let said = asking.ask(serving, lane, batch, subjects);
        if said.is_empty() && asking.from < asking.end {
            let record = &batch.records[asking.from];
            costly.put_off(lane, asking, record);
            return;
        }
        if !offer(serving, lane, batch, &asking, &said).await {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// A lane that is being fed: its position and the filter that judges from there on.
struct Asking {
    compiled: Arc<Compiled>,
    cursor: u64,
    /// The offset at which another filter takes over.
    until: Option<u64>,
    /// The first record that it has not read.
    from: usize,
    /// The first record that this filter does not judge.
    end: usize,
    /// The most matches that the lane has room for.
    room: usize,
}

// === impl Asking ===

impl Asking {
    /// `None`: this stretch is no longer what the lane needs.
    fn of(lane: &Lane, batch: &Batch) -> Option<Self> {
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
    fn ask(
        &self,
        serving: &Serving,
        lane: &Lane,
        batch: &Batch,
        subjects: &[Subject<'_>],
    ) -> Vec<Option<Said>> {
        let allowance = Allowance::brief();
        let (mut answers, mut matches) = (Vec::new(), 0);
        let range = self.from..self.end;
        for (record, subject) in batch.records[range.clone()].iter().zip(&subjects[range]) {
            let asked = caught_at_once(|| {
                provoke::at(serving, Task::CatchUp, Some(subject.event()));
                self.compiled.decide(subject, &allowance)
            });
            let said = match asked {
                Ok(Decision::Match) => Some(Said::Match),
                Ok(Decision::NoMatch) => None,
                Ok(Decision::TooMuchWork) => Some(Said::TooMuchWork),
                Ok(Decision::Later) if lane.inner.lock().may_be_suspect(record.position.offset) => {
                    Some(Said::Undecided)
                }
                Ok(Decision::Later) => break,
                Err(panic) => {
                    serving.note_panic(Task::CatchUp, &panic);
                    Some(Said::Undecided)
                }
            };
            answers.push(said);
            matches += usize::from(said == Some(Said::Match));
            if matches >= self.room {
                break;
            }
        }
        answers
    }

    /// Asks the filter about one event that needs more work. `None`: the broker is no longer served.
    async fn ask_in_turns(&self, serving: &Arc<Serving>, event: &Event) -> Option<Option<Said>> {
        let subject = Subject::new(event).into_owned();
        let asked = serving.decide_in_turns(Task::CatchUp, subject, self.compiled.clone());
        let asked = tokio::select! {
            biased;
            () = serving.stop.cancelled() => return None,
            asked = asked => asked,
        };
        Some(match asked {
            Ok((_, Decision::Match)) => Some(Said::Match),
            Ok((_, Decision::TooMuchWork)) => Some(Said::TooMuchWork),
            Ok((_, Decision::NoMatch | Decision::Later)) => None,
            Err(panic) => {
                serving.note_panic(Task::CatchUp, &panic);
                Some(Said::Undecided)
            }
        })
    }
}

/// Queues the matches, if the lane still stands at the same position with the same filter. Returns whether
/// this stretch holds more for it.
async fn offer(
    serving: &Arc<Serving>,
    lane: &Arc<Lane>,
    batch: &Batch,
    asking: &Asking,
    said: &[Option<Said>],
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
    for (record, said) in batch.records[asking.from..].iter().zip(said) {
        let offset = record.position.offset;
        if let Some(said) = said
            && !serving.hand_over(lane, &mut inner, offset, &record.event.compact(), *said)
        {
            cursor = offset;
            full = true;
            break;
        }
        cursor = offset + 1;
    }
    let judged_all = !full && asking.from + said.len() == asking.end;
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
