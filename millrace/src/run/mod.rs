//! `millrace run`: the whole of Millrace in one process, configured by documents that are watched.
//!
//! [`node`] wires the parts, [`effect`] brings a mesh into effect in the order that loses nothing, once
//! `open` has opened its channels, [`keeper`] gives back the folders of Brokers that are gone, [`watch`]
//! informs observers; the rest is what every [`role`] is made of. `remote` keeps the Brokers whose channels
//! are on servers, and `backends` has each stay where it is. `cluster` takes the documents from Kubernetes,
//! and `channels` tells it how channels stand.

mod backends;
#[cfg(feature = "kubernetes")]
mod channels;
#[cfg(feature = "kubernetes")]
pub(crate) mod cluster;
mod effect;
mod keeper;
mod node;
mod open;
#[cfg(any(feature = "jetstream", feature = "kafka"))]
mod remote;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;

use millrace_admin::LogFilter;
use millrace_model::Mesh;

use crate::cli::exit::Exit;
use crate::dev::show::Show;
use crate::role;
use crate::role::config::RoleConfig;
use crate::role::documents::{Documents, Needs};
use node::Node;

/// Serves the documents at `paths` until SIGTERM or SIGINT.
pub(crate) async fn run(
    config: RoleConfig,
    paths: Vec<PathBuf>,
    log: Arc<dyn LogFilter>,
) -> anyhow::Result<Exit> {
    let documents = Documents::new(paths, Needs::Broker);
    role::serve(documents, &config, |mesh| Node::build(&config, None, log, mesh)).await
}

/// Builds a node, which prints what passes where that is asked for; a locked data folder has an exit code of
/// its own.
pub(crate) fn build(
    config: &RoleConfig,
    show: Option<Show>,
    log: Arc<dyn LogFilter>,
) -> anyhow::Result<Result<Node, Exit>> {
    role::unless_locked(Node::build(config, show, log, &Mesh::default()))
}
