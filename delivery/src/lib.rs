//! One attempt at one target, and its outcome. Stateless: only the dispatcher stores.
//!
//! The files tell an attempt in order: what to send ([`attempt`]), where that is (`place`), which addresses that has
//! (`resolve`, `lookups`), may we have one more connection (`means`, `outgoing`, by the rules of `shares` and `permits`), may we connect
//! there ([`guard`]), connect (`connect`, `tls`, `trust`, `tls_words`, `stream`), keep the connection ([`connection`]), tell what is short from what has
//! failed (`shortage`), send and read (`exchange`, within `reply_memory` and `patience`), what the answer means ([`outcome`], [`reply`], `retry_after`, and
//! `no_answer` where there is none), when to try again ([`backoff`]), what a dead letter carries ([`dead_letter`]), and
//! what is counted ([`metrics`]).

pub mod attempt;
pub mod backoff;
mod connect;
pub mod connection;
pub mod dead_letter;
mod exchange;
pub mod guard;
mod lookups;
mod means;
pub mod metrics;
mod no_answer;
pub mod outcome;
mod outgoing;
mod patience;
mod permits;
mod place;
pub mod reply;
mod reply_memory;
mod resolve;
mod retry_after;
mod shares;
mod shortage;
mod stream;
mod tls;
mod tls_words;
mod trust;

pub use attempt::Request;
pub use connection::{Connection, Connector, ConnectorOptions, Share};
pub use metrics::Metrics;
pub use outcome::{BODY_KEPT, Failure, Outcome, Verdict};
pub use tls::wrong_with_roots;
