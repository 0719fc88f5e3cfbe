//! What a lane owes below the position it reads on from: queued, in flight, or to be read again.
//!
//! Pure bookkeeping: no time, no I/O. Every position that matched is in exactly one place until it is settled or has
//! a durable row of work.

use std::collections::VecDeque;

use millrace_event::{Event, Timestamp};

/// An event waiting in the lane.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) offset: u64,
    pub(crate) event: Event,
}

/// An event being attempted for the first time.
#[derive(Debug)]
struct InFlight {
    offset: u64,
    since: Timestamp,
    /// It has a row of work by now, which is what owes it.
    has_row: bool,
}

/// The window of a lane.
#[derive(Debug, Default)]
pub(crate) struct Window {
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    in_flight: Vec<InFlight>,
    /// Positions owed from before a restart (or a dropped queue), not yet read again; in order.
    owed: VecDeque<u64>,
}

// === impl Window ===

impl Window {
    pub(crate) fn with_owed(owed: impl IntoIterator<Item = u64>) -> Self {
        Self {
            owed: owed.into_iter().collect(),
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
        Some(queued)
    }

    /// Bytes of the event that [`Window::pop`] returns next.
    pub(crate) fn next_bytes(&self) -> Option<usize> {
        self.queue.front().map(|queued| queued.event.stored().len())
    }

    pub(crate) fn begin(&mut self, offset: u64, now: Timestamp) {
        self.in_flight.push(InFlight {
            offset,
            since: now,
            has_row: false,
        });
    }

    /// The attempt has not begun: it waits, and gets no row of work meanwhile.
    pub(crate) fn wait(&mut self, offset: u64) {
        self.go_on(offset, Timestamp(i64::MAX));
    }

    /// The attempt begins now.
    pub(crate) fn go_on(&mut self, offset: u64, now: Timestamp) {
        if let Some(flight) = self.in_flight.iter_mut().find(|flight| flight.offset == offset) {
            flight.since = now;
        }
    }

    /// The attempt is not made: its position is owed again. `false`: a row of work owes it already.
    pub(crate) fn give_back(&mut self, offset: u64) -> bool {
        if self.end(offset) {
            return false;
        }
        let place = self.owed.partition_point(|owed| *owed < offset);
        self.owed.insert(place, offset);
        true
    }

    /// Takes an attempt out; says whether it has a row of work.
    pub(crate) fn end(&mut self, offset: u64) -> bool {
        match self.in_flight.iter().position(|flight| flight.offset == offset) {
            Some(index) => self.in_flight.swap_remove(index).has_row,
            None => false,
        }
    }

    /// Gives a row to every attempt that began at or before `then` and has none; returns their positions.
    pub(crate) fn give_rows(&mut self, then: Timestamp) -> Vec<u64> {
        let late = self
            .in_flight
            .iter_mut()
            .filter(|flight| !flight.has_row && flight.since <= then);
        late.map(|flight| {
            flight.has_row = true;
            flight.offset
        })
        .collect()
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

    /// The next position to be read again. It stays owed until [`Window::was_read`], whatever is committed meanwhile.
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
            .flying()
            .chain(self.owed.iter().copied())
            .chain(self.queue.iter().map(|queued| queued.offset))
            .collect();
        all.sort_unstable();
        all
    }

    pub(crate) fn first_unsettled(&self) -> Option<u64> {
        self.flying()
            .chain(self.owed.front().copied())
            .chain(self.queue.iter().map(|queued| queued.offset))
            .min()
    }

    /// What is in flight without a row of work.
    fn flying(&self) -> impl Iterator<Item = u64> {
        self.in_flight
            .iter()
            .filter(|flight| !flight.has_row)
            .map(|flight| flight.offset)
    }

    /// Gives memory back that a burst needed.
    pub(crate) fn shrink(&mut self) {
        self.queue.shrink_to_fit();
        self.in_flight.shrink_to_fit();
        self.owed.shrink_to_fit();
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }
}

#[cfg(test)]
mod tests {
    use millrace_event::SpecVersion;

    use super::*;

    fn event() -> Event {
        Event::builder(SpecVersion::V10)
            .attribute("id", "1")
            .attribute("source", "/s")
            .attribute("type", "t")
            .build()
            .expect("a valid event")
    }

    #[test]
    fn owes_each_position_until_it_ends_or_has_a_row() {
        let mut window = Window::with_owed([3, 5]);
        window.push(9, event());
        window.push(12, event());
        let first = window.pop().expect("queued");
        window.begin(first.offset, Timestamp(100));
        assert_eq!(window.unsettled(), [3, 5, 9, 12]);
        assert_eq!(window.give_rows(Timestamp(99)), Vec::<u64>::new());
        assert_eq!(window.give_rows(Timestamp(100)), [9]);
        assert_eq!(window.unsettled(), [3, 5, 12]);
        assert!(window.end(9), "it has a row");
        assert_eq!(window.next_owed(), Some(3));
        assert_eq!(window.unsettled(), [3, 5, 12], "owed while it is being read");
        window.was_read();
        assert_eq!(window.first_unsettled(), Some(5));
    }

    #[test]
    fn an_attempt_that_waits_gets_no_row_and_can_be_given_back() {
        let mut window = Window::with_owed([3, 9]);
        for offset in [5, 6] {
            window.begin(offset, Timestamp(100));
        }
        window.wait(5);
        assert_eq!(
            window.give_rows(Timestamp(1_000)),
            [6],
            "5 is not being attempted"
        );
        assert_eq!(window.unsettled(), [3, 5, 9]);
        window.go_on(5, Timestamp(2_000));
        assert_eq!(window.give_rows(Timestamp(1_999)), Vec::<u64>::new());
        assert!(window.give_back(5), "nothing else owes it");
        assert!(!window.give_back(6), "its row does");
        assert_eq!((window.in_flight(), window.unsettled()), (0, vec![3, 5, 9]));
        assert_eq!(window.next_owed(), Some(3), "in order");
    }

    #[test]
    fn a_dropped_queue_is_owed_in_order() {
        let mut window = Window::with_owed([9]);
        window.push(7, event());
        window.push(8, event());
        window.drop_queue();
        assert_eq!((window.queued(), window.queued_bytes()), (0, 0));
        assert_eq!(window.unsettled(), [7, 8, 9]);
        assert_eq!(window.next_owed(), Some(7));
        // Given back before, and queued again behind a later one.
        window.begin(5, Timestamp(1));
        window.push(6, event());
        window.push(3, event());
        assert!(window.give_back(5));
        assert_eq!(window.first_unsettled(), Some(3));
        window.drop_queue();
        for expected in [3, 5, 6, 7, 8, 9] {
            assert_eq!(window.next_owed(), Some(expected));
            window.was_read();
        }
    }
}
