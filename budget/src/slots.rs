//! Slots of one size: memory that is taken for a whole stretch of work. A task that finds none free stands in
//! line.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Use;

/// A fixed number of slots of one size. There is always at least one.
#[derive(Clone, Debug)]
pub struct Slots {
    bytes: usize,
    all: usize,
    free: Arc<Semaphore>,
}

/// One of the slots. It is free again when this is dropped.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

// === impl Slots ===

impl Slots {
    /// As many slots of `bytes` each as fit into `limit`, and one if none does.
    pub fn new(limit: usize, bytes: usize) -> Self {
        let bytes = bytes.max(1);
        let all = (limit / bytes).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            bytes,
            all,
            free: Arc::new(Semaphore::new(all)),
        }
    }

    /// A slot, if one is free and no task stands in line.
    pub fn take_now(&self) -> Option<Slot> {
        let permit = self.free.clone().try_acquire_owned().ok()?;
        Some(Slot { _permit: permit })
    }

    /// The next free slot; the task that asked first gets it. A task that waits here must not hold another
    /// slot.
    pub async fn take(&self) -> Slot {
        match self.free.clone().acquire_owned().await {
            Ok(permit) => Slot { _permit: permit },
            Err(_) => unreachable!("the slots are never closed"),
        }
    }
}

impl Use for Slots {
    fn used(&self) -> usize {
        self.all.saturating_sub(self.free.available_permits()) * self.bytes
    }

    fn limit(&self) -> usize {
        self.all * self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn slots_are_given_in_the_order_in_which_they_were_asked_for() {
        let slots = Slots::new(250, 100);
        assert_eq!((slots.used(), slots.limit()), (0, 200));
        let (first, second) = (slots.take().await, slots.take_now().unwrap());
        assert!(slots.take_now().is_none());
        assert_eq!(slots.used(), 200);
        let mut waits = std::pin::pin!(slots.take());
        tokio::select! {
            biased;
            _ = &mut waits => panic!("none is free"),
            () = std::future::ready(()) => {}
        }
        drop(first);
        assert!(slots.take_now().is_none(), "it is for the task in line");
        let third = waits.await;
        drop((second, third));
        assert!(slots.take_now().is_some());
    }

    #[test]
    fn there_is_one_slot_however_small_the_limit() {
        let slots = Slots::new(0, 100);
        assert_eq!(slots.limit(), 100);
        assert!(slots.take_now().is_some());
    }
}
