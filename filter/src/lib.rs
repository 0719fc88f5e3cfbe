//! Trigger filters: compiled once, then a match or no match, and the clause that decided.
//!
//! Pure: no I/O, no time, no logging. [`Filter`] is what a user wrote; [`Compiled`] is what runs; [`Index`] asks many at once.

pub mod compiled;
pub mod explain;
pub mod filter;
pub mod index;

pub use compiled::{Compiled, CompileError};
pub use explain::{Clause, Explanation};
pub use filter::Filter;
pub use index::Index;
