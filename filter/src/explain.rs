//! Why a filter decided as it did, in sentences.

use std::fmt::Write;

use crate::clause::{Ask, Test};
use crate::compiled::Observer;

/// The decision with the clause that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whether the event passes.
    pub matched: bool,
    /// The clause that decided; `None` when there is no clause at all (everything passes).
    pub decided_by: Option<Clause>,
}

/// One clause and what it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Where it stands, e.g. `filters[1].all[0].exact.type` or `filter.attributes.type`. Where several clauses decided
    /// together, the path of the `all` or `any` that joins them.
    pub path: String,
    /// A sentence: what it asked and what the event had. Texts of the event are shortened.
    pub because: String,
}

/// Notes why while a filter is walked.
pub(crate) struct Recorder<'a> {
    pub(crate) paths: &'a [Box<str>],
}

/// How much of a text of an event or a filter is shown, in characters.
const SHOWN_CHARS: usize = 120;
/// How many clauses a sentence names before it only counts the others.
const SHOWN_CLAUSES: usize = 5;

// === impl Recorder ===

impl Observer for Recorder<'_> {
    type Note = Clause;
    type Notes = Vec<Clause>;

    fn asked(&self, at: usize, test: &Test, seen: Option<&str>, held: bool) -> Clause {
        Clause {
            path: self.paths[at].to_string(),
            because: sentence(test, seen, held),
        }
    }

    fn gather(notes: &mut Vec<Clause>, note: Clause) {
        notes.push(note);
    }

    fn together(&self, at: usize, _any: bool, notes: Vec<Clause>) -> Clause {
        let mut because = String::from(if notes.is_empty() { "nothing is asked" } else { "" });
        for (i, note) in notes.iter().take(SHOWN_CLAUSES).enumerate() {
            let _ = write!(because, "{}{}", if i == 0 { "" } else { "; " }, note.because);
        }
        if notes.len() > SHOWN_CLAUSES {
            let _ = write!(because, "; and {} more", notes.len() - SHOWN_CLAUSES);
        }
        Clause {
            path: self.paths[at].to_string(),
            because,
        }
    }

    fn negated(&self, inner: bool, mut note: Clause) -> Clause {
        // What was asked for but did not hold reads well as it is: `type is "a", not "b"`.
        if inner {
            note.because.insert_str(0, "excluded: ");
        }
        note
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

/// A text in quotes, on one line, shortened.
fn quoted(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(SHOWN_CHARS)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}
