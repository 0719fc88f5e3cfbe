//! The log as a process sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_event::{Event, Timestamp};
use parking_lot::{Mutex, RwLock};

use super::epochs::Epochs;
use super::servers::{Entries, Entry, Servers};
use crate::{
    AppendError, Batch, ChannelError, Class, Durability, Ends, Gap, GapReason, Guarantees, Log, Position,
    Reader, Record,
};

/// Entries whose fingerprints are remembered: more than the router reads at a time.
const NOTED: usize = 4_096;

/// One process's way to the log. Cheap to clone; all clones close together.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    servers: Arc<dyn Servers>,
    epochs: RwLock<Arc<Epochs>>,
    /// Fingerprints of what was read last, by number.
    noted: Mutex<BTreeMap<u64, u64>>,
    is_closed: AtomicBool,
}

#[derive(Debug)]
struct Following {
    log: Arc<Inner>,
    entries: Box<dyn Entries>,
    /// The position that is read next.
    at: u64,
}

// === impl Client ===

impl Client {
    /// The log on these servers, with positions by these epochs.
    pub fn new(servers: Arc<dyn Servers>, epochs: Epochs) -> Self {
        let inner = Inner {
            servers,
            epochs: RwLock::new(Arc::new(epochs)),
            noted: Mutex::default(),
            is_closed: AtomicBool::new(false),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    pub(super) fn close(&self) {
        self.inner.is_closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.inner.is_closed.load(Ordering::Relaxed)
    }

    /// From now on positions are by other epochs: an owner has found a loss, or there was none before.
    pub fn follow(&self, epochs: Epochs) {
        *self.inner.epochs.write() = Arc::new(epochs);
    }

    /// Whether these events would be refused now, and why.
    pub(super) fn takes(&self, events: &[Event], class: Class) -> Result<(), AppendError> {
        self.inner.servers.takes(events, class)
    }

    pub(super) fn epochs(&self) -> Arc<Epochs> {
        self.inner.epochs()
    }

    pub(super) fn at(&self, number: u64) -> Position {
        self.inner.at(number)
    }

    pub(super) fn record(&self, entry: Entry) -> Option<Record> {
        self.inner.record(entry)
    }

    /// The fingerprint of what stands below a number, as far as it was read here.
    pub(super) fn noted_below(&self, number: u64) -> Option<(u64, u64)> {
        let below = number.checked_sub(1)?;
        let noted = self.inner.noted.lock();
        noted.get(&below).map(|print| (below, *print))
    }
}

#[async_trait::async_trait]
impl Log for Client {
    fn guarantees(&self) -> Guarantees {
        Guarantees {
            atomic_batch: self.inner.servers.atomic_batch(),
            atomic_commit: false,
            ordered: true,
        }
    }

    async fn append(&self, events: Vec<Event>, class: Class) -> Result<(), AppendError> {
        if self.is_closed() {
            return Err(AppendError::Closed);
        }
        if events.is_empty() {
            return Ok(());
        }
        self.inner.servers.append(events, class).await
    }

    fn ends(&self) -> Vec<Ends> {
        let ends = self.inner.servers.ends();
        vec![Ends {
            oldest: self.at(ends.start),
            head: self.at(ends.end),
        }]
    }

    fn reader(&self, from: Position) -> Box<dyn Reader> {
        let number = self.inner.epochs().number(from.offset);
        Box::new(Following {
            log: self.inner.clone(),
            entries: self.inner.servers.reader(number, self.noted_below(number)),
            at: from.offset,
        })
    }

    async fn get_many(&self, at: &[Position]) -> Result<Vec<Option<Record>>, ChannelError> {
        let log = &self.inner;
        let epochs = log.epochs();
        let stands = |at: &Position| epochs.has(at.offset);
        let there = at.iter().filter(|at| stands(at));
        let numbers: Vec<_> = there.map(|at| epochs.number(at.offset)).collect();
        let mut found = log.servers.get(&numbers).await?.into_iter();
        let of = |at: &Position| if stands(at) { found.next().flatten() } else { None };
        let found: Vec<_> = at.iter().map(of).collect();
        Ok(found
            .into_iter()
            .map(|entry| entry.and_then(|entry| log.record(entry)))
            .collect())
    }

    async fn position_at(&self, _partition: u32, time: Timestamp) -> Result<Position, ChannelError> {
        let first = self.inner.servers.first_since(time).await?;
        Ok(self.at(first.unwrap_or_else(|| self.inner.servers.ends().end)))
    }

    fn durability(&self) -> Option<Durability> {
        self.inner.servers.durability()
    }

    fn fault(&self) -> Option<String> {
        self.inner.servers.fault()
    }
}

// === impl Inner ===

impl Inner {
    fn epochs(&self) -> Arc<Epochs> {
        self.epochs.read().clone()
    }

    fn at_offset(&self, offset: u64) -> Position {
        Position {
            partition: self.servers.partition(),
            offset,
        }
    }

    fn at(&self, number: u64) -> Position {
        self.at_offset(self.epochs().position(number))
    }

    fn record(&self, entry: Entry) -> Option<Record> {
        Some(Record {
            position: self.at(entry.number),
            appended: entry.appended,
            event: entry.event?,
        })
    }

    fn note(&self, entries: &[Entry]) {
        let mut noted = self.noted.lock();
        noted.extend(entries.iter().map(|entry| (entry.number, entry.print)));
        while noted.len() > NOTED {
            noted.pop_first();
        }
    }
}

// === impl Following ===

impl Following {
    async fn read(
        &mut self,
        max_events: usize,
        max_bytes: usize,
        waits: bool,
    ) -> Result<Batch, ChannelError> {
        let read = self.entries.next(max_events, max_bytes, waits).await?;
        let log = &self.log;
        let epochs = log.epochs();
        log.note(&read.entries);
        // At the end of the log a position may be one of the lost: those after it are not known yet.
        let next = epochs.position(read.next).max(self.at);
        let lost = epochs.lost_from(self.at);
        let lost = lost.filter(|(from, _)| *from < next);
        let mut gaps: Vec<_> = lost.map(|(from, to)| (from, to, GapReason::Lost)).collect();
        if let Some(deleted) = read.deleted {
            let [from, to] = [deleted.start, deleted.end].map(|number| epochs.position(number));
            gaps.push((from, to, GapReason::Dropped));
        }
        for entry in read.entries.iter().filter(|entry| entry.event.is_none()) {
            let at = epochs.position(entry.number);
            gaps.push((at, at + 1, GapReason::Unreadable));
        }
        gaps.sort_by_key(|(from, ..)| *from);
        let gap = |(from, to, reason)| Gap {
            from: log.at_offset(from),
            to: log.at_offset(to),
            reason,
        };
        let batch = Batch {
            gaps: gaps.into_iter().map(gap).collect(),
            records: read
                .entries
                .into_iter()
                .filter_map(|entry| log.record(entry))
                .collect(),
            next: log.at_offset(next),
        };
        self.at = next;
        Ok(batch)
    }
}

#[async_trait::async_trait]
impl Reader for Following {
    async fn next(&mut self, max_events: usize, max_bytes: usize) -> Result<Batch, ChannelError> {
        // The end of a log that has lost some may be told without waiting.
        let (before, now) = (self.at, self.log.epochs().position(self.entries.number()));
        let waits = now <= before;
        self.read(max_events, max_bytes, waits).await
    }

    async fn try_next(&mut self, max_events: usize, max_bytes: usize) -> Result<Batch, ChannelError> {
        self.read(max_events, max_bytes, false).await
    }

    fn position(&self) -> Position {
        self.log.at_offset(self.at)
    }

    fn read_ahead(&self) -> usize {
        self.entries.read_ahead()
    }
}
