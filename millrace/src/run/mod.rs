//! `millrace run`: the whole of Millrace in one process, configured by documents that are watched.
//!
//! [`documents`] reads and watches the files, [`node`] wires the parts, [`effect`] brings a mesh into effect in the order
//! that loses nothing, [`watch`] tells who watches. [`role`] is what it shares with `millrace sources`; this file joins
//! them.

pub(crate) mod documents;
mod effect;
pub(crate) mod node;
pub(crate) mod role;
pub(crate) mod signal;
mod watch;

use std::path::PathBuf;

use crate::cli::exit::Exit;
use crate::dev::show::Show;
use documents::{Documents, Needs};
use node::{Node, NodeConfig};

/// Serves the documents at `paths` until SIGTERM or SIGINT.
pub(crate) async fn run(config: NodeConfig, paths: Vec<PathBuf>) -> anyhow::Result<Exit> {
    let documents = Documents::new(paths, Needs::Broker);
    role::serve(documents, &config.data, || Node::build(&config, None)).await
}

/// Builds a node, which prints what passes where that is asked for; a locked data folder has an exit code of its own.
pub(crate) fn build(config: &NodeConfig, show: Option<Show>) -> anyhow::Result<Result<Node, Exit>> {
    role::unless_locked(Node::build(config, show))
}
