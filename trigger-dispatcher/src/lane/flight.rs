//! A lane's attempts in flight, and their bytes.

use millrace_event::Event;

use crate::budget::Budget;

/// What an attempt takes beside its event: its worker, and the buffers of its request.
pub(crate) const ATTEMPT_BYTES: usize = 8 << 10;

/// The memory of an attempt with this event.
pub(crate) fn bytes_of(event: &Event) -> usize {
    event.stored().len() + ATTEMPT_BYTES
}

/// The attempts of a lane that are under way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flight {
    attempts: usize,
    pub(crate) bytes: usize,
    /// The next attempt waits for memory. Until some is given back nothing can be taken.
    pub(crate) waits: bool,
}

// === impl Flight ===

impl Flight {
    /// Begins an attempt of so many bytes, if the budget has room for it.
    pub(crate) fn begin(&mut self, bytes: usize, budget: &Budget) -> bool {
        self.waits = !budget.begin(bytes, self.attempts, self.bytes);
        if !self.waits {
            self.attempts += 1;
            self.bytes += bytes;
        }
        !self.waits
    }

    /// Ends an attempt. Its bytes go back to the budget by [`Budget::end`], once the lane is no longer
    /// locked.
    pub(crate) fn end(&mut self, bytes: usize) {
        self.attempts -= 1;
        self.bytes -= bytes;
        self.waits = false;
    }
}
