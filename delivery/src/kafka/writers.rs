//! The clients that write, one for each cluster and limit of time, made when they are needed first.
//!
//! # Contract
//! - Sinks of equal clusters share a client. It lives while the mesh has such a sink ([`Writers::keep`]), and
//!   is replaced when it breaks.
//! - Before there is a client, its servers are judged, and those that they name.
//! - A record is given up by the client before the attempt's own time is over, so none is written long after
//!   its attempt.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use millrace_kafka::{ClientLog, Writer, config, is_of_connection};
use millrace_model::{KafkaCluster, KafkaSink};
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use tokio::time::Instant;

use super::access;
use super::servers::{Asking, Servers};
use crate::connector::ConnectorOptions;
use crate::servers::Unfit;

/// The clients. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writers(Arc<Mutex<HashMap<KafkaCluster, OfCluster>>>);

/// The clients of one cluster, by the limit of time.
type OfCluster = HashMap<Duration, Arc<Seat>>;

/// The place of one client.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    writer: Mutex<Option<Arc<Writer>>>,
    /// Held by who makes the client, so that many attempts make one. When that failed last, and why.
    making: tokio::sync::Mutex<Option<(Instant, NotMade)>>,
}

/// Why there is no client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotMade {
    /// A server that nothing is sent to.
    Refused(String),
    /// A secret that cannot be had.
    NoCredentials(String),
    /// The cluster cannot be reached, or does not let us in.
    Unreachable(String),
}

/// For how long the servers are not asked again after they could not be reached: attempts that waited for the
/// answer have it too.
const AGAIN: Duration = Duration::from_secs(1);
/// The longest time for servers to name the others.
const ASKING: Duration = Duration::from_secs(8);
/// How long, and how often, a client is polled for what it has logged.
const POLL: Duration = Duration::from_millis(50);
const POLLS: usize = 20;
/// The limits of time of clients, in seconds, are powers of two up to this one.
const LONGEST: u64 = 1_024;

// === impl Writers ===

impl Writers {
    /// The client for attempts at this sink that may take so long.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn of(
        &self,
        sink: &KafkaSink,
        timeout: Duration,
        options: &ConnectorOptions,
    ) -> Result<(Arc<Seat>, Arc<Writer>), NotMade> {
        let limit = limit(timeout);
        let seat = self.seat(&sink.cluster, limit);
        let writer = seat.writer(sink, limit, options).await?;
        Ok((seat, writer))
    }

    /// Closes the clients of clusters that are not among these.
    pub(crate) fn keep<'a>(&self, sinks: impl Iterator<Item = &'a KafkaSink>) {
        let kept: HashSet<&KafkaCluster> = sinks.map(|sink| &sink.cluster).collect();
        self.0.lock().retain(|cluster, _| kept.contains(cluster));
    }

    fn seat(&self, cluster: &KafkaCluster, limit: Duration) -> Arc<Seat> {
        let mut all = self.0.lock();
        if let Some(seat) = all.get(cluster).and_then(|of_cluster| of_cluster.get(&limit)) {
            return seat.clone();
        }
        let of_cluster = all.entry(cluster.clone()).or_default();
        of_cluster.entry(limit).or_default().clone()
    }
}

// === impl Seat ===

impl Seat {
    async fn writer(
        &self,
        sink: &KafkaSink,
        limit: Duration,
        options: &ConnectorOptions,
    ) -> Result<Arc<Writer>, NotMade> {
        if let Some(writer) = self.known() {
            return Ok(writer);
        }
        let mut failed = self.making.lock().await;
        if let Some(writer) = self.known() {
            return Ok(writer);
        }
        if let Some((at, why)) = &*failed
            && at.elapsed() < AGAIN
        {
            return Err(why.clone());
        }
        match make(sink, limit, options).await {
            Ok(writer) => {
                let writer = Arc::new(writer);
                *self.writer.lock() = Some(writer.clone());
                *failed = None;
                Ok(writer)
            }
            Err(why) => {
                *failed = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    fn known(&self) -> Option<Arc<Writer>> {
        self.writer.lock().clone()
    }

    /// Another client takes the place of this one, with secrets as they are then, and other judgements.
    pub(crate) fn replace(&self, writer: &Arc<Writer>) {
        let mut current = self.writer.lock();
        if current
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, writer))
        {
            *current = None;
        }
    }
}

/// The limit of time for the client of attempts that may take so long: below that, and one of few, so that
/// attempts share clients.
fn limit(timeout: Duration) -> Duration {
    let seconds = timeout
        .as_secs()
        .saturating_sub(u64::from(timeout.subsec_nanos() == 0));
    match seconds.checked_ilog2() {
        Some(power) => Duration::from_secs((1 << power.min(31)).min(LONGEST)),
        None => Duration::from_millis(500),
    }
}

async fn make(sink: &KafkaSink, limit: Duration, options: &ConnectorOptions) -> Result<Writer, NotMade> {
    let KafkaCluster {
        bootstrap_servers,
        tls,
        login,
    } = &sink.cluster;
    let access = access::read(tls.as_ref(), login.as_ref(), &options.secrets).await;
    let config = config::client(&access.map_err(NotMade::NoCredentials)?);
    let servers = Servers::new(options.guard.clone());
    let (named, topic) = (bootstrap_servers.clone(), sink.topic.clone());
    let made = tokio::task::spawn_blocking(move || open(&servers, &named, &topic, config, limit));
    made.await.unwrap_or_else(|error| {
        Err(NotMade::Unreachable(format!(
            "making a client broke down: {error}"
        )))
    })
}

/// Judges the servers, asks them which others there are, judges those, and makes the client. Blocks.
fn open(
    servers: &Servers,
    named: &[String],
    topic: &str,
    mut config: ClientConfig,
    limit: Duration,
) -> Result<Writer, NotMade> {
    let named = servers.of_document(named)?;
    config.set("bootstrap.servers", named.join(","));
    let log = Arc::new(ClientLog::default());
    let not_taken = |error| NotMade::Unreachable(format!("librdkafka does not take the settings: {error}"));
    // It joins no group, and so connects to no server that the others name.
    let asking: BaseConsumer<Asking> = config
        .create_with_context(Asking(log.clone()))
        .map_err(not_taken)?;
    let metadata = asking
        .fetch_metadata(Some(topic), limit.min(ASKING))
        .map_err(|error| {
            // What the client has logged is taken in while it is polled.
            for _ in 0..POLLS {
                if log.fault().is_some() {
                    break;
                }
                drop(asking.poll(POLL));
            }
            NotMade::Unreachable(unreachable(&error, &log))
        })?;
    servers.all_of(&metadata)?;
    Writer::new(config, limit, log).map_err(not_taken)
}

/// Why servers do not answer: the log tells why a connection or a login failed, the error only that it did.
pub(crate) fn unreachable(error: &KafkaError, log: &ClientLog) -> String {
    let fault = log.fault().filter(|_| is_of_connection(error));
    let why = fault.map_or_else(|| error.to_string(), |fault| fault.to_string());
    format!("the brokers cannot be reached: {why}")
}

// === impl NotMade ===

impl From<Unfit> for NotMade {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Refused(why) => Self::Refused(why),
            Unfit::NotFound(why) | Unfit::Unknown(why) => Self::Unreachable(why),
        }
    }
}

impl std::fmt::Display for NotMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(why) | Self::NoCredentials(why) | Self::Unreachable(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gives_up_before_the_attempt_does_and_few_limits_are_in_use() {
        for (timeout, expected) in [
            (1, 500),
            (500, 500),
            (1_000, 500),
            (1_500, 1_000),
            (2_000, 1_000),
            (30_000, 16_000),
            (300_000, 256_000),
            (7_200_000, 1_024_000),
        ] {
            let limit = limit(Duration::from_millis(timeout));
            assert_eq!(limit, Duration::from_millis(expected), "{timeout}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_refused_is_never_asked_and_says_so() {
        let sink = KafkaSink {
            name: millrace_model::ObjectName::new("shop", "orders"),
            cluster: KafkaCluster {
                bootstrap_servers: vec!["169.254.169.254:9092".to_owned()],
                tls: None,
                login: None,
            },
            topic: "orders".to_owned(),
            format: millrace_model::Format::Binary,
        };
        let writers = Writers::default();
        let options = ConnectorOptions::default();
        let made = writers.of(&sink, Duration::from_secs(5), &options);
        let why = made.await.map(|_| ()).expect_err("it is refused");
        assert!(
            matches!(&why, NotMade::Refused(why) if why.starts_with("`bootstrapServers`: 169.254.169.254:9092: connections to ")),
            "{why:?}"
        );
        writers.keep(std::iter::empty());
        assert!(writers.0.lock().is_empty());
    }
}
