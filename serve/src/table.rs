//! The connections of a listener by peer. Once there are as many as allowed, it decides who is served next
//! and who makes room.
//!
//! A peer's share is an equal part of the connections. It is a guarantee and no ceiling: one peer may have all of them
//! until another wants one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task;
use tokio::time::Instant;

use crate::peer::Peer;
use crate::progress::Progress;

/// The open connections, and those accepted that wait for room.
#[derive(Debug)]
pub(crate) struct Table {
    limit: usize,
    open: HashMap<task::Id, Open>,
    /// Open connections of each peer that has any.
    held: HashMap<Peer, usize>,
    waiting: VecDeque<Waiting>,
    /// Open connections that were asked to leave while they were idle.
    leaving: usize,
}

#[derive(Debug)]
struct Open {
    peer: Peer,
    progress: Arc<Progress>,
    is_leaving: bool,
}

/// An accepted connection that is not served yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) stream: TcpStream,
    pub(crate) peer: Peer,
    since: Instant,
}

/// How long a connection must have been idle before it makes room for another peer, or for any if it never
/// sent a byte. After a shorter time its next request may already be on the way.
const IDLE_SOON: Duration = Duration::from_millis(50);
/// The same for its own peer. That peer gains nothing by it, but another peer may become visible behind it.
const IDLE_LONG: Duration = Duration::from_secs(1);
/// The least time that a connection waits before it may be turned away.
const PATIENCE: Duration = Duration::from_secs(1);

// === impl Table ===

impl Table {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            open: HashMap::new(),
            held: HashMap::new(),
            waiting: VecDeque::new(),
            leaving: 0,
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

    pub(crate) fn wait(&mut self, stream: TcpStream, peer: Peer) {
        self.waiting.push_back(Waiting {
            stream,
            peer,
            since: Instant::now(),
        });
    }

    /// The connection to be served next, if there is room: the oldest one of the peer that has the fewest.
    pub(crate) fn next(&mut self) -> Option<Waiting> {
        if self.open.len() >= self.limit {
            return None;
        }
        // There is rarely more than one waiting while there is room.
        let next = (0..self.waiting.len()).min_by_key(|index| self.held(self.waiting[*index].peer))?;
        self.waiting.remove(next)
    }

    pub(crate) fn opened(&mut self, id: task::Id, peer: Peer, progress: Arc<Progress>) {
        *self.held.entry(peer).or_default() += 1;
        let open = Open {
            peer,
            progress,
            is_leaving: false,
        };
        self.open.insert(id, open);
    }

    pub(crate) fn ended(&mut self, id: task::Id) {
        let Some(open) = self.open.remove(&id) else { return };
        self.leaving -= usize::from(open.is_leaving);
        if let Some(held) = self.held.get_mut(&open.peer) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&open.peer);
            }
        }
    }

    /// Asks connections to leave for those that wait; returns how many. They belong to the peer that has the
    /// most: its idle ones first, the longest idle before others. If none is idle, one of them ends after the
    /// request in hand, but only for another peer.
    pub(crate) fn make_room(&mut self) -> usize {
        let Some(least) = self.waiting.iter().map(|waiting| self.held(waiting.peer)).min() else {
            return 0;
        };
        let wanted = self.waiting.len().saturating_sub(self.leaving);
        let Some((peer, most)) = self.most() else { return 0 };
        if wanted == 0 || self.open.len() < self.limit {
            return 0;
        }
        let for_others = most > least + 1;
        let now = Instant::now();
        let mut idle: Vec<_> = self
            .open
            .values_mut()
            .filter(|open| open.peer == peer && !open.is_leaving)
            .filter_map(|open| Some((open.progress.idle_for(now)?, open)))
            .filter(|(idle, open)| {
                let soon = for_others || open.progress.is_silent();
                *idle >= if soon { IDLE_SOON } else { IDLE_LONG }
            })
            .collect();
        idle.sort_unstable_by_key(|(idle, _)| std::cmp::Reverse(*idle));
        idle.truncate(wanted);
        let asked = idle.len();
        for (_, open) in idle {
            open.is_leaving = true;
            open.progress.leave();
        }
        self.leaving += asked;
        if asked == 0 && for_others {
            return self.let_one_finish(peer);
        }
        asked
    }

    /// Makes a busy connection of this peer end once its request is answered. The request is not affected.
    fn let_one_finish(&self, peer: Peer) -> usize {
        let mut busy = self
            .open
            .values()
            .filter(|open| open.peer == peer && open.progress.is_busy());
        let Some(open) = busy.find(|open| !open.progress.is_leaving()) else {
            return 0;
        };
        open.progress.leave();
        1
    }

    /// Connections to be turned away. No more can be accepted, so other peers would not even be seen. They
    /// belong to the peer that has the most. If it keeps idle connections, its newest one goes at once: it
    /// has others to use. Otherwise those go that have waited for a second.
    pub(crate) fn turned_away(&mut self) -> Vec<Waiting> {
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
