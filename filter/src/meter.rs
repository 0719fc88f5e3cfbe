//! Work counted in steps: what a Trigger may spend on an event, and what may be spent at one time.
//!
//! Steps are counted and not time, so the same filter decides the same about the same event on every machine,
//! whatever else runs there.

use std::cell::Cell;

/// The steps that the filters of one Trigger may spend on one event; beyond it the event does not match.
///
/// A step is one value of the data looked at, one comparison, or one byte of a text that a pattern or a
/// function of an expression works on. The densest event of 1 MiB has 524 288 values, so every Trigger can
/// look at each of them four times.
pub const MAX_STEPS: u64 = 1 << 21;

/// What is spent at one time on an I/O thread, in steps: about a millisecond at most.
const BRIEF: u64 = 1 << 16;

/// How many bytes of JSON are parsed in the time of a step.
const PARSED_BYTES: u64 = 2;

/// How many bytes of text are compared in the time of a step.
const COMPARED_BYTES: usize = 16;

/// What several filters may spend together before they have to continue elsewhere. It decides when, and never
/// what.
#[derive(Debug)]
pub struct Allowance {
    left: Cell<u64>,
    given: u64,
}

/// What one Trigger has left for one event.
#[derive(Debug)]
pub(crate) struct Meter<'a> {
    allowance: &'a Allowance,
    left: Cell<u64>,
    stopped: Cell<Option<Stopped>>,
    errors: Cell<u32>,
}

/// Why the work ended before there was a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The Trigger has spent [`MAX_STEPS`].
    Exhausted,
    /// The allowance is used up. The work starts again where there is time for it.
    Later,
}

// === impl Allowance ===

impl Allowance {
    /// No limit beyond what each Trigger may spend.
    pub fn unlimited() -> Self {
        Self::of(u64::MAX)
    }

    /// What may be spent on an I/O thread before others get their turn.
    pub fn brief() -> Self {
        Self::of(BRIEF)
    }

    /// Nothing: only clauses on attributes are decided.
    pub fn nothing() -> Self {
        Self::of(0)
    }

    /// So many steps.
    pub(crate) fn of(steps: u64) -> Self {
        Self {
            left: Cell::new(steps),
            given: steps,
        }
    }

    /// Steps spent so far.
    pub fn spent(&self) -> u64 {
        self.given - self.left.get()
    }

    /// Counts steps that were made even without an allowance for them.
    pub(crate) fn count(&self, steps: u64) {
        self.left.set(self.left.get().saturating_sub(steps));
    }

    pub(crate) fn take(&self, steps: u64) -> bool {
        let left = self.left.get().checked_sub(steps);
        left.inspect(|left| self.left.set(*left)).is_some()
    }
}

// === impl Meter ===

impl<'a> Meter<'a> {
    pub(crate) fn new(allowance: &'a Allowance) -> Self {
        Self {
            allowance,
            left: Cell::new(MAX_STEPS),
            stopped: Cell::new(None),
            errors: Cell::new(0),
        }
    }

    /// Counts steps before they are made.
    ///
    /// # Errors
    /// Neither these steps nor any others may be made: there is no decision.
    pub(crate) fn spend(&self, steps: usize) -> Result<(), Stopped> {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        if let Some(stopped) = self.stopped.get() {
            return Err(stopped);
        }
        let Some(left) = self.left.get().checked_sub(steps) else {
            return Err(self.stop(Stopped::Exhausted));
        };
        if !self.allowance.take(steps) {
            return Err(self.stop(Stopped::Later));
        }
        self.left.set(left);
        Ok(())
    }

    /// Counts a comparison of texts of so many bytes.
    pub(crate) fn spend_on_text(&self, bytes: usize) -> Result<(), Stopped> {
        self.spend(bytes / COMPARED_BYTES)
    }

    /// Called before data is parsed. All Triggers share the result, so none of them is charged.
    pub(crate) fn may_parse(&self, bytes: usize) -> Result<(), Stopped> {
        let steps = u64::try_from(bytes).unwrap_or(u64::MAX) / PARSED_BYTES;
        match self.stopped.get() {
            Some(stopped) => Err(stopped),
            None if self.allowance.take(steps) => Ok(()),
            None => Err(self.stop(Stopped::Later)),
        }
    }

    pub(crate) fn stopped(&self) -> Option<Stopped> {
        self.stopped.get()
    }

    /// Notes that a clause had an error of its own.
    pub(crate) fn note_error(&self) {
        if self.stopped.get().is_none() {
            self.errors.set(self.errors.get().saturating_add(1));
        }
    }

    pub(crate) fn errors(&self) -> u32 {
        self.errors.get()
    }

    fn stop(&self, why: Stopped) -> Stopped {
        self.stopped.set(Some(why));
        why
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_ends_at_its_budget_and_pauses_at_the_allowance() {
        let unlimited = Allowance::unlimited();
        let meter = Meter::new(&unlimited);
        let all = usize::try_from(MAX_STEPS).expect("64 bits");
        assert_eq!(meter.spend(all), Ok(()));
        assert_eq!(meter.spend(1), Err(Stopped::Exhausted));
        assert_eq!(meter.spend(0), Err(Stopped::Exhausted), "it stays stopped");
        assert_eq!(unlimited.spent(), MAX_STEPS);

        let brief = Allowance::brief();
        let meter = Meter::new(&brief);
        assert_eq!(meter.spend(all), Err(Stopped::Later));
        // Work that a Trigger may never spend is not a matter of time.
        assert_eq!(Meter::new(&brief).spend(all + 1), Err(Stopped::Exhausted));
        assert_eq!(Meter::new(&Allowance::nothing()).spend(1), Err(Stopped::Later));
    }
}
