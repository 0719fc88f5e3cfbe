//! One partition on JetStream: opened, and what its owner and its readers ask of the servers.

use std::sync::Arc;

use async_nats::connection::State as ConnectionState;
use async_nats::jetstream::Context;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{Config, Info, RawMessage};
use millrace_channel::remote::{Client, Entry, Owner, OwnerOptions, Servers};
use millrace_channel::{Channel, ChannelError, Log};
use millrace_event::http::Limits;
use serde::Deserialize;

use crate::connect::{Connection, Readers, connect, jetstream};
use crate::error::{OpenError, storage};
use crate::fence::{Fence, Store};
use crate::known::Known;
use crate::names::Names;
use crate::options::{Durability, Options};
use crate::raw::Raw;
use crate::reach::Reach;
use crate::shape;

/// The one partition.
pub(crate) const PARTITION: u32 = 0;
/// Batches of producers that are under way: servers keep 50 a stream.
const BATCHES: usize = 16;
/// From how many percent of the stream on producers are refused; the rest is for replies and dead letters.
const RESERVE_FROM: u64 = 90;
/// The least payload that a server must take.
const LEAST_PAYLOAD: usize = 64 * 1024;

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
    pub(crate) client: async_nats::Client,
    pub(crate) readers: Readers,
    pub(crate) known: Known,
    pub(crate) max_payload: usize,
    limits: Limits,
    pub(crate) store: Store,
    pub(crate) fence: tokio::sync::Mutex<Fence>,
    pub(crate) batches: tokio::sync::Semaphore,
    pub(crate) replicas: usize,
}

#[derive(Debug, Deserialize)]
struct Got {
    message: RawMessage,
}

/// A message of a stream, as the stream's leader tells it; `None` when there is none.
pub(crate) async fn stored(
    context: &Context,
    stream: &str,
    query: &serde_json::Value,
) -> Result<Option<Raw>, ChannelError> {
    let subject = format!("STREAM.MSG.GET.{stream}");
    let answer: Response<Got> = context.request(subject, query).await.map_err(storage)?;
    match answer {
        Response::Ok(got) => Raw::told(got.message).map(Some).map_err(storage),
        Response::Err { error } if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(None),
        Response::Err { error } => Err(storage(error)),
    }
}

// === impl Partition ===

impl Partition {
    /// Makes the streams if they are not there, and takes the partition over.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let options = Arc::new(options);
        let names = Names::of(&options.mesh, &options.broker);
        let Connection { client, .. } = connect(&options, "writes", 0)
            .await
            .map_err(OpenError::Unreachable)?;
        let info = client.server_info();
        if !client.is_server_compatible(2, 12, 0) {
            let reason = format!("the NATS server is {}; at least 2.12 is needed", info.version);
            return Err(OpenError::Unsuitable(reason));
        }
        let max_payload = client.max_payload();
        if max_payload < LEAST_PAYLOAD {
            let reason = format!("the NATS server takes messages of {max_payload} bytes; 64 KiB are needed");
            return Err(OpenError::Unsuitable(reason));
        }
        let store = Store {
            client: client.clone(),
            names: names.clone(),
            partition: PARTITION,
            max_payload,
            ending: options.ending.clone(),
        };
        let known = Known::default();
        let events = prepare(&jetstream(&client), &names, &options, &store).await?;
        known.look(&events);
        let inner = Arc::new(Inner {
            readers: Readers::new(options.clone()),
            names,
            client,
            known,
            max_payload,
            limits: Limits {
                event_bytes: max_payload,
                ..Limits::default()
            },
            store,
            fence: tokio::sync::Mutex::default(),
            batches: tokio::sync::Semaphore::new(BATCHES),
            replicas: events.config.num_replicas,
            options: options.clone(),
        });
        let owner_options = OwnerOptions {
            clock: options.clock.clone(),
            seed: fastrand::u64(..),
            salt: salt(&options.broker.to_string()),
        };
        let servers: Arc<dyn Servers> = Arc::new(Reach(inner.clone()));
        let owner = Owner::claim(servers, owner_options).await?;
        if owner.has_lost() {
            tracing::error!(
                "the NATS server has lost events that it had acknowledged; what is left is read again from \
                 before the loss"
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
        shape::durability(self.inner.replicas)
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

/// Makes what is missing, the state with its progress first, and looks at the shape of what is there. Without
/// a progress beside a stream of events the state is lost, and never new.
async fn prepare(
    context: &Context,
    names: &Names,
    options: &Options,
    store: &Store,
) -> Result<Info, OpenError> {
    let has_events = existing(context, &names.events).await?;
    if let Some(info) = &has_events {
        refuse_other(&info.config, &shape::events(names, options))?;
    }
    let state = match existing(context, &names.state).await? {
        Some(info) => info,
        None if has_events.is_some() && !options.rebuild_state => return Err(state_lost(names)),
        None => make(context, shape::state(names, options)).await?,
    };
    refuse_other(&state.config, &shape::state(names, options))?;
    if !store.has_progress().await? {
        if has_events.is_some() && !options.rebuild_state {
            return Err(state_lost(names));
        }
        let first = has_events
            .as_ref()
            .map_or(1, |info| info.state.first_sequence.max(1));
        store.begin(first).await?;
    }
    let events = match has_events {
        Some(info) => info,
        None => make(context, shape::events(names, options)).await?,
    };
    let replicas = events.config.num_replicas.min(state.config.num_replicas);
    match shape::falls_short(options.durability, replicas) {
        Some(reason) => Err(OpenError::NotDurableEnough(reason)),
        None => Ok(events),
    }
}

fn state_lost(names: &Names) -> OpenError {
    OpenError::StateLost {
        events: names.events.clone(),
        state: names.state.clone(),
    }
}

async fn existing(context: &Context, stream: &str) -> Result<Option<Info>, OpenError> {
    match context.get_stream(stream).await {
        Ok(stream) => Ok(Some(stream.cached_info().clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                Ok(None)
            }
            GetStreamErrorKind::JetStream(error) => Err(OpenError::Unsuitable(error.to_string())),
            _ => Err(OpenError::Unreachable(format!(
                "JetStream does not answer: {error}"
            ))),
        },
    }
}

async fn make(context: &Context, config: Config) -> Result<Info, OpenError> {
    let name = config.name.clone();
    let made = context.create_stream(config).await;
    let made =
        made.map_err(|error| OpenError::Unsuitable(format!("the stream {name} cannot be made: {error}")))?;
    tracing::info!(stream = name, "a stream was made");
    Ok(made.cached_info().clone())
}

fn refuse_other(is: &Config, wanted: &Config) -> Result<(), OpenError> {
    match shape::difference(is, wanted) {
        Some(reason) => Err(OpenError::OtherShape {
            stream: is.name.clone(),
            reason,
        }),
        None => Ok(()),
    }
}

// === impl Inner ===

impl Inner {
    /// What stands at a number of the event stream.
    pub(crate) async fn stored(&self, sequence: u64) -> Result<Option<Raw>, ChannelError> {
        let query = serde_json::json!({ "seq": sequence });
        stored(&jetstream(&self.client), &self.names.events, &query).await
    }

    /// What a message is in the log. One that is no event is told.
    pub(crate) fn entry(&self, raw: &Raw) -> Entry {
        let (entry, reason) = raw.entry(&self.limits);
        if let Some(reason) = reason {
            self.known.say_unreadable(raw.sequence, &raw.subject, &reason);
        }
        entry
    }

    /// Looks at the event stream. One that ends before what was acknowledged or read has lost its end, and so
    /// has one that is gone.
    pub(crate) async fn look(&self) -> Result<Info, ChannelError> {
        let before = self.known.ends().end;
        let subject = format!("STREAM.INFO.{}", self.names.events);
        let context = jetstream(&self.client);
        let answer: Result<Response<Info>, _> = context.request(subject, &()).await;
        match answer {
            Ok(Response::Ok(info)) => {
                if info.state.last_sequence + 1 < before {
                    self.known.lose();
                }
                self.known.look(&info);
                Ok(info)
            }
            Ok(Response::Err { error }) => {
                if error.error_code() == ErrorCode::STREAM_NOT_FOUND {
                    self.known.lose();
                }
                Err(storage(error))
            }
            Err(error) => Err(storage(error)),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.connection_state() == ConnectionState::Connected
    }

    /// Deletes what stands below a number of a stream.
    pub(crate) async fn delete_below(&self, stream: &str, sequence: u64) -> Result<(), ChannelError> {
        let subject = format!("STREAM.PURGE.{stream}");
        let query = serde_json::json!({ "seq": sequence });
        let answer: Response<serde_json::Value> = jetstream(&self.client)
            .request(subject, &query)
            .await
            .map_err(storage)?;
        match answer {
            Response::Ok(_) => Ok(()),
            Response::Err { error } => Err(storage(error)),
        }
    }

    pub(crate) fn refuses(&self) -> Option<String> {
        if self.known.is_away() {
            return Some("the NATS servers do not answer".to_owned());
        }
        let (bytes, most) = (self.known.bytes(), self.known.max_bytes());
        let is_full = bytes / 100 >= most / 100 * RESERVE_FROM / 100;
        is_full.then(|| {
            format!(
                "the event stream has {bytes} of its {most} bytes: {RESERVE_FROM} % are for producers, the rest \
                 is for replies and dead letters"
            )
        })
    }
}

impl Inner {
    /// The number of the newest record of state, and how many messages stand below it.
    pub(crate) async fn state_length(&self) -> Result<(u64, u64), ChannelError> {
        let revision = self.fence.lock().await.revision();
        let subject = format!("STREAM.INFO.{}", self.names.state);
        let context = jetstream(&self.client);
        let answer: Response<Info> = context.request(subject, &()).await.map_err(storage)?;
        match answer {
            Response::Ok(info) => Ok((revision, info.state.messages)),
            Response::Err { error } => Err(storage(error)),
        }
    }

    /// Deletes what of the state is older than a number.
    pub(crate) async fn forget_state_below(&self, number: u64) -> Result<(), ChannelError> {
        self.delete_below(&self.names.state, number).await
    }
}
