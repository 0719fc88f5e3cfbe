//! What a kind of source has to do, and what it is given for that.

use std::sync::Arc;

use millrace_budget::Ledger;
use millrace_delivery::guard::Guard;
use millrace_event::{CheckpointError, Clock, ObjectName};
use millrace_filter::Turns;
use millrace_secrets::SecretReader;
use tokio_util::sync::CancellationToken;

use crate::{Lookups, Memory, NotTaken, Outlet, Report, Webhooks};

/// What a kind of source does: it feeds what happens at its origin into its outlet.
///
/// # Flow
/// `run` is called once the sink of the source is there. It connects to its origin, says [`Report::ready`],
/// and goes on until `shutdown`. When it ends with an error, that is reported and it is run again after a
/// while, longer each time.
///
/// # Assumptions
/// - It tells its origin that something was taken (an HTTP answer, a stored offset, a checkpoint) only after
///   [`Outlet::offer`] or [`Outlet::deliver`] returned `Ok` for its event.
/// - What it may send twice it sends with the same id.
/// - Dropping its future in the middle loses nothing; after `shutdown` it ends what is in hand and returns.
#[async_trait::async_trait]
pub trait Feed: Send {
    /// Runs until `shutdown`, or until something is wrong.
    async fn run(&mut self, context: &Context, shutdown: CancellationToken) -> Result<(), SourceError>;
}

/// What a source is given. One run has one.
#[derive(Clone, Debug)]
pub struct Context {
    /// The source's name.
    pub name: ObjectName,
    /// Where its events go.
    pub outlet: Arc<Outlet>,
    /// What it remembers between two runs.
    pub memory: Memory,
    /// Where it says how it stands.
    pub report: Report,
    /// What time it is.
    pub clock: Clock,
    /// Reads the secrets that its document names.
    pub secrets: SecretReader,
    /// Judges the addresses that may be connected to.
    pub guard: Guard,
    /// Where origins call in by HTTP.
    pub webhooks: Arc<Webhooks>,
    /// Where filters and mappings run that take long.
    pub turns: Turns,
    /// Room for lookups of names.
    pub lookups: Lookups,
    /// Memory for what clients read ahead.
    pub read_ahead: Arc<Ledger>,
    /// The most data that one event may have, in bytes.
    pub max_event_bytes: usize,
}

/// Why a source does not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// What its document asks for is impossible: a secret is missing, a file cannot be read.
    #[error("{0}")]
    Unusable(String),
    /// Its origin cannot be reached, or does not let it in.
    #[error("{0}")]
    Origin(String),
    /// What it remembers cannot be read or written, or another source of the same name writes it too.
    #[error(transparent)]
    Memory(#[from] CheckpointError),
    /// Its sink has refused an event for good, and the source may not skip it.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
}
