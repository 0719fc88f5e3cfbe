//! What every serving role is made of: `millrace run`, `millrace sources` and `millrace dev` add only their
//! own parts.
//!
//! A role is given its [`config`] and its [`documents`], finds its [`limits`], builds its [`front`] and its
//! own [`part`]s, and runs until the [`signal`] to end. Meanwhile it applies changed documents.

pub(crate) mod clock;
pub(crate) mod config;
pub(crate) mod documents;
pub(crate) mod environment;
pub(crate) mod front;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod part;
pub(crate) mod signal;

use std::net::SocketAddr;
use std::sync::Arc;

use millrace_admin::ReloadState;
use millrace_channel::embedded::OpenError;
use millrace_event::Clock;
use millrace_model::Mesh;
use tokio::sync::watch;

use crate::cli::exit::Exit;
use config::RoleConfig;
use documents::{Documents, Unfit};

/// A role of the process whose parts are wired and whose addresses are bound; nothing is served yet.
pub(crate) trait Role {
    /// The role at work.
    type Live: Live;

    /// Where calls come in.
    fn listen(&self) -> SocketAddr;

    /// Where the admin API is.
    fn admin_listen(&self) -> SocketAddr;

    /// Starts the parts and brings the first mesh into effect. It is ready when this returns.
    async fn start(self, mesh: Mesh) -> anyhow::Result<Self::Live>;
}

/// A role at work.
pub(crate) trait Live {
    /// The mesh in effect.
    fn current(&self) -> Arc<Mesh>;

    /// Makes `mesh` the one in effect. An error leaves the one that was.
    async fn take(&mut self, mesh: Mesh) -> anyhow::Result<Arc<Mesh>>;

    /// Where the result of the last load is reported.
    fn told(&self) -> &watch::Sender<ReloadState>;

    /// Ends what is in hand and makes everything durable.
    async fn stop(self) -> anyhow::Result<()>;
}

/// What came of changed documents.
enum Reloaded {
    /// They are in effect, or refused.
    Settled,
    /// They could not be applied for a reason that is not theirs.
    TryAgain,
}

/// Why documents are not in effect.
enum NotTaken {
    /// They are wrong.
    Refused(Unfit),
    /// They may be right, but something else failed: a descriptor is missing, the disk is full.
    ForNow(String),
}

/// The first line on stdout: events are accepted from now on.
#[derive(serde::Serialize)]
struct Ready {
    ready: bool,
    listen: String,
    admin: String,
    data: String,
}

/// Serves documents until SIGTERM or SIGINT.
pub(crate) async fn serve<R: Role>(
    documents: Documents,
    config: &RoleConfig,
    build: impl FnOnce(&Mesh) -> anyhow::Result<R>,
) -> anyhow::Result<Exit> {
    let mut seen = documents.seen().await;
    let (mesh, remarks) = match documents.load().await {
        Ok(loaded) => loaded,
        Err(unfit) => {
            crate::cli::out::remark(&unfit.to_string());
            return Ok(Exit::Invalid);
        }
    };
    remarks.iter().for_each(|remark| tracing::warn!("{remark}"));
    let role = match unless_locked(build(&mesh))? {
        Ok(role) => role,
        Err(exit) => return Ok(exit),
    };
    let ready = serde_json::to_string(&Ready {
        ready: true,
        listen: role.listen().to_string(),
        admin: role.admin_listen().to_string(),
        data: config.data.display().to_string(),
    })?;
    let mut ended = signal::Ended::listen(config.drain_timeout)?;
    let mut running = tokio::select! {
        running = role.start(mesh) => running?,
        () = ended.asked() => return Ok(Exit::Ok),
    };
    crate::cli::out::data(&ready);
    let follow = async {
        loop {
            documents.changed(&mut seen).await;
            match reload(&documents, &mut running).await {
                Reloaded::Settled => seen.settle(),
                Reloaded::TryAgain => seen.try_again(),
            }
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

/// A locked data folder has an exit code of its own.
pub(crate) fn unless_locked<R>(built: anyhow::Result<R>) -> anyhow::Result<Result<R, Exit>> {
    match built {
        Ok(role) => Ok(Ok(role)),
        Err(error) => match error.downcast_ref::<OpenError>() {
            Some(OpenError::Locked { .. }) => {
                crate::cli::out::remark(&format!("{error}"));
                Ok(Err(Exit::Locked))
            }
            _ => Err(error),
        },
    }
}

/// Applies changed documents, or reports why not; in that case the earlier mesh goes on running.
async fn reload(documents: &Documents, running: &mut impl Live) -> Reloaded {
    let at = Clock::System.now();
    let before = running.current().revision;
    let taken = take(documents, running).await;
    // While files keep changing the same refusal repeats, and so does a shortage: each is logged once.
    let said = running.told().borrow().error.clone();
    let is_new = |error: &String| Some(error) != said.as_ref();
    let (reloaded, error) = match taken {
        Ok(mesh) => {
            if mesh.revision != before {
                let revision = mesh.revision;
                tracing::info!(revision, "the documents changed; the new mesh is in effect");
            }
            (Reloaded::Settled, None)
        }
        Err(NotTaken::Refused(unfit)) => {
            let error = unfit.to_string();
            if is_new(&error) {
                if let Unfit::Invalid(problems) = &unfit {
                    problems.iter().for_each(|problem| tracing::error!("{problem}"));
                }
                tracing::error!(%error, "the changed documents are refused; the mesh that ran goes on running");
            }
            (Reloaded::Settled, Some(error))
        }
        Err(NotTaken::ForNow(error)) => {
            if is_new(&error) {
                tracing::error!(
                    %error,
                    "the changed documents cannot be applied for now, and are tried again; the mesh that ran goes on running"
                );
            }
            (Reloaded::TryAgain, Some(error))
        }
    };
    let revision = running.current().revision;
    running.told().send_replace(ReloadState { revision, at, error });
    reloaded
}

/// Reads the documents and brings them into effect.
async fn take(documents: &Documents, running: &mut impl Live) -> Result<Arc<Mesh>, NotTaken> {
    let (mesh, remarks) = match documents.load().await {
        Ok(loaded) => loaded,
        Err(Unfit::Unreadable(why)) => return Err(NotTaken::ForNow(why)),
        Err(unfit) => return Err(NotTaken::Refused(unfit)),
    };
    let taken = running.take(mesh).await;
    let taken = taken.map_err(|error| NotTaken::ForNow(crate::reasons::reasons(&error)))?;
    // Not before: what is tried again is not remarked on each time.
    remarks.iter().for_each(|remark| tracing::warn!("{remark}"));
    Ok(taken)
}
