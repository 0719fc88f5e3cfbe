//! Trigger filters: compiled once, then a match or no match, and the clause that decided.
//!
//! Pure: no I/O, no time, no logging. The files read in the order of the work: what a user wrote ([`filter`]), how one
//! clause asks one attribute (`clause`), how the tree is checked and laid flat (`compile`), what runs ([`compiled`]),
//! how it says why ([`explain`]), what an index may know of it (`access`), and how many are asked at once ([`index`]).
//!
//! # Guarantees
//! - The decision of [`Compiled::matches`] and [`Compiled::explain`] is made by the same code, and
//!   [`Index::matching`] gives exactly the filters whose `matches` is true.
//! - Matching does not allocate and does not panic, whatever the event.
//! - What cannot be decided does not pass: a filter that is not wholly valid is refused when it is compiled, never
//!   skipped (Knative's reference skips it, and lets everything pass).
//! - `knativebrokerttl` is never seen by a filter: it belongs to the broker, not to the event.

mod access;
pub mod cesql;
mod clause;
mod compile;
pub mod compiled;
pub mod explain;
pub mod filter;
pub mod index;
pub mod jsonpath;
pub mod lint;
mod rules;
pub mod subject;
mod tree;

pub use compile::{CompileError, MAX_CLAUSES, MAX_DEPTH, MAX_NAME_BYTES, MAX_VALUE_BYTES};
pub use compiled::Compiled;
pub use explain::{Clause, Explanation, MAX_LISTED, Verdict};
pub use filter::{Filter, Scalar};
pub use index::Index;
pub use lint::Warning;
pub use subject::Subject;
