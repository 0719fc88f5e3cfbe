//! What a lane owes below the position it reads on from: queued, in flight, or to be read again.
//!
//! Pure bookkeeping: no time, no I/O. Every position that matched is in exactly one place until it is settled
//! or has a durable row of work.

mod in_hand;

use std::collections::VecDeque;

use millrace_channel::WorkKey;
use millrace_event::Event;

use in_hand::InHand;

/// An event waiting in the lane.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) offset: u64,
    pub(crate) event: Event,
}

/// The window of a lane.
#[derive(Debug, Default)]
pub(crate) struct Window {
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    /// What is being attempted, or waits to be.
    pub(crate) in_hand: InHand,
    /// Positions owed from before a restart (or a dropped queue), not yet read again; in order.
    owed: VecDeque<u64>,
    /// Progress names each owed position below this one, since others there are settled. From here on nothing
    /// was attempted or has a row: the first queued position is enough.
    named_below: u64,
}

/// What progress says of a window.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// Positions that are owed without a row of work, in order.
    pub(crate) unsettled: Vec<u64>,
    /// The first of those that are only queued. The others follow in the log.
    pub(crate) queued: Option<u64>,
}

// === impl Window ===

impl Window {
    /// Positions that are owed, and from where on nothing has been attempted or written down.
    pub(crate) fn with_owed(owed: impl IntoIterator<Item = u64>, named_below: u64) -> Self {
        Self {
            owed: owed.into_iter().collect(),
            named_below,
            ..Self::default()
        }
    }

    pub(crate) fn push(&mut self, offset: u64, event: Event) {
        self.queued_bytes += event.stored().len();
        self.queue.push_back(Queued { offset, event });
    }

    pub(crate) fn pop(&mut self) -> Option<Queued> {
        let queued = self.queue.pop_front()?;
        self.queued_bytes -= queued.event.stored().len();
        self.name_below(queued.offset + 1);
        Some(queued)
    }

    /// From now on progress names each position below this one: what came last of them is attempted, or a row
    /// stands for it.
    pub(crate) fn name_below(&mut self, offset: u64) {
        self.named_below = self.named_below.max(offset);
    }

    /// What [`Window::pop`] returns next.
    pub(crate) fn next(&self) -> Option<&Queued> {
        self.queue.front()
    }

    /// The attempt is not made: its position is owed again. `false`: a row of work owes it already.
    pub(crate) fn give_back(&mut self, key: &WorkKey) -> bool {
        if self.in_hand.end(key) {
            return false;
        }
        let offset = key.position.offset;
        let place = self.owed.partition_point(|owed| *owed < offset);
        self.owed.insert(place, offset);
        true
    }

    /// Drops the queue. Its events are owed and read again, in order with what was owed already.
    pub(crate) fn drop_queue(&mut self) {
        for queued in self.queue.drain(..).rev() {
            self.owed.push_front(queued.offset);
        }
        // An event that was given back is owed from before the queue, or was queued again behind later ones.
        self.owed.make_contiguous().sort_unstable();
        self.queued_bytes = 0;
    }

    /// The next position to be read again. It stays owed until [`Window::was_read`], whatever is committed
    /// meanwhile.
    pub(crate) fn next_owed(&self) -> Option<u64> {
        self.owed.front().copied()
    }

    /// The next owed position was read again: it is queued, or lost.
    pub(crate) fn was_read(&mut self) {
        self.owed.pop_front();
    }

    pub(crate) fn owes_from_before(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Everything that is owed without a row of work, in order.
    pub(crate) fn unsettled(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self
            .in_hand
            .without_row()
            .chain(self.owed.iter().copied())
            .chain(self.queue.iter().map(|queued| queued.offset))
            .collect();
        all.sort_unstable();
        all
    }

    /// What progress says of it.
    pub(crate) fn named(&self) -> Named {
        let is_named = |offset: &u64| *offset < self.named_below;
        let waiting = || {
            let queue = self.queue.iter().map(|queued| queued.offset);
            self.owed.iter().copied().chain(queue)
        };
        let mut unsettled: Vec<u64> = self.in_hand.without_row().collect();
        unsettled.extend(waiting().filter(is_named));
        unsettled.sort_unstable();
        Named {
            unsettled,
            queued: waiting().filter(|offset| !is_named(offset)).min(),
        }
    }

    pub(crate) fn first_unsettled(&self) -> Option<u64> {
        self.in_hand
            .without_row()
            .chain(self.owed.front().copied())
            .chain(self.queue.iter().map(|queued| queued.offset))
            .min()
    }

    /// Gives memory back that a burst needed.
    pub(crate) fn shrink(&mut self) {
        self.queue.shrink_to_fit();
        self.in_hand.shrink();
        self.owed.shrink_to_fit();
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }
}

#[cfg(test)]
mod tests {
    use millrace_event::Timestamp;
    use millrace_model::Shortage;

    use super::*;
    use crate::lane::tests::{event, key};

    fn begin(window: &mut Window, offset: u64, now: i64) {
        window.in_hand.begin(key(offset), 0, true, Timestamp(now));
    }

    #[test]
    fn owes_each_position_until_it_ends_or_has_a_row() {
        let mut window = Window::with_owed([3, 5], 7);
        window.push(9, event());
        window.push(12, event());
        let first = window.pop().expect("queued");
        begin(&mut window, first.offset, 100);
        assert_eq!(window.unsettled(), [3, 5, 9, 12]);
        assert_eq!(window.in_hand.give_rows(Timestamp(99)), Vec::<u64>::new());
        assert_eq!(window.in_hand.give_rows(Timestamp(100)), [9]);
        assert_eq!(window.unsettled(), [3, 5, 12]);
        assert!(window.in_hand.end(&key(9)), "it has a row");
        assert_eq!(window.next_owed(), Some(3));
        assert_eq!(window.unsettled(), [3, 5, 12], "owed while it is being read");
        window.was_read();
        assert_eq!(window.first_unsettled(), Some(5));
    }

    #[test]
    fn progress_names_what_was_begun_and_the_first_that_is_queued() {
        let named = |window: &Window| {
            let Named { unsettled, queued } = window.named();
            (unsettled, queued)
        };
        // 3 was in flight at a crash; what lies between it and 7 was settled.
        let mut window = Window::with_owed([3], 7);
        assert_eq!(named(&window), (vec![3], None));
        for offset in [9, 12, 15] {
            window.push(offset, event());
        }
        assert_eq!(named(&window), (vec![3], Some(9)));
        let first = window.pop().expect("queued");
        begin(&mut window, first.offset, 100);
        assert_eq!(named(&window), (vec![3, 9], Some(12)));
        // 3 is read again, behind later ones, and attempted after 12.
        window.was_read();
        window.push(3, event());
        assert_eq!(named(&window), (vec![3, 9], Some(12)));
        let second = window.pop().expect("queued");
        begin(&mut window, second.offset, 100);
        assert!(window.give_back(&key(9)));
        assert_eq!(named(&window), (vec![3, 9, 12], Some(15)));
        // A dropped queue is queued in the log.
        window.drop_queue();
        assert_eq!(named(&window), (vec![3, 9, 12], Some(15)));
        // A row stands for a later one: each that comes before is named.
        window.name_below(20);
        assert_eq!(named(&window), (vec![3, 9, 12, 15], None));
    }

    #[test]
    fn an_attempt_that_waits_gets_no_row_and_can_be_given_back() {
        let mut window = Window::with_owed([3, 9], 10);
        for offset in [5, 6] {
            begin(&mut window, offset, 100);
        }
        let shortage = Shortage::Connections;
        window.in_hand.wait(&key(5), shortage, Timestamp(150));
        assert_eq!(
            window.in_hand.give_rows(Timestamp(1_000)),
            [6],
            "5 is not being attempted"
        );
        assert_eq!(window.unsettled(), [3, 5, 9]);
        window.in_hand.go_on(&key(5), Timestamp(2_000));
        assert_eq!(window.in_hand.give_rows(Timestamp(1_999)), Vec::<u64>::new());
        assert!(window.give_back(&key(5)), "nothing else owes it");
        assert!(!window.give_back(&key(6)), "its row does");
        assert_eq!(
            (window.in_hand.new_ones(), window.unsettled()),
            (0, vec![3, 5, 9])
        );
        assert_eq!(window.next_owed(), Some(3), "in order");
    }

    #[test]
    fn a_dropped_queue_is_owed_in_order() {
        let mut window = Window::with_owed([9], 10);
        window.push(7, event());
        window.push(8, event());
        window.drop_queue();
        assert_eq!((window.queued(), window.queued_bytes()), (0, 0));
        assert_eq!(window.unsettled(), [7, 8, 9]);
        assert_eq!(window.next_owed(), Some(7));
        // Given back before, and queued again behind a later one.
        begin(&mut window, 5, 1);
        window.push(6, event());
        window.push(3, event());
        assert!(window.give_back(&key(5)));
        assert_eq!(window.first_unsettled(), Some(3));
        window.drop_queue();
        for expected in [3, 5, 6, 7, 8, 9] {
            assert_eq!(window.next_owed(), Some(expected));
            window.was_read();
        }
    }
}
