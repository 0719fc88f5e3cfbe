//! The claim of a partition, and its fenced writes.
//!
//! Each chunk is one transaction, and ends with a record that says whose the partition is and which number
//! the commit has. What was given to a transaction goes on until it is known what became of it, also when
//! nobody waits for it any more; and nothing else is written meanwhile. If the client breaks on the way, the
//! topic tells what is stored, and whose the partition is now.

use std::sync::Arc;
use std::time::Duration;

use millrace_channel::ChannelError;
use millrace_channel::remote::{State, Write};
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::connect::{Asking, Connect, Quiet};
use crate::end;
use crate::error::storage;
use crate::names::Names;
use crate::raw;
use crate::state::{Draft, Found, Loaded, PARTS, Parts};
use crate::transactions::Transactions;

/// How long reading the state may stand still.
const STANDS_STILL: Duration = Duration::from_secs(30);
/// How long somebody else's transaction may hold up the state, and how often it is looked.
const HELD_UP: (Duration, Duration) = (Duration::from_secs(20), Duration::from_millis(200));
/// How long a new owner is given to say that it is one.
const OTHER_BEGINS: Duration = Duration::from_secs(1);

/// What a claim knows.
#[derive(Debug, Default)]
pub(crate) struct Fence {
    /// The claim: the offset of the record with which it began.
    claim: u64,
    /// Tells our records from those of others.
    nonce: String,
    /// The highest commit that has been sent.
    commit: u64,
    /// The highest commit that is known to be stored.
    stored: u64,
    /// `None`: it broke, and what it left is not known.
    client: Option<Arc<Transactions>>,
    parts: Parts,
    /// A claim that was made and has not been given to the owner yet.
    claimed: Option<State>,
}

/// The topic of the state.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) connect: Connect,
    pub(crate) names: Names,
    pub(crate) partition: i32,
    /// Sees what is committed, and all.
    pub(crate) asking: [Asking; 2],
    pub(crate) ending: CancellationToken,
    pub(crate) fence: Arc<Mutex<Fence>>,
}

// === impl Store ===

impl Store {
    /// Takes the partition over; whether it has a state. From now on no transaction of another owner is
    /// stored.
    pub(crate) async fn take_over(&self) -> Result<bool, ChannelError> {
        let mut fence = self.fence.clone().lock_owned().await;
        let client = self.begin().await?;
        let nonce = format!("{:032x}", fastrand::u128(..));
        *fence = Fence {
            nonce: nonce.clone(),
            client: Some(client.clone()),
            ..Fence::default()
        };
        // Says whose it is before the state is read, so that one that was refused finds out why.
        let (mut fence, stored) = stored(fence, client, vec![Draft::of_owner(&nonce, 0)]).await?;
        stored.map_err(storage)?;
        let loaded = self.load().await?;
        if loaded.owner.nonce != fence.nonce {
            return Err(storage("another process takes the partition over"));
        }
        fence.claim = loaded.owned_at;
        fence.parts = loaded.parts;
        fence.claimed = loaded.state;
        Ok(fence.claimed.is_some())
    }

    /// Writes the first progress of a partition that has no state, once it was taken over.
    pub(crate) async fn begin_state(&self, first: u64) -> Result<(), ChannelError> {
        let claim = self.fence.lock().await.claim;
        let state = State::new(first);
        self.write(claim, &[state.progress()]).await?;
        self.fence.lock().await.claimed = Some(state);
        Ok(())
    }

    /// The claim, and the state. One that was made before is given once.
    pub(crate) async fn claim(&self) -> Result<(u64, State), ChannelError> {
        let before = {
            let mut fence = self.fence.lock().await;
            let claimed = fence.claimed.take();
            claimed.map(|state| (fence.claim, state))
        };
        if let Some(claimed) = before {
            return Ok(claimed);
        }
        self.take_over().await?;
        let mut fence = self.fence.lock().await;
        let gone = || storage("the state of the partition is gone");
        let state = fence.claimed.take().ok_or_else(gone)?;
        Ok((fence.claim, state))
    }

    /// The state, once it is known what became of the last write.
    pub(crate) async fn read(&self, claim: u64) -> Result<Option<State>, ChannelError> {
        let mut fence = self.fence.clone().lock_owned().await;
        if claim != fence.claim {
            return Err(ChannelError::NotOwner);
        }
        if fence.client.is_none() {
            // Who has made Kafka refuse us, if anybody has, says so first.
            tokio::time::sleep(OTHER_BEGINS).await;
            self.ours(&fence).await?;
            fence.client = Some(self.begin().await?);
        }
        let loaded = self.ours(&fence).await?;
        fence.parts = loaded.parts;
        let is_behind = loaded.owner.commit < fence.stored;
        if is_behind {
            tracing::error!(
                "Kafka has lost records of state that it had acknowledged; what is known here is stored again"
            );
        }
        fence.stored = loaded.owner.commit;
        match loaded.state {
            Some(state) if !is_behind => Ok(Some(state)),
            _ => Ok(None),
        }
    }

    /// Stores a chunk, whole or not at all.
    pub(crate) async fn write(&self, claim: u64, chunk: &[Write]) -> Result<(), ChannelError> {
        let mut fence = self.fence.clone().lock_owned().await;
        if claim != fence.claim {
            return Err(ChannelError::NotOwner);
        }
        let Some(client) = fence.client.clone() else {
            return Err(storage("it is not known yet what became of the last write"));
        };
        fence.commit += 1;
        let mut drafts = Draft::of_chunk(chunk, &mut fence.parts);
        drafts.push(Draft::of_owner(&fence.nonce, fence.commit));
        let (fence, stored) = stored(fence, client, drafts).await?;
        let Err(why) = stored else { return Ok(()) };
        // Kafka has refused us, or something worse: the topic tells whose it is.
        self.ours(&fence).await?;
        Err(storage(why))
    }

    /// The state, if the partition is still ours.
    async fn ours(&self, fence: &Fence) -> Result<Loaded, ChannelError> {
        let loaded = self.load().await?;
        match loaded.owner.nonce == fence.nonce {
            true => Ok(loaded),
            false => Err(ChannelError::NotOwner),
        }
    }

    async fn begin(&self) -> Result<Arc<Transactions>, ChannelError> {
        let store = self.clone();
        let begun = tokio::task::spawn_blocking(move || {
            let id = store.names.owner_of(store.partition);
            let place = (store.names.state.as_str(), store.partition);
            Transactions::begin(&store.connect, &id, place, &store.ending)
        });
        begun.await.map_err(storage)?.map(Arc::new)
    }

    /// Reads all records that are stored now.
    async fn load(&self) -> Result<Loaded, ChannelError> {
        let ends = timeout(HELD_UP.0, self.all_decided()).await;
        let ends = ends.map_err(|_| {
            let why = format!(
                "somebody else holds a transaction open in the topic {}: the state cannot be read",
                self.names.state
            );
            storage(why)
        })??;
        self.load_between(ends).await
    }

    /// Reads all records from the first offset to the end.
    pub(crate) async fn load_between(&self, (first, end): (u64, u64)) -> Result<Loaded, ChannelError> {
        let (topic, partition) = (self.names.state.as_str(), self.partition);
        let reader = self.connect.to_the_end::<StreamConsumer<Quiet>>()?;
        let mut list = TopicPartitionList::new();
        let from = Offset::Offset(i64::try_from(first).unwrap_or(0));
        list.add_partition_offset(topic, partition, from)
            .map_err(storage)?;
        reader.assign(&list).map_err(storage)?;
        let mut found = Found::default();
        loop {
            let next = timeout(STANDS_STILL, reader.recv()).await;
            let next = next.map_err(|_| storage("the state could not be read to its end"))?;
            match next {
                Ok(message) => {
                    let key = String::from_utf8_lossy(message.key().unwrap_or_default());
                    let headers = raw::headers(&message).unwrap_or_default();
                    let parts = headers.iter().find(|(name, _)| *name == PARTS);
                    let parts = parts.and_then(|(_, value)| str::from_utf8((*value)?).ok()?.parse().ok());
                    let offset = raw::number(&message);
                    // Another owner's: while it writes no end is told.
                    if offset >= end {
                        break;
                    }
                    found.take(offset, &key, message.payload(), parts.unwrap_or(0));
                }
                Err(KafkaError::PartitionEOF(_)) if end::passed(&reader).max(first) >= end => break,
                // A new leader does not know yet how far the state goes: the rest follows.
                Err(KafkaError::PartitionEOF(_)) => {}
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(storage(error)),
            }
        }
        found.load(u32::try_from(self.partition).unwrap_or(0))
    }

    /// Waits until no transaction is open below the end of now, and gives the first offset and that end. A
    /// reader that sees only what is committed would take the first open one for the end.
    async fn all_decided(&self) -> Result<(u64, u64), ChannelError> {
        let topic = &self.names.state;
        let [committed, all] = &self.asking;
        let (_, end) = all.ends(topic, self.partition).await.map_err(storage)?;
        loop {
            let (first, decided) = committed.ends(topic, self.partition).await.map_err(storage)?;
            if decided >= end {
                return Ok((first, end));
            }
            tokio::time::sleep(HELD_UP.1).await;
        }
    }
}

/// Stores these records by a task of its own, which goes on when nobody waits any more, and keeps the fence
/// meanwhile.
async fn stored(
    mut fence: OwnedMutexGuard<Fence>,
    client: Arc<Transactions>,
    drafts: Vec<Draft>,
) -> Result<(OwnedMutexGuard<Fence>, Result<(), String>), ChannelError> {
    let storing = tokio::task::spawn_blocking(move || match client.store(&drafts) {
        Ok(()) => {
            fence.stored = fence.commit;
            (fence, Ok(()))
        }
        Err(broken) => {
            fence.client = None;
            (fence, Err(broken.0))
        }
    });
    storing.await.map_err(storage)
}

/// Whether librdkafka gets over an error by itself.
pub(crate) fn is_passing(error: &KafkaError) -> bool {
    use rdkafka::types::RDKafkaErrorCode as Code;
    !matches!(
        error.rdkafka_error_code(),
        Some(
            Code::AutoOffsetReset
                | Code::OffsetOutOfRange
                | Code::LogTruncation
                | Code::UnknownTopicOrPartition
                | Code::UnknownTopic
                | Code::UnknownPartition
                | Code::TopicAuthorizationFailed
                | Code::Fatal
        )
    ) && !matches!(error, KafkaError::MessageConsumptionFatal(_))
}
