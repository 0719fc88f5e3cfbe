//! Sources: what happens elsewhere becomes CloudEvents, and none of it is lost.
//!
//! The files tell the work in order: what a kind of source has to do ([`feed`]), where its events go ([`outlet`]), what it
//! remembers between two runs ([`memory`]), how it says how it stands ([`report`]), where origins call in by HTTP
//! ([`webhooks`]), which servers it may connect to (`servers`), how long it waits before it tries again (`waits`), and who starts and stops them all ([`supervise`]).
//! Then a folder for each kind. Who adds one copies the shortest.
//!
//! # Guarantees
//! - An origin is told that something was taken only after its event is durable in the sink.
//! - What may be repeated (a crash between the sink's answer and the note of it) is repeated with the same id.

#[cfg(feature = "kubernetes")]
mod api_server;
mod cron;
pub mod feed;
mod git_webhook;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(not(all(feature = "kafka", feature = "kubernetes")))]
mod left_out;
pub mod memory;
mod metrics;
pub mod outlet;
pub mod report;
#[cfg(any(feature = "kafka", feature = "kubernetes"))]
mod servers;
pub mod supervise;
mod waits;
pub mod webhooks;

#[cfg(feature = "kubernetes")]
pub use api_server::{KubeconfigError, check_kubeconfig};
pub use feed::{Context, Feed, SourceError};
pub use git_webhook::largest_call;
pub use memory::Memory;
pub use metrics::Metrics;
pub use outlet::{NotTaken, Outlet};
pub use report::Report;
pub use supervise::{Parts, Sources};
pub use webhooks::{Endpoint, Webhooks};
