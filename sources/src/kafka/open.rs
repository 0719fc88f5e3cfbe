//! How reading begins: the servers are judged, stored places are loaded, the source is admitted, and then it
//! joins its group.
//!
//! All calls block; they run on the reading thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_kafka::ClientLog;
use millrace_model::source::Kafka;
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::flow::Flow;
use super::group::{Group, State};
use super::health::{Health, Standing};
use super::look::Wanted;
use super::reader::{Ending, Read, Reader};
use super::record::Mapping;
use super::remembered::Remembered;
use super::servers::Servers;
use super::take::Taking;
use crate::Context;

/// What reading needs to begin.
pub(super) struct Opening {
    pub(super) spec: Kafka,
    /// All settings except the servers.
    pub(super) config: ClientConfig,
    pub(super) context: Context,
    pub(super) flow: Arc<Flow>,
    pub(super) sender: mpsc::Sender<Read>,
    /// Runs the stores of places.
    pub(super) runtime: Handle,
}

/// The longest time for Kafka to list its topics when the source is admitted.
const LOOK: Duration = Duration::from_secs(8);

// === impl Opening ===

impl Opening {
    /// Reads until told to stop.
    pub(super) fn run(self) {
        let reader = match self.reader() {
            Ok(Some(reader)) => reader,
            Ok(None) => return,
            Err(why) => return drop(self.sender.blocking_send(Read::Ended(Ending::Failed(why)))),
        };
        // Only the reader may keep the channel open.
        drop(self);
        reader.run();
    }

    /// `None`: it was told to stop.
    fn reader(&self) -> Result<Option<Reader>, String> {
        let (report, mut config) = (&self.context.report, self.config.clone());
        let servers = Servers::new(self.context.guard.clone(), self.spec.topics.first().cloned());
        let (standing, log) = (
            Arc::new(Standing::new(report.clone())),
            Arc::new(ClientLog::default()),
        );
        let mut health = Health {
            standing: standing.clone(),
            topics: self.spec.topics.clone(),
            checked: Instant::now(),
            listed: Instant::now(),
            servers: servers.clone(),
            log: log.clone(),
        };
        let allowed = servers.of_document(&self.spec.bootstrap_servers)?;
        config.set("bootstrap.servers", allowed.join(","));
        let Some(cluster) = servers.ask(&config, &self.flow, &mut health, report)? else {
            return Ok(None);
        };
        let group = Group {
            flow: self.flow.clone(),
            sender: self.sender.downgrade(),
            standing,
            report: report.clone(),
            servers,
            wanted: Wanted::of(&self.spec),
            log,
            remembered: Mutex::new(self.remembered(&cluster)?),
            state: State::default(),
        };
        let consumer: BaseConsumer<Group> = config
            .create_with_context(group)
            .map_err(|error| format!("librdkafka does not take the settings: {error}"))?;
        if self.admit(&consumer, &mut health)?.is_none() {
            return Ok(None);
        }
        self.join(&consumer)?;
        Ok(Some(Reader {
            consumer,
            flow: self.flow.clone(),
            sender: self.sender.clone(),
            taking: Taking {
                mapping: Mapping::new(
                    &self.context.name,
                    self.spec.key_type,
                    self.context.max_event_bytes,
                ),
                report: report.clone(),
                singly: !self.context.outlet.takes_batches(),
            },
            report: report.clone(),
            health,
        }))
    }

    fn remembered(&self, cluster: &str) -> Result<Remembered, String> {
        let (memory, clock) = (self.context.memory.clone(), self.context.clock.clone());
        Remembered::open(memory, clock, self.runtime.clone(), cluster, &self.spec.group)
    }

    /// Lists the topics, trying until Kafka answers. `None`: it was told to stop.
    fn admit(&self, consumer: &BaseConsumer<Group>, health: &mut Health) -> Result<Option<()>, String> {
        while !self.flow.is_stopped() {
            match consumer.context().look(consumer, LOOK) {
                Ok(looked) => return looked.map(Some),
                Err(error) => {
                    health.drain(consumer, &self.context.report)?;
                    health.unreachable(&error);
                }
            }
        }
        Ok(None)
    }

    fn join(&self, consumer: &BaseConsumer<Group>) -> Result<(), String> {
        let names = self.spec.topics.iter().chain(&self.spec.topic_pattern);
        let names: Vec<&str> = names.map(String::as_str).collect();
        consumer
            .subscribe(&names)
            .map_err(|error| format!("the topics cannot be subscribed to: {error}"))
    }
}
