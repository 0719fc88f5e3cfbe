//! The half of the contract that any process may have of a log: events are taken here, and read.

use std::time::Duration;

use millrace_event::{Event, Timestamp};

use super::{Counted, Embedded, room};
use crate::embedded::disk::Promise;
use crate::embedded::log::LogError;
use crate::{
    AppendError, Channel as _, ChannelError, Class, Durability, Ends, Guarantees, Log, Position, Reader,
    Record,
};

/// When a producer may come back after it found the log's queue full.
const QUEUE_RETRY: Duration = Duration::from_secs(1);

// === impl Embedded ===

impl Embedded {
    async fn store(&self, events: Vec<Event>, room: Promise<'_>) -> Result<(), AppendError> {
        let bytes = room.bytes();
        let count = events.len() as u64;
        match self.log.append(events).await {
            Ok(_) => {
                room.kept();
                self.backlog.appended(bytes);
                self.metrics.appended_events.inc_by(count);
                self.metrics.append_bytes.inc_by(bytes);
                Ok(())
            }
            Err(LogError::QueueFull) => Err(AppendError::Full {
                code: "append-queue-full",
                reason: "too many events wait to be written to the disk".to_owned(),
                retry_after: QUEUE_RETRY,
            }),
            Err(LogError::DiskFull) => {
                self.disk.look_again();
                self.upkeep.notify_one();
                Err(room::disk_full(
                    "the volume of the data folder is full".to_owned(),
                ))
            }
            Err(LogError::Closed) => Err(AppendError::Closed),
            Err(error @ LogError::TooLarge { .. }) => Err(AppendError::Storage(error.to_string())),
            Err(error @ (LogError::Format { .. } | LogError::Gone { .. } | LogError::Io { .. })) => {
                // Looks for what is wrong, reports it, and mends it if possible.
                self.upkeep.notify_one();
                Err(AppendError::Storage(error.to_string()))
            }
        }
    }
}

#[async_trait::async_trait]
impl Log for Embedded {
    fn guarantees(&self) -> Guarantees {
        Guarantees {
            atomic_batch: true,
            atomic_commit: true,
            ordered: true,
        }
    }

    fn durability(&self) -> Option<Durability> {
        Some(match self.is_synced {
            true => Durability {
                word: "synced",
                meaning: "an accepted event is synced to the local disk, which is the only copy",
            },
            false => Durability {
                word: "single-copy",
                meaning: "an accepted event is with the operating system (--durability os); what it has not written \
                          when the machine stops is lost",
            },
        })
    }

    async fn append(&self, events: Vec<Event>, class: Class) -> Result<(), AppendError> {
        if self.is_closing() {
            return Err(AppendError::Closed);
        }
        if events.is_empty() {
            return Ok(());
        }
        let _appending = Counted::begin(&self.appending);
        if self.state.must_wake() {
            self.wake().await?;
        }
        if let Some(fault) = self.state.fault() {
            return Err(AppendError::Storage(fault));
        }
        let bytes = events.iter().map(|event| event.stored().len() as u64).sum();
        let outcome = match self.admit(class, bytes).await {
            Ok(room) => self.store(events, room).await,
            Err(refused) => Err(refused),
        };
        if let Err(AppendError::Full { code, .. }) = &outcome {
            self.metrics.refused(code);
        }
        outcome
    }

    fn ends(&self) -> Vec<Ends> {
        vec![Ends {
            oldest: self.oldest(),
            head: self.head(),
        }]
    }

    fn reader(&self, from: Position) -> Box<dyn Reader> {
        self.counting_reader(from)
    }

    async fn get_many(&self, at: &[Position]) -> Result<Vec<Option<Record>>, ChannelError> {
        let mut found = Vec::with_capacity(at.len());
        for at in at {
            found.push(self.record_at(at.offset).await?);
        }
        Ok(found)
    }

    async fn position_at(&self, _partition: u32, time: Timestamp) -> Result<Position, ChannelError> {
        self.first_since(time).await
    }

    fn fault(&self) -> Option<String> {
        self.state.fault().or_else(|| self.log.fault())
    }
}
