//! One partition on JetStream: what its owner and its readers ask of the servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_nats::connection::State as ConnectionState;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::Info;
use millrace_channel::remote::{Entry, Owner, OwnerOptions, Servers};
use millrace_channel::{Channel, ChannelError};
use millrace_event::Timestamp;
use millrace_event::http::Limits;
use tokio::time::timeout;

use crate::connect::{Readers, jetstream};
use crate::error::storage;
use crate::fence::{Fence, Store};
use crate::known::Known;
use crate::names::Names;
use crate::options::Options;
use crate::raw::{Raw, stored};
use crate::reach::Reach;
use crate::shape;

/// A partition that this process owns.
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
    pub(crate) readers: Arc<Readers>,
    pub(crate) known: Known,
    pub(crate) max_payload: usize,
    pub(crate) limits: Limits,
    pub(crate) store: Store,
    pub(crate) fence: tokio::sync::Mutex<Fence>,
    pub(crate) batches: tokio::sync::Semaphore,
    pub(crate) replicas: usize,
    /// Until when this process may count as the owner, in steady milliseconds: for ever where there are no
    /// leases.
    pub(crate) held_until: AtomicI64,
}

// === impl Partition ===

impl Partition {
    /// Takes the partition over.
    pub(crate) async fn claim(inner: Arc<Inner>) -> Result<Self, ChannelError> {
        let owner_options = OwnerOptions {
            clock: inner.options.clock.clone(),
            seed: fastrand::u64(..),
            salt: salt(&inner.names),
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

    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }
}

/// A number for a partition (FNV-1a): it is in ids that people write down, so it never changes.
fn salt(names: &Names) -> u64 {
    let text = match names.partition {
        0 => names.broker.clone(),
        other => format!("{}/{other}", names.broker),
    };
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    })
}

// === impl Inner ===

impl Inner {
    /// Notes until when this process may count as the owner.
    pub(crate) fn holds_until(&self, until: Timestamp) {
        self.held_until.store(until.0, Ordering::Relaxed);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.options.clock.steady().0 < self.held_until.load(Ordering::Relaxed)
    }

    /// What stands at a number of the event stream.
    pub(crate) async fn stored(&self, sequence: u64) -> Result<Option<Raw>, ChannelError> {
        let query = serde_json::json!({ "seq": sequence });
        Ok(stored(&jetstream(&self.client), &self.names.events, &query).await?)
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
        let away = self.known.away().map(|away| away.in_words().to_owned());
        away.or_else(|| self.known.is_full())
    }
}

impl Inner {
    /// Whether nobody has claimed the partition after us; `None`: that cannot be told now.
    pub(crate) async fn is_still_ours(&self) -> Option<bool> {
        // A write that has no answer holds it, and other leases wait to be renewed.
        let fence = timeout(Duration::from_secs(1), self.fence.lock()).await.ok()?;
        self.store.is_still_ours(&fence).await
    }

    /// Looks at the stream of the state. Without it there is nothing that this process could go on with.
    pub(crate) async fn look_at_state(&self) -> Result<Info, ChannelError> {
        let subject = format!("STREAM.INFO.{}", self.names.state);
        let context = jetstream(&self.client);
        let answer: Response<Info> = context.request(subject, &()).await.map_err(storage)?;
        match answer {
            Response::Ok(info) => {
                let share = shape::share_of_state(&self.names, &self.options);
                self.known.look_at_state(&info, share);
                Ok(info)
            }
            Response::Err { error } => {
                if error.error_code() == ErrorCode::STREAM_NOT_FOUND {
                    self.known.lose_state(&self.names.state);
                }
                Err(storage(error))
            }
        }
    }

    /// The number of the newest record of state, and how many messages stand below it.
    pub(crate) async fn state_length(&self) -> Result<(u64, u64), ChannelError> {
        let revision = self.fence.lock().await.revision();
        Ok((revision, self.look_at_state().await?.state.messages))
    }

    /// Deletes what of the state is older than a number.
    pub(crate) async fn forget_state_below(&self, number: u64) -> Result<(), ChannelError> {
        self.delete_below(&self.names.state, number).await
    }
}
