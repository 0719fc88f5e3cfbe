//! What stands in for the log of a Broker whose channel is not open: it takes nothing, and says why.

use std::time::Duration;

use millrace_channel::{
    AppendError, Batch, ChannelError, Class, Ends, Guarantees, Log, Position, Reader, Record,
};
use millrace_event::{Event, Timestamp};

/// When a producer may come back.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The stand-in.
#[derive(Debug)]
pub(super) struct Away {
    reason: String,
}

/// Reads nothing.
#[derive(Debug)]
struct Nothing {
    reason: String,
    at: Position,
}

// === impl Away ===

impl Away {
    pub(super) fn new(reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
        }
    }

    fn storage(&self) -> ChannelError {
        ChannelError::Storage(self.reason.clone())
    }
}

#[async_trait::async_trait]
impl Log for Away {
    fn guarantees(&self) -> Guarantees {
        Guarantees {
            atomic_batch: true,
            atomic_commit: false,
            ordered: true,
        }
    }

    async fn append(&self, _events: Vec<Event>, _class: Class) -> Result<(), AppendError> {
        Err(AppendError::Away {
            reason: self.reason.clone(),
            retry_after: RETRY_AFTER,
        })
    }

    fn ends(&self) -> Vec<Ends> {
        Vec::new()
    }

    fn reader(&self, from: Position) -> Box<dyn Reader> {
        Box::new(Nothing {
            reason: self.reason.clone(),
            at: from,
        })
    }

    async fn get_many(&self, _at: &[Position]) -> Result<Vec<Option<Record>>, ChannelError> {
        Err(self.storage())
    }

    async fn position_at(&self, _partition: u32, _time: Timestamp) -> Result<Position, ChannelError> {
        Err(self.storage())
    }

    fn fault(&self) -> Option<String> {
        Some(self.reason.clone())
    }
}

#[async_trait::async_trait]
impl Reader for Nothing {
    async fn next(&mut self, _max_events: usize, _max_bytes: usize) -> Result<Batch, ChannelError> {
        Err(ChannelError::Storage(self.reason.clone()))
    }

    async fn try_next(&mut self, _max_events: usize, _max_bytes: usize) -> Result<Batch, ChannelError> {
        Err(ChannelError::Storage(self.reason.clone()))
    }

    fn position(&self) -> Position {
        self.at
    }

    fn read_ahead(&self) -> usize {
        0
    }
}
