//! What is asked before a commit is made, and what is known then.

use std::collections::{BTreeMap, BTreeSet};

use super::state::ProgressRecord;
use crate::Record;

/// What an owner knows beside its view when it makes writes.
#[derive(Debug)]
pub(super) struct Facts {
    /// Where the log ends.
    pub(super) head: u64,
    /// Events to be copied, by position.
    pub(super) copies: BTreeMap<u64, Record>,
    /// The fingerprint of what stands below the highest position that is named.
    pub(super) print: Option<(u64, u64)>,
    pub(super) claim: u64,
    /// Events parked under this claim.
    pub(super) parked: u64,
    pub(super) choices: fastrand::Rng,
}

/// What has to be asked before writes are made.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) copies: BTreeSet<u64>,
    /// The highest position that will be named.
    pub(super) named: Option<u64>,
    /// The log's end will be named too.
    pub(super) names_head: bool,
}

// === impl Facts ===

impl Facts {
    /// A number for the order of parking; no claim gives one twice.
    pub(super) fn next_number(&mut self) -> u64 {
        self.parked += 1;
        (self.claim << 24) + self.parked
    }

    pub(super) fn uid(&mut self) -> String {
        format!("{:016x}", self.choices.u64(..))
    }

    /// Notes what stands below the highest position that is named, so that a loss of it is noticed.
    pub(super) fn note_print(&self, progress: &mut ProgressRecord) {
        if let Some((number, print)) = self.print {
            progress.prints.note(number, print);
        }
    }
}
