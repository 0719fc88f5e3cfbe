//! The claim of a partition, and its fenced writes.
//!
//! Each chunk ends with the partition's progress, which expects the progress before it and has a number of
//! its own. So what became of a chunk can be asked for: the newest progress tells whose it is and which
//! number it has. A number belongs to its bytes; until it is known what became of it nothing else is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_EXPECTED_STREAM};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use millrace_channel::ChannelError;
use millrace_channel::remote::{Epochs, Key, State, Write};
use millrace_event::ObjectName;
use tokio_util::sync::CancellationToken;

use crate::append::{Draft, Unstored, store};
use crate::connect::jetstream;
use crate::error::storage;
use crate::following::Following;
use crate::names::Names;
use crate::raw::{Raw, Unread, stored};

/// Whose progress it is.
const CLAIM: &str = "Millrace-Claim";
/// The number of the commit.
const COMMIT: &str = "Millrace-Commit";
/// The parts of a record that is too large for one message.
const PARTS: &str = "Millrace-Parts";
/// When something is asked for again.
const AGAIN: Duration = Duration::from_millis(200);
/// How long an answer is waited for once the process is about to end.
const LAST_WAIT: Duration = Duration::from_secs(5);
/// How often a claim is tried while somebody else writes.
const CLAIMS: usize = 100;

/// What a claim knows of the stored progress.
#[derive(Debug, Default)]
pub(crate) struct Fence {
    /// The claim: the number of the message with which it began.
    claim: u64,
    /// Tells our progress from that of others.
    nonce: String,
    /// The number of the newest progress.
    revision: u64,
    /// The highest commit that has been sent.
    commit: u64,
    /// The highest commit that is known to be stored.
    stored: u64,
    /// The newest progress.
    progress: Bytes,
    /// A write was given up on its way.
    is_unknown: bool,
    /// Records of more than one message: how many more each has.
    parts: BTreeMap<Key, usize>,
}

/// The state stream.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) client: Client,
    pub(crate) names: Names,
    /// The most bytes of a message.
    pub(crate) max_payload: usize,
    pub(crate) ending: CancellationToken,
}

/// The newest progress, as the stream's leader tells it.
#[derive(Clone, Debug)]
struct Newest {
    revision: u64,
    nonce: String,
    commit: u64,
    body: Bytes,
}

fn gone() -> ChannelError {
    storage("the state of the partition is gone")
}

// === impl Store ===

impl Store {
    fn subject(&self, key: Key) -> String {
        format!("{}{key}", self.names.state_prefix())
    }

    /// The newest progress; `None` when there is none.
    async fn newest(&self) -> Result<Option<Newest>, Unread> {
        let found = self.last(&self.subject(Key::Progress)).await?;
        Ok(found.map(|raw| Newest {
            revision: raw.sequence,
            nonce: raw.header(CLAIM).unwrap_or_default().to_owned(),
            commit: raw
                .header(COMMIT)
                .and_then(|commit| commit.parse().ok())
                .unwrap_or(0),
            body: raw.payload,
        }))
    }

    async fn last(&self, subject: &str) -> Result<Option<Raw>, Unread> {
        let query = serde_json::json!({ "last_by_subj": subject });
        stored(&jetstream(&self.client), &self.names.state, &query).await
    }

    /// As `newest`, until somebody answers; nobody is waited for once the channel is to be closed.
    async fn newest_at_last(&self) -> Result<Newest, ChannelError> {
        let asked = async {
            loop {
                match self.newest().await {
                    Ok(newest) => return newest.ok_or_else(gone),
                    Err(unread @ Unread::Gone(_)) => return Err(unread.into()),
                    Err(Unread::Failed(_)) => tokio::time::sleep(AGAIN).await,
                }
            }
        };
        let given_up = async {
            self.ending.cancelled().await;
            tokio::time::sleep(LAST_WAIT).await;
        };
        tokio::select! {
            newest = asked => newest,
            () = given_up => Err(storage("the servers do not answer, and the channel is to be closed")),
        }
    }

    fn progress(&self, nonce: &str, commit: u64, expected: u64, body: Bytes) -> Draft {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_STREAM, self.names.state.as_str());
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string().as_str());
        headers.insert(CLAIM, nonce);
        headers.insert(COMMIT, commit.to_string().as_str());
        Draft {
            subject: self.subject(Key::Progress),
            headers,
            payload: body,
        }
    }

    /// Whether nobody has claimed the partition after us. Nobody may know: then it is asked again.
    pub(crate) async fn is_still_ours(&self, fence: &Fence) -> Option<bool> {
        let newest = self.newest().await.ok()??;
        (!fence.nonce.is_empty()).then(|| newest.nonce == fence.nonce)
    }

    /// Whether there is a progress.
    pub(crate) async fn has_progress(&self) -> Result<bool, ChannelError> {
        Ok(self.newest().await?.is_some())
    }

    /// How the partition's positions stand to the numbers of its stream, as its last owner has written it.
    pub(crate) async fn epochs(&self) -> Result<Epochs, ChannelError> {
        let mut state = State::new(1);
        if let Some(newest) = self.newest().await? {
            let loaded = state.load(self.names.partition, Key::Progress, &newest.body);
            loaded.map_err(storage)?;
        }
        Ok(state.epochs().clone())
    }

    /// The Triggers that have a lane, each with the uid of its lane.
    pub(crate) async fn lanes(&self) -> Result<BTreeSet<(ObjectName, String)>, ChannelError> {
        let lanes = self.names.lanes();
        let Some(newest) = self.last(&lanes).await? else {
            return Ok(BTreeSet::new());
        };
        let mut reader = Following::of_state(self.client.clone(), &self.names.state).only(lanes);
        let mut state = State::new(1);
        while let Some(raw) = reader.up_to(newest.sequence).await? {
            let key = raw
                .subject
                .strip_prefix(&self.names.state_prefix())
                .and_then(Key::parse);
            if let Some(key) = key.filter(|_| !raw.payload.is_empty() && raw.header(PARTS).is_none()) {
                state
                    .load(self.names.partition, key, &raw.payload)
                    .map_err(storage)?;
            }
        }
        let uids = state.uids();
        Ok(uids
            .map(|(trigger, uid)| (trigger.clone(), uid.to_owned()))
            .collect())
    }

    /// Writes the first progress of a partition that nobody has owned.
    pub(crate) async fn begin(&self, first: u64) -> Result<(), ChannelError> {
        let body = State::new(first).progress().encode().unwrap_or_default();
        let draft = self.progress("", 0, 0, body.into());
        match store(&self.client, vec![draft]).await {
            Ok(_) => Ok(()),
            Err(unstored) if unstored.is_fenced() => Ok(()),
            Err(unstored) => Err(storage(unstored.in_words())),
        }
    }

    /// Takes the partition over.
    pub(crate) async fn claim(&self, fence: &mut Fence) -> Result<(u64, State), ChannelError> {
        let nonce = format!("{:032x}", fastrand::u128(..));
        for _ in 0..CLAIMS {
            let Some(newest) = self.newest().await? else {
                return Err(gone());
            };
            let draft = self.progress(&nonce, 0, newest.revision, newest.body.clone());
            match store(&self.client, vec![draft]).await {
                Ok(_) => {}
                Err(refused @ Unstored::Refused { .. }) if !refused.is_fenced() => {
                    return Err(storage(refused.in_words()));
                }
                // Somebody else wrote meanwhile, or the answer was lost.
                Err(_) => tokio::time::sleep(AGAIN / 20).await,
            }
            let Some(newest) = self.newest().await? else {
                continue;
            };
            if newest.nonce == nonce {
                *fence = Fence {
                    claim: newest.revision,
                    nonce,
                    revision: newest.revision,
                    progress: newest.body,
                    ..Fence::default()
                };
                let state = self.load(fence).await?;
                return Ok((fence.claim, state));
            }
        }
        Err(storage(
            "somebody else goes on writing the state of the partition",
        ))
    }

    /// The state, once it is known what became of the last write.
    pub(crate) async fn read(&self, fence: &mut Fence, claim: u64) -> Result<Option<State>, ChannelError> {
        let is_behind = self.find_out(fence, claim).await?;
        let state = self.load(fence).await?;
        Ok((!is_behind).then_some(state))
    }

    /// Finds out what became of the last write; whether the stream has lost writes that it had acknowledged.
    async fn find_out(&self, fence: &mut Fence, claim: u64) -> Result<bool, ChannelError> {
        let newest = self.newest_at_last().await?;
        if claim != fence.claim || newest.nonce != fence.nonce {
            return Err(ChannelError::NotOwner);
        }
        fence.commit = fence.commit.max(newest.commit);
        fence.revision = newest.revision;
        fence.progress = newest.body;
        fence.is_unknown = false;
        let is_behind = newest.commit < fence.stored;
        if is_behind {
            tracing::error!(
                "the NATS server has lost records of state that it had acknowledged; what is known here is stored \
                 again"
            );
        }
        fence.stored = newest.commit;
        Ok(is_behind)
    }

    /// Reads all records up to the newest progress.
    async fn load(&self, fence: &mut Fence) -> Result<State, ChannelError> {
        let mut found: BTreeMap<String, Raw> = BTreeMap::new();
        let prefix = self.names.state_prefix();
        let mut reader = Following::of_state(self.client.clone(), &self.names.state);
        while let Some(raw) = reader.up_to(fence.revision).await? {
            if let Some(key) = raw.subject.strip_prefix(&prefix) {
                found.insert(key.to_owned(), raw);
            }
        }
        let mut state = State::new(1);
        fence.parts.clear();
        for (text, raw) in &found {
            let Some(key) = Key::parse(text).filter(|_| !raw.payload.is_empty()) else {
                continue;
            };
            let more: usize = raw.header(PARTS).and_then(|more| more.parse().ok()).unwrap_or(0);
            let mut bytes = raw.payload.to_vec();
            for part in 1..=more {
                let part = found.get(&format!("{text}.part{part}"));
                bytes.extend_from_slice(part.map_or(&[][..], |part| &part.payload));
            }
            if more > 0 {
                fence.parts.insert(key, more);
            }
            state.load(self.names.partition, key, &bytes).map_err(storage)?;
        }
        Ok(state)
    }

    /// Stores a chunk, whole or not at all.
    pub(crate) async fn write(
        &self,
        fence: &mut Fence,
        claim: u64,
        chunk: &[Write],
    ) -> Result<(), ChannelError> {
        if claim != fence.claim {
            return Err(ChannelError::NotOwner);
        }
        if fence.is_unknown {
            return Err(storage("it is not known yet what became of the last write"));
        }
        fence.commit += 1;
        let body = chunk.iter().rev().find_map(|write| match write {
            Write::Progress(_) => write.encode().map(Bytes::from),
            _ => None,
        });
        let body = body.unwrap_or_else(|| fence.progress.clone());
        let mut drafts = self.drafts(fence, chunk);
        drafts.push(self.progress(&fence.nonce, fence.commit, fence.revision, body.clone()));
        let drafts: Arc<[Draft]> = drafts.into();
        fence.is_unknown = true;
        loop {
            let stored = store(&self.client, drafts.to_vec()).await;
            let revision = match stored {
                Ok(revision) => revision,
                Err(unstored) => match self.what_became(fence, &unstored).await? {
                    Some(revision) => revision,
                    None => {
                        tokio::time::sleep(AGAIN).await;
                        continue;
                    }
                },
            };
            fence.revision = revision;
            fence.progress = body;
            fence.stored = fence.commit;
            fence.is_unknown = false;
            return Ok(());
        }
    }

    /// The number of the progress if the chunk was stored after all; `None`: it was not, and may be sent
    /// again.
    async fn what_became(&self, fence: &Fence, unstored: &Unstored) -> Result<Option<u64>, ChannelError> {
        let newest = self.newest_at_last().await?;
        if newest.nonce != fence.nonce {
            return Err(ChannelError::NotOwner);
        }
        if newest.commit == fence.commit {
            return Ok(Some(newest.revision));
        }
        if newest.revision != fence.revision {
            return Err(storage("a write that had been given up has arrived"));
        }
        match unstored {
            Unstored::Unknown(_) => Ok(None),
            refused if refused.is_fenced() => Ok(None),
            Unstored::Refused { .. } => Err(storage(unstored.in_words())),
        }
    }

    /// The messages of a chunk's records, but for the progress.
    fn drafts(&self, fence: &mut Fence, chunk: &[Write]) -> Vec<Draft> {
        let mut drafts = Vec::with_capacity(chunk.len() + 1);
        let most = self.max_payload.saturating_sub(4 * 1024).max(1024);
        for write in chunk.iter().filter(|write| !matches!(write, Write::Progress(_))) {
            let key = write.key();
            let bytes = Bytes::from(write.encode().unwrap_or_default());
            let more = bytes.len().saturating_sub(1) / most;
            let before = fence.parts.insert(key, more).unwrap_or(0);
            if more == 0 {
                fence.parts.remove(&key);
            }
            for part in 0..=more.max(before) {
                let mut headers = HeaderMap::new();
                headers.insert(NATS_EXPECTED_STREAM, self.names.state.as_str());
                let subject = match part {
                    0 => self.subject(key),
                    part => format!("{}.part{part}", self.subject(key)),
                };
                if part == 0 && more > 0 {
                    headers.insert(PARTS, more.to_string().as_str());
                }
                let from = (part * most).min(bytes.len());
                let to = (from + most).min(bytes.len());
                drafts.push(Draft {
                    subject,
                    headers,
                    payload: bytes.slice(from..to),
                });
            }
        }
        drafts
    }
}

// === impl Fence ===

impl Fence {
    /// The number of the newest progress.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }
}
