//! The newest events in memory, so that readers at the head need neither disk nor parsing.

use std::collections::VecDeque;

use crate::{Batch, Position, Record};

/// What a record costs beside its event's bytes, roughly.
const RECORD_BYTES: usize = 128;

/// A run of records without a gap that ends at the head.
#[derive(Debug)]
pub(super) struct Tail {
    records: VecDeque<Record>,
    /// The offset after the last record.
    end: u64,
    bytes: usize,
    limit: usize,
}

// === impl Tail ===

impl Tail {
    pub(super) fn new(end: u64, limit: usize) -> Self {
        Self {
            records: VecDeque::new(),
            end,
            bytes: 0,
            limit,
        }
    }

    /// Takes the next records; forgets the oldest ones beyond the limit, and all older ones when offsets were
    /// skipped.
    pub(super) fn extend(&mut self, records: impl Iterator<Item = Record>) {
        for record in records {
            if record.position.offset != self.end {
                self.records.clear();
                self.bytes = 0;
            }
            self.end = record.position.offset + 1;
            self.bytes += cost(&record);
            self.records.push_back(record);
        }
        while self.bytes > self.limit
            && let Some(record) = self.records.pop_front()
        {
            self.bytes -= cost(&record);
        }
    }

    /// The records from `from` on, as far as the limits allow, at least one; nothing when `from` is the head.
    pub(super) fn read(&self, from: u64, max_events: usize, max_bytes: usize) -> Option<Batch> {
        let first = self.end - self.records.len() as u64;
        if from < first || from > self.end {
            return None;
        }
        let mut records = Vec::new();
        let mut bytes = 0;
        let skip = usize::try_from(from - first).ok()?;
        for record in self.records.range(skip..).take(max_events.max(1)) {
            bytes += record.event.stored().len();
            if bytes > max_bytes && !records.is_empty() {
                break;
            }
            records.push(record.clone());
        }
        let next = Position {
            partition: 0,
            offset: from + records.len() as u64,
        };
        Some(Batch {
            records,
            next,
            gaps: Vec::new(),
        })
    }
}

fn cost(record: &Record) -> usize {
    record.event.stored().len() + RECORD_BYTES
}
