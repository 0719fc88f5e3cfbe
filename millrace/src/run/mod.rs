//! `millrace run`: the whole of Millrace in one process, configured by documents that are watched.
//!
//! [`documents`] reads and watches the files, [`node`] wires the parts, [`effect`] brings a mesh into effect in the order
//! that loses nothing. [`role`] is what it shares with `millrace sources`; this file joins them.

pub(crate) mod documents;
mod effect;
pub(crate) mod node;
pub(crate) mod role;
pub(crate) mod signal;

use std::path::PathBuf;

use millrace_trigger_dispatcher::Observer;

use crate::cli::exit::Exit;
use documents::{Documents, Needs};
use node::{Node, NodeConfig};

/// Serves the documents at `paths` until SIGTERM or SIGINT.
pub(crate) async fn run(config: NodeConfig, paths: Vec<PathBuf>) -> anyhow::Result<Exit> {
    let documents = Documents::new(paths, Needs::Broker);
    role::serve(documents, &config.data, || Node::build(&config, None)).await
}

/// Builds a node; a locked data folder has an exit code of its own.
pub(crate) fn build(config: &NodeConfig, observer: Option<Observer>) -> anyhow::Result<Result<Node, Exit>> {
    role::unless_locked(Node::build(config, observer))
}
