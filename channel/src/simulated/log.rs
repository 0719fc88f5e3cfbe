//! The log as a process sees it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_event::{Event, Timestamp};

use super::Shared;
use crate::{
    AppendError, Batch, ChannelError, Class, Ends, Gap, GapReason, Guarantees, Log, Position, Reader, Record,
};

/// One process's way to the log.
#[derive(Debug)]
pub(super) struct Client {
    shared: Arc<Shared>,
    is_closed: AtomicBool,
}

#[derive(Debug)]
struct Following {
    shared: Arc<Shared>,
    at: u64,
}

// === impl Client ===

impl Client {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            is_closed: AtomicBool::new(false),
        }
    }

    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }
}

#[async_trait::async_trait]
impl Log for Client {
    fn guarantees(&self) -> Guarantees {
        Guarantees {
            atomic_batch: self.shared.options.atomic_batch,
            atomic_commit: false,
            ordered: true,
        }
    }

    async fn append(&self, events: Vec<Event>, _class: Class) -> Result<(), AppendError> {
        if self.is_closed() {
            return Err(AppendError::Closed);
        }
        let now = self.shared.options.clock.now();
        let steps = match self.shared.options.atomic_batch {
            true => vec![events],
            false => events.into_iter().map(|event| vec![event]).collect(),
        };
        for step in steps {
            self.shared.travel().await;
            let is_stored = self.shared.server.lock().append(step, now);
            self.shared.appends.notify_waiters();
            if !is_stored {
                return Err(AppendError::Storage("the connection was cut".to_owned()));
            }
        }
        self.shared.travel().await;
        Ok(())
    }

    fn ends(&self) -> Vec<Ends> {
        let server = self.shared.server.lock();
        vec![Ends {
            oldest: server.at(server.oldest()),
            head: server.at(server.head()),
        }]
    }

    fn reader(&self, from: Position) -> Box<dyn Reader> {
        Box::new(Following {
            shared: self.shared.clone(),
            at: from.offset,
        })
    }

    async fn get_many(&self, at: &[Position]) -> Result<Vec<Option<Record>>, ChannelError> {
        self.shared.travel().await;
        let server = self.shared.server.lock();
        at.iter()
            .map(|at| {
                server.check_readable(at.offset)?;
                Ok(server.get(at.offset))
            })
            .collect()
    }

    async fn position_at(&self, _partition: u32, time: Timestamp) -> Result<Position, ChannelError> {
        self.shared.travel().await;
        let server = self.shared.server.lock();
        let first = server.entries.iter().find(|entry| entry.appended >= time);
        Ok(server.at(first.map_or(server.head(), |entry| server.offset(entry))))
    }

    fn fault(&self) -> Option<String> {
        None
    }
}

// === impl Following ===

impl Following {
    fn read(&mut self, max_events: usize, max_bytes: usize) -> Result<Batch, ChannelError> {
        let server = self.shared.server.lock();
        if self.at > server.head() {
            let lost = "the log ends before what was read already: it has lost its end";
            return Err(ChannelError::Storage(lost.to_owned()));
        }
        let first = server
            .entries
            .partition_point(|entry| server.offset(entry) < self.at);
        let mut records: Vec<Record> = Vec::new();
        let mut bytes = 0;
        let mut next = server.head();
        for entry in &server.entries[first..] {
            if let Err(unreadable) = server.check_readable(server.offset(entry)) {
                if records.is_empty() {
                    return Err(unreadable);
                }
                next = server.offset(entry);
                break;
            }
            if !records.is_empty() && (records.len() >= max_events || bytes >= max_bytes) {
                next = server.offset(entry);
                break;
            }
            bytes += entry.event.stored().len();
            records.push(server.record(entry));
        }
        let lost = server.state.progress.epochs.lost_from(self.at);
        let gaps = lost.filter(|(from, _)| *from < next).map(|(from, to)| Gap {
            from: server.at(from),
            to: server.at(to),
            reason: GapReason::Lost,
        });
        let batch = Batch {
            records,
            next: server.at(next),
            gaps: gaps.collect(),
        };
        self.at = next;
        Ok(batch)
    }
}

#[async_trait::async_trait]
impl Reader for Following {
    async fn next(&mut self, max_events: usize, max_bytes: usize) -> Result<Batch, ChannelError> {
        loop {
            let shared = self.shared.clone();
            let mut more = pin!(shared.appends.notified());
            more.as_mut().enable();
            let before = self.at;
            let batch = self.read(max_events, max_bytes)?;
            if !batch.records.is_empty() || self.at != before {
                return Ok(batch);
            }
            more.await;
        }
    }

    async fn try_next(&mut self, max_events: usize, max_bytes: usize) -> Result<Batch, ChannelError> {
        self.read(max_events, max_bytes)
    }

    fn position(&self) -> Position {
        self.shared.server.lock().at(self.at)
    }

    fn read_ahead(&self) -> usize {
        0
    }
}
