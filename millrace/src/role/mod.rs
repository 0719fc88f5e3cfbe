//! What every serving role is made of: `millrace run`, `millrace sources` and `millrace dev` add only their
//! own parts.
//!
//! A role is given its [`config`] and the [`Origin`] of its mesh ([`documents`], unless it is a cluster),
//! finds its [`limits`], builds its [`front`] and its own [`part`]s, and runs until the [`signal`] to end.
//! Meanwhile it applies changed documents, and other files that change ([`rereads`]; [`seen`] notices both).

mod addresses;
pub(crate) mod clock;
pub(crate) mod config;
pub(crate) mod core_dumps;
pub(crate) mod documents;
mod doors;
pub(crate) mod environment;
pub(crate) mod front;
mod issuer_keys;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod part;
mod rereads;
mod seen;
pub(crate) mod signal;
mod turned_away;
#[cfg(feature = "kubernetes")]
pub(crate) mod vouching;

use std::sync::Arc;

use millrace_admin::ReloadState;
use millrace_channel::embedded::OpenError;
use millrace_event::Clock;
use millrace_model::Mesh;
use tokio::sync::watch;

use crate::cli::exit::Exit;
pub(crate) use addresses::Addresses;
use config::RoleConfig;
use documents::{Documents, Unfit};
use seen::Seen;

/// A role of the process whose parts are wired and whose addresses are bound; nothing is served yet.
pub(crate) trait Role {
    /// The role at work.
    type Live: Live;

    /// Where it can be called.
    fn addresses(&self) -> Addresses;

    /// Starts the parts, waits for the first mesh and brings it into effect. It is ready when this returns;
    /// until then the admin API says that it is not.
    async fn start(self, first: impl Future<Output = Mesh>) -> anyhow::Result<Self::Live>;
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
#[serde(rename_all = "camelCase")]
struct Ready {
    ready: bool,
    #[serde(flatten)]
    addresses: Addresses,
    data: String,
}

/// Where the mesh comes from.
pub(crate) trait Origin {
    /// The mesh to begin with, as soon as it is known.
    async fn first(&mut self) -> Mesh;

    /// Brings each later mesh into effect, without an end. It may be dropped at any time.
    async fn follow(&mut self, running: &mut impl Live);

    /// Ends what it does beside.
    async fn end(self);
}

/// Files and folders as the origin of the mesh.
struct Files {
    documents: Documents,
    seen: Seen,
    /// What was read at the start.
    mesh: Mesh,
}

/// Serves documents until SIGTERM or SIGINT.
pub(crate) async fn serve<R: Role>(
    documents: Documents,
    config: &RoleConfig,
    build: impl FnOnce(&Mesh) -> anyhow::Result<R>,
) -> anyhow::Result<Exit> {
    let seen = documents.seen().await;
    let (mesh, remarks) = match documents.load().await {
        Ok(loaded) => loaded,
        Err(unfit) => {
            crate::cli::out::remark(&unfit.to_string());
            return Ok(Exit::Invalid);
        }
    };
    remarks.iter().for_each(|remark| tracing::warn!("{remark}"));
    match unless_locked(build(&mesh))? {
        Ok(role) => {
            let files = Files {
                documents,
                seen,
                mesh,
            };
            serve_from(files, role, config).await
        }
        Err(exit) => Ok(exit),
    }
}

/// Serves what the origin has until SIGTERM or SIGINT.
pub(crate) async fn serve_from<R: Role>(
    mut origin: impl Origin,
    role: R,
    config: &RoleConfig,
) -> anyhow::Result<Exit> {
    let ready = serde_json::to_string(&Ready {
        ready: true,
        addresses: role.addresses(),
        data: config.data.display().to_string(),
    })?;
    let mut ended = signal::Ended::listen(config.drain_timeout)?;
    let mut running = tokio::select! {
        running = role.start(origin.first()) => running?,
        () = ended.asked() => return Ok(Exit::Ok),
    };
    crate::cli::out::data(&ready);
    tokio::select! {
        () = ended.asked() => {}
        () = origin.follow(&mut running) => {}
    }
    tracing::info!("stopping: no new events; what is in hand ends");
    tokio::select! {
        (stopped, ()) = async { tokio::join!(running.stop(), origin.end()) } => stopped.map(|()| Exit::Ok),
        () = ended.asked() => {
            tracing::warn!("asked to end a second time: ending at once");
            Ok(Exit::Failed)
        }
    }
}

// === impl Files ===

impl Origin for Files {
    async fn first(&mut self) -> Mesh {
        std::mem::take(&mut self.mesh)
    }

    async fn follow(&mut self, running: &mut impl Live) {
        loop {
            self.documents.changed(&mut self.seen).await;
            match reload(&self.documents, running).await {
                Reloaded::Settled => self.seen.settle(),
                Reloaded::TryAgain => self.seen.try_again(),
            }
        }
    }

    async fn end(self) {}
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
