//! ApiServerSource: events for changes in Kubernetes.
//!
//! The files are the steps of the work: how to log in at the API server ([`kubeconfig`], [`client`]), where a
//! kind is found ([`discover`]), what is selected ([`select`]), an object ([`object`]), what has been
//! reported of it ([`table`]) and how that is remembered ([`remember`]), a list ([`pages`]) and what follows
//! it ([`lines`], [`stream`]), what a change is ([`difference`]), its event ([`events`]) and how it is sent
//! ([`tell`]), all of that for one kind in one place ([`watch`]) from where it can resume ([`catch_up`]),
//! which namespaces there are ([`namespaces`]), and all places together ([`places`]). [`standing`] reports
//! how they stand.

mod catch_up;
mod client;
mod difference;
mod discover;
mod events;
mod kubeconfig;
mod lines;
mod namespaces;
mod object;
mod pages;
mod places;
mod remember;
mod select;
mod standing;
mod stream;
mod table;
mod tell;
mod watch;

use std::sync::Arc;

use millrace_model::source::ApiServer;
use millrace_model::source::api_server::{Namespaces, ObjectMode};
use tokio::sync::watch::channel;
use tokio_util::sync::CancellationToken;

use crate::{Context, Feed, SourceError};
use client::Origin;
pub use kubeconfig::{KubeconfigError, check_kubeconfig};
use places::Places;
use select::Scope;
use standing::Standing;

/// Tells the changes of the objects of some kinds.
#[derive(Debug)]
pub(crate) struct ApiServerFeed {
    spec: ApiServer,
}

/// What all watches of a source share.
struct Shared {
    spec: ApiServer,
    origin: Origin,
    context: Context,
    standing: Standing,
}

// === impl ApiServerFeed ===

impl ApiServerFeed {
    pub(crate) fn new(spec: ApiServer) -> Self {
        Self { spec }
    }
}

#[async_trait::async_trait]
impl Feed for ApiServerFeed {
    async fn run(&mut self, context: &Context, shutdown: CancellationToken) -> Result<(), SourceError> {
        let is_whole = self.spec.mode == ObjectMode::Resource;
        let kubeconfig = self.spec.kubeconfig.as_ref();
        let origin = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            origin = Origin::new(kubeconfig, context, is_whole) => origin?,
        };
        let shared = Arc::new(Shared {
            spec: self.spec.clone(),
            origin,
            context: context.clone(),
            standing: Standing::new(&context.report),
        });
        let mut places = Places::new(&shared, &shutdown);
        match &self.spec.namespaces {
            Namespaces::Own => places.open(Scope::Own(context.name.namespace().to_owned())),
            Namespaces::All => places.open(Scope::Everywhere),
            Namespaces::Matching(selector) => {
                places.open(Scope::Outside);
                return matching(&shared, places, selector, &shutdown).await;
            }
        }
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => {}
                ended = places.ended() => places.one_less(&ended?).await?,
            }
        }
        places.all_ended().await
    }
}

/// Looks at the namespaces whose labels match.
async fn matching(
    shared: &Shared,
    mut places: Places,
    selector: &str,
    shutdown: &CancellationToken,
) -> Result<(), SourceError> {
    let (names, mut changed) = channel(None);
    let following = namespaces::follow(shared, selector, &names);
    tokio::pin!(following);
    while !shutdown.is_cancelled() {
        tokio::select! {
            () = shutdown.cancelled() => {}
            failed = &mut following => failed?,
            ended = places.ended() => places.one_less(&ended?).await?,
            Ok(()) = changed.changed() => {
                let names = changed.borrow_and_update().clone();
                if let Some(names) = names {
                    places.set(&names).await?;
                }
            }
        }
    }
    places.all_ended().await
}
