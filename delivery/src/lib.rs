//! One attempt at one target, and its outcome. Stateless: only the dispatcher stores.
//!
//! The files tell an attempt in order: what to send ([`attempt`]), where that is (`place`), which addresses that has
//! (`resolve`), may we connect there ([`guard`]), connect (`connect`, `tls`, `stream`), keep the connection
//! ([`connection`]), send and read (`exchange`), what the answer means ([`outcome`], [`reply`], `retry_after`, and
//! `no_answer` where there is none), when to try again ([`backoff`]), what a dead letter carries ([`dead_letter`]), and
//! what is counted ([`metrics`]).

pub mod attempt;
pub mod backoff;
mod connect;
pub mod connection;
pub mod dead_letter;
mod exchange;
pub mod guard;
pub mod metrics;
mod no_answer;
pub mod outcome;
mod place;
pub mod reply;
mod resolve;
mod retry_after;
mod stream;
mod tls;

pub use attempt::Request;
pub use connection::{Connection, Connector, ConnectorOptions};
pub use metrics::Metrics;
pub use outcome::{BODY_KEPT, Failure, Outcome, Verdict};
