//! What is wrong with files, in words for people. Every append asks, so the answer is cheap while all is
//! well.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// A fault that lasts until it is mended.
#[derive(Debug, Default)]
pub(crate) struct LastingFault {
    is_there: AtomicBool,
    words: Mutex<Option<String>>,
}

// === impl LastingFault ===

impl LastingFault {
    /// Sets or clears the fault.
    pub(crate) fn set(&self, words: Option<String>) {
        if words.is_none() && !self.is_there() {
            return;
        }
        let mut now = self.words.lock();
        self.is_there.store(words.is_some(), Ordering::Release);
        *now = words;
    }

    /// The fault in words; `None` while all is well.
    pub(crate) fn get(&self) -> Option<String> {
        if !self.is_there() {
            return None;
        }
        self.words.lock().clone()
    }

    /// Whether there is one.
    pub(crate) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Acquire)
    }
}
