//! Trigger filters: compiled once, then a match or no match, and the clause that decided.
//!
//! Pure: no I/O, no time, no logging; except [`turns`], which lends threads for long evaluations. The files
//! read in the order of the work: what a user wrote ([`filter`]), how one clause asks one attribute
//! (`clause`), an expression ([`cesql`]) or a path ([`jsonpath`]) into the data ([`value`], laid flat in
//! `json`), how all is checked (`rules`, `compile`), put in order and laid flat (`tree`), what runs
//! ([`compiled`]) on an event ([`subject`]) and for how long ([`meter`]), how it explains a decision
//! ([`explain`]), what is probably a mistake ([`lint`]), what an index may know of it (`access`), how many
//! filters are asked at once ([`index`]), where long evaluations continue ([`turns`]), and how a filter is
//! kept as text ([`text`]).
//!
//! # Guarantees
//! - The decision of [`Compiled::matches`] and [`Compiled::explain`] is made by the same code, and
//!   [`Index::matching`] gives exactly the filters whose `matches` is true.
//! - Matching does not panic, and its work is bounded by [`MAX_STEPS`] for each filter, whatever the event.
//!   Where the work ends does not depend on the machine nor on other filters. It allocates only for the
//!   values that functions of an expression make, and for JSON data.
//! - Data is parsed at most once for an event ([`Subject`]), and not at all when no clause is left that asks
//!   for it.
//! - What cannot be decided does not pass: a filter that is not wholly valid is refused when it is compiled,
//!   never skipped (Knative's reference skips it, and lets everything pass).
//! - `knativebrokerttl` is never seen by a filter: it belongs to the broker, not to the event.

mod access;
pub mod cesql;
mod clause;
mod compile;
pub mod compiled;
pub mod explain;
pub mod filter;
pub mod index;
mod json;
pub mod jsonpath;
pub mod lint;
pub mod meter;
mod rules;
pub mod subject;
pub mod text;
mod tree;
pub mod turns;
pub mod value;

pub use compile::{CompileError, MAX_CLAUSES, MAX_DEPTH, MAX_NAME_BYTES, MAX_VALUE_BYTES};
pub use compiled::{Compiled, Decision};
pub use explain::{Clause, Explanation, MAX_LISTED, Verdict};
pub use filter::{Filter, Scalar};
pub use index::{Index, Matching};
pub use lint::Warning;
pub use meter::{Allowance, MAX_STEPS};
pub use subject::Subject;
pub use turns::Turns;
