//! Appending: each event is a record, and those of one request stand one after the other.

use std::sync::Arc;
use std::time::Duration;

use millrace_channel::AppendError;
use millrace_event::Event;
use millrace_event::kafka::{self, Kept};
use millrace_kafka::writer::Headers;
use millrace_kafka::{NotWritten, Record, Writer};
use parking_lot::Mutex;

use crate::connect::Connect;

/// When a producer may come back.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How long an event may take until it is acknowledged. One that took longer may be there all the same.
const ACKNOWLEDGED: Duration = Duration::from_secs(5);

/// Appends to the topic of the events.
#[derive(Debug)]
pub(crate) struct Appender {
    connect: Connect,
    topic: String,
    /// The client; `None`: it has to be made.
    writer: Mutex<Option<Arc<Writer>>>,
    /// One request is queued at a time.
    queue: Mutex<()>,
}

// === impl Appender ===

impl Appender {
    pub(crate) fn new(connect: Connect, topic: &str) -> Self {
        let appender = Self {
            connect,
            topic: topic.to_owned(),
            writer: Mutex::default(),
            queue: Mutex::default(),
        };
        // It takes half a second until it can write; if it cannot be made, the first event is told.
        drop(appender.writer());
        appender
    }

    /// Appends events, and gives the offset of the last. All of them are waited for: what has been queued
    /// will be written.
    pub(crate) async fn append(&self, events: &[Event]) -> Result<u64, AppendError> {
        let writer = self.writer()?;
        let records: Vec<_> = events
            .iter()
            .map(|event| (kafka::key(event), Kept::of(event)))
            .collect();
        let (mut waiting, mut failed) = (Vec::with_capacity(records.len()), None);
        {
            let _one = self.queue.lock();
            for (key, kept) in &records {
                let mut headers = Headers::default();
                kept.headers
                    .iter()
                    .for_each(|(name, value)| headers.add(name, value));
                let record = Record {
                    topic: &self.topic,
                    key: *key,
                    value: kept.value.as_deref(),
                    headers,
                };
                match writer.write(record) {
                    Ok(written) => waiting.push(written),
                    Err(why) => {
                        failed = Some(why);
                        break;
                    }
                }
            }
        }
        let mut last = 0;
        for written in waiting {
            match written.await {
                Ok(place) => last = last.max(place.offset),
                Err(why) => drop(failed.get_or_insert(why)),
            }
        }
        match failed {
            None => Ok(u64::try_from(last).unwrap_or(0)),
            Some(why) => Err(self.told(&writer, &why)),
        }
    }

    fn writer(&self) -> Result<Arc<Writer>, AppendError> {
        let mut writer = self.writer.lock();
        if let Some(writer) = &*writer {
            return Ok(writer.clone());
        }
        let made = Writer::new(self.connect.writing(), ACKNOWLEDGED, self.connect.log.clone());
        let made = made.map_err(|error| AppendError::Storage(error.to_string()))?;
        Ok(writer.insert(Arc::new(made)).clone())
    }

    /// As a producer is told. A client that broke is replaced.
    fn told(&self, writer: &Arc<Writer>, why: &NotWritten) -> AppendError {
        if matches!(why, NotWritten::Broken(_)) {
            let mut current = self.writer.lock();
            if current
                .as_ref()
                .is_some_and(|current| Arc::ptr_eq(current, writer))
            {
                *current = None;
            }
        }
        for_producers(why)
    }
}

fn for_producers(why: &NotWritten) -> AppendError {
    match why {
        NotWritten::TooLarge | NotWritten::TooLargeForQueue(_) => {
            AppendError::TooLarge(format!("as a record of Kafka the event is too large: {why}"))
        }
        NotWritten::QueueFull => AppendError::Full {
            code: "append-queue-full",
            reason: "too many events wait for Kafka".to_owned(),
            retry_after: RETRY_AFTER,
        },
        NotWritten::BadRecord(_) | NotWritten::BadTopic | NotWritten::NotAllowed => {
            AppendError::Storage(format!("Kafka has refused it: {why}"))
        }
        NotWritten::BatchTooLarge
        | NotWritten::UnknownTopic
        | NotWritten::NotInTime(_)
        | NotWritten::Broken(_)
        | NotWritten::Other(_) => AppendError::Away {
            reason: format!("Kafka has not acknowledged it: {why}"),
            retry_after: RETRY_AFTER,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_producer_may_come_back_unless_no_other_try_would_help() {
        for (why, comes_back) in [
            (NotWritten::TooLarge, false),
            (NotWritten::NotAllowed, false),
            (NotWritten::QueueFull, true),
            (NotWritten::NotInTime(None), true),
            (NotWritten::UnknownTopic, true),
            (NotWritten::Broken("x".to_owned()), true),
        ] {
            let told = for_producers(&why);
            let is_again = matches!(told, AppendError::Away { .. } | AppendError::Full { .. });
            assert_eq!(is_again, comes_back, "{told:?}");
        }
    }
}
