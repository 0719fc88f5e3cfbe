//! Why a filter decided as it did, in sentences.

use std::fmt::Write;

use millrace_event::Event;

use crate::cesql::{self, Evaluated, Expression, Run};
use crate::clause::{Ask, Test};
use crate::compiled::WalkObserver;
use crate::jsonpath::{self, Asked, PathTest};
use crate::meter::{Meter, Stopped};

/// The decision, the clause that made it, and every clause that was asked on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whether the event passes.
    pub matched: bool,
    /// The clause that decided; `None` when there is no clause at all (everything passes).
    pub decided_by: Option<Clause>,
    /// The clauses that were asked, in the order in which they were: the cheap ones first, and none that
    /// could not change the decision any more. Those under a `not` are as they were asked, before they are
    /// turned round.
    pub clauses: Vec<Clause>,
    /// How many more were asked than [`MAX_LISTED`], which is how many are listed.
    pub omitted: usize,
}

/// One clause and what it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Where it stands, e.g. `filters[1].all[0].exact.type` or `filter.attributes.type`. Where several
    /// clauses decided together, the path of the `all` or `any` that joins them.
    pub path: String,
    /// Whether what it asks is so, and if not, for which kind of reason. The clause that decided is taken
    /// with the `not`s around it: one that excludes the event is [`Verdict::Different`].
    pub verdict: Verdict,
    /// A sentence: what it asked and what the event had. Texts of the event are shortened.
    pub because: String,
}

/// What came of a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Held,
    /// The attribute, the data or what a path selects is not there.
    Absent,
    /// It is there and another.
    Different,
    /// It is of a type that cannot be asked this: a text where a number is meant, data that is not JSON.
    WrongType,
    /// It could not be evaluated, e.g. a division by zero.
    Error,
    /// The Trigger had spent [`MAX_STEPS`](crate::MAX_STEPS) steps before this was decided, so the event does
    /// not match.
    TooMuchWork,
}

/// The words for a clause at which the work ended.
pub(crate) const TOO_MUCH_WORK: &str = "error: too much work: this event would need more than the 2097152 steps that the filters of a trigger may take";

/// So many clauses are listed in an explanation.
pub const MAX_LISTED: usize = 100;

/// Notes why while a filter is walked.
pub(crate) struct Recorder<'a> {
    paths: &'a [Box<str>],
    asked: Vec<Clause>,
    omitted: usize,
}

/// How much of a text of an event or a filter is shown, in characters.
const SHOWN_CHARS: usize = 120;
/// How many clauses a sentence names before it only counts the others.
pub(crate) const SHOWN_CLAUSES: usize = 5;

// === impl Clause ===

impl Clause {
    /// Whether what it asks is so.
    pub fn held(&self) -> bool {
        self.verdict == Verdict::Held
    }
}

// === impl Verdict ===

impl Verdict {
    /// The word for it in tables and JSON: `held`, `absent`, `different`, `wrong-type`, `error` or
    /// `too-much-work`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Absent => "absent",
            Self::Different => "different",
            Self::WrongType => "wrong-type",
            Self::Error => "error",
            Self::TooMuchWork => "too-much-work",
        }
    }
}

// === impl Recorder ===

impl<'a> Recorder<'a> {
    pub(crate) fn new(paths: &'a [Box<str>]) -> Self {
        Self {
            paths,
            asked: Vec::new(),
            omitted: 0,
        }
    }

    /// The explanation of a decision that was made while this watched.
    pub(crate) fn explanation(self, matched: bool, decided_by: Option<Clause>) -> Explanation {
        Explanation {
            matched,
            decided_by,
            clauses: self.asked,
            omitted: self.omitted,
        }
    }

    fn list(&mut self, at: usize, (verdict, because): (Verdict, String)) -> Clause {
        let clause = Clause {
            path: self.paths[at].to_string(),
            verdict,
            because,
        };
        if self.asked.len() < MAX_LISTED {
            self.asked.push(clause.clone());
        } else {
            self.omitted += 1;
        }
        clause
    }
}

impl WalkObserver for Recorder<'_> {
    type Note = Clause;
    type Notes = Vec<Clause>;

    fn asked(&mut self, at: usize, test: &Test, seen: Option<&str>, held: bool) -> Clause {
        let verdict = match (held, seen) {
            (true, _) => Verdict::Held,
            (false, Some(_)) => Verdict::Different,
            (false, None) => Verdict::Absent,
        };
        self.list(at, (verdict, sentence(test, seen, held)))
    }

    fn run<'x, 'm>(&self, event: &'x Event, meter: &'m Meter<'m>) -> Run<'x, 'm> {
        Run::noted(event, meter)
    }

    fn evaluated<'x>(
        &mut self,
        at: usize,
        expression: &'x Expression,
        outcome: Evaluated<'x>,
        run: Run<'x, '_>,
    ) -> Clause {
        self.list(at, cesql::of_clause(expression, &outcome, run))
    }

    fn searched(
        &mut self,
        at: usize,
        test: &PathTest,
        asked: Asked<'_>,
        held: bool,
        stopped: Option<Stopped>,
    ) -> Clause {
        self.list(at, jsonpath::of_clause(test, asked, held, stopped))
    }

    fn gather(notes: &mut Vec<Clause>, note: Clause) {
        notes.push(note);
    }

    fn together(&mut self, at: usize, any: bool, notes: Vec<Clause>) -> Clause {
        let mut because = String::from(if notes.is_empty() { "nothing is asked" } else { "" });
        for (i, note) in notes.iter().take(SHOWN_CLAUSES).enumerate() {
            let _ = write!(because, "{}{}", if i == 0 { "" } else { "; " }, note.because);
        }
        if notes.len() > SHOWN_CLAUSES {
            let _ = write!(because, "; and {} more", notes.len() - SHOWN_CLAUSES);
        }
        let verdict = if any { worst(&notes) } else { Verdict::Held };
        Clause {
            path: self.paths[at].to_string(),
            verdict,
            because,
        }
    }

    fn negated(&mut self, inner: bool, mut note: Clause) -> Clause {
        // What was asked for but did not hold reads well as it is: `type is "a", not "b"`.
        if inner {
            note.because.insert_str(0, "excluded: ");
            note.verdict = Verdict::Different;
        } else {
            note.verdict = Verdict::Held;
        }
        note
    }
}

/// Why none of an `any` held: the reason they share, or that they are not what was asked.
fn worst(notes: &[Clause]) -> Verdict {
    match notes {
        [first, others @ ..] if others.iter().all(|note| note.verdict == first.verdict) => first.verdict,
        _ => Verdict::Different,
    }
}

/// What the clause asked and what the event had.
fn sentence(test: &Test, seen: Option<&str>, held: bool) -> String {
    let name = test.attr.name();
    let Some(seen) = seen else {
        return format!("the event has no attribute {name}");
    };
    let seen = quoted(seen);
    match (&test.ask, held) {
        (Ask::Exact(_), true) => format!("{name} is {seen}"),
        (Ask::Exact(value), false) => format!("{name} is {seen}, not {}", quoted(value)),
        (Ask::Prefix(value), true) => format!("{name} is {seen}, which begins with {}", quoted(value)),
        (Ask::Prefix(value), false) => {
            format!("{name} is {seen}, which does not begin with {}", quoted(value))
        }
        (Ask::Suffix(value), true) => format!("{name} is {seen}, which ends with {}", quoted(value)),
        (Ask::Suffix(value), false) => format!("{name} is {seen}, which does not end with {}", quoted(value)),
        (Ask::Present, true) => format!("{name} is {seen}, which is not empty"),
        (Ask::Present, false) => format!("{name} is empty"),
    }
}

/// A text of an event in quotes, on one line, shortened.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", cut(text, |_| true))
}

/// A text of a filter, on one line, shortened.
pub(crate) fn shortened(text: &str) -> String {
    cut(text, char::is_control)
}

fn cut(text: &str, escapes: fn(char) -> bool) -> String {
    let mut shown = String::new();
    for c in text.chars().take(SHOWN_CHARS) {
        if escapes(c) {
            shown.extend(c.escape_debug());
        } else {
            shown.push(c);
        }
    }
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
