//! The CloudEvent as a value, and the few traits and types that every other crate shares.
//!
//! The files tell the way of an event in order: what it is ([`event`], [`attribute`]), how it lies in memory and in the
//! log (`stored`), what the specification demands (`rules`), how it is put together (`builder`), what is wrong with it
//! ([`invalid`]), how it looks on HTTP ([`http`]), as JSON ([`json`]) and in Kafka ([`kafka`]), who takes it in
//! ([`intake`]), what a source remembers ([`checkpoint`]), and what time it is ([`clock`]).

pub mod attribute;
mod builder;
pub mod checkpoint;
pub mod clock;
pub mod event;
pub mod http;
pub mod intake;
pub mod invalid;
pub mod json;
pub mod kafka;
pub mod name;
mod rules;
#[cfg(feature = "sdk")]
pub mod sdk;
mod stored;

pub use attribute::{Kind, SpecVersion, Value};
pub use builder::EventBuilder;
pub use checkpoint::{Checkpoint, CheckpointError};
pub use clock::{Clock, Moment, Timestamp};
pub use event::{DataForm, Event};
pub use intake::{Intake, Origin, Refusal};
pub use invalid::{Fault, Invalid};
pub use name::ObjectName;
