//! The client that writes the state in transactions, each whole or not at all. All calls wait.
//!
//! Kafka lets one client at a time write under a `transactional.id`: whoever begins with it ends what the one
//! before has left open, and that one's next transaction is refused. Kafka refuses it too when a transaction
//! was open for longer than a minute because the client was cut off. So a refusal alone does not say that
//! there is another owner.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use millrace_channel::ChannelError;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use tokio_util::sync::CancellationToken;

use crate::connect::{Connect, Dropped, Quiet};
use crate::error::storage;
use crate::state::{Draft, PARTS};

/// How long a call may wait before it is looked whether the process ends.
const SLICE: Duration = Duration::from_secs(2);
/// How long Kafka may take to begin.
const BEGIN: Duration = Duration::from_secs(20);
/// When a transaction that was ended without effect is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// How long an answer is waited for once the process is about to end.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// The settings of the client, beside those of every client.
const SETTINGS: &[(&str, &str)] = &[
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("linger.ms", "0"),
    ("transaction.timeout.ms", "60000"),
    ("queue.buffering.max.kbytes", "65536"),
    ("message.max.bytes", "1000000000"),
    ("batch.size", "262144"),
];

/// The client of one claim.
#[derive(Debug)]
pub(crate) struct Transactions {
    client: Dropped<ThreadedProducer<Quiet>>,
    topic: String,
    partition: i32,
    ending: CancellationToken,
}

/// Why a transaction is not stored, or not known to be: the client is of no use any more.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

/// What became of one try.
enum Tried {
    Stored,
    /// Nothing of it was stored.
    Aborted,
}

// === impl Transactions ===

impl Transactions {
    /// Begins under the `transactional.id`: whoever had it before is refused from now on.
    pub(crate) fn begin(
        connect: &Connect,
        id: &str,
        (topic, partition): (&str, i32),
        ending: &CancellationToken,
    ) -> Result<Self, ChannelError> {
        let mut config = connect.writing();
        for (name, value) in SETTINGS {
            config.set(*name, *value);
        }
        config.set("transactional.id", id);
        let client: Dropped<ThreadedProducer<Quiet>> = connect.make(&config)?;
        let until = Instant::now() + BEGIN;
        loop {
            match client.init_transactions(SLICE) {
                Ok(()) => break,
                Err(error) if is_retriable(&error) && Instant::now() < until && !ending.is_cancelled() => {}
                Err(error) => return Err(storage(connect.words(&error))),
            }
        }
        Ok(Self {
            client,
            topic: topic.to_owned(),
            partition,
            ending: ending.clone(),
        })
    }

    /// Stores these records in one transaction; it is tried again until it is known to be stored.
    pub(crate) fn store(&self, drafts: &[Draft]) -> Result<(), Broken> {
        let mut ends = Ends::default();
        loop {
            match self.once(drafts, &mut ends)? {
                Tried::Stored => return Ok(()),
                Tried::Aborted => std::thread::sleep(AGAIN),
            }
            ends.look(&self.ending)?;
        }
    }

    fn once(&self, drafts: &[Draft], ends: &mut Ends) -> Result<Tried, Broken> {
        self.client.begin_transaction().map_err(|error| broken(&error))?;
        if self.send(drafts, ends)? {
            loop {
                match self.client.commit_transaction(SLICE) {
                    Ok(()) => return Ok(Tried::Stored),
                    Err(error) if must_abort(&error) => break,
                    Err(error) if is_retriable(&error) => ends.look(&self.ending)?,
                    Err(error) => return Err(broken(&error)),
                }
            }
        }
        loop {
            match self.client.abort_transaction(SLICE) {
                Ok(()) => return Ok(Tried::Aborted),
                Err(error) if is_retriable(&error) => ends.look(&self.ending)?,
                Err(error) => return Err(broken(&error)),
            }
        }
    }

    /// Whether all were queued. Waits a while until Kafka has told of each: the commit, which would wait for
    /// them, looks only ten times a second.
    fn send(&self, drafts: &[Draft], ends: &mut Ends) -> Result<bool, Broken> {
        let (report, reports) = mpsc::channel();
        for draft in drafts {
            let mut record = BaseRecord::with_opaque_to(&self.topic, Box::new(report.clone()))
                .key(&draft.key)
                .partition(self.partition);
            record.payload = draft.value.as_deref();
            if draft.parts > 0 {
                record.headers = Some(OwnedHeaders::new().insert(Header {
                    key: PARTS,
                    value: Some(&draft.parts.to_string()),
                }));
            }
            while let Err((error, again)) = self.client.send(record) {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return match self.client.client().fatal_error() {
                        Some((_, why)) => Err(Broken(why)),
                        None => Ok(false),
                    };
                }
                std::thread::sleep(AGAIN / 10);
                ends.look(&self.ending)?;
                record = again;
            }
        }
        drop(report);
        let until = Instant::now() + SLICE;
        loop {
            match reports.recv_timeout(AGAIN) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(true),
                Err(RecvTimeoutError::Timeout) => {
                    // Of a client that broke none is told for a minute.
                    if let Some((_, why)) = self.client.client().fatal_error() {
                        return Err(Broken(why));
                    }
                    ends.look(&self.ending)?;
                    if Instant::now() > until {
                        return Ok(true);
                    }
                }
            }
        }
    }
}

impl ProducerContext for Quiet {
    type DeliveryOpaque = Box<mpsc::Sender<()>>;

    /// What became of it the end of the transaction tells.
    fn delivery(&self, _: &rdkafka::message::DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let _ = waiting.send(());
    }
}

fn is_retriable(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_retriable() && !error.is_fatal(),
        _ => false,
    }
}

fn must_abort(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(error) if error.txn_requires_abort())
}

fn broken(error: &KafkaError) -> Broken {
    Broken(error.to_string())
}

/// Nobody is waited for once the channel is to be closed.
#[derive(Debug, Default)]
struct Ends(Option<Instant>);

impl Ends {
    fn look(&mut self, ending: &CancellationToken) -> Result<(), Broken> {
        if !ending.is_cancelled() {
            return Ok(());
        }
        let since = *self.0.get_or_insert_with(Instant::now);
        match since.elapsed() < LAST_WAIT {
            true => Ok(()),
            false => Err(Broken(
                "Kafka does not answer, and the channel is to be closed".to_owned(),
            )),
        }
    }
}
