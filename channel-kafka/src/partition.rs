//! One partition on Kafka: opened, and what its owner and its readers ask of the servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use millrace_channel::remote::{Client, Owner, OwnerOptions, Servers};
use millrace_channel::{Channel, ChannelError, Log};
use millrace_event::http::Limits;
use millrace_event::kafka::Decoder;
use rdkafka::admin::AdminClient;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use crate::append::Appender;
use crate::connect::{Asking, Connect, Dropped, Quiet};
use crate::error::{OpenError, storage};
use crate::fence::Store;
use crate::known::Known;
use crate::lookup::Lookup;
use crate::names::Names;
use crate::options::{Durability, Options};
use crate::reach::Reach;
use crate::shape::{Kind, Topic, falls_short};
use crate::topics::Topics;

/// The one partition.
pub(crate) const PARTITION: i32 = 0;
/// So often in a row Kafka has to say that there is no such topic until that is believed: a server that was
/// just started says so too.
const GONE: u32 = 5;

/// An open partition.
#[derive(Clone, Debug)]
pub struct Partition {
    owner: Arc<Owner>,
    pub(crate) inner: Arc<Inner>,
}

/// What all parts of it share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) options: Arc<Options>,
    pub(crate) names: Names,
    pub(crate) connect: Connect,
    /// Sees what is committed, and all.
    asking: [Asking; 2],
    pub(crate) admin: Dropped<AdminClient<Quiet>>,
    pub(crate) appender: Appender,
    pub(crate) lookup: Lookup,
    pub(crate) known: Known,
    pub(crate) store: Store,
    pub(crate) topic: Topic,
    limits: Limits,
    /// How often in a row there was no topic.
    gone: AtomicU32,
}

// === impl Partition ===

impl Partition {
    /// Makes the topics if they are not there, and takes the partition over.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let options = Arc::new(options);
        let names = Names::of(&options.mesh, &options.broker);
        let connect = Connect::new(&options, &names);
        let asking = [connect.asking()?, connect.asking_for_all()?];
        let admin = connect.admin()?;
        let store = Store {
            connect: connect.clone(),
            names: names.clone(),
            partition: PARTITION,
            asking: asking.clone(),
            ending: options.ending.clone(),
            fence: Arc::default(),
        };
        let topics = Topics {
            asking: &asking[0],
            admin: &admin,
            connect: &connect,
            options: &options,
        };
        // Whoever writes connects to servers that the cluster names: they are judged by now.
        let events = topics.existing(Kind::Events, &names.events).await?;
        let appender = Appender::new(connect.clone(), &names.events);
        let topic = prepare(&topics, &names, &store, events).await?;
        let limits = Limits {
            event_bytes: topic
                .number("max.message.bytes")
                .map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            ..Limits::default()
        };
        let decoder = Decoder::new(limits);
        let inner = Arc::new(Inner {
            appender,
            lookup: Lookup::new(connect.clone(), &names.events, PARTITION, decoder),
            known: Known::default(),
            options: options.clone(),
            names,
            connect,
            asking,
            admin,
            store,
            topic,
            limits,
            gone: AtomicU32::new(0),
        });
        // What was written by others before the claim counts.
        inner.look().await?;
        let owner_options = OwnerOptions {
            clock: options.clock.clone(),
            seed: fastrand::u64(..),
            salt: salt(&options.broker.to_string()),
        };
        let servers: Arc<dyn Servers> = Arc::new(Reach(inner.clone()));
        let owner = Owner::claim(servers, owner_options).await?;
        if owner.has_lost() {
            tracing::error!(
                "Kafka has lost events that it had acknowledged; what is left is read again from before the loss"
            );
        }
        Ok(Self {
            owner: Arc::new(owner),
            inner,
        })
    }

    /// What the dispatcher serves.
    pub fn channel(&self) -> Arc<dyn Channel> {
        self.owner.clone()
    }

    /// What anybody appends to and reads.
    pub fn log(&self) -> Arc<dyn Log> {
        let client: Client = self.owner.client();
        Arc::new(client)
    }

    /// What a 202 rests on.
    pub fn durability(&self) -> Durability {
        self.inner.topic.durability().0
    }

    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }
}

/// A number for a Broker's name (FNV-1a): it is in ids that people write down, so it never changes.
fn salt(broker: &str) -> u64 {
    broker.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Makes what is missing, the state with its progress first, looks at the shape of what is there, and takes
/// the partition over. Without a progress beside events the state is lost, and never new.
async fn prepare(
    topics: &Topics<'_>,
    names: &Names,
    store: &Store,
    events: Option<Topic>,
) -> Result<Topic, OpenError> {
    // The first and the next offset: a topic that somebody has made for us has had no event yet.
    let ends = match &events {
        Some(_) => {
            let ends = topics.asking.ends(&names.events, PARTITION).await;
            ends.map_err(|error| OpenError::Unreachable(topics.connect.words(&error)))?
        }
        None => (0, 0),
    };
    let state_lost = || OpenError::StateLost {
        events: names.events.clone(),
        state: names.state.clone(),
    };
    let may_begin = ends.1 == 0 || topics.options.rebuild_state;
    let state = match topics.existing(Kind::State, &names.state).await? {
        Some(topic) => topic,
        None if !may_begin => return Err(state_lost()),
        None => topics.make(Kind::State, &names.state).await?,
    };
    if let Some(events) = &events {
        weakest(topics, events, &state)?;
    }
    if !store.take_over().await? {
        if !may_begin {
            return Err(state_lost());
        }
        store.begin_state(ends.0).await?;
    }
    let events = match events {
        Some(topic) => topic,
        None => topics.make(Kind::Events, &names.events).await?,
    };
    weakest(topics, &events, &state)
}

/// The topic whose records are the less safe: the promise is that of the weaker one.
fn weakest(topics: &Topics<'_>, events: &Topic, state: &Topic) -> Result<Topic, OpenError> {
    let is_weaker = |topic: &Topic| topic.durability().0 == Durability::SingleCopy;
    let mut weakest = if is_weaker(state) && !is_weaker(events) {
        state.clone()
    } else {
        events.clone()
    };
    if let Some(reason) = falls_short(topics.options.durability, &weakest) {
        return Err(OpenError::NotDurableEnough(reason));
    }
    // The size of an event is that topic's all the same.
    let bytes = events.settings.get("max.message.bytes").cloned();
    weakest
        .settings
        .extend(bytes.map(|bytes| ("max.message.bytes".to_owned(), bytes)));
    Ok(weakest)
}

// === impl Inner ===

impl Inner {
    pub(crate) fn decoder(&self) -> Decoder {
        Decoder::new(self.limits)
    }

    /// Asks as one that sees what is committed.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&BaseConsumer<Quiet>) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, KafkaError> {
        self.asking[0].ask(question).await
    }

    /// Looks at the topic of the events. One that ends before what was acknowledged or read has lost its end,
    /// and so has one that is gone.
    pub(crate) async fn look(&self) -> Result<(), ChannelError> {
        let before = self.known.ends().end;
        let [committed, all] = &self.asking;
        let topic = &self.names.events;
        let ends = async {
            let (_, high) = all.ends(topic, PARTITION).await?;
            let ends = committed.ends(topic, PARTITION).await?;
            Ok::<_, KafkaError>((ends, high))
        };
        match ends.await {
            Ok((ends, high)) => {
                self.gone.store(0, Ordering::Relaxed);
                self.known.look(before, ends, high);
                // Another topic of that name, which may be longer already.
                if self.connect.log.take_recreated().contains(&self.names.events) {
                    self.known.lose();
                }
                Ok(())
            }
            Err(error) => {
                if is_gone(&error) && self.gone.fetch_add(1, Ordering::Relaxed) + 1 >= GONE {
                    self.known.lose();
                }
                Err(storage(self.connect.words(&error)))
            }
        }
    }
}

/// Whether Kafka says that there is no such topic.
fn is_gone(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}
