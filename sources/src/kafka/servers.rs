//! Which servers may be connected to. Those that the document names are judged before there is a client, and
//! those that the servers name before partitions are read.
//!
//! All calls block; they run on the reading thread.

use std::time::Duration;

use millrace_delivery::guard::Guard;
use millrace_delivery::kafka::servers::{self, Asking};
use millrace_kafka::log;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;

use super::flow::Flow;
use super::health::Health;
use crate::Report;

/// Judges servers.
#[derive(Clone, Debug)]
pub(super) struct Servers {
    judge: servers::Servers,
    /// The topic to ask about. A pattern needs all topics, so then it is `None`.
    topic: Option<String>,
}

/// How long the servers may take to list the others, at the first try. Each further try may take twice as
/// long.
const ASKING: Duration = Duration::from_secs(2);
/// The longest time for a try.
const ASKING_LONGEST: Duration = Duration::from_secs(8);

// === impl Servers ===

impl Servers {
    pub(super) fn new(guard: Guard, topic: Option<String>) -> Self {
        Self {
            judge: servers::Servers::new(guard),
            topic,
        }
    }

    /// The servers that a client may be given.
    ///
    /// # Errors
    /// When one is refused, or none has an address.
    pub(super) fn of_document(&self, servers: &[String]) -> Result<Vec<String>, String> {
        self.judge.of_document(servers).map_err(|unfit| unfit.to_string())
    }

    /// Asks the servers of the document which others there are, until they answer. The clients for this join
    /// no group, and so connect to no other server. Returns the cluster's id; `None`: it was told to stop.
    ///
    /// # Errors
    /// When one of them is refused, or librdkafka does not take the settings.
    pub(super) fn ask(
        &self,
        config: &ClientConfig,
        flow: &Flow,
        health: &mut Health,
        report: &Report,
    ) -> Result<Option<String>, String> {
        let mut config = config.clone();
        config.remove("group.id");
        log::without_recreated(&mut config);
        let mut within = ASKING;
        while !flow.is_stopped() {
            // A new client each time: it knows only the servers of the document, and never connects to one
            // that others have named.
            let client: BaseConsumer<Asking> = config
                .create_with_context(Asking(health.log.clone()))
                .map_err(|error| format!("librdkafka does not take the settings: {error}"))?;
            match self.named_by(&client, within) {
                Ok(judged) => {
                    let cluster = client.client().fetch_cluster_id(within);
                    return judged.map(|()| Some(cluster.unwrap_or_default()));
                }
                Err(error) => {
                    health.drain(&client, report)?;
                    health.unreachable(&error);
                }
            }
            within = (within * 2).min(ASKING_LONGEST);
        }
        Ok(None)
    }

    /// Judges the servers that the others name. The outer error means that they do not answer.
    pub(super) fn named_by<C: ConsumerContext>(
        &self,
        client: &BaseConsumer<C>,
        within: Duration,
    ) -> Result<Result<(), String>, KafkaError> {
        let metadata = client.fetch_metadata(self.topic.as_deref(), within)?;
        Ok(self.all_of(&metadata))
    }

    /// Judges all servers of an answer.
    ///
    /// # Errors
    /// When one is refused, or cannot be judged now: then the source starts again.
    pub(super) fn all_of(&self, metadata: &Metadata) -> Result<(), String> {
        self.judge.all_of(metadata).map_err(|unfit| unfit.to_string())
    }
}
