//! KafkaSource: an event for each record of its topics.
//!
//! The files follow the work in order: the settings for librdkafka (`config`), how far it may read ahead
//! (`read_ahead`), which servers may be connected to (`servers`), how a record becomes an event (`record`),
//! the thread that reads (`reader`) with what happens in its group (`group`) and how it stands (`health`),
//! what both sides know of each other (`flow`), what is in hand for each partition (`partitions`), and how it
//! gets to the sink (`carry`).
//!
//! # Guarantees
//! - At least once: Kafka is told an offset only after every record before it is durable in the sink, or was
//!   skipped and counted.
//! - A record that is read again has the same id: its coordinates, or the id of the CloudEvent in it.
//! - Before partitions go to another member, deliveries under way may finish and are committed.

mod carry;
mod config;
mod flow;
mod group;
mod health;
mod partitions;
mod read_ahead;
mod reader;
mod record;
mod servers;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_model::source::Kafka;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::flow::Flow;
use self::group::Group;
use self::health::{Health, Standing};
use self::partitions::{Partitions, Ticket};
use self::read_ahead::ReadAhead;
use self::reader::{Read, Reader};
use self::record::{Mapping, Place};
use self::servers::Servers;
use crate::{Context, Feed, SourceError};

/// Runs between the reading thread and the carrying side. What they hold is bounded by `flow`.
const QUEUE: usize = 16;
/// How long what is on its way may take to end when partitions go or the source ends; then it is dropped, and read again.
const GRACE: Duration = Duration::from_secs(5);
/// How long leaving the group may take. A client that hangs is left to itself.
const CLOSE: Duration = Duration::from_secs(10);

/// Reads topics as a member of a group.
#[derive(Debug)]
pub(crate) struct KafkaFeed {
    spec: Kafka,
}

/// The carrying side at work.
struct Carrying<'a> {
    context: &'a Context,
    flow: Arc<Flow>,
    partitions: Partitions,
    on_the_way: JoinSet<Ticket>,
}

/// The reading thread. Dropping this tells it to end.
struct Reading {
    flow: Arc<Flow>,
    ended: oneshot::Receiver<()>,
}

// === impl KafkaFeed ===

impl KafkaFeed {
    pub(crate) fn new(spec: Kafka) -> Self {
        Self { spec }
    }

    /// Starts the reading thread.
    fn read(
        &self,
        mut config: ClientConfig,
        context: &Context,
        flow: Arc<Flow>,
        sender: mpsc::Sender<Read>,
    ) -> Result<Reading, SourceError> {
        let standing = Arc::new(Standing::new(context.report.clone()));
        let servers = Servers::new(context.guard.clone(), self.spec.topics.first().cloned());
        let group = Group::new(
            flow.clone(),
            &sender,
            standing.clone(),
            self.spec.initial_offset,
            servers.clone(),
        );
        let mut health = Health {
            standing,
            topics: self.spec.topics.clone(),
            looked: Instant::now(),
            servers: servers.clone(),
        };
        let mapping = Mapping::new(&context.name, self.spec.key_type, context.max_event_bytes);
        let (report, topics) = (context.report.clone(), BTreeSet::new());
        let names: Vec<String> = self
            .spec
            .topics
            .iter()
            .chain(&self.spec.topic_pattern)
            .cloned()
            .collect();
        let bootstrap = self.spec.bootstrap_servers.clone();
        let (end, ended) = oneshot::channel();
        let reading = Reading {
            flow: flow.clone(),
            ended,
        };
        let read = move || {
            let allowed = servers.of_document(&bootstrap).and_then(|bootstrap| {
                config.set("bootstrap.servers", bootstrap.join(","));
                servers.ask(&config, &flow, &mut health, &report)
            });
            let consumer =
                allowed.and_then(|allowed| allowed.map(|()| consumer(&config, group, &names)).transpose());
            match consumer {
                Ok(None) => {}
                Ok(Some(consumer)) => Reader {
                    consumer,
                    flow,
                    sender,
                    mapping,
                    report,
                    health,
                    topics,
                }
                .run(),
                Err(why) => drop(sender.blocking_send(Read::Failed(why))),
            }
            let _ = end.send(());
        };
        let thread = std::thread::Builder::new().name("kafka-source".to_owned());
        thread
            .spawn(read)
            .map_err(|error| SourceError::Unusable(format!("no thread to read with: {error}")))?;
        Ok(reading)
    }
}

fn consumer(config: &ClientConfig, group: Group, names: &[String]) -> Result<BaseConsumer<Group>, String> {
    let consumer: BaseConsumer<Group> = config
        .create_with_context(group)
        .map_err(|error| format!("librdkafka does not take the settings: {error}"))?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    consumer
        .subscribe(&names)
        .map_err(|error| format!("the topics cannot be subscribed to: {error}"))?;
    Ok(consumer)
}

#[async_trait::async_trait]
impl Feed for KafkaFeed {
    async fn run(&mut self, context: &Context, shutdown: CancellationToken) -> Result<(), SourceError> {
        let mut config = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            config = config::client(&self.spec, &context.secrets) => config?,
        };
        let read_ahead = ReadAhead::take(&context.read_ahead);
        config.set("queued.max.messages.kbytes", read_ahead.kib());
        let flow = Arc::new(Flow::default());
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        let reading = self.read(config, context, flow.clone(), sender)?;
        let mut carrying = Carrying {
            context,
            flow: flow.clone(),
            partitions: Partitions::new(self.spec.ordering, context.outlet.takes_batches()),
            on_the_way: JoinSet::new(),
        };
        let outcome = carrying.run(&mut receiver, &shutdown).await;
        // The thread may be about to hand something on, or wait for an answer; nobody takes or gives it any more.
        drop(receiver);
        carrying.finish().await;
        reading.end(&context.name).await;
        outcome
    }
}

// === impl Carrying ===

impl Carrying<'_> {
    async fn run(
        &mut self,
        receiver: &mut mpsc::Receiver<Read>,
        shutdown: &CancellationToken,
    ) -> Result<(), SourceError> {
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                Some(ended) = self.on_the_way.join_next() => {
                    let ticket = ended.map_err(|error| SourceError::Unusable(format!("carrying broke down: {error}")))?;
                    self.done(&ticket);
                    self.send(&ticket.place);
                }
                read = receiver.recv() => match read {
                    Some(Read::Run(run)) => {
                        let place = run.place.clone();
                        self.partitions.add(run);
                        self.send(&place);
                    }
                    Some(Read::Revoked(answer)) => {
                        self.finish().await;
                        drop(answer);
                    }
                    Some(Read::Failed(why)) => return Err(SourceError::Origin(why)),
                    None => return Err(SourceError::Origin("the reading thread has ended".to_owned())),
                },
            }
        }
    }

    /// Sends on what of a partition may be sent now.
    fn send(&mut self, place: &Place) {
        while let Some(chunk) = self.partitions.next(place) {
            let (outlet, report) = (self.context.outlet.clone(), self.context.report.clone());
            self.on_the_way.spawn(carry::carry(outlet, report, chunk));
        }
    }

    fn done(&mut self, ticket: &Ticket) {
        if let Some(next) = self.partitions.done(ticket) {
            self.flow.done(&ticket.place, next);
        }
        self.flow.give_back(&ticket.place, ticket.load);
    }

    /// Lets what is on its way end, within bounds, and forgets the rest: it is read again.
    async fn finish(&mut self) {
        self.partitions.forget_waiting();
        let all = async {
            while let Some(ended) = self.on_the_way.join_next().await {
                match ended {
                    Ok(ticket) => {
                        if let Some(next) = self.partitions.done(&ticket) {
                            self.flow.done(&ticket.place, next);
                        }
                    }
                    Err(error) => tracing::warn!(%error, "carrying broke down; the records are read again"),
                }
            }
        };
        let is_all = timeout(GRACE, all).await.is_ok();
        if !is_all {
            self.on_the_way.shutdown().await;
        }
        self.partitions.forget();
        self.flow.clear();
    }
}

// === impl Reading ===

impl Reading {
    /// Ends the thread. One that hangs in the client is left alone: it holds nothing that anybody waits for.
    async fn end(mut self, name: &millrace_event::ObjectName) {
        self.flow.stop();
        if timeout(CLOSE, &mut self.ended).await.is_err() {
            tracing::warn!(source = %name, "the Kafka client does not close in time and is left to itself");
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.flow.stop();
    }
}
