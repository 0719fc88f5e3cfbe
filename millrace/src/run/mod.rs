//! `millrace run`: the whole of Millrace in one process, configured by documents that are watched.
//!
//! [`documents`] reads and watches the files, [`node`] wires the parts, [`effect`] brings a mesh into effect in the order
//! that loses nothing, [`watch`] tells who watches; this file joins them.

pub(crate) mod documents;
mod effect;
pub(crate) mod node;
pub(crate) mod signal;
mod watch;

use std::path::PathBuf;

use millrace_admin::ReloadState;
use millrace_channel::embedded::OpenError;
use millrace_event::Clock;

use crate::cli::exit::Exit;
use crate::dev::show::Show;
use documents::{Documents, Unfit};
use node::{Node, NodeConfig, Running};

/// The first line on stdout: events are accepted from now on (design §6).
#[derive(serde::Serialize)]
struct Ready {
    ready: bool,
    listen: String,
    admin: String,
    data: String,
}

/// Serves the documents at `paths` until SIGTERM or SIGINT.
pub(crate) async fn run(config: NodeConfig, paths: Vec<PathBuf>) -> anyhow::Result<Exit> {
    let documents = Documents::new(paths);
    let mut seen = documents.seen();
    let (mesh, remarks) = match documents.load() {
        Ok(loaded) => loaded,
        Err(unfit) => {
            crate::cli::out::remark(&unfit.to_string());
            return Ok(Exit::Invalid);
        }
    };
    remarks.iter().for_each(|remark| tracing::warn!("{remark}"));
    let node = match build(&config, None)? {
        Ok(node) => node,
        Err(exit) => return Ok(exit),
    };
    let ready = serde_json::to_string(&Ready {
        ready: true,
        listen: node.listen().to_string(),
        admin: node.admin_listen().to_string(),
        data: config.data.display().to_string(),
    })?;
    let mut ended = signal::Ended::listen()?;
    let mut running = tokio::select! {
        running = node.start(mesh) => running?,
        () = ended.asked() => return Ok(Exit::Ok),
    };
    crate::cli::out::data(&ready);
    let follow = async {
        loop {
            documents.changed(&mut seen).await;
            reload(&documents, &mut running).await;
        }
    };
    tokio::select! {
        () = ended.asked() => {}
        () = follow => {}
    }
    tracing::info!("stopping: no new events; what is in hand ends");
    tokio::select! {
        stopped = running.stop() => stopped.map(|()| Exit::Ok),
        () = ended.asked() => {
            tracing::warn!("asked to end a second time: ending at once");
            Ok(Exit::Failed)
        }
    }
}

/// Builds a node, which prints what passes where that is asked for; a locked data folder has an exit code of its own.
pub(crate) fn build(config: &NodeConfig, show: Option<Show>) -> anyhow::Result<Result<Node, Exit>> {
    match Node::build(config, show) {
        Ok(node) => Ok(Ok(node)),
        Err(error) => match error.downcast_ref::<OpenError>() {
            Some(OpenError::Locked { .. }) => {
                crate::cli::out::remark(&format!("{error}"));
                Ok(Err(Exit::Locked))
            }
            _ => Err(error),
        },
    }
}

/// Takes changed documents up, or says why not; the mesh that ran goes on running then.
async fn reload(documents: &Documents, running: &mut Running) {
    let at = Clock::System.now();
    let before = running.effect.current().revision;
    let error = match documents.load() {
        Ok((mesh, remarks)) => {
            remarks.iter().for_each(|remark| tracing::warn!("{remark}"));
            match running.effect.take(mesh).await {
                Ok(mesh) if mesh.revision == before => None,
                Ok(mesh) => {
                    tracing::info!(
                        revision = mesh.revision,
                        "the documents changed; the new mesh is in effect"
                    );
                    None
                }
                Err(error) => Some(format!("{error:#}")),
            }
        }
        Err(unfit) => {
            if let Unfit::Invalid(problems) = &unfit {
                problems.iter().for_each(|problem| tracing::error!("{problem}"));
            }
            Some(unfit.to_string())
        }
    };
    if let Some(error) = &error {
        tracing::error!(%error, "the changed documents are refused; the mesh that ran goes on running");
    }
    let revision = running.effect.current().revision;
    running.reload.send_replace(ReloadState { revision, at, error });
}
