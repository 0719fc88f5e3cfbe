//! The outgoing connections of the process: how many may be open, who has them, and which are closed for
//! another owner.
//!
//! # The contract
//! Each Trigger and each source has a [`crate::Share`] of `--max-outgoing-connections`, by the rules of
//! [`crate::shares`]. A share is a guarantee and no ceiling. Some connections are kept back:
//!
//! - An owner without a connection gets one while any is free.
//! - An owner below its share gets another one while more than an eighth of the limit is free.
//! - An owner at its share or above gets another one while more than a quarter is free.
//!
//! So Triggers whose subscribers hang leave an eighth of the limit for the first connections of everybody
//! else, and an owner that is alone gets seven eighths.
//!
//! An idle kept-alive connection is worth less than a waiting delivery. While a delivery waits, idle
//! connections are closed for it: first those of the owner that holds most, as long as that owner holds more
//! than the waiting one. A connection whose attempt has ended is then closed instead of kept.
//!
//! A connection is parked here only while its slot rests. A slot that makes one attempt after another takes
//! no lock between them: it only looks at the end of each attempt whether somebody waits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Weak};
use std::time::Duration;

use millrace_model::Shortage;
use parking_lot::Mutex;

use crate::exchange::Open;
use crate::permits::{Pending, Permit, Permits, Shown};
use crate::shares::{Asking, OwnerId, Rank};

/// A shortage that lasts this long is logged, once.
pub(crate) const TOLD_AFTER: Duration = Duration::from_secs(10);

/// All outgoing connections.
#[derive(Debug)]
pub(crate) struct Outgoing {
    permits: Arc<Permits>,
    owners: Mutex<HashMap<OwnerId, Weak<Owner>>>,
    next: AtomicU64,
    /// How many connections are parked: while there are none, nobody has to look for one.
    idle: AtomicUsize,
}

/// The owner of a share: one Trigger's lane, or one source.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) id: OwnerId,
    outgoing: Arc<Outgoing>,
    /// Where its slots park their connections.
    places: Mutex<Vec<Weak<Parked>>>,
    idle: AtomicUsize,
    /// How many of its deliveries wait for something short now.
    short: AtomicUsize,
    told: AtomicBool,
}

/// Where one slot's connection lies while the slot rests.
#[derive(Debug)]
pub(crate) struct Parked {
    owner: Arc<Owner>,
    open: Mutex<Option<Box<Open>>>,
}

/// A delivery that waits for something short, from the first refusal until it goes on.
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

    pub(crate) fn owner(self: &Arc<Self>) -> Arc<Owner> {
        Arc::new(Owner {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            outgoing: self.clone(),
            places: Mutex::default(),
            idle: AtomicUsize::new(0),
            short: AtomicUsize::new(0),
            told: AtomicBool::new(false),
        })
    }

    /// Waits until a connection of any owner has been closed.
    pub(crate) async fn closed_one(&self) {
        self.permits.freed().await;
    }

    /// Closes an idle connection of the owner that holds most; `false`: there is none.
    pub(crate) fn close_idle(&self) -> bool {
        self.close_one(|_| true)
    }

    /// Closes idle connections for this request, until it is granted or none is left that may be closed for
    /// it.
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
        // The lock is released before any owner is dropped: dropping the last handle takes the owner off the
        // list.
        let mut owners: Vec<_> = {
            let owners = self.owners.lock();
            let known = |(id, held)| Some((held, owners.get(&id)?.upgrade()?));
            holders
                .into_iter()
                .filter(|holder| may(*holder))
                .filter_map(known)
                .collect()
        };
        owners.retain(|(_, owner)| owner.idle.load(Ordering::Relaxed) > 0);
        owners.sort_unstable_by_key(|(held, _)| std::cmp::Reverse(*held));
        // The first owner may have used its connection again meanwhile.
        owners.iter().find_map(|(_, owner)| owner.unpark()).is_some()
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

    /// Whether this owner should close a connection that it does not use, for another owner that waits.
    pub(crate) fn is_to_give_way(&self) -> bool {
        self.outgoing.permits.is_wanted_of(self.id)
    }

    pub(crate) fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// Counts one of its deliveries as waiting for something short.
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
    /// Takes the connection that lies here.
    pub(crate) fn take(&self) -> Option<Box<Open>> {
        let open = self.open.lock().take()?;
        self.owner.idle.fetch_sub(1, Ordering::Relaxed);
        self.owner.outgoing.idle.fetch_sub(1, Ordering::Relaxed);
        Some(open)
    }

    /// Keeps a connection for its next use; or closes it, if an owner with fewer connections waits.
    pub(crate) fn put(&self, open: Box<Open>) {
        self.owner.outgoing.idle.fetch_add(1, Ordering::Relaxed);
        self.owner.idle.fetch_add(1, Ordering::Relaxed);
        *self.open.lock() = Some(open);
        // Either a new request finds the connection here, or it is seen waiting below. The other half of
        // this handshake is in `Permits::ask`.
        fence(Ordering::SeqCst);
        if self.owner.is_to_give_way() {
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
    /// Waits for `room`, and logs what is short if the wait is long: once for each owner, until all of its
    /// deliveries go on.
    pub(crate) async fn wait<T>(&self, shortage: Shortage, room: impl Future<Output = T>) -> T {
        let mut room = std::pin::pin!(room);
        match tokio::time::timeout_at(self.since + TOLD_AFTER, &mut room).await {
            Ok(waited) => waited,
            Err(_) => {
                if !self.owner.told.swap(true, Ordering::Relaxed) {
                    tracing::warn!("deliveries stand still: {shortage}. No attempt is counted meanwhile");
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
