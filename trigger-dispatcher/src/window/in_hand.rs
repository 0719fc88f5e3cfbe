//! The attempts that a lane has in hand: when each began, or what it waits for if it has not begun.
//!
//! An event that waits for something of our own has not been attempted. Nothing is written down about it:
//! after a restart it is read again, and no unclean stop is held against it.

use millrace_channel::WorkKey;
use millrace_event::Timestamp;
use millrace_model::Shortage;
use millrace_model::status::UnderWay;

/// All attempts of a lane. There are at most as many as it has workers, so a search looks at each.
#[derive(Debug, Default)]
pub(crate) struct InHand(Vec<Held>);

/// One attempt.
#[derive(Debug)]
struct Held {
    key: WorkKey,
    now: UnderWay,
    /// It was read from the log, and not from a row of work.
    is_new: bool,
    /// A row of work owes it.
    has_row: bool,
}

// === impl InHand ===

impl InHand {
    /// Notes that a worker has taken this event. `is_new`: from the log, so no row of work owes it yet.
    pub(crate) fn begin(&mut self, key: WorkKey, attempt: u32, is_new: bool, now: Timestamp) {
        self.0.push(Held {
            key,
            now: UnderWay {
                attempt,
                since: now,
                shortage: None,
            },
            is_new,
            has_row: !is_new,
        });
    }

    /// Takes an attempt out; says whether a row of work owes the event.
    pub(crate) fn end(&mut self, key: &WorkKey) -> bool {
        match self.0.iter().position(|held| held.key == *key) {
            Some(index) => self.0.swap_remove(index).has_row,
            None => false,
        }
    }

    /// Notes that the attempt has not begun, because of this shortage. It gets no row of work meanwhile.
    pub(crate) fn wait(&mut self, key: &WorkKey, shortage: Shortage, now: Timestamp) {
        if let Some(held) = self.find(key)
            // A job that goes on waiting for the same shortage keeps its start time.
            && held.now.shortage != Some(shortage)
        {
            (held.now.shortage, held.now.since) = (Some(shortage), now);
        }
    }

    /// What the attempt waited for may be there: it begins now.
    pub(crate) fn go_on(&mut self, key: &WorkKey, now: Timestamp) {
        if let Some(held) = self.find(key) {
            (held.now.shortage, held.now.since) = (None, now);
        }
    }

    /// Gives a row to every attempt that began at or before `then` and has none; returns their positions.
    pub(crate) fn give_rows(&mut self, then: Timestamp) -> Vec<u64> {
        let is_late =
            |held: &&mut Held| !held.has_row && held.now.shortage.is_none() && held.now.since <= then;
        let late = self.0.iter_mut().filter(is_late);
        late.map(|held| {
            held.has_row = true;
            held.key.position.offset
        })
        .collect()
    }

    /// The positions that no row of work owes.
    pub(crate) fn without_row(&self) -> impl Iterator<Item = u64> {
        let held = self.0.iter().filter(|held| !held.has_row);
        held.map(|held| held.key.position.offset)
    }

    /// How many were read from the log.
    pub(crate) fn new_ones(&self) -> usize {
        self.0.iter().filter(|held| held.is_new).count()
    }

    /// What some of them wait for.
    pub(crate) fn shortage(&self) -> Option<Shortage> {
        self.0.iter().find_map(|held| held.now.shortage)
    }

    /// The attempt at the event of this position.
    pub(crate) fn of_event(&self, offset: u64) -> Option<UnderWay> {
        let of_event = |held: &&Held| held.key.position.offset == offset;
        self.0.iter().find(of_event).map(|held| held.now)
    }

    /// Gives memory back that a burst needed.
    pub(crate) fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }

    fn find(&mut self, key: &WorkKey) -> Option<&mut Held> {
        self.0.iter_mut().find(|held| held.key == *key)
    }
}

#[cfg(test)]
mod tests {
    use millrace_channel::{LaneId, Stage};

    use super::*;
    use crate::lane::tests::at;

    fn key(offset: u64, stage: Stage) -> WorkKey {
        WorkKey {
            lane: LaneId(1),
            position: at(offset),
            stage,
        }
    }

    #[test]
    fn stages_of_one_event_are_told_apart() {
        let mut in_hand = InHand::default();
        let (event, reply) = (key(5, Stage::Subscriber), key(5, Stage::Reply));
        in_hand.begin(event, 0, true, Timestamp(100));
        in_hand.begin(reply, 3, false, Timestamp(100));
        assert_eq!(in_hand.new_ones(), 1);
        assert!(in_hand.end(&reply), "it was read from its row");
        assert!(!in_hand.end(&reply), "only once");
        assert_eq!(in_hand.of_event(5).map(|now| now.attempt), Some(0));
        assert_eq!(in_hand.without_row().collect::<Vec<_>>(), [5]);
        assert!(!in_hand.end(&event));
        assert_eq!(in_hand.of_event(5), None);
    }

    #[test]
    fn one_that_waits_is_told_of_since_when_it_waits_for_that() {
        let mut in_hand = InHand::default();
        let event = key(5, Stage::Subscriber);
        in_hand.begin(event, 0, true, Timestamp(100));
        let told = |in_hand: &InHand| in_hand.of_event(5).map(|now| (now.shortage, now.since.0));
        in_hand.wait(&event, Shortage::Lookups, Timestamp(200));
        in_hand.wait(&event, Shortage::Lookups, Timestamp(300));
        assert_eq!(told(&in_hand), Some((Some(Shortage::Lookups), 200)));
        in_hand.wait(&event, Shortage::Connections, Timestamp(400));
        assert_eq!(told(&in_hand), Some((Some(Shortage::Connections), 400)));
        assert_eq!(in_hand.shortage(), Some(Shortage::Connections));
        in_hand.go_on(&event, Timestamp(500));
        assert_eq!(told(&in_hand), Some((None, 500)));
    }
}
