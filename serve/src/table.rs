//! The connections of a listener by peer. Once there are as many as allowed, it decides who is served next
//! and who makes room.
//!
//! A peer's share is an equal part of the connections. It is a guarantee and no ceiling: one peer may have
//! all of them until another wants one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task;
use tokio::time::Instant;

use crate::peer::Peer;
use crate::progress::Progress;
use crate::tls::Tls;

/// The open connections, and those accepted that wait for room.
#[derive(Debug)]
pub(crate) struct Table {
    limit: usize,
    open: HashMap<task::Id, Open>,
    /// Open connections of each peer that has any.
    held: HashMap<Peer, usize>,
    waiting: VecDeque<Arrived>,
    /// Open connections that were asked to leave.
    leaving: usize,
    /// When one was last asked to leave.
    asked: Option<Instant>,
    /// When too few were found that could leave; `None` if there were enough.
    in_vain: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    peer: Peer,
    progress: Arc<Progress>,
}

/// An accepted connection that is not served yet.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) stream: TcpStream,
    pub(crate) peer: Peer,
    /// How it is to be secured; `None`: it is plain.
    pub(crate) tls: Option<Arc<Tls>>,
    since: Instant,
}

/// How long a connection must have been idle before it makes room for another peer, or for any if it never
/// sent a byte. After a shorter time its next request may already be on the way.
const IDLE_SOON: Duration = Duration::from_millis(50);
/// The same for its own peer. That peer gains nothing by it, but another peer may become visible behind it.
const IDLE_LONG: Duration = Duration::from_secs(1);
/// The least time that a connection waits before it may be turned away.
const PATIENCE: Duration = Duration::from_secs(1);

/// How soon connections are searched again for some that can leave, while others wait for room.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(10);

// === impl Table ===

impl Table {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            open: HashMap::new(),
            held: HashMap::new(),
            waiting: VecDeque::new(),
            leaving: 0,
            asked: None,
            in_vain: None,
        }
    }

    /// How many accepted connections may wait beside those that are served: enough that a crowd of one peer
    /// does not hide another peer behind it for long.
    pub(crate) fn waiting_room(limit: usize) -> usize {
        (limit / 8).clamp(1, 256)
    }

    /// Whether one more may be accepted.
    pub(crate) fn has_room_to_wait(&self) -> bool {
        self.waiting.len() < Self::waiting_room(self.limit)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn wait(&mut self, stream: TcpStream, peer: Peer, tls: Option<Arc<Tls>>) {
        self.waiting.push_back(Arrived {
            stream,
            peer,
            tls,
            since: Instant::now(),
        });
    }

    /// The connection to be served next, if there is room: the oldest one of the peer that has the fewest.
    pub(crate) fn next(&mut self) -> Option<Arrived> {
        if self.open.len() >= self.limit {
            return None;
        }
        // There is rarely more than one waiting while there is room.
        let next = (0..self.waiting.len()).min_by_key(|index| self.held(self.waiting[*index].peer))?;
        self.waiting.remove(next)
    }

    pub(crate) fn opened(&mut self, id: task::Id, peer: Peer, progress: Arc<Progress>) {
        *self.held.entry(peer).or_default() += 1;
        self.open.insert(id, Open { peer, progress });
    }

    pub(crate) fn ended(&mut self, id: task::Id) {
        let Some(open) = self.open.remove(&id) else { return };
        self.leaving -= usize::from(open.progress.is_leaving());
        if let Some(held) = self.held.get_mut(&open.peer) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&open.peer);
            }
        }
    }

    /// Asks connections to leave for those that wait; returns how many. They belong to the peer that has the
    /// most: its idle ones first, the longest idle before others. Where there are too few, one busy
    /// connection for each that waits ends after the request in hand, but only for other peers.
    ///
    /// Cheap while there is nothing to do. Where too few are found, they are searched for again after
    /// [`LOOK_AGAIN`].
    pub(crate) fn make_room(&mut self) -> usize {
        let now = Instant::now();
        let on_their_way = self.on_their_way(now);
        let wanted = self.waiting.len().saturating_sub(on_their_way);
        if wanted == 0 || self.open.len() < self.limit || is_within(LOOK_AGAIN, self.in_vain, now) {
            return 0;
        }
        let Some((peer, most)) = self.most() else { return 0 };
        let is_other = |waiting: &&Arrived| self.held(waiting.peer) + 1 < most;
        let others = self.waiting.iter().filter(is_other).count();
        let idle = self.idle(peer, others > 0, wanted, now);
        let busy = others.saturating_sub(on_their_way + idle.len());
        let busy = self
            .staying(peer)
            .filter(|progress| progress.is_busy())
            .take(busy);
        let mut asked = 0;
        for progress in idle.into_iter().chain(busy) {
            progress.leave();
            asked += 1;
        }
        self.leaving += asked;
        self.in_vain = (asked < wanted).then_some(now);
        if asked > 0 {
            self.asked = Some(now);
        }
        asked
    }

    /// How many connections will soon have left. Those that are still there a while after the last one was
    /// asked are busy for long, and do not count.
    fn on_their_way(&self, now: Instant) -> usize {
        if is_within(PATIENCE, self.asked, now) {
            self.leaving
        } else {
            0
        }
    }

    /// Idle connections of the peer, the longest idle first.
    fn idle(&self, peer: Peer, for_others: bool, most: usize, now: Instant) -> Vec<&Progress> {
        let idle = self.staying(peer).filter_map(|progress| {
            let soon = for_others || progress.is_silent();
            let enough = if soon { IDLE_SOON } else { IDLE_LONG };
            let idle = progress.idle_for(now).filter(|idle| *idle >= enough)?;
            Some((idle, progress))
        });
        let mut idle = Vec::from_iter(idle);
        idle.sort_unstable_by_key(|(idle, _)| std::cmp::Reverse(*idle));
        idle.into_iter()
            .map(|(_, progress)| progress)
            .take(most)
            .collect()
    }

    /// Connections of the peer that were not asked to leave.
    fn staying(&self, peer: Peer) -> impl Iterator<Item = &Progress> {
        let of_peer = self.open.values().filter(move |open| open.peer == peer);
        of_peer
            .map(|open| &*open.progress)
            .filter(|progress| !progress.is_leaving())
    }

    /// Connections to be turned away. No more can be accepted, so other peers would not even be seen. They
    /// belong to the peer that has the most. If it keeps idle connections, its newest one goes at once: it
    /// has others to use. Otherwise those go that have waited for a second.
    pub(crate) fn turned_away(&mut self) -> Vec<Arrived> {
        if self.has_room_to_wait() {
            return Vec::new();
        }
        let Some((peer, _)) = self.most() else {
            return Vec::new();
        };
        let now = Instant::now();
        if self.keeps_idle(peer, now) {
            let newest = self.waiting.iter().rposition(|waiting| waiting.peer == peer);
            return Vec::from_iter(newest.and_then(|newest| self.waiting.remove(newest)));
        }
        let (away, stay) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.peer == peer && now.duration_since(waiting.since) >= PATIENCE);
        self.waiting = stay;
        Vec::from(away)
    }

    /// Whether the peer holds a connection that has been idle for a moment.
    fn keeps_idle(&self, peer: Peer, now: Instant) -> bool {
        self.open
            .values()
            .filter(|open| open.peer == peer)
            .filter_map(|open| open.progress.idle_for(now))
            .any(|idle| idle >= IDLE_SOON)
    }

    fn held(&self, peer: Peer) -> usize {
        self.held.get(&peer).copied().unwrap_or(0)
    }

    fn most(&self) -> Option<(Peer, usize)> {
        self.held
            .iter()
            .map(|(peer, held)| (*peer, *held))
            .max_by_key(|(_, held)| *held)
    }
}

fn is_within(time: Duration, since: Option<Instant>, now: Instant) -> bool {
    since.is_some_and(|since| now.duration_since(since) < time)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const CROWD: [u8; 4] = [10, 0, 0, 1];

    fn peer(address: [u8; 4]) -> Peer {
        Peer::of(address.into())
    }

    /// A table that is full with connections of one peer.
    fn full(limit: usize) -> (Table, Vec<(task::Id, Arc<Progress>)>) {
        let mut table = Table::new(limit);
        let open = (0..limit).map(|_| {
            let (id, progress) = (tokio::spawn(async {}).id(), Arc::new(Progress::new()));
            table.opened(id, peer(CROWD), progress.clone());
            (id, progress)
        });
        let open = open.collect();
        (table, open)
    }

    async fn wait(table: &mut Table, address: [u8; 4]) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        table.wait(stream, peer(address), None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_busy_connection_ends_for_each_that_waits_and_others_only_when_it_takes_long() {
        let (mut table, open) = full(5);
        open.iter().for_each(|(_, progress)| progress.busy());
        wait(&mut table, CROWD).await;
        assert_eq!(table.make_room(), 0, "not for its own peer");
        tokio::time::advance(LOOK_AGAIN).await;
        wait(&mut table, [10, 0, 0, 2]).await;
        wait(&mut table, [10, 0, 0, 3]).await;
        assert_eq!(table.make_room(), 2);
        let leaving = |open: &[(task::Id, Arc<Progress>)]| {
            let leaving = open.iter().filter(|(_, progress)| progress.is_leaving());
            leaving.map(|(id, _)| *id).collect::<Vec<_>>()
        };
        tokio::time::advance(LOOK_AGAIN).await;
        assert_eq!(table.make_room(), 0, "they were asked");
        table.ended(leaving(&open)[0]);
        table.next().unwrap();
        wait(&mut table, [10, 0, 0, 4]).await;
        assert_eq!(table.make_room(), 0, "there is room");
        table.opened(
            tokio::spawn(async {}).id(),
            peer(CROWD),
            Arc::new(Progress::new()),
        );
        tokio::time::advance(PATIENCE).await;
        assert_eq!(table.make_room(), 2, "the other one's request takes long");
    }

    #[tokio::test(start_paused = true)]
    async fn where_too_few_are_idle_they_are_searched_for_again_after_a_moment() {
        let (mut table, open) = full(3);
        wait(&mut table, [10, 0, 0, 2]).await;
        tokio::time::advance(IDLE_SOON - Duration::from_millis(1)).await;
        assert_eq!(table.make_room(), 0, "they may have a request on its way");
        tokio::time::advance(LOOK_AGAIN - Duration::from_millis(1)).await;
        assert_eq!(table.make_room(), 0, "not at every turn");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(table.make_room(), 1);
        assert_eq!(table.make_room(), 0, "one is enough");
        wait(&mut table, [10, 0, 0, 3]).await;
        assert_eq!(table.make_room(), 1, "for another one at once");
        let leaving = open.iter().filter(|(_, progress)| progress.is_leaving());
        assert_eq!(leaving.count(), 2);
    }
}
