//! First attempts that are rows of work, in a lane that keeps the order.
//!
//! After an unclean stop events that are read again are written down before they are attempted, and due rows
//! take turns with new events. A lane with a parallelism of one keeps the order of the log in its first
//! attempts. There these rows come before new events, and before other due rows.

use std::collections::BTreeSet;

use millrace_channel::{Lane, Stage, Work, WorkKey};
use millrace_event::Timestamp;

use super::Inner;

/// The rows whose first attempt is still to be made.
#[derive(Debug)]
pub(super) struct Firsts {
    /// Their positions.
    waiting: BTreeSet<u64>,
    /// Rows were due when the lane was opened, and not all of them have been fetched.
    unread: bool,
}

/// Whether it is a row of a first attempt.
pub(crate) fn is_first(work: &Work) -> bool {
    work.attempt == 0 && work.key.stage == Stage::Subscriber
}

// === impl Firsts ===

impl Firsts {
    /// Those of a lane as it was stored.
    pub(super) fn restore(stored: &Lane, now: Timestamp) -> Self {
        Self {
            waiting: BTreeSet::new(),
            unread: stored.next_due.is_some_and(|due| due <= now),
        }
    }

    pub(super) fn wrote_down(&mut self, key: &WorkKey) {
        self.waiting.insert(key.position.offset);
    }

    /// The attempt was made, or there is nothing left to attempt.
    pub(super) fn made(&mut self, key: &WorkKey) {
        if key.stage == Stage::Subscriber {
            self.waiting.remove(&key.position.offset);
        }
    }
}

// === impl Inner ===

impl Inner {
    /// Whether first attempts are made in the order of the log.
    pub(crate) fn keeps_order(&self) -> bool {
        self.settings.trigger.parallelism == 1
    }

    /// Whether the next event of the queue may be taken. A suspect always may: it is only written down.
    pub(super) fn may_take_new(&self) -> bool {
        let Some(next) = self.window.next().map(|queued| queued.offset) else {
            return false;
        };
        let earlier = self.firsts.waiting.first().is_some_and(|first| *first < next);
        let rows_come_first = self.keeps_order() && (self.firsts.unread || earlier);
        !self.is_blocked() && (self.may_be_suspect(next) || !rows_come_first)
    }

    /// Notes the first attempts among rows that are due. `all`: there are no more.
    pub(crate) fn note_firsts(&mut self, rows: &[Work], all: bool) {
        if !self.firsts.unread {
            return;
        }
        // One that is taken was noted at an earlier fetch, or its attempt has been made.
        let firsts = rows
            .iter()
            .filter(|work| is_first(work) && !self.taken.contains(&work.key));
        self.firsts
            .waiting
            .extend(firsts.map(|work| work.key.position.offset));
        self.firsts.unread = !all;
    }
}
