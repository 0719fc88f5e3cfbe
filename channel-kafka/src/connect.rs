//! The clients of one partition: they share their settings and their log.
//!
//! librdkafka waits where it is called, so what asks is called on a thread that may wait; and a client that
//! is dropped waits for its own threads, so another one drops it.

use std::sync::Arc;
use std::time::Duration;

use millrace_channel::ChannelError;
use millrace_kafka::{ClientLog, config, log};
use rdkafka::admin::AdminClient;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, ClientContext};

use crate::error::storage;
use crate::names::Names;
use crate::options::Options;

/// How long a request may take.
pub(crate) const REQUEST: Duration = Duration::from_secs(5);

/// The settings of every client of ours, beside those of every client of Kafka.
const SETTINGS: &[(&str, &str)] = &[
    // Kafka that is back is found within this time.
    ("reconnect.backoff.max.ms", "1000"),
    ("socket.timeout.ms", "10000"),
];

/// The settings of those that read.
const READING: &[(&str, &str)] = &[
    // What is not there is a deletion or a loss, and never a reason to read elsewhere.
    ("auto.offset.reset", "error"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    // Nobody sees what a transaction has not committed.
    ("isolation.level", "read_committed"),
    // What is read ahead, for each reader.
    ("fetch.message.max.bytes", "1048576"),
    ("queued.max.messages.kbytes", "4096"),
    // Without this short backoff a full queue would stand still for a second.
    ("fetch.queue.backoff.ms", "1"),
];

/// What makes clients.
#[derive(Clone, Debug)]
pub(crate) struct Connect {
    config: ClientConfig,
    group: String,
    pub(crate) log: Arc<ClientLog>,
}

/// The context of every client: its log.
#[derive(Clone, Debug)]
pub(crate) struct Quiet(Arc<ClientLog>);

/// A client that is dropped by a thread of its own.
pub(crate) struct Dropped<T: Send + 'static>(Option<T>);

/// A client that asks, and reads nothing.
#[derive(Clone, Debug)]
pub(crate) struct Asking(Arc<Dropped<BaseConsumer<Quiet>>>);

// === impl Connect ===

impl Connect {
    pub(crate) fn new(options: &Options, names: &Names) -> Self {
        let mut config = config::client(&options.access);
        for (name, value) in SETTINGS {
            config.set(*name, *value);
        }
        config.set("bootstrap.servers", options.servers.join(","));
        Self {
            config,
            group: names.events.clone(),
            log: Arc::default(),
        }
    }

    /// The settings of a client that writes.
    pub(crate) fn writing(&self) -> ClientConfig {
        self.config.clone()
    }

    pub(crate) fn make<T: FromClientConfigAndContext<Quiet> + Send>(
        &self,
        config: &ClientConfig,
    ) -> Result<Dropped<T>, ChannelError> {
        let made = config.create_with_context(Quiet(self.log.clone()));
        made.map(|made| Dropped(Some(made))).map_err(storage)
    }

    /// A client that reads; it notes in the log when a topic is another one.
    pub(crate) fn reader<T: FromClientConfigAndContext<Quiet> + Send>(
        &self,
    ) -> Result<Dropped<T>, ChannelError> {
        let mut config = self.reading();
        log::with_recreated(&mut config);
        self.make(&config)
    }

    fn reading(&self) -> ClientConfig {
        let mut config = self.config.clone();
        for (name, value) in READING {
            config.set(*name, *value);
        }
        config.set("group.id", &self.group);
        config
    }

    /// A client that reads a topic to its end, which is told once there was nothing for so long.
    pub(crate) fn to_the_end<T: FromClientConfigAndContext<Quiet> + Send>(
        &self,
    ) -> Result<Dropped<T>, ChannelError> {
        let mut config = self.reading();
        config.set("fetch.wait.max.ms", "10");
        self.make(&config)
    }

    /// A client that reads single records, and sees what is not committed too.
    pub(crate) fn lookup<T: FromClientConfigAndContext<Quiet> + Send>(
        &self,
    ) -> Result<Dropped<T>, ChannelError> {
        let mut config = self.reading();
        config.set("isolation.level", "read_uncommitted");
        // Little of what is read along is asked for.
        config.set("fetch.message.max.bytes", "131072");
        config.set("queued.max.messages.kbytes", "1024");
        // The next look waits for the request of the last one.
        config.set("fetch.wait.max.ms", "2");
        self.make(&config)
    }

    /// A client that asks, and sees what is committed.
    pub(crate) fn asking(&self) -> Result<Asking, ChannelError> {
        self.asking_by(&self.reading())
    }

    /// A client that asks, and sees what is not committed too.
    pub(crate) fn asking_for_all(&self) -> Result<Asking, ChannelError> {
        let mut config = self.reading();
        config.set("isolation.level", "read_uncommitted");
        self.asking_by(&config)
    }

    /// One that joins no group, and so connects to no server but those that it was given until it is asked
    /// about a topic: the others are judged first.
    fn asking_by(&self, config: &ClientConfig) -> Result<Asking, ChannelError> {
        let mut config = config.clone();
        config.remove("group.id");
        Ok(Asking(Arc::new(self.make(&config)?)))
    }

    /// A client that makes and changes.
    pub(crate) fn admin(&self) -> Result<Dropped<AdminClient<Quiet>>, ChannelError> {
        self.make(&self.config)
    }

    /// An error in words, with what is wrong with the connections.
    pub(crate) fn words(&self, error: &impl std::fmt::Display) -> String {
        match self.log.fault() {
            Some(fault) => fault.to_string(),
            None => error.to_string(),
        }
    }
}

// === impl Asking ===

impl Asking {
    /// Asks on a thread that may wait.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&BaseConsumer<Quiet>) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, KafkaError> {
        let client = self.0.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let answer = question(&client);
            // What its log has to tell, and the client's own events.
            while client.poll(Duration::ZERO).is_some() {}
            answer
        });
        asked.await.unwrap_or(Err(KafkaError::Canceled))
    }

    /// The lowest offset that can be read, and the next one to be read once there is something.
    pub(crate) async fn ends(&self, topic: &str, partition: i32) -> Result<(u64, u64), KafkaError> {
        let topic = topic.to_owned();
        let ends = self
            .ask(move |client| client.fetch_watermarks(&topic, partition, REQUEST))
            .await?;
        let offset = |offset: i64| u64::try_from(offset).unwrap_or(0);
        Ok((offset(ends.0), offset(ends.1)))
    }
}

// === impl Dropped ===

impl<T: Send> std::ops::Deref for Dropped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("invariant: it is taken only by drop")
    }
}

impl<T: Send> Drop for Dropped<T> {
    fn drop(&mut self) {
        let client = self.0.take();
        let closing = std::thread::Builder::new().name("kafka-close".to_owned());
        // Without a thread for it the closure, and so the client, is dropped here.
        drop(closing.spawn(move || drop(client)));
    }
}

impl<T: Send> std::fmt::Debug for Dropped<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

// === impl Quiet ===

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.0.line(level, facility, text);
    }

    /// The log has told it.
    fn error(&self, _error: KafkaError, _reason: &str) {}
}

impl ConsumerContext for Quiet {}
