//! The admin listener: what the mesh is and does, as JSON under `/api/v1/`, with health and metrics beside
//! it.
//!
//! The files follow a request: what is served and from what ([`admin`]), whom it is served to (`guard`), what
//! a refusal looks like (`refused`), and then one file for each family of endpoints: `mesh`, `brokers`,
//! `triggers`, `sources`, `kafka_sinks`, `parked`, `explain`, `events` and `tail` (which stream `lines`, the
//! latter from the [`feed`]), [`log_level`], `health`, `metrics`. How names, times and targets are written
//! for people is in `wire`.
//!
//! # Guarantees
//! - It reads the mesh, the status board and the channels, and writes only the channels: a command is a
//!   durable change of a channel's state, so it holds whatever happens to the process afterwards. There are
//!   two exceptions. A change of the log's filter ends with the process. And whoever keeps the folders of
//!   Brokers ([`BrokerKeeper`]) is asked to give one back, which is answered when it is done.
//! - A web page of another origin can neither read anything here nor change anything: foreign `Host` headers
//!   are refused, changes need the header `Millrace-Request: 1`, and no answer carries a CORS header.
//! - Every answer is bounded in size and memory, except `triggers` and `brokers`, which have a row for each.
//!   Streams are bounded in memory, and nothing but the request itself waits for them.
//!
//! # Caveats
//! Without an access file anybody who reaches the listener may use it, and it listens on loopback unless told
//! otherwise. With one, who asks must have a role ([`login`]), and each change is written down (`audit`).

pub mod admin;
mod audit;
pub mod brokers;
mod elsewhere;
mod events;
mod explain;
pub mod feed;
mod guard;
mod health;
mod kafka_sinks;
mod lines;
pub mod log_level;
pub mod login;
mod mesh;
mod metrics;
mod parked;
mod refused;
mod sources;
mod tail;
mod triggers;
mod wire;

pub use admin::{Admin, ReloadState};
pub use audit::TARGET as AUDIT;
pub use brokers::{BrokerKeeper, NotForgotten};
pub use feed::TailFeed;
pub use log_level::LogFilter;
pub use login::Login;
