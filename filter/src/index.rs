//! Many filters asked at once: work grows with those that match, not with those that exist.

use std::sync::Arc;

use millrace_event::Event;

use crate::compiled::Compiled;

/// An index over filters, each under a small number of the caller's choosing.
#[derive(Debug, Default)]
pub struct Index {}

impl Index {
    /// Puts (or replaces) the filter under `key`.
    pub fn insert(&mut self, key: u32, filter: Arc<Compiled>) {
        todo!()
    }
    /// Takes the filter under `key` out.
    pub fn remove(&mut self, key: u32) {
        todo!()
    }
    /// Adds to `into` the key of every filter that the event passes, each once, in no particular order.
    pub fn matching(&self, event: &Event, into: &mut Vec<u32>) {
        todo!()
    }
}
