//! Who is there, and who owns which partition: records with a time to live, in a stream beside the Broker's.
//!
//! Each process that serves the Broker has a record as its *member*, each owned partition has a *lease*. The
//! server lets both go once they are not renewed. They decide who is to claim a partition, and until when
//! its owner may begin attempts. That nothing is lost does not rest on them: whoever claims a partition has
//! fenced the owner before (`fence`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_EXPECTED_STREAM, NATS_MESSAGE_TTL};
use async_nats::jetstream::response::Response;
use futures_util::future::join_all;
use millrace_channel::ChannelError;
use millrace_event::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};

use crate::append::{Draft, Unstored, store};
use crate::connect::jetstream;
use crate::error::{OpenError, storage};
use crate::partition::Inner;
use crate::prepare;
use crate::raw::stored;
use crate::streams::Streams;

/// How long a record stands that is not renewed.
const LIVES: &str = "8s";
/// How long an owner relies on a lease, from before it was renewed: it ends before the server's.
const HOLDS: Duration = Duration::from_secs(7);
/// How often records are renewed.
pub const RENEWED_EVERY: Duration = Duration::from_secs(2);

/// What a process tells the others of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Tells it from every other process that runs. A restart keeps it: whoever has it knows that the process
    /// before has ended.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Where its admin API is.
    pub admin: String,
}

/// A record.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Told {
    #[serde(flatten)]
    about: About,
    /// Tells it from the same process before a restart.
    run: String,
}

/// One process among those that serve a Broker.
#[derive(Debug)]
pub struct Members {
    first: Arc<Inner>,
    told: Told,
    body: Vec<u8>,
    member: Mutex<Member>,
    leases: Vec<Lease>,
}

/// Our record as a member. Held while it is written.
#[derive(Debug, Default)]
struct Member {
    /// The number of the record.
    number: u64,
    has_left: bool,
}

#[derive(Debug)]
struct Lease {
    inner: Arc<Inner>,
    /// The number of our record; `None`: we have none. Held while a record is written.
    revision: Mutex<Option<u64>>,
}

/// Who is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The ids of the members.
    pub members: BTreeSet<String>,
    /// The partitions that have an owner.
    pub leased: BTreeSet<u32>,
}

/// Notes that the lease is another's, or was; gives the partition.
fn lost(lease: &Lease, revision: &mut Option<u64>) -> u32 {
    *revision = None;
    lease.inner.holds_until(Timestamp(0));
    lease.inner.names.partition
}

// === impl Members ===

impl Members {
    /// Joins those that serve the Broker.
    pub async fn join(streams: &Streams, about: About) -> Result<Self, OpenError> {
        let inners = streams.inners();
        let first = inners.first().cloned();
        let first = first.ok_or_else(|| OpenError::Unsuitable("a Broker has a partition".to_owned()))?;
        prepare::owners(&jetstream(&first.client), &first.names, &first.options).await?;
        let told = Told {
            about,
            run: format!("{:032x}", fastrand::u128(..)),
        };
        let lease = |inner: Arc<Inner>| {
            // From now on attempts begin only under a lease.
            inner.holds_until(Timestamp(0));
            Lease {
                inner,
                revision: Mutex::default(),
            }
        };
        let members = Self {
            body: serde_json::to_vec(&told).unwrap_or_default(),
            told,
            member: Mutex::default(),
            leases: inners.into_iter().map(lease).collect(),
            first,
        };
        members.renew_member().await.map_err(OpenError::Unreachable)?;
        Ok(members)
    }

    /// Our id.
    pub fn id(&self) -> &str {
        &self.told.about.id
    }

    fn draft(&self, subject: String, expected: Option<u64>) -> Draft {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_STREAM, self.first.names.owners.as_str());
        headers.insert(NATS_MESSAGE_TTL, LIVES);
        if let Some(expected) = expected {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string().as_str());
        }
        Draft {
            subject,
            headers,
            payload: self.body.clone().into(),
        }
    }

    async fn renew_member(&self) -> Result<(), String> {
        let mut member = self.member.lock().await;
        if member.has_left {
            return Ok(());
        }
        let subject = self.first.names.member(self.id());
        let stored = store(&self.first.client, vec![self.draft(subject, None)]).await;
        member.number = stored.map_err(|unstored| unstored.in_words().to_owned())?;
        Ok(())
    }

    /// Renews our records; gives the partitions whose leases others have. While the servers do not answer the
    /// leases run out by themselves.
    pub async fn renew(&self) -> Vec<u32> {
        let (member, leases) = tokio::join!(
            self.renew_member(),
            join_all(self.leases.iter().map(|lease| self.renew_one(lease)))
        );
        // The next try is in two seconds.
        drop(member);
        leases.into_iter().flatten().collect()
    }

    /// The partition, if its lease is another's.
    async fn renew_one(&self, lease: &Lease) -> Option<u32> {
        let mut revision = lease.revision.lock().await;
        let mut expected = (*revision)?;
        // A record that has run out may be made again while nobody else has had the partition.
        for _ in 0..2 {
            match self.write(lease, &mut revision, expected).await {
                Ok(()) => return None,
                Err(unstored) if unstored.is_fenced() => {}
                Err(_) => return None,
            }
            match self.whose(lease).await {
                Ok(None) => match lease.inner.is_still_ours().await {
                    Some(true) => expected = 0,
                    Some(false) => return Some(lost(lease, &mut revision)),
                    None => return None,
                },
                Ok(Some((number, told))) if told.run == self.told.run => expected = number,
                Ok(Some(_)) => return Some(lost(lease, &mut revision)),
                Err(_) => return None,
            }
        }
        None
    }

    /// Writes a lease that expects the record before it; it counts from before it was sent.
    async fn write(
        &self,
        lease: &Lease,
        revision: &mut MutexGuard<'_, Option<u64>>,
        expected: u64,
    ) -> Result<(), Unstored> {
        let inner = &lease.inner;
        let sent = inner.options.clock.steady();
        let draft = self.draft(inner.names.lease(), Some(expected));
        let number = store(&inner.client, vec![draft]).await?;
        **revision = Some(number);
        inner.holds_until(sent.after(HOLDS));
        Ok(())
    }

    /// Whose lease it is now, and the number of its record.
    async fn whose(&self, lease: &Lease) -> Result<Option<(u64, Told)>, ChannelError> {
        let query = serde_json::json!({ "last_by_subj": lease.inner.names.lease() });
        let context = jetstream(&lease.inner.client);
        let Some(raw) = stored(&context, &lease.inner.names.owners, &query).await? else {
            return Ok(None);
        };
        let told = serde_json::from_slice(&raw.payload).map_err(storage)?;
        Ok(Some((raw.sequence, told)))
    }

    /// Takes the lease of a partition if nobody has it; right after a start also if it is that of this
    /// process before. `false`: somebody has it.
    pub async fn take(&self, partition: u32, is_start: bool) -> Result<bool, ChannelError> {
        let Some(lease) = self.leases.get(partition as usize) else {
            return Ok(false);
        };
        let mut revision = lease.revision.lock().await;
        let expected = match self.whose(lease).await? {
            None => 0,
            Some((number, told)) if told.run == self.told.run => number,
            Some((number, told)) if is_start && told.about.id == self.told.about.id => number,
            Some(_) => return Ok(false),
        };
        match self.write(lease, &mut revision, expected).await {
            Ok(()) => Ok(true),
            Err(unstored) if unstored.is_fenced() => Ok(false),
            Err(unstored) => Err(storage(unstored.in_words())),
        }
    }

    /// Lets the lease of a partition go: another process may take it at once.
    pub async fn give_up(&self, partition: u32) {
        let Some(lease) = self.leases.get(partition as usize) else {
            return;
        };
        let mut revision = lease.revision.lock().await;
        lease.inner.holds_until(Timestamp(0));
        if let Some(number) = revision.take() {
            self.delete(number).await;
        }
    }

    /// Is no member any more; leases are kept as long as they are renewed.
    pub async fn leave(&self) {
        let mut member = self.member.lock().await;
        if !std::mem::replace(&mut member.has_left, true) {
            self.delete(member.number).await;
        }
    }

    /// A record that cannot be deleted goes by itself.
    async fn delete(&self, number: u64) {
        let subject = format!("STREAM.MSG.DELETE.{}", self.first.names.owners);
        let query = serde_json::json!({ "seq": number, "no_erase": true });
        let context = jetstream(&self.first.client);
        let deleted: Result<Response<serde_json::Value>, _> = context.request(subject, &query).await;
        drop(deleted);
    }

    /// Who is there now, as the stream's leader tells it.
    pub async fn look(&self) -> Result<Standing, ChannelError> {
        let names = &self.first.names;
        let subject = format!("STREAM.INFO.{}", names.owners);
        let query = serde_json::json!({ "subjects_filter": names.all_owners() });
        let context = jetstream(&self.first.client);
        let answer: Response<serde_json::Value> = context.request(subject, &query).await.map_err(storage)?;
        let info = match answer {
            Response::Ok(info) => info,
            Response::Err { error } => return Err(storage(error)),
        };
        let mut standing = Standing::default();
        let subjects = info["state"]["subjects"].as_object().into_iter().flatten();
        for (subject, _) in subjects {
            match names.of_owners(subject) {
                Some(("member", id)) => drop(standing.members.insert(id.to_owned())),
                Some(("lease", number)) => standing.leased.extend(number.parse::<u32>()),
                Some(_) | None => {}
            }
        }
        Ok(standing)
    }

    /// Who owns these partitions, as far as somebody does.
    pub async fn owners(&self, partitions: &BTreeSet<u32>) -> Vec<(u32, About)> {
        let mut owners = Vec::new();
        for lease in &self.leases {
            let partition = lease.inner.names.partition;
            if partitions.contains(&partition)
                && let Ok(Some((_, told))) = self.whose(lease).await
            {
                owners.push((partition, told.about));
            }
        }
        owners
    }
}
