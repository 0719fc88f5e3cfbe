//! A part of the budget in which items grow while they are received.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicUsize};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::Use;

/// A part of the memory budget. Cheap to clone; clones share it.
///
/// # Flow
/// A small item takes bytes as they come, which is one atomic operation. A large item asks at the door for
/// all that it will need and waits there, holding nothing. It keeps what was set aside for it as long as it
/// keeps pace. If it lags while another waits, only what has come is left to it.
///
/// # Guarantees
/// - One item of the largest size always fits: there is a *guaranteed* room of that size for one item at a
///   time. So a full part always drains: the first at the door gets that room at last, and an item that lags
///   in it must leave.
/// - Small items have some room that no large one can take.
/// - The asker that holds least of this part comes next at the door; among equals, the first. So an asker
///   with many items does not stand before one with few.
///
/// # Caveats
/// Bytes are counted in KiB, rounded up for each item.
#[derive(Clone, Debug)]
pub struct Part {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// What all items may use, in units.
    common: Pool,
    /// What only small items may use.
    small: Pool,
    /// Whether an item has the guaranteed room.
    guaranteed: AtomicBool,
    largest: usize,
    /// How many wait at the door. Kept apart, so that giving back is cheap while nobody waits.
    waiting: AtomicUsize,
    door: Mutex<Door>,
}

/// In cache lines of its own: it changes with every item, and what lies beside it is read with every item.
#[derive(Debug)]
#[repr(align(128))]
struct Pool {
    size: usize,
    free: AtomicUsize,
}

#[derive(Debug, Default)]
struct Door {
    waiting: VecDeque<Asker>,
    /// Units that each asker was given at the door and still holds.
    held: HashMap<u64, usize>,
}

#[derive(Debug)]
struct Asker {
    asker: u64,
    units: usize,
    given: oneshot::Sender<Hold>,
}

/// Bytes of a part that an item holds; given back when dropped.
#[derive(Debug)]
pub struct Hold {
    part: Arc<Shared>,
    common: usize,
    small: usize,
    guaranteed: bool,
    /// The asker, if the bytes were given at the door.
    asker: Option<u64>,
}

/// Items up to this size, in bytes, are small.
pub const SMALL: usize = 64 * 1024;
/// Bytes are counted in units of this size.
const UNIT: usize = 1024;

// === impl Part ===

impl Part {
    /// A part of `bytes`, of which room for one item of the largest size is set aside, and an eighth for
    /// small items. It has at least the size [`Part::least`].
    pub fn new(bytes: usize, largest: usize) -> Self {
        let bytes = bytes.max(Self::least(largest));
        let small = bytes / 8;
        let common = bytes - small - largest;
        Self {
            shared: Arc::new(Shared {
                common: Pool::new(common),
                small: Pool::new(small),
                guaranteed: AtomicBool::new(false),
                largest: units(largest),
                waiting: AtomicUsize::new(0),
                door: Mutex::default(),
            }),
        }
    }

    /// The least size of a part for items of up to `largest` bytes: two of them fit beside what is kept for
    /// small ones.
    pub fn least(largest: usize) -> usize {
        largest
            .saturating_mul(2)
            .saturating_add(UNIT)
            .div_ceil(7)
            .saturating_mul(8)
    }

    /// An empty hold: for an item that takes bytes as they come.
    pub fn hold(&self) -> Hold {
        Hold::of(&self.shared, 0, None)
    }

    /// Waits for room for a whole item, holding nothing meanwhile. Dropping the future gives up the place at
    /// the door.
    pub async fn enter(&self, asker: u64, bytes: usize) -> Hold {
        let units = units(bytes).min(self.shared.common.size);
        let given = {
            let mut door = self.shared.door.lock();
            if door.waiting.is_empty() && self.shared.common.take(units) {
                *door.held.entry(asker).or_default() += units;
                return Hold::of(&self.shared, units, Some(asker));
            }
            let (give, given) = oneshot::channel();
            door.waiting.push_back(Asker {
                asker,
                units,
                given: give,
            });
            self.shared.waiting.fetch_add(1, AcqRel);
            given
        };
        // Bytes may have been given back between the first try and the entry into the queue.
        self.shared.open_door();
        let gone = Gone(&self.shared);
        let hold = given.await.unwrap_or_else(|_| self.hold());
        drop(gone);
        hold
    }
}

impl Use for Part {
    fn used(&self) -> usize {
        let shared = &self.shared;
        let guaranteed = if shared.guaranteed.load(Relaxed) {
            shared.largest
        } else {
            0
        };
        (shared.common.used() + shared.small.used() + guaranteed) * UNIT
    }

    fn limit(&self) -> usize {
        (self.shared.common.size + self.shared.small.size + self.shared.largest) * UNIT
    }
}

/// Leaves the queue at the door when dropped.
struct Gone<'a>(&'a Arc<Shared>);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.open_door();
    }
}

// === impl Shared ===

impl Shared {
    /// Admits from the door as many as there is room for.
    fn open_door(self: &Arc<Self>) {
        if self.waiting.load(Acquire) == 0 {
            return;
        }
        let mut given = Vec::new();
        {
            let mut door = self.door.lock();
            door.waiting.retain(|waiting| !waiting.given.is_closed());
            while let Some(next) = door.next() {
                let Asker { asker, units, .. } = door.waiting[next];
                let hold = if self.common.take(units) {
                    *door.held.entry(asker).or_default() += units;
                    Hold::of(self, units, Some(asker))
                } else if !self.guaranteed.swap(true, AcqRel) {
                    let mut hold = Hold::of(self, 0, None);
                    hold.guaranteed = true;
                    hold
                } else {
                    break;
                };
                given.extend(door.waiting.remove(next).map(|waiting| (waiting.given, hold)));
            }
            self.waiting.store(door.waiting.len(), Release);
        }
        // Not under the lock: a hold that nobody takes is dropped, and then this function runs again.
        for (give, hold) in given {
            drop(give.send(hold));
        }
    }
}

// === impl Door ===

impl Door {
    /// The next to be served: the one that holds least; among equals, the one that came first.
    fn next(&self) -> Option<usize> {
        let held = |index: &usize| self.held.get(&self.waiting[*index].asker).copied().unwrap_or(0);
        (0..self.waiting.len()).min_by_key(held)
    }

    fn give_back(&mut self, asker: u64, units: usize) {
        if let Some(held) = self.held.get_mut(&asker) {
            *held = held.saturating_sub(units);
            if *held == 0 {
                self.held.remove(&asker);
            }
        }
    }
}

// === impl Hold ===

impl Hold {
    fn of(part: &Arc<Shared>, common: usize, asker: Option<u64>) -> Self {
        Self {
            part: Arc::clone(part),
            common,
            small: 0,
            guaranteed: false,
            asker,
        }
    }

    /// Grows the hold to so many bytes altogether. `false`: there is no room, and the hold is as before.
    /// Never waits.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let held = self.common + self.small;
        let wanted = units(bytes);
        if self.guaranteed || wanted <= held {
            return true;
        }
        let more = wanted - held;
        let is_small = bytes <= SMALL;
        let is_waited_for = self.part.waiting.load(Acquire) > 0;
        // While somebody waits for common room, small items use their own room and others get nothing new.
        if is_small && is_waited_for && self.part.small.take(more) {
            self.small += more;
            return true;
        }
        if (is_small || !is_waited_for) && self.part.common.take(more) {
            self.common += more;
            self.note_more(more);
            return true;
        }
        if is_small && self.part.small.take(more) {
            self.small += more;
            return true;
        }
        self.guaranteed = !self.part.guaranteed.swap(true, AcqRel);
        self.guaranteed
    }

    /// The item lags: what was set aside for it beyond `bytes` goes to others if any wait. `false`: it has
    /// the guaranteed room, which somebody waits for, and must end.
    #[must_use]
    pub fn lag(&mut self, bytes: usize) -> bool {
        if !self.is_waited_for() {
            return true;
        }
        if self.guaranteed {
            return false;
        }
        let spare = self
            .common
            .saturating_sub(units(bytes).saturating_sub(self.small));
        self.give_back(spare);
        true
    }

    /// Whether it has the guaranteed room.
    pub fn is_guaranteed(&self) -> bool {
        self.guaranteed
    }

    /// Whether somebody waits for this part.
    pub fn is_waited_for(&self) -> bool {
        self.part.waiting.load(Acquire) > 0
    }

    /// The item is complete: no more than `bytes` is needed any longer.
    pub fn shrink(&mut self, bytes: usize) {
        if !self.guaranteed {
            let spare = self
                .common
                .saturating_sub(units(bytes).saturating_sub(self.small));
            self.give_back(spare);
        }
    }

    fn note_more(&self, units: usize) {
        if let Some(asker) = self.asker {
            *self.part.door.lock().held.entry(asker).or_default() += units;
        }
    }

    fn give_back(&mut self, units: usize) {
        if units == 0 {
            return;
        }
        self.common -= units;
        self.part.common.give_back(units);
        if let Some(asker) = self.asker {
            self.part.door.lock().give_back(asker, units);
        }
        self.part.open_door();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.small > 0 {
            self.part.small.give_back(self.small);
        }
        if self.guaranteed {
            self.part.guaranteed.store(false, Release);
        }
        self.give_back(self.common);
        if self.guaranteed || self.small > 0 {
            self.part.open_door();
        }
    }
}

// === impl Pool ===

impl Pool {
    fn new(bytes: usize) -> Self {
        let size = bytes / UNIT;
        Self {
            size,
            free: AtomicUsize::new(size),
        }
    }

    fn take(&self, units: usize) -> bool {
        let took = self
            .free
            .fetch_update(AcqRel, Acquire, |free| free.checked_sub(units));
        took.is_ok()
    }

    fn give_back(&self, units: usize) {
        self.free.fetch_add(units, AcqRel);
    }

    fn used(&self) -> usize {
        self.size - self.free.load(Relaxed)
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LARGEST: usize = 1 << 20;

    /// 5 MiB common, 1 MiB guaranteed, 0.86 MiB small.
    fn part() -> Part {
        let common = 5 << 20;
        let part = Part::new((common + LARGEST + UNIT) / 7 * 8, LARGEST);
        assert_eq!(part.shared.common.size, common / UNIT, "{part:?}");
        part
    }

    async fn waits(future: impl Future<Output = Hold>) -> bool {
        tokio::time::timeout(Duration::from_secs(1), future)
            .await
            .is_err()
    }

    /// Fills the common room and the guaranteed room.
    async fn full(part: &Part) -> Vec<Hold> {
        let mut all = Vec::new();
        while let Ok(hold) = tokio::time::timeout(Duration::ZERO, part.enter(1, LARGEST)).await {
            all.push(hold);
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_is_counted_and_given_back() {
        let part = part();
        let mut hold = part.hold();
        assert!(hold.grow(1) && hold.grow(1500));
        assert_eq!(part.used(), 2 * UNIT);
        let entered = part.enter(1, LARGEST).await;
        assert_eq!(part.used(), 2 * UNIT + LARGEST);
        drop((hold, entered));
        assert_eq!(part.used(), 0);
        let all = full(&part).await;
        assert!(part.used() >= part.limit() * 7 / 8 - LARGEST);
        drop(all);
        assert_eq!(part.used(), 0);
        assert_eq!(part.shared.door.lock().held.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_part_takes_small_items_and_a_large_one_waits_holding_nothing() {
        let part = part();
        let mut all = full(&part).await;
        let mut small = part.hold();
        assert!(small.grow(SMALL));
        assert!(!small.grow(SMALL * 2), "no longer small");
        assert!(waits(part.enter(2, LARGEST)).await);
        let waiting = tokio::spawn({
            let part = part.clone();
            async move { part.enter(2, LARGEST).await }
        });
        tokio::task::yield_now().await;
        all.remove(0);
        assert_eq!(waiting.await.unwrap().common, LARGEST / UNIT);
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_least_comes_first() {
        let part = part();
        let mut all = full(&part).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for asker in [1, 1, 2] {
            let (part, order) = (part.clone(), order.clone());
            tasks.push(tokio::spawn(async move {
                let hold = part.enter(asker, LARGEST).await;
                order.lock().push(asker);
                hold
            }));
            tokio::task::yield_now().await;
        }
        all.remove(0);
        while order.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(*order.lock(), [2], "who holds most waited longest and comes last");
        all.clear();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(part.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_lags_keeps_what_has_come_once_somebody_waits() {
        let part = part();
        let mut all = full(&part).await;
        let last = all.len() - 1;
        assert!(all[last].guaranteed && all[last].lag(10), "nobody waits");
        let waiting = tokio::spawn({
            let part = part.clone();
            async move { part.enter(2, LARGEST).await }
        });
        tokio::task::yield_now().await;
        assert!(!all[last].lag(10), "somebody waits for the guaranteed room");
        assert!(all[0].lag(10) && all[1].lag(10));
        assert_eq!(waiting.await.unwrap().common, LARGEST / UNIT);
        let mut lagging = all.swap_remove(0);
        assert!(lagging.grow(10) && lagging.grow(UNIT * 100), "some is free again");
    }

    #[tokio::test(start_paused = true)]
    async fn while_somebody_waits_who_never_asked_gets_nothing_new() {
        let part = part();
        let mut grower = part.hold();
        assert!(grower.grow(SMALL * 2));
        let all = full(&part).await;
        let waiting = tokio::spawn({
            let part = part.clone();
            async move { part.enter(2, LARGEST).await }
        });
        tokio::task::yield_now().await;
        assert!(!grower.grow(SMALL * 3));
        drop(all);
        waiting.await.unwrap();
        assert!(grower.grow(SMALL * 3));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_waiting_leaves_nothing_behind() {
        let part = part();
        let all = full(&part).await;
        assert!(waits(part.enter(2, LARGEST)).await);
        assert_eq!(part.shared.waiting.load(Acquire), 0);
        drop(all);
        assert_eq!(part.used(), 0);
    }

    #[test]
    fn the_least_part_holds_two_of_the_largest() {
        for largest in [1, UNIT, 64 << 20] {
            let part = Part::new(0, largest);
            assert!(part.shared.common.size >= largest / UNIT, "{part:?}");
        }
    }
}
