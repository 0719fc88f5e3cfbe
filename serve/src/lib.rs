//! What every HTTP listener of Millrace shares, so that each of them is bounded, drains and answers alike.
//!
//! The files follow a request: the numbers that bound it ([`options`]), how connections are accepted
//! ([`accept`], by the shares of each [`peer`], which `table` keeps) and served (`connection`, with its
//! deadlines in `progress`), the hosts under which the listener may be called ([`host`]), how a body is
//! framed ([`framing`]) and read ([`body`]), what a refusal looks like ([`problem`]), whose paths belong to
//! others ([`mount`]), and what is counted ([`metrics`]).
//!
//! HTTP/1.1 only: it is what the CloudEvents and Knative contracts ask of a receiver. A service is any
//! `hyper::service::Service`; an axum router becomes one by `hyper_util::service::TowerToHyperService`.

pub mod accept;
pub mod body;
mod connection;
pub mod framing;
pub mod host;
pub mod metrics;
pub mod mount;
pub mod options;
pub mod peer;
pub mod problem;
mod progress;
mod table;

pub use accept::{BindError, Drained, Listener, serve};
pub use body::{BodyBudget, BodyError, discard, read_body};
pub use host::Hosts;
pub use metrics::{ListenerMetrics, ServeMetrics};
pub use millrace_budget::{Hold, Part};
pub use mount::Mount;
pub use options::ServeOptions;
pub use peer::Peer;
pub use problem::{Problem, empty};
