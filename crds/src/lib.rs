//! The documents that users write: Knative's Broker and Trigger, our sources, and the Secrets they refer to,
//! from files or from the API of Kubernetes, made into the model in two steps.
//!
//! 1. **Documents**, each by itself. [`input`] reads files and [`documents`](mod@documents) takes them apart;
//!    an object of a cluster goes to [`Document::of_object`] at once. `tree` makes a tree in which every part
//!    knows its line; `field` takes its fields one by one, and `report` collects each [`problem`], each
//!    remark, and what the document names outside of all documents ([`external`]). `document` says what the
//!    fields mean ([`certificates`], [`duration`] and `suggest` help).
//! 2. **The mesh of them all.** [`assemble`](fn@assemble) looks up what they refer to, also with
//!    [`Resolve`], and makes the mesh and the draft of each status ([`Draft`]).
//!
//! What a cluster has to know of the kinds is in `definition`: their schemas, rules and policies, as
//! [`manifests`].
//!
//! Who calls decides what an invalid document means. In a cluster each document stands alone. Files are
//! served together or not at all: [`mod@load`] goes both steps for them. [`filter_text`] reads a filter that
//! stands in no document.
//!
//! Values are decoded by hand, not derived: the messages need the line of every value, and all problems of
//! all documents are reported at once.

pub mod input;

pub mod documents;
mod tree;

mod field;
mod report;

pub mod external;
pub mod problem;

mod document;

pub mod certificates;
pub mod duration;
mod suggest;

mod assemble;
mod resolve;
mod status;

mod definition;

pub mod filter_text;
pub mod load;

pub use assemble::{Assembled, assemble};
pub use certificates::authorities;
pub use definition::{Manifest, manifests, reference};
pub use document::Document;
pub use document::destination::url;
pub use document::kinds::{Key, Kind};
pub use document::source::check_override;
pub use documents::documents;
pub use external::{External, Named};
pub use filter_text::read_filter;
pub use input::{Input, ReadError, read};
pub use load::{Loaded, load, load_for_cluster, load_text};
pub use problem::{Code, Mark, Problem, Remark};
pub use report::Origin;
pub use resolve::{Address, Resolve, Wanted};
pub use status::{
    AudienceRefused, Condition, ConditionStatus, ConditionType, Configured, Draft, Reason, ShownToken,
    Standing, TriggerTokens,
};
