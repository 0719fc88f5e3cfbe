//! KafkaSource: an event for each record of its topics.
//!
//! The crate `kafka/` has what every client of Kafka needs. The files follow the work in order: the settings
//! of a consumer (`config`), how far it may read ahead
//! (`read_ahead`), which servers may be connected to (`servers`), how the reading begins (`open`), which
//! topics Kafka has (`topics`, `look`) and what the source remembers of them (`remembered`), where a
//! partition begins (`start`, `begin`), how a record is recognised (`fingerprint`), how a record becomes an
//! event (`record`), how messages become runs (`take`), the thread that reads (`reader`) with what happens in
//! its group (`group`), and how the source stands (`health`), what both
//! sides know of each other (`flow`), what is in hand for each partition (`partitions`), and how it gets to
//! the sink (`carry`).
//!
//! # Guarantees
//! - At least once: Kafka is told an offset only after every record before it is durable in the sink, or was
//!   skipped and counted.
//! - No record is missed that Kafka did not have when the source was admitted: partitions and topics that
//!   appear later, or are recreated, begin at their beginning. `docs/decisions/0016-what-latest-means.md`
//!   says how.
//! - A record that is read again has the same id: its coordinates, or the id of the CloudEvent in it. Records
//!   of a recreated topic have other ids than those before.
//! - Before partitions go to another member, deliveries under way may finish and are committed.

mod begin;
mod carry;
mod config;
mod fingerprint;
mod flow;
mod group;
mod health;
mod look;
mod open;
mod partitions;
mod read_ahead;
mod reader;
mod record;
mod remembered;
mod servers;
mod start;
mod take;
mod topics;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use millrace_model::source::Kafka;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use self::carry::OnTheWay;
use self::flow::Flow;
use self::open::Opening;
use self::partitions::{Partitions, Ticket};
use self::read_ahead::ReadAhead;
use self::reader::{Ending, Read};
use self::record::PartitionLife;
use crate::{Context, Feed, SourceError};

/// Runs between the reading thread and the carrying side. What they hold is bounded by `flow`.
const QUEUE: usize = 16;
/// How long what is on its way may take to end when partitions go or the source ends; then it is dropped, and
/// read again.
const GRACE: Duration = Duration::from_secs(5);
/// How long leaving the group may take. A client that hangs is left to itself.
const CLOSE: Duration = Duration::from_secs(10);

/// The least time before another client follows one that could not continue.
const ANEW: Duration = Duration::from_secs(1);

/// How the work of one client ends.
enum End {
    /// As it was told to.
    Stopped,
    /// Partitions must begin anew.
    Over,
}

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
    on_the_way: FuturesUnordered<OnTheWay>,
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

    /// Reads with one client, until told to stop or until the client cannot continue.
    async fn read(&self, context: &Context, shutdown: &CancellationToken) -> Result<End, SourceError> {
        let mut config = tokio::select! {
            () = shutdown.cancelled() => return Ok(End::Stopped),
            config = config::client(&self.spec, &context.secrets) => config?,
        };
        let read_ahead = ReadAhead::take(&context.read_ahead);
        config.set("queued.max.messages.kbytes", read_ahead.kib());
        let flow = Arc::new(Flow::default());
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        let reading = Reading::start(Opening {
            spec: self.spec.clone(),
            config,
            context: context.clone(),
            flow: flow.clone(),
            sender,
            runtime: Handle::current(),
        })?;
        let mut carrying = Carrying {
            context,
            flow: flow.clone(),
            partitions: Partitions::new(self.spec.ordering, context.outlet.takes_batches()),
            on_the_way: FuturesUnordered::new(),
        };
        let outcome = carrying.run(&mut receiver, shutdown).await;
        // The thread may be about to hand something on, or wait for an answer; nobody takes or gives it any
        // more.
        drop(receiver);
        carrying.finish().await;
        reading.end().await;
        outcome
    }
}

#[async_trait::async_trait]
impl Feed for KafkaFeed {
    async fn run(&mut self, context: &Context, shutdown: CancellationToken) -> Result<(), SourceError> {
        while let End::Over = self.read(context, &shutdown).await? {
            tracing::info!("partitions are begun anew, with another client");
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(ANEW) => {}
            }
        }
        Ok(())
    }
}

// === impl Carrying ===

impl Carrying<'_> {
    async fn run(
        &mut self,
        receiver: &mut mpsc::Receiver<Read>,
        shutdown: &CancellationToken,
    ) -> Result<End, SourceError> {
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(End::Stopped),
                Some(ended) = self.on_the_way.next() => {
                    let ticket = ended.map_err(|error| SourceError::Unusable(error.to_string()))?;
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
                    Some(Read::Ended(Ending::Over)) => return Ok(End::Over),
                    Some(Read::Ended(Ending::Failed(why))) => return Err(SourceError::Origin(why)),
                    None => return Err(SourceError::Origin("the reading thread has ended".to_owned())),
                },
            }
        }
    }

    /// Sends on what of a partition may be sent now.
    fn send(&mut self, place: &PartitionLife) {
        while let Some(chunk) = self.partitions.next(place) {
            let (outlet, report) = (self.context.outlet.clone(), self.context.report.clone());
            self.on_the_way.push(carry::begin(outlet, report, chunk));
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
            while let Some(ended) = self.on_the_way.next().await {
                match ended {
                    Ok(ticket) => {
                        if let Some(next) = self.partitions.done(&ticket) {
                            self.flow.done(&ticket.place, next);
                        }
                    }
                    Err(error) => tracing::warn!(%error, "the records are read again"),
                }
            }
        };
        let is_all = timeout(GRACE, all).await.is_ok();
        if !is_all {
            self.on_the_way.clear();
        }
        self.partitions.forget();
        self.flow.clear();
    }
}

// === impl Reading ===

impl Reading {
    fn start(opening: Opening) -> Result<Self, SourceError> {
        let (flow, (end, ended)) = (opening.flow.clone(), oneshot::channel());
        let thread = std::thread::Builder::new().name("kafka-source".to_owned());
        let span = Span::current();
        let read = move || {
            span.in_scope(|| opening.run());
            let _ = end.send(());
        };
        thread
            .spawn(read)
            .map_err(|error| SourceError::Unusable(format!("no thread to read with: {error}")))?;
        Ok(Self { flow, ended })
    }

    /// Ends the thread. One that hangs in the client is left alone: it holds nothing that anybody waits for.
    async fn end(mut self) {
        self.flow.stop();
        if timeout(CLOSE, &mut self.ended).await.is_err() {
            tracing::warn!("the Kafka client does not close in time and is left to itself");
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.flow.stop();
    }
}
