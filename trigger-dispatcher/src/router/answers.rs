//! Asks the filters about consecutive events and notes their answers.

use millrace_channel::Record;
use millrace_event::Event;
use millrace_filter::{Allowance, Index, Matching, Subject};

use super::LaneAnswer;
use crate::provoke;
use crate::serving::{Gate, Serving};
use crate::watched::{Task, caught_at_once};

/// The answers of filters for consecutive events. Kept from batch to batch, so that nothing is allocated for
/// an event.
#[derive(Default)]
pub(super) struct Answers {
    /// The answers for the event that is being asked about.
    found: Matching,
    /// Lane and answer, event by event.
    list: Vec<(u32, LaneAnswer)>,
    /// Where the answers of each event end.
    ends: Vec<usize>,
    errors: u64,
}

/// An event that some filters have been asked about, and others not yet.
pub(super) struct Begun {
    /// The generation of the filters.
    pub(super) generation: u64,
    /// Kept, so that its data is not parsed again.
    pub(super) subject: Subject<'static>,
    pub(super) found: Matching,
}

// === impl Begun ===

impl Begun {
    /// Attributes are answered at once; everything else remains to be asked.
    pub(super) fn anew(gate: &Gate, event: &Event) -> Self {
        let subject = Subject::new(event);
        let mut found = Matching::default();
        gate.index()
            .matching_within(&subject, &Allowance::nothing(), &mut found);
        Self {
            generation: gate.generation(),
            subject: subject.into_owned(),
            found,
        }
    }
}

// === impl Answers ===

impl Answers {
    /// Asks all filters about events that follow each other, as many as an allowance suffices for. The first
    /// one may have been begun before. If the allowance ends within an event, nothing of it is noted, and the
    /// answers so far are returned.
    pub(super) fn ask(
        &mut self,
        serving: &Serving,
        gate: &Gate,
        records: &[Record],
        mut begun: Option<Begun>,
    ) -> Option<Begun> {
        let allowance = Allowance::brief();
        while let Some(rest) = records.get(self.events()..).filter(|rest| !rest.is_empty()) {
            let begun = begun.take().filter(|begun| begun.generation == gate.generation());
            match caught_at_once(|| self.ask_on(serving, gate, rest, begun, &allowance)) {
                Ok(ended) => return ended,
                Err(panic) => {
                    // The filter at fault will show when each lane decides for itself.
                    serving.note_panic(Task::Router, &panic);
                    self.leave_undecided(gate.index(), &records[self.events()].event);
                }
            }
        }
        None
    }

    /// The same. A panic ends it at its event; the answers of earlier events are noted by then.
    fn ask_on(
        &mut self,
        serving: &Serving,
        gate: &Gate,
        records: &[Record],
        mut begun: Option<Begun>,
        allowance: &Allowance,
    ) -> Option<Begun> {
        for record in records {
            provoke::at(serving, Task::Router, Some(&record.event));
            let subject = match begun.take() {
                Some(begun) => {
                    self.found = begun.found;
                    self.found.go_on_within(&begun.subject, allowance);
                    begun.subject
                }
                None => {
                    let subject = Subject::new(&record.event);
                    self.found.clear();
                    gate.index().matching_within(&subject, allowance, &mut self.found);
                    subject
                }
            };
            if !self.found.later.is_empty() {
                return Some(Begun {
                    generation: gate.generation(),
                    subject: subject.into_owned(),
                    found: std::mem::take(&mut self.found),
                });
            }
            self.keep(&subject);
        }
        None
    }

    /// The number of events whose answers it holds.
    pub(super) fn events(&self) -> usize {
        self.ends.len()
    }

    /// Leaves every filter undecided that needs more than a comparison of attributes.
    pub(super) fn leave_undecided(&mut self, index: &Index, event: &Event) {
        let subject = Subject::new(event);
        self.found.clear();
        index.matching_within(&subject, &Allowance::nothing(), &mut self.found);
        self.keep(&subject);
    }

    /// Notes what was found elsewhere of the next event.
    pub(super) fn note(&mut self, subject: &Subject<'_>, found: Matching) {
        self.found = found;
        self.keep(subject);
    }

    /// Notes the answers for the next event.
    fn keep(&mut self, subject: &Subject<'_>) {
        let matched = self.found.matched.iter().map(|key| (*key, LaneAnswer::Match));
        self.list.extend(matched);
        let exhausted = self.found.exhausted.iter();
        self.list
            .extend(exhausted.map(|key| (*key, LaneAnswer::TooMuchWork)));
        let later = self.found.later.iter();
        self.list
            .extend(later.map(|(key, _)| (*key, LaneAnswer::Undecided)));
        self.ends.push(self.list.len());
        self.errors += u64::from(subject.errors());
    }

    pub(super) fn of_each(&self) -> impl Iterator<Item = &[(u32, LaneAnswer)]> {
        let mut from = 0;
        self.ends.iter().map(move |end| {
            let answers = &self.list[from..*end];
            from = *end;
            answers
        })
    }

    /// The number of clauses that could not be evaluated since this was last asked.
    pub(super) fn take_errors(&mut self) -> u64 {
        std::mem::take(&mut self.errors)
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.ends.clear();
    }
}
