//! Sources: events elsewhere become CloudEvents, and none of them is lost.
//!
//! The files follow the work in order: the duties of every kind of source ([`feed`]), where its events go
//! ([`outlet`]), what it remembers between two runs ([`memory`]), how it reports its state ([`report`]),
//! where origins call in by HTTP ([`webhooks`]), which servers it may connect to (`servers`, with room for
//! lookups of their names in [`lookups`]), how long it waits between tries (`waits`), and what starts and
//! stops all of them ([`supervise`]). Then follows a folder for each kind. To add a kind, copy the shortest
//! folder.
//!
//! # Guarantees
//! - An origin gets its acknowledgement only after its event is durable in the sink.
//! - If something must be repeated (a crash between the sink's answer and the note of it), it has the same
//!   id.

#[cfg(feature = "kubernetes")]
mod api_server;
mod cron;
pub mod feed;
mod git_webhook;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(not(all(feature = "kafka", feature = "kubernetes")))]
mod left_out;
pub mod lookups;
pub mod memory;
mod metrics;
pub mod outlet;
pub mod report;
#[cfg(feature = "kubernetes")]
mod servers;
#[cfg(all(test, any(feature = "kafka", feature = "kubernetes")))]
#[path = "../tests/all/store.rs"]
mod store;
pub mod supervise;
mod waits;
pub mod webhooks;

#[cfg(feature = "kubernetes")]
pub use api_server::{KubeconfigError, check_kubeconfig};
pub use feed::{Context, Feed, SourceError};
pub use git_webhook::{largest_call, secret_flaw};
pub use lookups::Lookups;
pub use memory::Memory;
pub use metrics::Metrics;
pub use outlet::{NotTaken, Outlet};
pub use report::Report;
pub use supervise::{Parts, Sources};
pub use webhooks::{Endpoint, Webhooks};
