//! What waits for the writer: appends, bounded in bytes, and the few orders beside them.

use std::collections::VecDeque;

use millrace_event::Event;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{LogError, frame};

/// One group holds at most so many appends.
const GROUP_APPENDS: usize = 1024;
/// One group holds at most about so many bytes: an append larger than this is a group of its own.
pub(super) const GROUP_BYTES: usize = 4 << 20;
/// A group of so many bytes is worth a sync.
const WORTH_BYTES: usize = 64 << 10;

/// One append on its way.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) events: Vec<Event>,
    /// Bytes of its frame.
    pub(super) bytes: usize,
    pub(super) answer: oneshot::Sender<Result<u64, LogError>>,
}

/// What else the writer does.
#[derive(Debug)]
pub(super) enum Order {
    /// Seal the segment that is written.
    Roll(oneshot::Sender<Result<(), LogError>>),
    /// Look whether the files are where they should be, and begin a segment if there is none.
    LookOver(oneshot::Sender<Result<(), LogError>>),
    /// End. No order or append comes after it.
    Close(oneshot::Sender<Result<(), LogError>>),
}

/// What the writer takes at once.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) appends: Vec<Append>,
    pub(super) orders: Vec<Order>,
}

/// The queue between the producers and the writer.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    appends: VecDeque<Append>,
    orders: Vec<Order>,
    /// Bytes of appends that are not answered yet.
    bytes: usize,
    /// Something was taken the last time.
    flows: bool,
    closed: bool,
}

impl Waiting {
    fn closing(&self) -> bool {
        matches!(self.orders.last(), Some(Order::Close(_)))
    }
}

// === impl Queue ===

impl Queue {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            max_bytes,
        }
    }

    /// Puts an append in the queue; its answer comes through the receiver.
    pub(super) fn append(
        &self,
        events: Vec<Event>,
    ) -> Result<oneshot::Receiver<Result<u64, LogError>>, LogError> {
        let bytes = frame::encoded_bytes(&events).ok_or_else(|| LogError::TooLarge {
            bytes: events.iter().map(|event| event.stored().len()).sum(),
            events: events.len(),
        })?;
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(LogError::Closed);
        }
        // One that is larger than the bound passes when nothing else waits: otherwise it never would.
        if waiting.bytes > 0 && waiting.bytes.saturating_add(bytes) > self.max_bytes {
            return Err(LogError::QueueFull);
        }
        waiting.bytes += bytes;
        waiting.appends.push_back(Append {
            events,
            bytes,
            answer,
        });
        Ok(answered)
    }

    /// Gives an order; a closed log takes none.
    pub(super) fn order(&self, order: Order) -> Result<(), LogError> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(LogError::Closed);
        }
        waiting.closed = matches!(order, Order::Close(_));
        waiting.orders.push(order);
        Ok(())
    }

    /// Ends the queue without an answer; for the last handle's end.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
    }

    /// Takes nothing more and drops what waits: its answers come as [`LogError::Closed`]. For the writer's
    /// end.
    pub(super) fn abandon(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        let left = (
            std::mem::take(&mut waiting.appends),
            std::mem::take(&mut waiting.orders),
        );
        waiting.bytes = 0;
        drop(waiting);
        drop(left);
    }

    /// The next work, in order; `None`: nothing waits.
    pub(super) fn take(&self) -> Option<Work> {
        let mut waiting = self.waiting.lock();
        waiting.flows = !(waiting.appends.is_empty() && waiting.orders.is_empty());
        if !waiting.flows {
            return None;
        }
        let mut bytes = 0;
        let fits = waiting.appends.iter().take(GROUP_APPENDS).take_while(|append| {
            bytes += append.bytes;
            bytes <= GROUP_BYTES
        });
        let count = fits.count().max(1).min(waiting.appends.len());
        let appends: Vec<Append> = waiting.appends.drain(..count).collect();
        // Orders do not wait for a queue that never empties; only the end comes after everything else.
        let last = waiting.orders.len() - usize::from(waiting.closing() && !waiting.appends.is_empty());
        let orders = waiting.orders.drain(..last).collect();
        Some(Work { appends, orders })
    }

    /// Whether the next group would follow another one at once and be small.
    pub(super) fn is_worth_waiting_for(&self) -> bool {
        let waiting = self.waiting.lock();
        waiting.flows && waiting.bytes < WORTH_BYTES
    }

    /// These bytes of appends have been answered.
    pub(super) fn answered(&self, bytes: usize) {
        let mut waiting = self.waiting.lock();
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting.lock().bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::channel::testing::sized;

    #[test]
    fn only_a_small_group_that_follows_another_one_is_worth_waiting_for() -> Result<(), LogError> {
        let queue = Queue::new(usize::MAX);
        let append = |bytes| queue.append(vec![sized("1", bytes)]).map(drop);
        let take = || {
            let bytes: usize = queue
                .take()
                .map_or(0, |work| work.appends.iter().map(|append| append.bytes).sum());
            queue.answered(bytes);
        };
        append(10)?;
        assert!(!queue.is_worth_waiting_for(), "nothing came before a lone append");
        take();
        assert!(queue.is_worth_waiting_for(), "more may come");
        append(10)?;
        assert!(queue.is_worth_waiting_for());
        append(WORTH_BYTES)?;
        assert!(!queue.is_worth_waiting_for(), "it is large enough");
        take();
        take();
        assert!(!queue.is_worth_waiting_for(), "nothing came any more");
        Ok(())
    }
}
