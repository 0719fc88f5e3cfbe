//! The documents that users write: Knative's Broker and Trigger, our sources, and the Secrets they refer to,
//! loaded from files into the model.
//!
//! The way of a document: [`input`] reads the files, `parse` makes trees in which every part knows its line
//! (`node`), `field` reads them noting every [`problem`], `metadata`, `broker`, `trigger`, `source` and their
//! parts (`filters`, `destination`, `delivery`, `secret`, `reference`, [`duration`], [`quantity`]) say what
//! the fields mean, and `found` makes the mesh of them; [`mod@load`] goes that way with every document.
//!
//! Values are decoded by hand, not derived: the messages need the line of every value, and all problems of
//! all documents are reported at once.

mod broker;
mod delivery;
mod destination;
pub mod duration;
mod field;
pub mod filter_text;
mod filters;
mod found;
pub mod input;
pub mod load;
mod merge;
mod metadata;
mod node;
mod ours;
mod parse;
pub mod problem;
pub mod quantity;
mod reference;
mod secret;
mod source;
mod suggest;
mod telltale;
mod trigger;

pub use destination::url;
pub use filter_text::read_filter;
pub use input::{Input, ReadError, read};
pub use load::{Loaded, load, load_text};
pub use problem::{Code, Mark, Problem, Remark};
pub use reference::{Named, Reference};
pub use source::check_override;
