//! `millrace sources`: sources alone, without Brokers, sending to a sink somewhere else.
//!
//! [`sink`] says where each source sends to, [`node`] wires the parts; the rest is what every [`role`] is
//! made of. The guarantees are the same: what a source remembers is in the data folder, and an origin is told
//! only after the sink has answered.

mod node;
pub(crate) mod sink;

use std::path::PathBuf;
use std::sync::Arc;

use millrace_admin::LogFilter;

use crate::cli::exit::Exit;
use crate::role;
use crate::role::config::RoleConfig;
use crate::role::documents::{Documents, Needs};
use node::SourcesNode;
use sink::Sinks;

/// Runs the sources of the documents at `paths` until SIGTERM or SIGINT.
pub(crate) async fn sources(
    config: RoleConfig,
    sinks: Sinks,
    paths: Vec<PathBuf>,
    log: Arc<dyn LogFilter>,
) -> anyhow::Result<Exit> {
    let documents = Documents::new(paths, Needs::Source);
    role::serve(documents, &config, |_| SourcesNode::build(&config, sinks, log)).await
}
