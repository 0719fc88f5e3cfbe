//! All partitions of a Broker on JetStream, as one process reaches them: what anybody appends to and reads,
//! and what can be claimed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use millrace_channel::remote::{Client, Spread};
use millrace_channel::{ChannelError, Log};
use millrace_event::ObjectName;
use millrace_event::http::Limits;
use tokio_util::sync::CancellationToken;

use crate::connect::{Connection, Readers, connect, jetstream};
use crate::error::OpenError;
use crate::fence::Store;
use crate::known::{Away, Known};
use crate::names::Names;
use crate::options::{Durability, Options};
use crate::partition::{Inner, Partition};
use crate::prepare::{is_made, prepare};
use crate::reach::Reach;
use crate::shape;
use crate::tend::Ended;

/// Batches of producers that are under way: servers keep 50 a stream.
const BATCHES: usize = 16;
/// The least payload that a server must take.
const LEAST_PAYLOAD: usize = 64 * 1024;
/// The most that any server can be told to take. What is stored may be of a time when it took more than now.
const MOST_PAYLOAD: usize = 64 << 20;
/// How often the streams are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// The streams of one Broker.
#[derive(Debug)]
pub struct Streams {
    parts: Vec<Part>,
    log: Spread,
}

#[derive(Debug)]
struct Part {
    inner: Arc<Inner>,
    client: Client,
}

/// Refuses servers that are too old, or take too little.
fn check(client: &async_nats::Client) -> Result<(), OpenError> {
    if !client.is_server_compatible(2, 12, 0) {
        let version = client.server_info().version;
        let reason = format!("the NATS server is {version}; at least 2.12 is needed");
        return Err(OpenError::Unsuitable(reason));
    }
    let max_payload = client.max_payload();
    if max_payload < LEAST_PAYLOAD {
        let reason = format!("the NATS server takes messages of {max_payload} bytes; 64 KiB are needed");
        return Err(OpenError::Unsuitable(reason));
    }
    Ok(())
}

/// One partition, with its streams.
async fn part(
    options: &Arc<Options>,
    names: Names,
    client: &async_nats::Client,
    readers: &Arc<Readers>,
    is_made: bool,
) -> Result<Part, OpenError> {
    let max_payload = client.max_payload();
    let store = Store {
        client: client.clone(),
        names: names.clone(),
        max_payload,
        ending: options.ending.clone(),
    };
    let (events, state) = prepare(&jetstream(client), &names, options, &store, is_made).await?;
    let epochs = store.epochs().await?;
    let known = Known::default();
    known.look(&events);
    known.look_at_state(&state, shape::share_of_state(&names, options));
    let inner = Arc::new(Inner {
        options: options.clone(),
        names,
        client: client.clone(),
        readers: readers.clone(),
        known,
        max_payload,
        limits: Limits {
            event_bytes: max_payload.max(MOST_PAYLOAD),
            ..Limits::default()
        },
        store,
        fence: tokio::sync::Mutex::default(),
        batches: tokio::sync::Semaphore::new(BATCHES),
        replicas: events.config.num_replicas,
        held_until: AtomicI64::new(i64::MAX),
    });
    let servers = Arc::new(Reach(inner.clone()));
    Ok(Part {
        client: Client::new(servers, epochs),
        inner,
    })
}

// === impl Streams ===

impl Streams {
    /// Connects, and makes the streams if they are not there. Nothing is claimed.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let options = Arc::new(options);
        let Connection { client, .. } = connect(&options, "writes", 0)
            .await
            .map_err(OpenError::Unreachable)?;
        check(&client)?;
        let readers = Arc::new(Readers::new(options.clone()));
        let names = |partition| Names::of(&options.mesh, &options.broker, partition, options.partitions);
        let is_made = is_made(&jetstream(&client), &names(0)).await?;
        let mut parts = Vec::new();
        // Partition 0 is the last: where it is, all of them are.
        for partition in (0..options.partitions).rev() {
            parts.push(part(&options, names(partition), &client, &readers, is_made).await?);
        }
        parts.reverse();
        let mut clients = parts.iter().map(|part| part.client.clone());
        let none = || OpenError::Unsuitable("a Broker has at least one partition".to_owned());
        let log = Spread::new(clients.next().ok_or_else(none)?, clients.collect());
        Ok(Self { parts, log })
    }

    /// What anybody appends to and reads, whoever owns the partitions.
    pub fn log(&self) -> Arc<dyn Log> {
        Arc::new(self.log.clone())
    }

    /// The numbers of the partitions.
    pub fn partitions(&self) -> std::ops::Range<u32> {
        0..self.parts.len() as u32
    }

    /// What all parts of each partition share.
    pub(crate) fn inners(&self) -> Vec<Arc<Inner>> {
        self.parts.iter().map(|part| part.inner.clone()).collect()
    }

    /// The Triggers that have a lane in a partition, whoever owns it, each with the uid of its lane.
    pub async fn lanes(&self, partition: u32) -> Result<BTreeSet<(ObjectName, String)>, ChannelError> {
        match self.parts.get(partition as usize) {
            Some(part) => part.inner.store.lanes().await,
            None => Ok(BTreeSet::new()),
        }
    }

    /// Takes a partition over.
    pub async fn claim(&self, partition: u32) -> Result<Partition, OpenError> {
        let none = || OpenError::Unsuitable(format!("there is no partition {partition}"));
        let part = self.parts.get(partition as usize).ok_or_else(none)?;
        let claimed = Partition::claim(part.inner.clone()).await?;
        part.client.follow(claimed.owner().epochs());
        Ok(claimed)
    }

    /// What a 202 rests on.
    pub fn durability(&self) -> Durability {
        let replicas = self.parts.iter().map(|part| part.inner.replicas).min();
        shape::durability(replicas.unwrap_or(1))
    }

    /// Looks at the streams until it is asked to end, or one of them has lost events: then everything
    /// must be opened anew.
    pub async fn tend(&self, until: &CancellationToken) -> Ended {
        loop {
            if self.parts.iter().any(|part| part.inner.known.has_lost()) {
                return Ended::Lost;
            }
            tokio::select! {
                biased;
                () = until.cancelled() => return Ended::Asked,
                () = tokio::time::sleep(LOOK) => {}
            }
            let looks = self.parts.iter().map(|part| async {
                let inner = &part.inner;
                let away = match tokio::join!(inner.look(), inner.look_at_state()) {
                    (Ok(_), Ok(_)) => None,
                    (Ok(_), Err(_)) => Some(Away::State),
                    (Err(_), _) => Some(Away::Servers),
                };
                inner.known.answers(away, inner.names.partition);
            });
            futures_util::future::join_all(looks).await;
        }
    }
}
