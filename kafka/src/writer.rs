//! A client that writes records, and knows of each what became of it.
//!
//! # Contract
//! A record is written when the future of [`Writer::write`] says so: all replicas in sync have it. If it says
//! anything else, or is dropped, the record may be there all the same, or get there up to the client's limit
//! of time later. One that the client itself repeats is there once (the producer is idempotent).

use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use tokio::sync::oneshot;

use crate::{ClientLog, NotWritten};

/// The bytes of records that wait to be written, and that wait to be acknowledged, for one client.
pub const QUEUE_BYTES: usize = 16 << 20;

/// The most bytes of records that go to Kafka as one batch, unless one record alone is larger. Kafka holds
/// the limit of a topic against the batch, so small batches keep small records from being refused with
/// others.
pub(crate) const BATCH_BYTES: usize = 64 << 10;

/// The settings of every client that writes, beside those of every client.
const SETTINGS: &[(&str, &str)] = &[
    ("acks", "all"),
    ("enable.idempotence", "true"),
    // Whoever waits for the report of one record waits for no company.
    ("linger.ms", "0"),
    // A topic that is not there is reported after this time, instead of half a minute.
    ("topic.metadata.propagation.max.ms", "3000"),
    // As Java's clients do: records of equal keys go where theirs go.
    ("partitioner", "murmur2_random"),
    // The topic knows its limit, and says so.
    ("message.max.bytes", "1000000000"),
];

/// A record to be written. Its headers are in order.
#[derive(Debug)]
pub struct Record<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The key.
    pub key: Option<&'a str>,
    /// The value; `None`: null.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers,
}

/// The headers of a record.
#[derive(Debug)]
pub struct Headers {
    all: OwnedHeaders,
    bytes: usize,
}

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The partition.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
}

/// A client that writes.
pub struct Writer {
    /// `None` once it is being closed.
    client: Option<ThreadedProducer<Reports>>,
    log: Arc<ClientLog>,
}

/// Hands each report to who waits for it.
struct Reports(Arc<ClientLog>);

type Report = Result<Place, KafkaError>;

// === impl Headers ===

impl Default for Headers {
    fn default() -> Self {
        Self {
            all: OwnedHeaders::new_with_capacity(12),
            bytes: 0,
        }
    }
}

impl Headers {
    /// Adds one.
    pub fn add(&mut self, name: &str, value: &str) {
        self.bytes += name.len() + value.len();
        let all = std::mem::replace(&mut self.all, OwnedHeaders::new_with_capacity(0));
        self.all = all.insert(Header {
            key: name,
            value: Some(value),
        });
    }
}

// === impl Record ===

impl Record<'_> {
    /// How large it is, but for what Kafka adds.
    fn bytes(&self) -> usize {
        let value = self.value.map_or(0, <[u8]>::len);
        self.headers.bytes + value + self.key.map_or(0, str::len)
    }
}

// === impl Writer ===

impl Writer {
    /// A client with these settings, among them the servers, that gives a record up after `limit`.
    ///
    /// # Errors
    /// When librdkafka does not take the settings.
    pub fn new(mut config: ClientConfig, limit: Duration, log: Arc<ClientLog>) -> Result<Self, KafkaError> {
        for (name, value) in SETTINGS {
            config.set(*name, *value);
        }
        config.set("queue.buffering.max.kbytes", (QUEUE_BYTES >> 10).to_string());
        config.set("batch.size", BATCH_BYTES.to_string());
        config.set("message.timeout.ms", limit.as_millis().to_string());
        let client = config.create_with_context(Reports(log.clone()))?;
        Ok(Self {
            client: Some(client),
            log,
        })
    }

    /// Writes a record. It is queued when this returns; the future waits for the report.
    ///
    /// # Errors
    /// When it is not even queued; the future's error says why it was not written.
    pub fn write<'a>(
        &'a self,
        record: Record<'_>,
    ) -> Result<impl Future<Output = Result<Place, NotWritten>> + use<'a>, NotWritten> {
        let bytes = record.bytes();
        if bytes > QUEUE_BYTES {
            return Err(NotWritten::TooLargeForQueue(QUEUE_BYTES));
        }
        let (report, reported) = oneshot::channel();
        let mut out = BaseRecord::with_opaque_to(record.topic, Box::new(report));
        (out.key, out.payload) = (record.key, record.value);
        out.headers = Some(record.headers.all);
        let client = self.client();
        client.send(out).map_err(|(error, _)| self.why(&error, bytes))?;
        Ok(async move {
            match reported.await {
                Ok(report) => report.map_err(|error| self.why(&error, bytes)),
                Err(_) => Err(NotWritten::Other("the client was closed".to_owned())),
            }
        })
    }

    /// What the servers say of a topic. Blocks up to `within`.
    ///
    /// # Errors
    /// When they do not answer.
    pub fn metadata(&self, topic: &str, within: Duration) -> Result<Metadata, KafkaError> {
        self.client().client().fetch_metadata(Some(topic), within)
    }

    /// Why the servers could not be reached, most recently.
    pub fn log(&self) -> &ClientLog {
        &self.log
    }

    fn client(&self) -> &ThreadedProducer<Reports> {
        self.client.as_ref().expect("invariant: it is taken only by drop")
    }

    fn why(&self, error: &KafkaError, bytes: usize) -> NotWritten {
        let fatal = self.client().client().fatal_error().map(|(_, text)| text);
        NotWritten::of(error, bytes, fatal, self.log.fault())
    }
}

impl Drop for Writer {
    /// Closing waits for the client's threads, so another thread does it.
    fn drop(&mut self) {
        let client = self.client.take();
        let closing = std::thread::Builder::new().name("kafka-close".to_owned());
        // Without a thread for it the closure, and so the client, is dropped here.
        drop(closing.spawn(move || drop(client)));
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

// === impl Reports ===

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.0.line(level, facility, text);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<oneshot::Sender<Report>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let report = match result {
            Ok(message) => Ok(Place {
                partition: message.partition(),
                offset: message.offset(),
            }),
            Err((error, _)) => Err(error.clone()),
        };
        if report.is_ok() {
            // What was wrong with a connection is over.
            self.0.clear();
        }
        // Nobody waits any more where the time of the attempt is over.
        drop(waiting.send(report));
    }
}
