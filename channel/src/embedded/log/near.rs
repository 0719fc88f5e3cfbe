//! The stretch of the log that was read last for one event. Events that are owed are asked for one by one,
//! mostly near each other, and each would cost the reading of its whole surroundings: frames are checked as
//! wholes, and the index is sparse.

use parking_lot::Mutex;

use crate::Record;

/// A stretch in memory, until the upkeep has it forgotten.
#[derive(Debug, Default)]
pub(super) struct Near(Mutex<Vec<Record>>);

// === impl Near ===

impl Near {
    /// Bytes of events kept at most; a longer stretch is not kept, and its events are read one by one.
    const BYTES: usize = 4 << 20;

    /// The record at an offset, in a buffer of its own.
    pub(super) fn get(&self, offset: u64) -> Option<Record> {
        let kept = self.0.lock();
        let index = kept.binary_search_by_key(&offset, |record| record.position.offset);
        index.ok().and_then(|index| kept.get(index)).map(alone)
    }

    /// Keeps what was read instead of what was kept; `records` are in order.
    pub(super) fn keep(&self, records: Vec<Record>) {
        let bytes: usize = records.iter().map(|record| record.event.stored().len()).sum();
        *self.0.lock() = if bytes <= Self::BYTES { records } else { Vec::new() };
    }

    /// Gives the memory back.
    pub(super) fn forget(&self) {
        *self.0.lock() = Vec::new();
    }
}

/// A record that does not hold the memory of its surroundings.
pub(super) fn alone(record: &Record) -> Record {
    Record {
        position: record.position,
        appended: record.appended,
        event: record.event.compact(),
    }
}

#[cfg(test)]
mod tests {
    use millrace_event::Timestamp;

    use super::*;
    use crate::embedded::channel::testing::sized;
    use crate::embedded::log::reader::position;

    fn records(offsets: &[u64], bytes: usize) -> Vec<Record> {
        let record = |&offset: &u64| Record {
            position: position(offset),
            appended: Timestamp(7),
            event: sized(&offset.to_string(), bytes),
        };
        offsets.iter().map(record).collect()
    }

    #[test]
    fn gives_what_was_read_last_and_nothing_else() {
        let near = Near::default();
        near.keep(records(&[3, 4, 9], 0));
        for (offset, there) in [
            (2, false),
            (3, true),
            (4, true),
            (5, false),
            (9, true),
            (10, false),
        ] {
            let found = near.get(offset).map(|record| record.event.id().to_owned());
            assert_eq!(found, there.then(|| offset.to_string()), "{offset}");
        }
        near.keep(records(&[20], 0));
        assert!(near.get(3).is_none() && near.get(20).is_some());
        near.forget();
        assert!(near.get(20).is_none());
    }

    #[test]
    fn keeps_no_more_than_it_may() {
        let near = Near::default();
        near.keep(records(&[1, 2], Near::BYTES / 2 + 1));
        assert!(near.get(1).is_none());
    }
}
