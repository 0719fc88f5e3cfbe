//! What happens, for those who follow it: a bounded ring. Publishers never block.
//!
//! # Guarantees
//! - While nobody follows, items are not even made ([`TailFeed::is_followed`]).
//! - The ring holds at most [`MAX_ITEMS`] items and [`MAX_BYTES`] bytes of events, whatever readers do. A
//!   reader that is too slow misses what was pushed out, and is told how many items those were.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millrace_channel::{Attempt, Position};
use millrace_event::{Event, ObjectName};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Items in the ring.
pub const MAX_ITEMS: usize = 4_096;
/// Bytes of the events of those items.
pub const MAX_BYTES: usize = 8 << 20;
/// Readers at one time.
pub const MAX_FOLLOWERS: usize = 16;
/// What an item counts beside its event: an attempt has a few short texts.
const ITEM_BYTES: usize = 1_024;

/// Where what happens is published and followed. Cheap to clone; all clones are the same feed.
#[derive(Clone, Debug, Default)]
pub struct TailFeed {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    followers: AtomicUsize,
    ring: Mutex<Ring>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Ring {
    items: VecDeque<Arc<Item>>,
    bytes: usize,
    /// The number of the first item in the ring; each has the next one.
    first: u64,
}

/// Something that happened at a Broker.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) broker: ObjectName,
    pub(crate) what: What,
}

/// To an event, or before there was one.
#[derive(Debug)]
pub(crate) enum What {
    /// To an event.
    Event {
        position: Position,
        event: Event,
        happened: Happened,
    },
    /// Somebody was not let in.
    TurnedAway {
        /// The stable code of the reason.
        code: &'static str,
        /// Who it was, if that is known.
        who: Option<String>,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It was stored, and these triggers want it.
    Routed(Vec<ObjectName>),
    /// An attempt ended.
    Attempted {
        /// The attempt, as the history has it.
        attempt: Attempt,
        /// The target that was tried; empty without an attempt.
        target: String,
    },
}

/// One who follows, from when it began.
#[derive(Debug)]
pub(crate) struct Follower {
    feed: TailFeed,
    next: u64,
}

/// What a follower reads at once.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// Items that were pushed out before these.
    pub(crate) missed: u64,
    pub(crate) items: Vec<Arc<Item>>,
}

// === impl TailFeed ===

impl TailFeed {
    /// Whether anybody follows.
    pub fn is_followed(&self) -> bool {
        self.shared.followers.load(Ordering::Relaxed) > 0
    }

    /// Publishes what happened to an event, of which a copy is kept while it is in the ring.
    pub fn publish(&self, broker: &ObjectName, position: Position, event: &Event, happened: Happened) {
        self.push(
            broker,
            What::Event {
                position,
                event: event.compact(),
                happened,
            },
        );
    }

    /// Publishes that somebody was not let in at a Broker.
    pub fn turned_away(&self, broker: &ObjectName, code: &'static str, who: Option<String>) {
        self.push(broker, What::TurnedAway { code, who });
    }

    fn push(&self, broker: &ObjectName, what: What) {
        let item = Arc::new(Item {
            broker: broker.clone(),
            what,
        });
        self.shared.ring.lock().push(item);
        self.shared.news.notify_waiters();
    }

    /// Follows from now on; `None` when as many as may do already.
    pub(crate) fn follow(&self) -> Option<Follower> {
        let count = &self.shared.followers;
        let more = |now: usize| (now < MAX_FOLLOWERS).then_some(now + 1);
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        let ring = self.shared.ring.lock();
        Some(Follower {
            next: ring.first + ring.items.len() as u64,
            feed: self.clone(),
        })
    }
}

// === impl Ring ===

impl Ring {
    fn push(&mut self, item: Arc<Item>) {
        self.bytes += item.bytes();
        self.items.push_back(item);
        while self.items.len() > MAX_ITEMS || self.bytes > MAX_BYTES {
            let Some(oldest) = self.items.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes();
            self.first += 1;
        }
    }

    fn read(&self, next: u64, most: usize) -> Read {
        let missed = self.first.saturating_sub(next);
        let from = usize::try_from((next + missed).saturating_sub(self.first)).unwrap_or(usize::MAX);
        Read {
            missed,
            items: self.items.iter().skip(from).take(most).cloned().collect(),
        }
    }
}

impl Item {
    fn bytes(&self) -> usize {
        match &self.what {
            What::Event { event, .. } => event.stored().len() + ITEM_BYTES,
            What::TurnedAway { who, .. } => who.as_ref().map_or(0, String::len) + ITEM_BYTES,
        }
    }
}

// === impl Follower ===

impl Follower {
    /// The next items, at most so many; waits until there is one. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self, most: usize) -> Read {
        loop {
            let news = self.feed.shared.news.notified();
            let read = self.feed.shared.ring.lock().read(self.next, most);
            if read.missed > 0 || !read.items.is_empty() {
                self.next += read.missed + read.items.len() as u64;
                return read;
            }
            news.await;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if self.feed.shared.followers.fetch_sub(1, Ordering::Relaxed) == 1 {
            // The last one: what is kept is for nobody.
            let mut ring = self.feed.shared.ring.lock();
            ring.first += ring.items.len() as u64;
            ring.items = VecDeque::new();
            ring.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace_event::{DataForm, SpecVersion};

    use super::*;

    fn publish(feed: &TailFeed, id: usize, bytes: usize) {
        let event = Event::builder(SpecVersion::V10)
            .attribute("id", &id.to_string())
            .attribute("source", "/s")
            .attribute("type", "t")
            .data(DataForm::Bytes, &vec![b'x'; bytes])
            .build()
            .expect("an event");
        let broker = ObjectName::new("shop", "default");
        feed.publish(&broker, Position::default(), &event, Happened::Routed(Vec::new()));
    }

    fn ids(read: &Read) -> Vec<&str> {
        let ids = read.items.iter().map(|item| match &item.what {
            What::Event { event, .. } => event.id(),
            What::TurnedAway { code, .. } => *code,
        });
        ids.collect()
    }

    #[tokio::test]
    async fn followers_read_in_order_what_came_since_they_began() {
        let feed = TailFeed::default();
        assert!(!feed.is_followed());
        publish(&feed, 0, 1);
        let mut one = feed.follow().expect("the first");
        assert!(feed.is_followed());
        for id in 1..4 {
            publish(&feed, id, 1);
        }
        assert_eq!(ids(&one.next(2).await), ["1", "2"]);
        let mut other = feed.follow().expect("the second");
        publish(&feed, 4, 1);
        assert_eq!(ids(&one.next(9).await), ["3", "4"]);
        assert_eq!(ids(&other.next(9).await), ["4"]);
        drop((one, other));
        assert!(!feed.is_followed());
        assert_eq!(
            feed.shared.ring.lock().items.len(),
            0,
            "nothing is kept for nobody"
        );
    }

    #[tokio::test]
    async fn a_slow_follower_is_told_how_much_it_missed() {
        let feed = TailFeed::default();
        let mut slow = feed.follow().expect("the first");
        for id in 0..MAX_ITEMS + 10 {
            publish(&feed, id, 1);
        }
        let read = slow.next(1).await;
        assert_eq!((read.missed, ids(&read)), (10, vec!["10"]));
        for id in 0..20 {
            publish(&feed, id, 1 << 20);
        }
        {
            let ring = feed.shared.ring.lock();
            assert!(ring.bytes <= MAX_BYTES && ring.items.len() < 8, "{}", ring.bytes);
        }
        let read = slow.next(MAX_ITEMS).await;
        assert_eq!(
            usize::try_from(read.missed).ok(),
            Some(MAX_ITEMS - 1 + 20 - read.items.len())
        );
        assert_eq!(ids(&read).last(), Some(&"19"));
    }

    #[tokio::test]
    async fn followers_are_counted_and_bounded() {
        let feed = TailFeed::default();
        let all: Vec<_> = (0..MAX_FOLLOWERS)
            .map(|_| feed.follow().expect("one more"))
            .collect();
        assert!(feed.follow().is_none());
        drop(all);
        assert!(feed.follow().is_some());
    }
}
