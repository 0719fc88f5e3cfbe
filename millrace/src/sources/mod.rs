//! `millrace sources`: sources alone, without Brokers, sending to a sink somewhere else.
//!
//! [`sink`] says where each source sends to, [`node`] wires the parts; the rest is what `millrace run` is made of. The
//! guarantees are the same: what a source remembers is in the data folder, and an origin is told only after the sink has
//! answered.

pub(crate) mod node;
pub(crate) mod sink;

use std::path::PathBuf;

use crate::cli::exit::Exit;
use crate::run::documents::{Documents, Needs};
use crate::run::node::NodeConfig;
use crate::run::role;
use node::SourcesNode;
use sink::Sinks;

/// Runs the sources of the documents at `paths` until SIGTERM or SIGINT.
pub(crate) async fn sources(config: NodeConfig, sinks: Sinks, paths: Vec<PathBuf>) -> anyhow::Result<Exit> {
    let documents = Documents::new(paths, Needs::Source);
    role::serve(documents, &config.data, || SourcesNode::build(&config, sinks)).await
}
