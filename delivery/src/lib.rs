//! One attempt at one target, and its outcome. Stateless: only the dispatcher stores.
//!
//! The files tell an attempt in order: may we connect there ([`guard`]), connect ([`connection`]), write the request
//! and read the answer ([`attempt`]), what it means ([`outcome`], [`reply`]), when to try again ([`backoff`]), and what a
//! dead letter carries ([`dead_letter`]).

pub mod attempt;
pub mod backoff;
pub mod connection;
pub mod dead_letter;
pub mod guard;
pub mod metrics;
pub mod outcome;
pub mod reply;

pub use attempt::Request;
pub use connection::{Connection, Connector, ConnectorOptions};
pub use outcome::{Failure, Outcome, Verdict};
