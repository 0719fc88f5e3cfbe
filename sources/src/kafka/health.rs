//! How the source stands: whether the group has given it partitions, and whether the brokers and the topics
//! are there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_kafka::{ClientLog, Concern, is_of_connection};
use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::group::Group;
use super::servers::Servers;
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
    /// The last check of what is wrong.
    pub(super) checked: Instant,
    /// The last list of topics and brokers.
    pub(super) listed: Instant,
    pub(super) servers: Servers,
    pub(super) log: Arc<ClientLog>,
}

/// How often it is looked whether what was wrong is well again.
const LOOK: Duration = Duration::from_secs(2);
/// How often the brokers and topics are listed.
const LOOK_ANYWAY: Duration = Duration::from_secs(60);
/// How long each of them may take.
const TIMEOUT: Duration = Duration::from_secs(1);
const TIMEOUT_ANYWAY: Duration = Duration::from_secs(5);
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
        match Concern::of(error) {
            Concern::Client => return Err(error.to_string()),
            Concern::Cluster => self.standing.trouble(Some(self.everything(error))),
            Concern::Topics => {
                let why = format!("a topic cannot be read: {error}");
                self.standing.trouble(Some(Trouble::Part(why)));
            }
            Concern::Other => report.failed(error.to_string()),
        }
        Ok(())
    }

    /// Takes in the errors of a client that reads nothing yet. They reveal more than the missing answer does,
    /// for example a refused login.
    pub(super) fn drain<C: ConsumerContext>(
        &mut self,
        client: &BaseConsumer<C>,
        report: &Report,
    ) -> Result<(), String> {
        while let Some(told) = client.poll(Duration::ZERO) {
            if let Err(error) = told {
                self.failed(&error, report)?;
            }
        }
        Ok(())
    }

    /// Reports that the servers do not answer.
    pub(super) fn unreachable(&self, error: &KafkaError) {
        let is_news = self.log.fault().is_some() || self.standing.known.lock().trouble.is_none();
        if is_news {
            self.standing.trouble(Some(self.everything(error)));
        }
    }

    /// Nothing can be read. If that is about connections or logins, librdkafka's log tells why, and its error
    /// only tells that it is so.
    fn everything(&self, error: &KafkaError) -> Trouble {
        let fault = is_of_connection(error).then(|| self.log.fault()).flatten();
        let why = fault.map_or_else(|| error.to_string(), |fault| fault.to_string());
        Trouble::Everything(format!(
            "the brokers cannot be reached or do not let it in: {why}"
        ))
    }

    /// While something is wrong, checks every now and then whether it is well again. More rarely, lists the
    /// topics and checks whether the present brokers may still be connected to.
    ///
    /// # Errors
    /// When a broker may not be connected to, or a new partition cannot be remembered.
    pub(super) fn look(&mut self, consumer: &BaseConsumer<Group>) -> Result<(), String> {
        let in_trouble = self.standing.known.lock().trouble.is_some();
        if in_trouble && self.checked.elapsed() >= LOOK {
            let found = self.found(consumer)?;
            if found.is_none() {
                self.log.clear();
            }
            self.standing.trouble(found);
            self.checked = Instant::now();
        }
        if self.listed.elapsed() >= LOOK_ANYWAY {
            self.listed = Instant::now();
            if let Ok(looked) = consumer.context().look(consumer, TIMEOUT_ANYWAY) {
                looked?;
            }
        }
        Ok(())
    }

    fn found(&self, consumer: &BaseConsumer<Group>) -> Result<Option<Trouble>, String> {
        let topics: Vec<Option<&str>> = if self.topics.is_empty() {
            vec![None]
        } else {
            let topics = self.topics.iter().take(ASKED);
            topics.map(|topic| Some(topic.as_str())).collect()
        };
        for topic in topics {
            let metadata = match consumer.fetch_metadata(topic, TIMEOUT) {
                Ok(metadata) => metadata,
                Err(error) => {
                    return Ok(Some(self.everything(&error)));
                }
            };
            self.servers.all_of(&metadata)?;
            let Some(topic) = topic else { continue };
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            if let Some(error) = found.and_then(|found| found.error()) {
                let code = RDKafkaErrorCode::from(error);
                return Ok(Some(Trouble::Part(format!(
                    "the topic {topic} cannot be read: {code}"
                ))));
            }
        }
        Ok(None)
    }
}
