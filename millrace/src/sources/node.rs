//! The parts of `millrace sources`: the front that every role has, with no Broker behind it, and what sources
//! remember.

use std::sync::Arc;

use millrace_admin::{LogFilter, ReloadState};
use millrace_channel::embedded::Store;
use millrace_channel::{Logs, Ownership};
use millrace_model::Mesh;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::sink::Sinks;
use crate::role::config::RoleConfig;
use crate::role::front::{ADMIN_END, Front, Given, OpenFront};
use crate::role::{Addresses, Live, Role};

/// The parts; nothing is served yet.
pub(crate) struct SourcesNode {
    front: Front,
    effect: SourcesEffect,
    /// Holds the lock of the data folder.
    store: Store,
}

/// The parts at work.
pub(crate) struct SourcesLive {
    front: OpenFront,
    effect: SourcesEffect,
    store: Store,
}

/// What a change of the mesh goes through.
struct SourcesEffect {
    sinks: Sinks,
    mesh: watch::Sender<Arc<Mesh>>,
}

// === impl SourcesNode ===

impl SourcesNode {
    /// Opens the data folder, binds the addresses and wires the parts.
    pub(crate) fn build(
        config: &RoleConfig,
        sinks: Sinks,
        log_filter: Arc<dyn LogFilter>,
    ) -> anyhow::Result<Self> {
        let store = Store::open(&config.data, config.store())?;
        let mesh = watch::Sender::new(Arc::new(Mesh::default()));
        let given = Given {
            mesh: mesh.subscribe(),
            // The door of no Broker: it turns every event away, and calls of origins go past it.
            admitted: watch::Sender::new(Arc::new(Mesh::default())).subscribe(),
            logs: Logs::default(),
            owned: Ownership::default(),
            brokers: 0,
            keeper: None,
            checkpoints: store.checkpoints(),
            sink_timeout: sinks.timeout,
            registry: Registry::default(),
            log_filter,
        };
        Ok(Self {
            front: Front::build(config, given)?,
            effect: SourcesEffect { sinks, mesh },
            store,
        })
    }
}

impl Role for SourcesNode {
    type Live = SourcesLive;

    fn addresses(&self) -> Addresses {
        self.front.addresses()
    }

    async fn start(self, first: impl Future<Output = Mesh>) -> anyhow::Result<SourcesLive> {
        let effect = self.effect;
        let front = self.front.open(async { Ok(effect.take(first.await)) }).await?;
        Ok(SourcesLive {
            front,
            effect,
            store: self.store,
        })
    }
}

// === impl SourcesLive ===

impl Live for SourcesLive {
    fn current(&self) -> Arc<Mesh> {
        self.effect.current()
    }

    async fn take(&mut self, mesh: Mesh) -> anyhow::Result<Arc<Mesh>> {
        Ok(self.effect.take(mesh))
    }

    fn told(&self) -> &watch::Sender<ReloadState> {
        self.front.told()
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.front.close().await.stop_within(ADMIN_END).await;
        // Only now may another process have the folder.
        drop(self.store);
        Ok(())
    }
}

// === impl SourcesEffect ===

impl SourcesEffect {
    fn current(&self) -> Arc<Mesh> {
        self.mesh.borrow().clone()
    }

    /// Makes `mesh` the one in effect, and says which of its sources do not run.
    fn take(&self, mesh: Mesh) -> Arc<Mesh> {
        let before = self.current();
        let mesh = Arc::new(self.sinks.apply(mesh).succeeding(&before));
        if mesh.revision != before.revision {
            for source in mesh.sources.values() {
                if let Err(why) = &source.sink {
                    let _span = tracing::error_span!("source", source = %source.key()).entered();
                    tracing::warn!("the source does not run: {why}");
                }
            }
            self.mesh.send_replace(mesh.clone());
        }
        mesh
    }
}
