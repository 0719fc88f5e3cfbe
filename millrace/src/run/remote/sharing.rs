//! Serving those partitions of a Broker that are this process's share.
//!
//! Each process looks twice a second who is there, and computes whose each partition is to be. One that is
//! another's is drained and let go; one that is its own is claimed once nobody has its lease.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use millrace_channel::{Channel, ChannelError};
use millrace_channel_jetstream::{Ended, Members, RENEWED_EVERY, Standing, Streams, shares};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument as _;

use super::Looking;

/// How often it is looked who is there.
const LOOK: Duration = Duration::from_millis(500);
/// The same, until events are let in.
const FIRST_LOOKS: Duration = Duration::from_millis(50);
/// How long nothing is claimed after the servers were away: each of the others renews its records meanwhile.
const CALM: Duration = Duration::from_secs(4);
/// After so many looks it is asked again who the owners are.
const ASKED_AGAIN_AFTER: u32 = 20;
/// How long attempts of a partition that is let go may take to end.
const DRAIN: Duration = Duration::from_secs(5);
/// How long a partition may take to be claimed, and to be closed: the others wait for it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Losses that wait to be looked at.
const LOSSES: usize = 64;

/// One process's share of a Broker.
pub(super) struct Sharing<'a> {
    looking: &'a Looking,
    streams: Arc<Streams>,
    members: Arc<Members>,
    held: BTreeMap<u32, Held>,
    /// Looks after each that is held.
    tended: JoinSet<(u32, Ended)>,
    /// Those that are being let go.
    leaving: JoinSet<u32>,
    /// Partitions whose leases were lost.
    lost: mpsc::Receiver<u32>,
    /// Events are let in.
    is_open: bool,
    /// Nobody was looked for yet.
    is_start: bool,
    /// The servers were away: until then the others may not have told again that they are there.
    calm_until: Option<Instant>,
    looks: u32,
    /// What was said last of a partition that cannot be claimed.
    said: String,
    /// Ends the renewing.
    _renews: DropGuard,
}

/// A partition that this process owns.
struct Held {
    channel: Arc<dyn Channel>,
    /// It is looked after, until it is lost.
    stop: CancellationToken,
    is_leaving: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The process asked for it.
    Asked,
    /// Everything must be opened anew.
    Lost,
}

// === impl Sharing ===

impl<'a> Sharing<'a> {
    pub(super) fn new(looking: &'a Looking, streams: Streams, members: Members) -> Self {
        let (tell, lost) = mpsc::channel(LOSSES);
        let members = Arc::new(members);
        let renews = CancellationToken::new();
        let renewing = renew(members.clone(), tell, renews.clone());
        drop(tokio::spawn(renewing.in_current_span()));
        Self {
            looking,
            streams: Arc::new(streams),
            members,
            held: BTreeMap::new(),
            tended: JoinSet::new(),
            leaving: JoinSet::new(),
            lost,
            is_open: false,
            is_start: true,
            calm_until: None,
            looks: 0,
            said: String::new(),
            _renews: renews.drop_guard(),
        }
    }

    /// Serves the share until the process asks for an end, or the servers have lost events.
    pub(super) async fn run(mut self) -> End {
        let (streams, looking) = (self.streams.clone(), self.looking);
        let mut tended = pin!(streams.tend(&looking.stop));
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = loop {
            tokio::select! {
                biased;
                ended = &mut tended => match ended {
                    Ended::Asked => break End::Asked,
                    Ended::Lost | Ended::TakenOver => break End::Lost,
                },
                Some(partition) = self.lost.recv() => self.lose(partition),
                Some(left) = self.leaving.join_next(), if !self.leaving.is_empty() => {
                    if let Ok(partition) = left {
                        self.held.remove(&partition);
                    }
                }
                Some(ended) = self.tended.join_next(), if !self.tended.is_empty() => match ended {
                    Ok((partition, Ended::TakenOver)) => {
                        self.lose(partition);
                        self.members.give_up(partition).await;
                    }
                    Ok((_, Ended::Lost)) => break End::Lost,
                    // What panicked has told so.
                    Ok((_, Ended::Asked)) | Err(_) => {}
                },
                _ = looks.tick() => {
                    self.look().await;
                    if !self.is_open {
                        self.is_open = self.let_in().await;
                    }
                    if !self.is_open {
                        looks.reset_after(FIRST_LOOKS);
                    }
                }
            }
        };
        self.end(end).await;
        end
    }

    /// Lets go what is another's, and claims what is ours and free.
    async fn look(&mut self) {
        let Ok(Standing { members, leased }) = self.members.look().await else {
            self.calm_until = Some(Instant::now() + CALM);
            return;
        };
        let all = self.streams.partitions();
        self.looks = self.looks.wrapping_add(1);
        self.tell_of_others(&leased).await;
        // From the beginning of its end on a process takes nothing, and keeps what it has until that is
        // drained.
        if self.looking.ending.is_cancelled() {
            return self.members.leave().await;
        }
        if self.calm_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        let shares = shares(&members, all.end);
        for partition in all {
            let is_ours = shares
                .get(&partition)
                .is_some_and(|member| member == self.members.id());
            match (is_ours, self.held.contains_key(&partition)) {
                (false, true) => self.let_go(partition),
                // Right after a start a lease may be our own of before.
                (true, false) if self.is_start || !leased.contains(&partition) => self.claim(partition).await,
                (true, true | false) | (false, false) => {}
            }
        }
        self.is_start = false;
    }

    async fn claim(&mut self, partition: u32) {
        match self.members.take(partition, self.is_start).await {
            Ok(true) => {}
            Ok(false) | Err(_) => return,
        }
        let claimed = match timeout(PATIENCE, self.streams.claim(partition)).await {
            Ok(claimed) => claimed.map_err(|error| error.to_string()),
            Err(_) => Err("the servers take too long".to_owned()),
        };
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                if self.said != error {
                    tracing::error!(
                        partition,
                        error,
                        "a partition cannot be claimed; it is tried again"
                    );
                    self.said = error;
                }
                return self.members.give_up(partition).await;
            }
        };
        self.said.clear();
        tracing::info!(partition, "this process serves the partition");
        let stop = self.looking.stop.child_token();
        let channel = claimed.channel();
        let held = Held {
            channel: channel.clone(),
            stop: stop.clone(),
            is_leaving: false,
        };
        self.held.insert(partition, held);
        self.tended
            .spawn(async move { (partition, claimed.tend(&stop).await) }.in_current_span());
        self.looking.owned.gain([(self.looking.name.clone(), channel)]);
    }

    /// Drains a partition, makes everything durable, and lets another process have it.
    fn let_go(&mut self, partition: u32) {
        let Some(held) = self.held.get_mut(&partition).filter(|held| !held.is_leaving) else {
            return;
        };
        held.is_leaving = true;
        held.stop.cancel();
        let (channel, members) = (held.channel.clone(), self.members.clone());
        let (release, name) = (self.looking.release.clone(), self.looking.name.clone());
        let leaves = async move {
            release.partition(&name, partition, DRAIN).await;
            if let Err(error) = close(&*channel).await {
                tracing::warn!(partition, %error, "the partition was not closed cleanly");
            }
            members.give_up(partition).await;
            tracing::info!(partition, "another process is to serve the partition");
            partition
        };
        self.leaving.spawn(leaves.in_current_span());
    }

    /// Another process owns the partition: nothing is written down any more.
    fn lose(&mut self, partition: u32) {
        if self.held.get(&partition).is_none_or(|held| held.is_leaving) {
            return;
        }
        if let Some(held) = self.held.remove(&partition) {
            held.stop.cancel();
            tracing::warn!(partition, "the partition was lost to another process");
            self.looking.owned.lose(&self.looking.name, partition);
        }
    }

    /// Whether events can be let in: each Trigger that is to be served has a lane in each partition, here or
    /// at another process.
    async fn let_in(&mut self) -> bool {
        for partition in self.streams.partitions() {
            let has_lanes = match self.held.get(&partition) {
                Some(held) => self.looking.has_lanes(&held.channel).await,
                None => {
                    let there = self.streams.lanes(partition).await;
                    there.is_ok_and(|there| {
                        let known: Vec<_> = there.iter().map(|(name, uid)| (name, &**uid)).collect();
                        self.looking.has_lanes_among(&known)
                    })
                }
            };
            if !has_lanes {
                return false;
            }
        }
        let Looking {
            logs, name, tried, ..
        } = self.looking;
        logs.insert(name.clone(), self.streams.log());
        tried.send_replace(true);
        true
    }

    /// Notes who serves what this process does not.
    async fn tell_of_others(&mut self, leased: &BTreeSet<u32>) {
        let others = self
            .streams
            .partitions()
            .filter(|partition| !self.held.contains_key(partition));
        let others: BTreeSet<u32> = others.collect();
        let (owned, name) = (&self.looking.owned, &self.looking.name);
        let known = owned.elsewhere(name);
        let is_known =
            |partition: &u32| known.get(partition).is_some_and(Option::is_some) == leased.contains(partition);
        let is_stale = self.looks.is_multiple_of(ASKED_AGAIN_AFTER);
        if !is_stale && known.len() == others.len() && others.iter().all(is_known) {
            return;
        }
        let mut elsewhere: BTreeMap<u32, Option<String>> =
            others.iter().map(|other| (*other, None)).collect();
        for (partition, about) in self.members.owners(&others).await {
            elsewhere.insert(
                partition,
                Some(format!("{} (admin API at {})", about.name, about.admin)),
            );
        }
        owned.set_elsewhere(name, elsewhere);
    }

    /// Ends serving all of them.
    async fn end(&mut self, end: End) {
        let (owned, name) = (&self.looking.owned, &self.looking.name);
        if end == End::Asked {
            self.looking.logs.remove(name);
        }
        while self.leaving.join_next().await.is_some() {}
        for (partition, held) in std::mem::take(&mut self.held) {
            held.stop.cancel();
            if held.is_leaving {
                continue;
            }
            if end == End::Asked
                && let Err(error) = close(&*held.channel).await
            {
                tracing::warn!(partition, %error, "the broker's channel was not closed cleanly");
            }
            owned.lose(name, partition);
            self.members.give_up(partition).await;
        }
        self.members.leave().await;
        owned.set_elsewhere(name, BTreeMap::new());
    }
}

/// Closes a partition, unless that takes too long: then the next owner fences this one off.
async fn close(channel: &dyn Channel) -> Result<(), ChannelError> {
    let closed = timeout(PATIENCE, channel.close()).await;
    closed.unwrap_or_else(|_| Err(ChannelError::Storage("the servers take too long".to_owned())))
}

/// Renews our records until the end, and tells which leases are lost.
async fn renew(members: Arc<Members>, lost: mpsc::Sender<u32>, until: CancellationToken) {
    let mut turns = interval(RENEWED_EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = until.cancelled() => return,
            _ = turns.tick() => {}
        }
        for partition in members.renew().await {
            if lost.send(partition).await.is_err() {
                return;
            }
        }
    }
}
