//! What the servers hold: the log, and the records of state behind a fence.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;

use millrace_event::{Event, Timestamp};

use crate::remote::{self, State, Write};
use crate::{ChannelError, Position};

/// The servers.
#[derive(Debug)]
pub(super) struct Server {
    /// The partition's number.
    pub(super) partition: u32,
    pub(super) choices: fastrand::Rng,
    pub(super) entries: Vec<Entry>,
    /// The number that the next event gets.
    next: u64,
    /// The owner that may write.
    claim: u64,
    pub(super) state: State,
    /// Records of state were lost, and the owner has not been told yet.
    has_lost_state: bool,
    /// When the owner's writes fail.
    pub(super) cut: Option<Cut>,
    /// The next append fails after so many steps.
    pub(super) cut_append: Option<usize>,
    /// The numbers that cannot be read for now.
    pub(super) hidden: Range<u64>,
}

/// The way of the owner's writes is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// So many chunks are still stored.
    pub(super) chunks: usize,
    /// The next one is stored too, and only its answer is lost.
    pub(super) is_stored: bool,
    /// It stays so until another owner comes.
    pub(super) for_good: bool,
}

/// An event in the log.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) appended: Timestamp,
    pub(super) event: Event,
    /// Tells it from another one that has its number after a loss.
    print: u64,
}

// === impl Server ===

impl Server {
    pub(super) fn new(seed: u64, partition: u32) -> Self {
        let mut choices = fastrand::Rng::with_seed(seed);
        let next = 1_000 + choices.u64(0..1_000);
        Self {
            partition,
            choices,
            entries: Vec::new(),
            next,
            claim: 0,
            state: State::new(next),
            has_lost_state: false,
            cut: None,
            cut_append: None,
            hidden: 0..0,
        }
    }

    /// The oldest number, and the next one.
    pub(super) fn ends(&self) -> Range<u64> {
        let first = self.entries.first().map_or(self.next, |entry| entry.number);
        first..self.next
    }

    /// Where a number stands, by the epochs that are stored.
    pub(super) fn position(&self, number: u64) -> Position {
        Position {
            partition: self.partition,
            offset: self.state.epochs().position(number),
        }
    }

    pub(super) fn number(&self, position: Position) -> u64 {
        self.state.epochs().number(position.offset)
    }

    /// An error when this cannot be read for now.
    pub(super) fn check_readable(&self, number: u64) -> Result<(), ChannelError> {
        match self.hidden.contains(&number) {
            true => Err(ChannelError::Storage(format!("{number} cannot be read"))),
            false => Ok(()),
        }
    }

    /// The place of the first entry that has that number or a higher one.
    pub(super) fn index(&self, number: u64) -> usize {
        self.entries.partition_point(|entry| entry.number < number)
    }

    pub(super) fn get(&self, number: u64) -> Option<remote::Entry> {
        let entry = self.entries.get(self.index(number))?;
        (entry.number == number).then(|| entry.seen())
    }

    /// One step of an append. `false`: it failed, and nothing of it is stored.
    pub(super) fn append(&mut self, events: Vec<Event>, now: Timestamp) -> bool {
        match &mut self.cut_append {
            Some(0) => {
                self.cut_append = None;
                return false;
            }
            Some(steps) => *steps -= 1,
            None => {}
        }
        for event in events {
            self.entries.push(Entry {
                number: self.next,
                appended: now,
                event,
                print: self.choices.u64(..),
            });
            self.next += self.choices.u64(1..=3);
        }
        true
    }

    /// Lets a new owner in, and fences the one before.
    pub(super) fn claim(&mut self) -> (u64, State) {
        self.claim += 1;
        self.cut = None;
        (self.claim, self.state.clone())
    }

    /// The state, for an owner that does not know what became of a write; `None`: some of it is lost, which
    /// is told once.
    pub(super) fn read(&mut self, claim: u64) -> Result<Option<State>, ChannelError> {
        if claim != self.claim {
            return Err(ChannelError::NotOwner);
        }
        let has_lost = std::mem::take(&mut self.has_lost_state);
        Ok((!has_lost).then(|| self.state.clone()))
    }

    /// Has that state again, as from a backup.
    #[cfg(test)]
    pub(super) fn restore_state(&mut self, state: State) {
        self.state = state;
        self.has_lost_state = true;
    }

    /// Stores a chunk, whole or not at all.
    pub(super) fn write(&mut self, claim: u64, chunk: &[Write]) -> Result<(), ChannelError> {
        if claim != self.claim {
            return Err(ChannelError::NotOwner);
        }
        match &mut self.cut {
            Some(cut) if cut.chunks == 0 => {
                if std::mem::take(&mut cut.is_stored) {
                    self.state.apply(chunk);
                }
                self.cut = self.cut.filter(|cut| cut.for_good);
                return Err(ChannelError::Storage("the connection was cut".to_owned()));
            }
            Some(cut) => cut.chunks -= 1,
            None => {}
        }
        self.state.apply(chunk);
        Ok(())
    }

    pub(super) fn lose_suffix(&mut self, from: u64) -> Vec<String> {
        let kept = self.index(from);
        let lost = self.entries.split_off(kept);
        if let Some(first) = lost.first() {
            self.next = first.number;
        }
        self.claim += 1;
        lost.iter().map(|entry| entry.event.id().to_owned()).collect()
    }
}

// === impl Entry ===

impl Entry {
    /// As a process sees it.
    pub(super) fn seen(&self) -> remote::Entry {
        remote::Entry {
            number: self.number,
            appended: self.appended,
            print: fingerprint(self),
            event: Some(self.event.clone()),
        }
    }
}

/// Of position, append time and content.
fn fingerprint(entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    (entry.number, entry.appended, entry.print).hash(&mut hasher);
    entry.event.stored().hash(&mut hasher);
    hasher.finish()
}
