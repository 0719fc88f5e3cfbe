//! The bounded queue between the forwarder's server and its workers: adding waits for room, taking waits for
//! work.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// A bounded queue for many on both sides.
pub(crate) struct Queue<T> {
    items: Mutex<VecDeque<T>>,
    filled: Semaphore,
    free: Semaphore,
}

impl<T> Queue<T> {
    pub(crate) fn new(bound: usize) -> Self {
        let items = Mutex::new(VecDeque::with_capacity(bound));
        Self {
            items,
            filled: Semaphore::new(0),
            free: Semaphore::new(bound),
        }
    }

    pub(crate) async fn push(&self, item: T) {
        let room = self
            .free
            .acquire()
            .await
            .expect("invariant: the semaphores are never closed");
        room.forget();
        self.items.lock().push_back(item);
        self.filled.add_permits(1);
    }

    pub(crate) async fn pop(&self) -> T {
        let work = self
            .filled
            .acquire()
            .await
            .expect("invariant: the semaphores are never closed");
        work.forget();
        let item = self
            .items
            .lock()
            .pop_front()
            .expect("invariant: a permit stands for an item");
        self.free.add_permits(1);
        item
    }
}
