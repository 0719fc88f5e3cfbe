//! A process's way to the servers.

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millrace_event::{Event, Timestamp};

use super::Shared;
use crate::remote::{Entries, Entry, Read, Servers, State, Write};
use crate::{AppendError, ChannelError, Class};

/// When a write is sent again.
const AGAIN: Duration = Duration::from_millis(100);

/// The way of one process.
#[derive(Debug)]
pub(super) struct Way {
    shared: Arc<Shared>,
    /// Requests take time.
    takes_time: AtomicBool,
}

#[derive(Debug)]
struct Following {
    shared: Arc<Shared>,
    at: u64,
}

// === impl Way ===

impl Way {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            takes_time: AtomicBool::new(true),
        }
    }

    /// Of an owner that has not begun yet.
    pub(super) fn of_new_owner(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            takes_time: AtomicBool::new(false),
        }
    }

    /// From now on requests take time.
    pub(super) fn begin(&self) {
        self.takes_time.store(true, Ordering::Relaxed);
    }

    async fn travel(&self) {
        if self.takes_time.load(Ordering::Relaxed) {
            self.shared.travel().await;
        }
    }
}

#[async_trait::async_trait]
impl Servers for Way {
    fn partition(&self) -> u32 {
        self.shared.options.partition
    }

    fn atomic_batch(&self) -> bool {
        self.shared.options.atomic_batch
    }

    fn ends(&self) -> Range<u64> {
        self.shared.server.lock().ends()
    }

    fn log_bytes(&self) -> u64 {
        let server = self.shared.server.lock();
        let entries = server.entries.iter();
        entries.map(|entry| entry.event.stored().len() as u64).sum()
    }

    async fn append(&self, events: Vec<Event>, _class: Class) -> Result<(), AppendError> {
        let now = self.shared.options.clock.now();
        let steps = match self.shared.options.atomic_batch {
            true => vec![events],
            false => events.into_iter().map(|event| vec![event]).collect(),
        };
        for step in steps {
            self.travel().await;
            let is_stored = self.shared.server.lock().append(step, now);
            self.shared.appends.notify_waiters();
            if !is_stored {
                return Err(AppendError::Storage("the connection was cut".to_owned()));
            }
        }
        self.travel().await;
        Ok(())
    }

    fn reader(&self, from: u64, _below: Option<(u64, u64)>) -> Box<dyn Entries> {
        Box::new(Following {
            shared: self.shared.clone(),
            at: from,
        })
    }

    async fn get(&self, numbers: &[u64]) -> Result<Vec<Option<Entry>>, ChannelError> {
        self.travel().await;
        let server = self.shared.server.lock();
        let found = numbers.iter().map(|number| {
            // A new owner looks for a loss on a way of its own.
            if self.takes_time.load(Ordering::Relaxed) {
                server.check_readable(*number)?;
            }
            Ok(server.get(*number))
        });
        found.collect()
    }

    async fn last_below(&self, number: u64) -> Result<Option<Entry>, ChannelError> {
        self.travel().await;
        let server = self.shared.server.lock();
        let below = server.index(number).checked_sub(1);
        Ok(below.map(|below| server.entries[below].seen()))
    }

    async fn first_since(&self, time: Timestamp) -> Result<Option<u64>, ChannelError> {
        self.travel().await;
        let server = self.shared.server.lock();
        let first = server.entries.iter().find(|entry| entry.appended >= time);
        Ok(first.map(|entry| entry.number))
    }

    async fn claim(&self) -> Result<(u64, State), ChannelError> {
        self.travel().await;
        Ok(self.shared.server.lock().claim())
    }

    async fn read(&self, claim: u64) -> Result<Option<State>, ChannelError> {
        self.travel().await;
        self.shared.server.lock().read(claim)
    }

    fn fits(&self, writes: &[Write]) -> usize {
        writes.len().min(self.shared.options.chunk.max(1))
    }

    async fn write(&self, claim: u64, chunk: &[Write]) -> Result<(), ChannelError> {
        loop {
            self.travel().await;
            let stored = self.shared.server.lock().write(claim, chunk);
            self.travel().await;
            match stored {
                Err(ChannelError::Storage(_)) => tokio::time::sleep(AGAIN).await,
                known => return known,
            }
        }
    }
}

// === impl Following ===

impl Following {
    fn read(&mut self, max_entries: usize, max_bytes: usize) -> Result<Read, ChannelError> {
        let server = self.shared.server.lock();
        let end = server.ends().end;
        if self.at > end {
            let lost = "the log ends before what was read already: it has lost its end";
            return Err(ChannelError::Storage(lost.to_owned()));
        }
        let (mut entries, mut bytes, mut next) = (Vec::new(), 0, end);
        for entry in &server.entries[server.index(self.at)..] {
            if let Err(unreadable) = server.check_readable(entry.number) {
                if entries.is_empty() {
                    return Err(unreadable);
                }
                next = entry.number;
                break;
            }
            if !entries.is_empty() && (entries.len() >= max_entries || bytes >= max_bytes) {
                next = entry.number;
                break;
            }
            bytes += entry.event.stored().len();
            entries.push(entry.seen());
        }
        self.at = next;
        Ok(Read {
            entries,
            next,
            deleted: None,
        })
    }
}

#[async_trait::async_trait]
impl Entries for Following {
    async fn next(
        &mut self,
        max_entries: usize,
        max_bytes: usize,
        waits: bool,
    ) -> Result<Read, ChannelError> {
        loop {
            let shared = self.shared.clone();
            let mut more = pin!(shared.appends.notified());
            more.as_mut().enable();
            let before = self.at;
            let read = self.read(max_entries, max_bytes)?;
            if !waits || !read.entries.is_empty() || self.at != before {
                return Ok(read);
            }
            more.await;
        }
    }

    fn number(&self) -> u64 {
        self.at
    }
}
