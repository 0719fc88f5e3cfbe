//! One attempt at one target, and its outcome. Stateless: only the dispatcher stores.
//!
//! The files follow an attempt in order: what to send ([`attempt`]), what it shows ([`auth`]), to which kind
//! of target ([`target`], [`own_ingress`]), where that is (`endpoint`), which addresses it has (`resolve`,
//! `lookups`), whether one more connection may be opened (`means`, `outgoing`, by the rules of `shares` and
//! `permits`), whether it may lead there ([`guard`], [`egress`]), how to connect ([`connector`], `connect`,
//! `tls`, `trust`, `tls_words`, `stream`) and keep the connection ([`connection`]), how to tell a shortage
//! from a failure (`shortage`), how to send and read (`exchange`, within `reply_memory` and `patience`), what
//! the answer means ([`outcome`], [`reply`], `retry_after`, and `no_answer` where there is none), when to try
//! again ([`backoff`]), what a dead letter carries ([`dead_letter`]), and what is counted ([`metrics`]). By
//! the same means `fetch` gets a document from a server that is no target.
//!
//! Foreign clients connect by themselves, so the servers that they may have are judged before ([`servers`]).
//! That of Kafka writes records (`kafka`, with the feature of that name), and [`sinks`] looks whether it
//! can.

pub mod attempt;
pub mod auth;
pub mod backoff;
mod connect;
pub mod connection;
pub mod connector;
pub mod dead_letter;
pub mod egress;
mod endpoint;
mod exchange;
mod fetch;
pub mod guard;
#[cfg(feature = "kafka")]
pub mod kafka;
mod lookups;
mod means;
pub mod metrics;
mod no_answer;
pub mod outcome;
mod outgoing;
pub mod own_ingress;
mod patience;
mod permits;
pub mod reply;
mod reply_memory;
mod resolve;
mod retry_after;
pub mod servers;
mod shares;
mod shortage;
pub mod sinks;
mod stream;
pub mod target;
mod tls;
mod tls_words;
mod trust;

pub use attempt::Request;
pub use auth::{AccountTokens, Auth, Issued, Sender};
pub use connection::Connection;
pub use connector::{Connector, ConnectorOptions, Share};
pub use endpoint::To;
pub use fetch::{FetchLimits, NotFetched};
pub use metrics::Metrics;
pub use outcome::{BODY_KEPT, Failure, Outcome, Verdict};
pub use tls::wrong_with_roots;

/// Why nothing is written to Kafka in a build without it.
pub const WITHOUT_KAFKA: &str =
    "this millrace was built without the feature `kafka`, which a KafkaSink needs";
