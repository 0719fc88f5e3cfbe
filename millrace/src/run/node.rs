//! The whole of Millrace in one process: `build` wires the parts, `run` is one await until shutdown.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millrace_admin::{Admin, Feed, ReloadState};
use millrace_broker::{Admission, AdmissionParts, BrokerMetrics, Ingress, IngressConfig, Limits};
use millrace_channel::Channels;
use millrace_channel::embedded::{Durability, Store, StoreOptions};
use millrace_delivery::guard::Guard;
use millrace_delivery::{Connector, ConnectorOptions};
use millrace_event::Clock;
use millrace_model::{Mesh, StatusBoard};
use millrace_serve::{Listener, ServeMetrics};
use millrace_sources::{Sources, Webhooks};
use millrace_trigger_dispatcher::{Dispatcher, DispatcherOptions, Parts};
use prometheus_client::registry::Registry;
use tokio::sync::watch as latest;
use tokio_util::sync::CancellationToken;

use super::effect::Effect;
use super::role::{Live, Role};
use super::watch;
use crate::dev::show::Show;

/// How a node runs. Inert data.
#[derive(Clone, Debug)]
pub(crate) struct NodeConfig {
    /// The data folder.
    pub(crate) data: PathBuf,
    /// Where events come in.
    pub(crate) listen: SocketAddr,
    /// Where the admin API is.
    pub(crate) admin_listen: SocketAddr,
    /// Names by which it may be called beside its own address.
    pub(crate) admin_allowed_hosts: Vec<String>,
    /// When an event counts as durable.
    pub(crate) durability: Durability,
    /// Throw unreadable state away.
    pub(crate) rebuild_state: bool,
    /// The most data of one event.
    pub(crate) max_event_bytes: usize,
    /// How long what is in hand may take to end at shutdown.
    pub(crate) drain_timeout: Duration,
    /// How long the debts of a trigger that is gone are kept.
    pub(crate) orphan_grace: Duration,
    /// Bytes of the attempts' history of each broker.
    pub(crate) history_bytes: u64,
}

/// A node whose parts are wired and whose addresses are bound; nothing is served yet.
pub(crate) struct Node {
    effect: Effect,
    ingress: Ingress,
    dispatcher: Dispatcher,
    sources: Sources,
    admin: Admin,
    admin_listener: Listener,
    serve_metrics: ServeMetrics,
    ready: latest::Sender<bool>,
    reload: latest::Sender<ReloadState>,
    admin_shutdown: CancellationToken,
}

/// A node at work.
pub(crate) struct Running {
    effect: Effect,
    reload: latest::Sender<ReloadState>,
    ready: latest::Sender<bool>,
    sources: Part,
    ingress: Part,
    dispatcher: Part,
    admin: Part,
}

/// A part with its own end.
pub(crate) struct Part {
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

// === impl Node ===

impl Node {
    /// Opens the data folder, binds the addresses and wires the parts. `show` prints what passes.
    pub(crate) fn build(config: &NodeConfig, show: Option<Show>) -> anyhow::Result<Self> {
        let clock = Clock::System;
        let mut registry = Registry::default();
        let options = StoreOptions {
            durability: config.durability,
            clock: clock.clone(),
            rebuild_state: config.rebuild_state,
            history_bytes: config.history_bytes,
        };
        let store = Store::open(&config.data, options)?;
        store.register(&mut registry);
        let serve_metrics = ServeMetrics::new(&mut registry);
        let channels = Channels::default();
        let feed = Feed::default();
        let board = Arc::new(StatusBoard::default());
        let desired = latest::Sender::new(Arc::new(Mesh::default()));
        let admitted = latest::Sender::new(Arc::new(Mesh::default()));
        let admin_listener = Listener::bind(config.admin_listen)?;

        let admission = Arc::new(Admission::new(AdmissionParts {
            mesh: admitted.subscribe(),
            channels: channels.clone(),
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
        let ingress = Ingress::build(
            &ingress_config,
            admission.clone(),
            Some(webhooks.clone()),
            serve_metrics.listener("ingress"),
        )?;

        let connector = ConnectorOptions {
            guard: Guard {
                refuse: vec![admin_listener.address()],
                ..Guard::default()
            },
            max_answer_bytes: answer_bytes(config.max_event_bytes),
        };
        let connector = Connector::new(connector)
            .with_metrics(millrace_delivery::metrics::Metrics::register(&mut registry));
        let sources = Sources::new(millrace_sources::Parts {
            mesh: admitted.subscribe(),
            intake: admission.clone(),
            connector: connector.clone(),
            checkpoints: store.checkpoints(),
            board: board.clone(),
            webhooks,
            metrics: millrace_sources::Metrics::register(&mut registry),
            clock: clock.clone(),
            max_event_bytes: config.max_event_bytes,
            sink_timeout: SINK_TIMEOUT,
            drain_timeout: config.drain_timeout,
        });
        let dispatcher = Dispatcher::new(
            Parts {
                mesh: desired.subscribe(),
                channels: channels.clone(),
                connector,
                intake: admission,
                board: board.clone(),
                clock: clock.clone(),
                observer: Some(watch::observer(feed.clone(), show)),
                own_ingress: Some(ingress.address()),
                metrics: millrace_trigger_dispatcher::Metrics::register(&mut registry),
            },
            DispatcherOptions {
                orphan_grace: config.orphan_grace,
                drain_timeout: config.drain_timeout,
                ..DispatcherOptions::default()
            },
        );
        let ready = latest::Sender::new(false);
        let reload = latest::Sender::new(ReloadState::default());
        let admin_shutdown = CancellationToken::new();
        let admin = Admin {
            mesh: admitted.subscribe(),
            reload: reload.subscribe(),
            board,
            clock: clock.clone(),
            feed,
            read_filter: millrace_crds::read_filter,
            channels: channels.clone(),
            registry: Arc::new(registry),
            ready: ready.subscribe(),
            version: env!("CARGO_PKG_VERSION"),
            allowed_hosts: config.admin_allowed_hosts.clone(),
            shutdown: admin_shutdown.clone(),
        };
        let effect = Effect::new(store, channels, desired, dispatcher.applied(), admitted);
        Ok(Self {
            effect,
            ingress,
            dispatcher,
            sources,
            admin,
            admin_listener,
            serve_metrics,
            ready,
            reload,
            admin_shutdown,
        })
    }
}

impl Role for Node {
    type Live = Running;

    /// The address of the ingress.
    fn listen(&self) -> SocketAddr {
        self.ingress.address()
    }

    /// The address of the admin API.
    fn admin_listen(&self) -> SocketAddr {
        self.admin_listener.address()
    }

    /// Starts the parts and brings the first mesh into effect. Events are accepted when it returns.
    async fn start(self, mesh: Mesh) -> anyhow::Result<Running> {
        let dispatcher = Part::start(CancellationToken::new(), |shutdown| self.dispatcher.run(shutdown));
        let metrics = self.serve_metrics.listener("admin");
        let admin = Part::start(self.admin_shutdown, |_| async {
            self.admin.serve(self.admin_listener, metrics).await;
        });
        let mut effect = self.effect;
        let first = effect.take(mesh).await?;
        let ingress = Part::start(CancellationToken::new(), |shutdown| async {
            self.ingress.run(shutdown).await;
        });
        let sources = Part::start(CancellationToken::new(), |shutdown| self.sources.run(shutdown));
        let at = Clock::System.now();
        self.reload.send_replace(ReloadState {
            revision: first.revision,
            at,
            error: None,
        });
        self.ready.send_replace(true);
        Ok(Running {
            effect,
            reload: self.reload,
            ready: self.ready,
            sources,
            ingress,
            dispatcher,
            admin,
        })
    }
}

/// How long one request to a source's sink may take, where nobody says.
pub(crate) const SINK_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of memory that the bodies of all webhook calls may take together while they are read: 64 MiB, or room for two of the
/// largest, in which an event lies in a form and takes up to three times its size.
pub(crate) fn webhook_memory(event_bytes: usize) -> usize {
    const USUAL: usize = 64 << 20;
    event_bytes.saturating_mul(8).max(USUAL)
}

/// How much of an answer is read. Twice the largest event: an event in base64 fits, and so does one that is somewhat too large,
/// which intake then refuses in words; what is beyond is no reply to anybody.
pub(crate) fn answer_bytes(event_bytes: usize) -> usize {
    const HEAD: usize = 64 << 10;
    event_bytes.saturating_mul(2).saturating_add(HEAD)
}

// === impl Running ===

impl Live for Running {
    fn current(&self) -> Arc<Mesh> {
        self.effect.current()
    }

    async fn take(&mut self, mesh: Mesh) -> anyhow::Result<Arc<Mesh>> {
        self.effect.take(mesh).await
    }

    fn told(&self) -> &latest::Sender<ReloadState> {
        &self.reload
    }

    /// Stops accepting, ends what is in hand, makes everything durable, in this order.
    async fn stop(self) -> anyhow::Result<()> {
        self.ready.send_replace(false);
        // Before the ingress, whose listener brings the sources' calls: an origin is then told to come back.
        self.sources.stop().await;
        self.ingress.stop().await;
        self.dispatcher.stop().await;
        self.effect.close().await?;
        self.admin.stop().await;
        Ok(())
    }
}

// === impl Part ===

impl Part {
    pub(crate) fn start<F>(shutdown: CancellationToken, run: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = tokio::spawn(run(shutdown.clone()));
        Self { shutdown, task }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a part of the process ended badly");
        }
    }
}
