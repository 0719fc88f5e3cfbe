//! A filter made ready to run.

use millrace_event::Event;

use crate::explain::Explanation;
use crate::filter::Filter;

/// A filter made ready: names checked, clauses in the order in which they are cheapest.
#[derive(Clone, Debug)]
pub struct Compiled {
    // private
}

/// Why a filter cannot be admitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    /// The path within the filter, e.g. `[1].all[0].exact.Type`; the caller puts its own path before it.
    pub path: String,
    /// A sentence for people.
    pub message: String,
}

impl Compiled {
    /// Compiles the implicit `all` of these filters (an empty list passes everything).
    pub fn new(filters: &[Filter]) -> Result<Self, CompileError> {
        todo!()
    }
    /// Whether the event passes.
    pub fn matches(&self, event: &Event) -> bool {
        todo!()
    }
    /// The same decision with its reasons, made by the same code.
    pub fn explain(&self, event: &Event) -> Explanation {
        todo!()
    }
}
