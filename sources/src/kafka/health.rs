//! How the source stands: whether the group has given it partitions, and whether the brokers and the topics are there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::group::Group;
use crate::Report;

/// What is known, and the pen for it.
#[derive(Debug)]
pub(super) struct Standing {
    report: Report,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Partitions that the group has given; `None` before it has said anything.
    partitions: Option<usize>,
    trouble: Option<Trouble>,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// Nothing can be read.
    Everything(String),
    /// Some of it cannot.
    Part(String),
}

/// Looks after what is wrong until it is well again.
pub(super) struct Health {
    pub(super) standing: Arc<Standing>,
    /// The topics that the document names.
    pub(super) topics: Vec<String>,
    pub(super) looked: Instant,
}

/// How often it is looked whether what was wrong is well again.
const LOOK: Duration = Duration::from_secs(2);
/// How long one look may take.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The most topics that one look asks for.
const ASKED: usize = 20;

// === impl Standing ===

impl Standing {
    pub(super) fn new(report: Report) -> Self {
        Self {
            report,
            known: Mutex::default(),
        }
    }

    pub(super) fn assigned(&self, partitions: usize) {
        let mut known = self.known.lock();
        known.partitions = Some(partitions);
        if let Some(Trouble::Everything(_)) = known.trouble {
            known.trouble = None;
        }
        self.tell(&known);
    }

    pub(super) fn revoked(&self) {
        self.known.lock().partitions = None;
    }

    fn trouble(&self, trouble: Option<Trouble>) {
        let mut known = self.known.lock();
        if known.trouble != trouble {
            known.trouble = trouble;
            self.tell(&known);
        }
    }

    fn tell(&self, known: &Known) {
        match (&known.trouble, known.partitions) {
            (Some(Trouble::Everything(why) | Trouble::Part(why)), None)
            | (Some(Trouble::Everything(why)), Some(_)) => self.report.not_ready(why),
            (Some(Trouble::Part(why)), Some(_)) => self.report.ready_but(why),
            (None, Some(0)) => self
                .report
                .ready_but("other members of the group have all partitions"),
            (None, Some(_)) => self.report.ready(),
            (None, None) => {}
        }
    }
}

// === impl Health ===

impl Health {
    /// An error that a poll has given. What librdkafka does not get over by itself is an error here too.
    pub(super) fn failed(&mut self, error: &KafkaError, report: &Report) -> Result<(), String> {
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            return Err(error.to_string());
        }
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::SSL,
            ) => {
                let why = format!("the brokers cannot be reached or do not let it in: {error}");
                self.standing.trouble(Some(Trouble::Everything(why)));
            }
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::TopicAuthorizationFailed,
            ) => {
                let why = format!("a topic cannot be read: {error}");
                self.standing.trouble(Some(Trouble::Part(why)));
            }
            _ => report.failed(error.to_string()),
        }
        Ok(())
    }

    /// The servers do not answer, and it is not known why.
    pub(super) fn unreachable(&self, error: &KafkaError) {
        if self.standing.known.lock().trouble.is_none() {
            let why = format!("the brokers cannot be reached: {error}");
            self.standing.trouble(Some(Trouble::Everything(why)));
        }
    }

    /// Looks whether what was wrong is well again, every now and then while something is.
    pub(super) fn look(&mut self, consumer: &BaseConsumer<Group>) {
        let in_trouble = self.standing.known.lock().trouble.is_some();
        if in_trouble && self.looked.elapsed() >= LOOK {
            self.standing.trouble(self.found(consumer));
            self.looked = Instant::now();
        }
    }

    fn found(&self, consumer: &BaseConsumer<Group>) -> Option<Trouble> {
        let unreachable =
            |error: KafkaError| Trouble::Everything(format!("the brokers cannot be reached: {error}"));
        if self.topics.is_empty() {
            return consumer.fetch_metadata(None, TIMEOUT).err().map(unreachable);
        }
        for topic in self.topics.iter().take(ASKED) {
            let metadata = match consumer.fetch_metadata(Some(topic), TIMEOUT) {
                Ok(metadata) => metadata,
                Err(error) => return Some(unreachable(error)),
            };
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            if let Some(error) = found.and_then(|found| found.error()) {
                let code = RDKafkaErrorCode::from(error);
                return Some(Trouble::Part(format!("the topic {topic} cannot be read: {code}")));
            }
        }
        None
    }
}
