//! The parts of `millrace sources`, wired: sources, the listener for their calls, the admin API, and what they remember.

use std::net::SocketAddr;
use std::sync::Arc;

use millrace_admin::{Admin, Feed, ReloadState};
use millrace_broker::{Admission, AdmissionParts, BrokerMetrics, Ingress, IngressConfig, Limits};
use millrace_channel::Channels;
use millrace_channel::embedded::{Store, StoreOptions};
use millrace_delivery::guard::Guard;
use millrace_delivery::{Connector, ConnectorOptions};
use millrace_event::Clock;
use millrace_model::{Mesh, StatusBoard};
use millrace_serve::{Listener, ServeMetrics};
use millrace_sources::{Sources, Webhooks};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::sink::Sinks;
use crate::run::node::{NodeConfig, Part, answer_bytes, webhook_memory};
use crate::run::role::{Live, Role};

/// The parts; nothing is served yet.
pub(crate) struct SourcesNode {
    /// Holds the lock of the data folder.
    store: Store,
    sinks: Sinks,
    mesh: watch::Sender<Arc<Mesh>>,
    ingress: Ingress,
    sources: Sources,
    admin: Admin,
    admin_listener: Listener,
    serve_metrics: ServeMetrics,
    ready: watch::Sender<bool>,
    reload: watch::Sender<ReloadState>,
}

/// The parts at work.
pub(crate) struct SourcesLive {
    store: Store,
    sinks: Sinks,
    mesh: watch::Sender<Arc<Mesh>>,
    ready: watch::Sender<bool>,
    reload: watch::Sender<ReloadState>,
    sources: Part,
    ingress: Part,
    admin: Part,
}

// === impl SourcesNode ===

impl SourcesNode {
    /// Opens the data folder, binds the addresses and wires the parts.
    pub(crate) fn build(config: &NodeConfig, sinks: Sinks) -> anyhow::Result<Self> {
        let clock = Clock::System;
        let mut registry = Registry::default();
        let options = StoreOptions {
            durability: config.durability,
            clock: clock.clone(),
            rebuild_state: config.rebuild_state,
            history_bytes: config.history_bytes,
        };
        let store = Store::open(&config.data, options)?;
        let serve_metrics = ServeMetrics::new(&mut registry);
        let board = Arc::new(StatusBoard::default());
        let mesh = watch::Sender::new(Arc::new(Mesh::default()));
        let admin_listener = Listener::bind(config.admin_listen)?;
        // The door of no Broker: it turns every event away, and calls of origins go past it.
        let admission = Arc::new(Admission::new(AdmissionParts {
            mesh: watch::Sender::new(Arc::new(Mesh::default())).subscribe(),
            channels: Channels::default(),
            limits: Limits {
                event_bytes: config.max_event_bytes,
                ..Limits::default()
            },
            observer: None,
            metrics: BrokerMetrics::new(&mut registry),
        }));
        let webhooks = Arc::new(Webhooks::new(webhook_memory(config.max_event_bytes)));
        let mut ingress_config = IngressConfig::new(config.listen);
        ingress_config.serve.drain_timeout = config.drain_timeout;
        let metrics = serve_metrics.listener("ingress");
        let ingress = Ingress::build(
            &ingress_config,
            admission.clone(),
            Some(webhooks.clone()),
            metrics,
        )?;
        let connector = Connector::new(ConnectorOptions {
            guard: Guard {
                refuse: vec![admin_listener.address()],
                ..Guard::default()
            },
            max_answer_bytes: answer_bytes(config.max_event_bytes),
        });
        let delivery_metrics = millrace_delivery::metrics::Metrics::register(&mut registry);
        let sources = Sources::new(millrace_sources::Parts {
            mesh: mesh.subscribe(),
            intake: admission,
            connector: connector.with_metrics(delivery_metrics),
            checkpoints: store.checkpoints(),
            board: board.clone(),
            webhooks,
            metrics: millrace_sources::Metrics::register(&mut registry),
            clock: clock.clone(),
            max_event_bytes: config.max_event_bytes,
            sink_timeout: sinks.timeout,
            drain_timeout: config.drain_timeout,
        });
        let ready = watch::Sender::new(false);
        let reload = watch::Sender::new(ReloadState::default());
        let admin = Admin {
            mesh: mesh.subscribe(),
            reload: reload.subscribe(),
            board,
            clock,
            feed: Feed::default(),
            read_filter: millrace_crds::read_filter,
            channels: Channels::default(),
            registry: Arc::new(registry),
            ready: ready.subscribe(),
            version: env!("CARGO_PKG_VERSION"),
            allowed_hosts: config.admin_allowed_hosts.clone(),
            shutdown: CancellationToken::new(),
        };
        Ok(Self {
            store,
            sinks,
            mesh,
            ingress,
            sources,
            admin,
            admin_listener,
            serve_metrics,
            ready,
            reload,
        })
    }
}

impl Role for SourcesNode {
    type Live = SourcesLive;

    fn listen(&self) -> SocketAddr {
        self.ingress.address()
    }

    fn admin_listen(&self) -> SocketAddr {
        self.admin_listener.address()
    }

    async fn start(self, mesh: Mesh) -> anyhow::Result<SourcesLive> {
        let metrics = self.serve_metrics.listener("admin");
        let admin = Part::start(self.admin.shutdown.clone(), |_| async {
            self.admin.serve(self.admin_listener, metrics).await;
        });
        let ingress = Part::start(CancellationToken::new(), |shutdown| async {
            self.ingress.run(shutdown).await;
        });
        let sources = Part::start(CancellationToken::new(), |shutdown| self.sources.run(shutdown));
        let mut live = SourcesLive {
            store: self.store,
            sinks: self.sinks,
            mesh: self.mesh,
            ready: self.ready,
            reload: self.reload,
            sources,
            ingress,
            admin,
        };
        let revision = live.take(mesh).await?.revision;
        live.reload.send_replace(ReloadState {
            revision,
            at: Clock::System.now(),
            error: None,
        });
        live.ready.send_replace(true);
        Ok(live)
    }
}

// === impl SourcesLive ===

impl Live for SourcesLive {
    fn current(&self) -> Arc<Mesh> {
        self.mesh.borrow().clone()
    }

    async fn take(&mut self, mesh: Mesh) -> anyhow::Result<Arc<Mesh>> {
        let before = self.current();
        let mesh = Arc::new(self.sinks.apply(mesh).succeeding(&before));
        if mesh.revision != before.revision {
            for source in mesh.sources.values() {
                if let Err(why) = &source.sink {
                    tracing::warn!(source = %source.key(), "the source does not run: {why}");
                }
            }
            self.mesh.send_replace(mesh.clone());
        }
        Ok(mesh)
    }

    fn told(&self) -> &watch::Sender<ReloadState> {
        &self.reload
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.ready.send_replace(false);
        self.sources.stop().await;
        self.ingress.stop().await;
        self.admin.stop().await;
        // Only now may another process have the folder.
        drop(self.store);
        Ok(())
    }
}
