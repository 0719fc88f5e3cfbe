//! The CloudEvent as a value, and the few traits and types that every other crate shares.
//!
//! The files follow an event: what it is ([`event`], [`attribute`]), its layout in memory and in the log
//! (`stored`), what the specification demands (`rules`), how it is built (`builder`), what can be wrong with
//! it ([`invalid`]), its forms on HTTP ([`http`]), as JSON ([`json`]), in Kafka ([`kafka`]) and in NATS
//! ([`nats`]), what messages cannot say of it (`exact`), the door that takes it ([`intake`]) and the rule
//! that ends circles ([`hops`]), what a source remembers ([`checkpoint`]), and the time ([`clock`]).

pub mod attribute;
mod builder;
pub mod checkpoint;
pub mod clock;
pub mod event;
mod exact;
pub mod hops;
pub mod http;
pub mod intake;
pub mod invalid;
pub mod json;
pub mod kafka;
pub mod name;
pub mod nats;
mod rules;
#[cfg(feature = "sdk")]
pub mod sdk;
mod stored;

pub use attribute::{Kind, SpecVersion, Value};
pub use builder::EventBuilder;
pub use checkpoint::{Checkpoint, CheckpointError};
pub use clock::{Clock, Moment, Timestamp};
pub use event::{DataForm, Event};
pub use intake::{InnerSender, Intake, Origin, Refusal};
pub use invalid::{Fault, Invalid};
pub use name::{BROKER_AUDIENCE, ObjectName};
