//! The writer: takes all appends that wait, writes them with one write and makes them durable with one sync.
//! It works on a thread of the pool while there is something to do.
//!
//! # Guarantees
//! - An append is answered with its offset only after its frame is durable (`Durability::Sync`) or written
//!   (`Durability::Os`).
//! - Readers see an event before its producer is answered, and never before it is durable.
//! - A failed sync is not repeated: the kernel may have dropped the pages and report success the next time.
//!   The segment is cut where it was last durable and left; the offsets of the failed appends are skipped,
//!   since their frames may have reached the disk.
//!
//! # Assumptions
//! Nobody else writes to the folder.

mod segments;

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_event::{Moment, Timestamp};
use tokio::sync::{oneshot, watch};

use super::active::{Active, NotWritten, Resting};
use super::answers::{Answer, Answers};
use super::direct::{self, BLOCK_BYTES};
use super::frame;
use super::ids::{self, Candidate};
use super::queue::{Append, Order, Work};
use super::survey::Entry;
use super::{LogError, Shared};
use crate::embedded::Durability;
use crate::{Position, Record};

/// With `Durability::Os` what has been written is synced after so long without work.
pub(super) const LAZY_SYNC: Duration = Duration::from_secs(1);
/// A buffer that has grown beyond this is given back.
const BUFFER_BYTES: usize = 1 << 20;

/// The writer's own state.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    head: watch::Sender<u64>,
    /// None after a failure (and while a group is written), until the next append makes a new one.
    active: Option<Active>,
    /// Instead of it, while its file is closed.
    resting: Option<Resting>,
    /// The next offset to give out.
    next: u64,
    /// Where the log's events end; `next` is higher after a failure.
    end: u64,
    /// The group's frames, behind `lead` unused bytes.
    buffer: Vec<u8>,
    lead: usize,
    frames: Vec<Entry>,
    /// What the group's events are found by.
    keys: Vec<u32>,
    answers: Answers,
    synced_at: Instant,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        head: watch::Sender<u64>,
        active: Option<Active>,
        end: u64,
        next: u64,
    ) -> Self {
        Self {
            shared,
            head,
            active,
            resting: None,
            next,
            end,
            buffer: Vec::new(),
            lead: 0,
            frames: Vec::new(),
            keys: Vec::new(),
            answers: Answers::new(),
            synced_at: Instant::now(),
        }
    }

    /// Does what was taken from the queue; gives who waits for the end, if that was ordered.
    pub(super) fn work(&mut self, work: Work) -> Option<oneshot::Sender<Result<(), LogError>>> {
        let Work { appends, orders } = work;
        if !appends.is_empty() {
            self.commit(appends);
        }
        let mut closer = None;
        for order in orders {
            match order {
                Order::Roll(answer) => drop(answer.send(self.roll())),
                Order::LookOver(answer) => drop(answer.send(self.look_over())),
                Order::Close(answer) => closer = Some(answer),
            }
        }
        if self.synced_at.elapsed() >= LAZY_SYNC {
            self.sync_late();
        }
        closer
    }

    /// Makes durable what was answered before it was.
    pub(super) fn sync_late(&mut self) {
        if self.is_unsynced() {
            // Reported where it fails; those appends have been answered.
            let _ = self.sync();
        }
    }

    /// Makes a group durable, shows it to readers and answers its producers.
    fn commit(&mut self, appends: Vec<Append>) {
        let started = Instant::now();
        let bytes: usize = appends.iter().map(|append| append.bytes).sum();
        let result = self.store(&appends, bytes as u64);
        let metrics = &self.shared.metrics;
        metrics
            .write_micros
            .inc_by(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
        match result {
            Ok(time) => {
                metrics.groups.inc();
                metrics.appends.inc_by(appends.len() as u64);
                metrics.bytes.inc_by(bytes as u64);
                self.publish(appends, time);
            }
            Err(error) => {
                metrics.failures.inc();
                if error != LogError::DiskFull {
                    self.shared.fault.set(Some(error.to_string()));
                }
                let failed = appends
                    .into_iter()
                    .map(|append| (append.answer, Err(error.clone())))
                    .collect();
                self.answers.send(failed);
            }
        }
        self.shared.queue.answered(bytes);
    }

    /// Writes a group to the segment, and syncs it if that is asked for.
    fn store(&mut self, appends: &[Append], bytes: u64) -> Result<Timestamp, LogError> {
        let Moment { wall: time, steady } = self.shared.options.clock.moment();
        let sync = self.shared.options.durability == Durability::Sync;
        let mut active = self.take_active(bytes)?;
        let next = self.encode(&active, appends, bytes, time);
        match active.write(&self.buffer[self.lead..], sync) {
            Ok(()) => {
                active
                    .segment
                    .collect(with_frames(&self.keys, &self.frames, appends));
                active.segment.grow(&self.frames, active.written(), next);
                active.segment.appended_at(steady);
                self.active = Some(active);
                (self.next, self.end) = (next, next);
                Ok(time)
            }
            Err(NotWritten::Undone(error)) => {
                self.active = Some(active);
                Err(error)
            }
            Err(NotWritten::Broken(error)) => {
                self.abandon(active, next, &error);
                Err(error)
            }
        }
    }

    /// Fills the buffer with the group's frames; returns the offset after its last event.
    fn encode(&mut self, active: &Active, appends: &[Append], bytes: u64, time: Timestamp) -> u64 {
        // A buffer that was large only once is dropped. While large groups follow each other it is kept:
        // fresh memory costs more than the copy.
        if self.buffer.capacity() > BUFFER_BYTES && self.buffer.len() <= BUFFER_BYTES {
            (self.buffer, self.keys) = (Vec::new(), Vec::new());
        }
        self.buffer.clear();
        // It must not move any more once the lead is found.
        let room = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.buffer.reserve(room.saturating_add(BLOCK_BYTES));
        self.lead = direct::lead(&self.buffer, active.written());
        self.buffer.resize(self.lead, 0);
        self.frames.clear();
        self.keys.clear();
        let mut offset = self.next;
        for append in appends {
            let at = active.written() + (self.buffer.len() - self.lead) as u64;
            self.frames.push(Entry { at, offset, time });
            // The event is examined while it is copied anyway: later its memory would have to be fetched
            // again.
            let events = append.events.iter().map(|event| {
                self.keys.push(ids::key(event.id(), event.source()));
                event.stored().as_ref()
            });
            frame::encode(&mut self.buffer, active.stamp(offset, time), events);
            offset += append.events.len() as u64;
        }
        offset
    }

    /// The group is stored: readers first, then the producers.
    fn publish(&mut self, appends: Vec<Append>, time: Timestamp) {
        let mut offset = self.frames.first().map_or(self.next, |frame| frame.offset);
        let mut answers: Vec<Answer> = Vec::with_capacity(appends.len());
        let mut records = Vec::with_capacity(appends.len());
        for append in appends {
            answers.push((append.answer, Ok(offset)));
            for event in append.events {
                records.push(Record {
                    position: Position { partition: 0, offset },
                    appended: time,
                    event,
                });
                offset += 1;
            }
        }
        self.shared.metrics.events.inc_by(records.len() as u64);
        self.shared.tail.lock().extend(records.into_iter());
        self.shared.publish_head(self.next);
        self.head.send_replace(self.next);
        self.answers.send(answers);
    }

    pub(super) fn is_unsynced(&self) -> bool {
        self.active.as_ref().is_some_and(Active::is_unsynced)
    }

    /// Makes durable what has been written. After a failure the segment is left as it is, and a new one
    /// begins.
    pub(super) fn sync(&mut self) -> Result<(), LogError> {
        self.synced_at = Instant::now();
        if let Some(active) = self.active.as_mut().filter(|active| active.is_unsynced())
            && let Err(error) = active.sync()
        {
            self.shared.metrics.failures.inc();
            tracing::error!(
                file = active.segment.name,
                %error,
                "events accepted with durability `os` may not survive a power failure"
            );
            active.segment.seal();
            self.active = None;
            return Err(error);
        }
        self.shared.publish_synced(self.end);
        Ok(())
    }

    /// Syncs, and marks the end as clean, so that damage to the last events is told from a torn tail.
    pub(super) fn finish(&mut self) -> Result<(), LogError> {
        self.sync()?;
        let now = self.shared.options.clock.now();
        if let Some(active) = &mut self.active
            && let Err(error) = active.mark(self.next, now)
        {
            // Everything is durable; only the mark is missing, which a full disk may well prevent.
            tracing::warn!(file = active.segment.name, %error, "the log is closed without the mark of a clean end");
        }
        Ok(())
    }
}

/// The keys of a group's events, each with its frame.
fn with_frames<'a>(
    keys: &'a [u32],
    frames: &'a [Entry],
    appends: &'a [Append],
) -> impl Iterator<Item = (Candidate, u32)> {
    let of_events = frames.iter().zip(appends).flat_map(|(frame, append)| {
        let candidate = Candidate {
            offset: frame.offset,
            at: frame.at,
        };
        append.events.iter().map(move |_| candidate)
    });
    of_events.zip(keys.iter().copied())
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::embedded::channel::testing::sized;

    #[test]
    fn each_key_of_a_group_is_taken_down_with_the_frame_of_its_append() {
        let append = |ids: std::ops::Range<usize>| Append {
            events: ids.map(|id| sized(&id.to_string(), 0)).collect(),
            bytes: 0,
            answer: oneshot::channel().0,
        };
        let frame = |offset, at| Entry {
            offset,
            at,
            time: Timestamp(0),
        };
        let (frames, appends) = ([frame(7, 100), frame(9, 300)], [append(0..2), append(2..5)]);
        let found = with_frames(&[1, 2, 3, 4, 5], &frames, &appends);
        let found: Vec<_> = found.map(|(frame, key)| (frame.offset, frame.at, key)).collect();
        assert_eq!(
            found,
            [(7, 100, 1), (7, 100, 2), (9, 300, 3), (9, 300, 4), (9, 300, 5)]
        );
    }
}
