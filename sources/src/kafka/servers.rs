//! Which servers may be connected to. Those that the document names are judged before there is a client, and
//! those that the servers name before partitions are read.
//!
//! All calls block; they run on the reading thread.

use std::sync::Arc;
use std::time::Duration;

use millrace_delivery::guard::Guard;
use millrace_kafka::{ClientLog, log};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::{ClientConfig, ClientContext};

use super::flow::Flow;
use super::health::Health;
use crate::Report;
use crate::servers::{Unfit, judge};

/// Judges servers.
#[derive(Clone, Debug)]
pub(super) struct Servers {
    guard: Guard,
    /// The topic to ask about. A pattern needs all topics, so then it is `None`.
    topic: Option<String>,
}

/// A client that only asks.
struct Asking(Arc<ClientLog>);

/// How long the servers may take to list the others, at the first try. Each further try may take twice as
/// long.
const ASKING: Duration = Duration::from_secs(2);
/// The longest time for a try.
const ASKING_LONGEST: Duration = Duration::from_secs(8);

// === impl Servers ===

impl Servers {
    pub(super) fn new(guard: Guard, topic: Option<String>) -> Self {
        Self { guard, topic }
    }

    /// The servers that a client may be given. One that has no address, or that cannot be judged now, is left
    /// out.
    ///
    /// # Errors
    /// When one is refused, or none has an address.
    pub(super) fn of_document(&self, servers: &[String]) -> Result<Vec<String>, String> {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for server in servers {
            let (host, port) = server.rsplit_once(':').unwrap_or((server, ""));
            match judge(&self.guard, host, port.parse().unwrap_or_default()) {
                Ok(()) => found.push(server.clone()),
                Err(Unfit::Refused(why)) => return Err(format!("`bootstrapServers`: {why}")),
                Err(Unfit::NotFound(why) | Unfit::Unknown(why)) => missing.push(why),
            }
        }
        if found.is_empty() {
            return Err(format!("the brokers cannot be reached: {}", missing.join("; ")));
        }
        Ok(found)
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
        for broker in metadata.brokers() {
            let port = u16::try_from(broker.port()).unwrap_or_default();
            match judge(&self.guard, broker.host(), port) {
                // A server without an address is never connected to.
                Ok(()) | Err(Unfit::NotFound(_)) => {}
                Err(Unfit::Refused(why) | Unfit::Unknown(why)) => {
                    return Err(format!("a broker that the others name: {why}"));
                }
            }
        }
        Ok(())
    }
}

impl ClientContext for Asking {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.0.line(level, facility, text);
    }
}

impl ConsumerContext for Asking {}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(own: &str) -> Servers {
        let guard = Guard {
            refuse: vec![own.parse().expect("an address")],
            ..Guard::default()
        };
        Servers::new(guard, None)
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn one_refused_server_refuses_all() {
        let servers = servers("127.0.0.1:9090");
        for name in [
            "169.254.169.254:80",
            "[::ffff:169.254.169.254]:80",
            "localhost:9090",
        ] {
            let error = servers.of_document(&list(&["127.0.0.1:9092", name]));
            let error = error.expect_err(name);
            assert!(
                error.starts_with(&format!("`bootstrapServers`: {name}: connections to ")),
                "{error}"
            );
        }
        let good = list(&["127.0.0.1:9092", "[::1]:9092", "10.0.0.1:9092"]);
        assert_eq!(servers.of_document(&good), Ok(good));
    }

    #[test]
    fn a_server_without_an_address_is_left_out_and_one_has_to_be_left() {
        let servers = servers("127.0.0.1:9090");
        let all = list(&["nowhere.invalid:9092", "127.0.0.1:9092"]);
        assert_eq!(servers.of_document(&all), Ok(list(&["127.0.0.1:9092"])));
        let error = servers.of_document(&all[..1]).expect_err("none is left");
        assert!(
            error.starts_with("the brokers cannot be reached: name not found: nowhere.invalid"),
            "{error}"
        );
    }
}
