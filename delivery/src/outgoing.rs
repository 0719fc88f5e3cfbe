//! The outgoing connections of the process: how many may be open, whose they are, and which are closed for somebody else.
//!
//! # The contract
//! Each Trigger and each source has a [`crate::Share`] of `--max-outgoing-connections`, as [`crate::shares`] says: a guarantee
//! and no ceiling. What is kept back:
//!
//! - An owner without a connection gets one while any is free.
//! - An owner below its share gets another one while more than an eighth of the limit is free.
//! - An owner at its share or above gets another one while more than a quarter is free.
//!
//! So Triggers whose subscribers hang leave an eighth of the limit for the first connections of everybody else, and an
//! owner that is alone gets seven eighths.
//!
//! A kept-alive connection that is not in use is worth less than a delivery that waits. While somebody waits, those of
//! the owner that holds most are closed first, as far as it holds more than who waits; and a connection whose attempt
//! has ended is closed instead of kept.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use millrace_model::Shortage;
use parking_lot::Mutex;

use crate::exchange::Open;
use crate::permits::{Pending, Permit, Permits, Shown};
use crate::shares::{Asking, OwnerId, Rank};

/// A shortage that lasts for so long is logged, once.
pub(crate) const TOLD_AFTER: Duration = Duration::from_secs(10);

/// All outgoing connections.
#[derive(Debug)]
pub(crate) struct Outgoing {
    permits: Arc<Permits>,
    owners: Mutex<HashMap<OwnerId, Weak<Owner>>>,
    next: AtomicU64,
    /// Kept-alive connections that are not in use.
    idle: AtomicUsize,
}

/// Who has a share: one Trigger's lane, or one source.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) id: OwnerId,
    /// As a log line names it.
    name: String,
    outgoing: Arc<Outgoing>,
    /// Where its connections lie that are not in use.
    places: Mutex<Vec<Weak<Parked>>>,
    idle: AtomicUsize,
    /// How many of its deliveries meet a shortage now.
    short: AtomicUsize,
    told: AtomicBool,
}

/// Where one slot's connection lies while it is not in use.
#[derive(Debug)]
pub(crate) struct Parked {
    owner: Arc<Owner>,
    open: Mutex<Option<Box<Open>>>,
}

/// A delivery that meets a shortage, from the first time that it does until it goes on.
#[derive(Debug)]
pub(crate) struct Short {
    owner: Arc<Owner>,
    pub(crate) since: tokio::time::Instant,
    /// How often it has tried again.
    pub(crate) tries: u32,
}

/// How many must stay free when this request is granted.
fn kept(asking: Asking) -> usize {
    match asking.held {
        0 => 0,
        held if held < asking.share => asking.limit / 8,
        _ => asking.limit / 4,
    }
}

// === impl Outgoing ===

impl Outgoing {
    pub(crate) fn new(limit: usize, shown: Shown) -> Arc<Self> {
        Arc::new(Self {
            permits: Permits::new(limit, kept, shown),
            owners: Mutex::default(),
            next: AtomicU64::new(0),
            idle: AtomicUsize::new(0),
        })
    }

    pub(crate) fn owner(self: &Arc<Self>, name: String) -> Arc<Owner> {
        Arc::new(Owner {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            name,
            outgoing: self.clone(),
            places: Mutex::default(),
            idle: AtomicUsize::new(0),
            short: AtomicUsize::new(0),
            told: AtomicBool::new(false),
        })
    }

    /// Waits until a connection of anybody has been closed.
    pub(crate) async fn closed_one(&self) {
        self.permits.freed().await;
    }

    /// Closes a connection that nobody uses, of the owner that holds most; `false`: there is none.
    pub(crate) fn close_idle(&self) -> bool {
        self.close_one(|_| true)
    }

    /// Closes connections that nobody uses, for this request, until it is granted or none is left that it may have.
    fn make_room(&self, pending: &mut Pending, owner: OwnerId) -> Option<Permit> {
        loop {
            if let Some(permit) = pending.granted() {
                return Some(permit);
            }
            let mine = pending.owner_holds(owner);
            if !self.close_one(|(other, held)| held > mine || other == owner) {
                return pending.granted();
            }
        }
    }

    fn close_one(&self, may: impl Fn((OwnerId, usize)) -> bool) -> bool {
        if self.idle.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let holders = self.permits.holders();
        // The lock is released before any of them is let go: the last to hold an owner takes it off the list.
        let owners: Vec<_> = {
            let owners = self.owners.lock();
            let known = |(id, held)| Some((held, owners.get(&id)?.upgrade()?));
            holders
                .into_iter()
                .filter(|holder| may(*holder))
                .filter_map(known)
                .collect()
        };
        let most = owners
            .into_iter()
            .filter(|(_, owner)| owner.idle.load(Ordering::Relaxed) > 0)
            .max_by_key(|(held, _)| *held);
        most.and_then(|(_, owner)| owner.unpark()).is_some()
    }
}

// === impl Owner ===

impl Owner {
    /// A place for one more slot's connection.
    pub(crate) fn place(self: &Arc<Self>) -> Arc<Parked> {
        let parked = Arc::new(Parked {
            owner: self.clone(),
            open: Mutex::default(),
        });
        let mut places = self.places.lock();
        if places.is_empty() {
            let mut owners = self.outgoing.owners.lock();
            owners.insert(self.id, Arc::downgrade(self));
        }
        places.retain(|place| place.strong_count() > 0);
        places.push(Arc::downgrade(&parked));
        parked
    }

    /// A permit for one more connection; else a place in the line.
    pub(crate) fn ask(&self) -> Result<Permit, Pending> {
        let mut pending = self.outgoing.permits.ask(self.id, Rank::Usual);
        self.outgoing.make_room(&mut pending, self.id).ok_or(pending)
    }

    pub(crate) fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// One of its deliveries meets a shortage.
    pub(crate) fn is_short(self: &Arc<Self>) -> Short {
        self.short.fetch_add(1, Ordering::Relaxed);
        Short {
            owner: self.clone(),
            since: tokio::time::Instant::now(),
            tries: 0,
        }
    }

    fn unpark(&self) -> Option<Box<Open>> {
        let places: Vec<_> = self.places.lock().iter().filter_map(Weak::upgrade).collect();
        places.iter().find_map(|place| place.take())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.outgoing.owners.lock().remove(&self.id);
    }
}

// === impl Parked ===

impl Parked {
    /// The connection that lies here.
    pub(crate) fn take(&self) -> Option<Box<Open>> {
        let open = self.open.lock().take()?;
        self.owner.idle.fetch_sub(1, Ordering::Relaxed);
        self.owner.outgoing.idle.fetch_sub(1, Ordering::Relaxed);
        Some(open)
    }

    /// Keeps a connection until it is used again; or closes it, where somebody waits who holds fewer.
    pub(crate) fn put(&self, open: Box<Open>) {
        let outgoing = &self.owner.outgoing;
        outgoing.idle.fetch_add(1, Ordering::Relaxed);
        self.owner.idle.fetch_add(1, Ordering::Relaxed);
        *self.open.lock() = Some(open);
        // Asked afterwards: who began to wait before has perhaps looked for it in vain.
        if outgoing.permits.is_wanted_of(self.owner.id) {
            drop(self.take());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.lock().is_none()
    }

    pub(crate) fn owner(&self) -> &Arc<Owner> {
        &self.owner
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        drop(self.take());
    }
}

// === impl Short ===

impl Short {
    /// Waits for `room`, and says in the log what is waited for when that lasts: once an owner, until all of its
    /// deliveries go on.
    pub(crate) async fn wait<T>(&self, shortage: Shortage, room: impl Future<Output = T>) -> T {
        let mut room = std::pin::pin!(room);
        match tokio::time::timeout_at(self.since + TOLD_AFTER, &mut room).await {
            Ok(waited) => waited,
            Err(_) => {
                if !self.owner.told.swap(true, Ordering::Relaxed) {
                    tracing::warn!(of = %self.owner.name, "deliveries stand still: {shortage}. No attempt is counted meanwhile");
                }
                room.await
            }
        }
    }
}

impl Drop for Short {
    fn drop(&mut self) {
        if self.owner.short.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.owner.told.store(false, Ordering::Relaxed);
        }
    }
}
