//! What every HTTP listener of Millrace shares, so that each of them is bounded, drains and answers alike.
//!
//! The files follow a request: the numbers that bound it ([`options`]), how connections are accepted
//! ([`accept`], by the shares of each [`peer`], which `table` keeps), secured ([`tls`], with what a
//! [`certificate`] proves) and served (`connection`, with its deadlines in `progress`), the hosts under
//! which the listener may be called ([`host`]), how a body is framed ([`framing`]) and read ([`body`]),
//! what a refusal looks like ([`problem`]), whose paths belong to others ([`mount`]), and what is counted
//! ([`metrics`]).
//!
//! HTTP/1.1 is what the CloudEvents and Knative contracts ask of a receiver; behind TLS a client may choose
//! HTTP/2. A service is any
//! `hyper::service::Service`; an axum router becomes one by `hyper_util::service::TowerToHyperService`.

pub mod accept;
pub mod body;
pub mod certificate;
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
pub mod tls;

pub use accept::{Address, BindError, Drained, Listener, serve};
pub use body::{BodyBudget, BodyError, discard, read_body};
pub use certificate::ClientCertificate;
pub use host::Hosts;
pub use metrics::{ListenerMetrics, ServeMetrics};
pub use millrace_budget::{Hold, Part};
pub use mount::Mount;
pub use options::ServeOptions;
pub use peer::Peer;
pub use problem::{Problem, empty};
pub use tls::{ClientCertificates, Tls, TlsError, TlsFiles};
