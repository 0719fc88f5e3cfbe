//! What faces the outside in every role: the ingress, the sources, the admin API, and what these are made
//! of.

use std::sync::Arc;
use std::time::Duration;

use millrace_access::Gate;
use millrace_admin::{Admin, BrokerKeeper, LogFilter, Login, ReloadState, TailFeed};
use millrace_broker::{
    Admission, AdmissionParts, Ingress, IngressConfig, IngressMetrics, IngressParts, Limits,
};
use millrace_channel::{Logs, Ownership};
use millrace_delivery::guard::Guard;
use millrace_delivery::{Connector, ConnectorOptions, sinks};
use millrace_event::{Checkpoint, Clock};
use millrace_filter::Turns;
use millrace_model::{Mesh, StatusBoard};
use millrace_secrets::SecretReader;
use millrace_serve::{BodyBudget, Listener, ServeMetrics, Tls};
use millrace_sources::{Sources, Webhooks};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Addresses;
use super::config::RoleConfig;
use super::doors::OpenDoors;
use super::issuer_keys::{IssuerMetrics, KeyKeeper};
use super::limits::Descriptors;
use super::memory::Memory;
use super::part::Part;
#[cfg(feature = "kubernetes")]
use super::rereads::NotReread;
use super::rereads::{Reader, RereadMetrics};
#[cfg(feature = "kubernetes")]
use super::vouching::PublicCa;
use super::{core_dumps, environment, turned_away};

/// What a role gives its front.
pub(crate) struct Given {
    /// The mesh in effect.
    pub(crate) mesh: watch::Receiver<Arc<Mesh>>,
    /// The mesh whose Brokers take events.
    pub(crate) admitted: watch::Receiver<Arc<Mesh>>,
    /// The channels of these Brokers.
    pub(crate) logs: Logs,
    pub(crate) owned: Ownership,
    /// Who forgets Brokers that are gone; `None`: the role has none.
    pub(crate) keeper: Option<Arc<dyn BrokerKeeper>>,
    /// How many Brokers there are, which files are needed for.
    pub(crate) brokers: usize,
    /// Where sources remember.
    pub(crate) checkpoints: Arc<dyn Checkpoint>,
    /// How long one request to a source's sink may take.
    pub(crate) sink_timeout: Duration,
    /// Every metric of the process.
    pub(crate) registry: Registry,
    /// The filter of the process's log.
    pub(crate) log_filter: Arc<dyn LogFilter>,
}

/// The front, wired and bound; nothing is served yet. The visible fields are for the parts that a role adds.
pub(crate) struct Front {
    pub(crate) registry: Registry,
    pub(crate) admission: Arc<Admission>,
    pub(crate) connector: Connector,
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) feed: TailFeed,
    pub(crate) memory: Memory,
    pub(crate) turns: Turns,
    ingress: Ingress,
    webhooks: Arc<Webhooks>,
    sources: Sources,
    mesh: watch::Receiver<Arc<Mesh>>,
    logs: Logs,
    owned: Ownership,
    keeper: Option<Arc<dyn BrokerKeeper>>,
    log_filter: Arc<dyn LogFilter>,
    addresses: Addresses,
    admin_listener: Listener,
    probe_listener: Option<Listener>,
    #[cfg(feature = "kubernetes")]
    rereads: RereadMetrics,
    tls: Option<Reader<Tls>>,
    #[cfg(feature = "kubernetes")]
    public_ca: Option<Reader<PublicCa>>,
    gate: Option<Reader<Gate>>,
    keys: Option<KeyKeeper>,
    login: Option<Login>,
    admin_allowed_hosts: Vec<String>,
    admin_connections: usize,
    serve_metrics: ServeMetrics,
}

/// The front at work.
pub(crate) struct OpenFront {
    ready: watch::Sender<bool>,
    reload: watch::Sender<ReloadState>,
    clock: Part,
    rereads: Part,
    sinks: Part,
    webhooks: Arc<Webhooks>,
    sources: Part,
    ingress: Part,
    admin: Part,
}

/// How long the admin API may take to end, after everything is durable.
pub(crate) const ADMIN_END: Duration = Duration::from_secs(2);

// === impl Front ===

impl Front {
    /// Binds the addresses and wires the parts.
    pub(crate) fn build(config: &RoleConfig, given: Given) -> anyhow::Result<Self> {
        if !config.allow_core_dumps {
            core_dumps::forbid();
        }
        environment::remark();
        let mut registry = given.registry;
        let descriptors = Descriptors::claim(
            config.max_connections,
            config.max_outgoing_connections,
            given.brokers,
        );
        descriptors.register(&mut registry);
        let serve_metrics = ServeMetrics::new(&mut registry);
        let board = Arc::new(StatusBoard::default());
        let rereads = RereadMetrics::register(&mut registry);
        let doors = OpenDoors::bind(&config.doors, &rereads)?;
        let gate = doors.gate.as_ref().map(Reader::what);
        let login = gate.clone().filter(|gate| gate.asks_who_calls());
        let login = login.map(|gate| Login::new(gate, &mut registry));
        let feed = TailFeed::default();
        let own = doors.admin_addresses();
        let addresses = Addresses::of(&doors.ingress, &doors.admin);
        let limits = Limits {
            event_bytes: config.max_event_bytes,
            ..Limits::default()
        };
        let largest_call = millrace_sources::largest_call(config.max_event_bytes);
        let memory = Memory::split(config.memory_budget, &limits, largest_call, config.answer_bytes());
        memory.register(&mut registry);
        let bodies = BodyBudget::new(memory.bodies.clone());
        let turns = Turns::of_this_machine();
        let admission = Arc::new(Admission::new(AdmissionParts {
            mesh: given.admitted,
            logs: given.logs.clone(),
            limits,
            gate: gate.clone(),
            turns: turns.clone(),
            turned_away: gate.as_ref().map(|_| turned_away::tell(feed.clone())),
            metrics: IngressMetrics::new(&mut registry),
        }));
        let webhooks = Arc::new(Webhooks::new(bodies.clone()).taking_unsigned(config.doors.anonymous));
        let mut ingress_config = IngressConfig {
            hosts: config.hosts.clone(),
            ..IngressConfig::default()
        };
        ingress_config.serve.drain_timeout = config.drain_timeout;
        ingress_config.serve.max_connections = descriptors.incoming;
        let ingress = Ingress::build(
            &ingress_config,
            IngressParts {
                listener: doors.ingress,
                admission: admission.clone(),
                webhooks: Some(webhooks.clone()),
                bodies,
                gate: gate.clone(),
                metrics: serve_metrics.listener("ingress"),
            },
        );
        let secrets = SecretReader::new(config.secrets.clone());
        let connector = Connector::new(ConnectorOptions {
            guard: Guard {
                refuse_loopback: config.refuse_loopback,
                refuse: own,
                egress: config.egress.clone(),
            },
            max_answer_bytes: config.answer_bytes(),
            max_connections: descriptors.outgoing,
            max_lookups: descriptors.lookups,
            replies: memory.replies.clone(),
            secrets: secrets.clone(),
        })
        .with_metrics(millrace_delivery::metrics::Metrics::register(&mut registry));
        let keys = gate.map(|gate| {
            let metrics = IssuerMetrics::register(&mut registry);
            KeyKeeper::new(gate, connector.clone(), metrics)
        });
        let sources = Sources::new(millrace_sources::Parts {
            mesh: given.mesh.clone(),
            intake: admission.clone(),
            connector: connector.clone(),
            checkpoints: given.checkpoints,
            board: board.clone(),
            secrets,
            webhooks: webhooks.clone(),
            metrics: millrace_sources::Metrics::register(&mut registry),
            clock: Clock::System,
            turns: turns.clone(),
            lookups: millrace_sources::Lookups::default(),
            read_ahead: memory.read_ahead.clone(),
            max_event_bytes: config.max_event_bytes,
            sink_timeout: given.sink_timeout,
            drain_timeout: config.drain_timeout,
        });
        Ok(Self {
            registry,
            admission,
            connector,
            board,
            feed,
            turns,
            ingress,
            webhooks,
            sources,
            mesh: given.mesh,
            logs: given.logs,
            owned: given.owned,
            keeper: given.keeper,
            log_filter: given.log_filter,
            memory,
            addresses,
            admin_listener: doors.admin,
            probe_listener: doors.probes,
            #[cfg(feature = "kubernetes")]
            rereads,
            tls: doors.tls,
            #[cfg(feature = "kubernetes")]
            public_ca: None,
            gate: doors.gate,
            keys,
            login,
            admin_allowed_hosts: config.admin_allowed_hosts.clone(),
            admin_connections: descriptors.admin,
            serve_metrics,
        })
    }

    /// Who may come in, and how much; `None`: anybody, anything.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn gate(&self) -> Option<Arc<Gate>> {
        self.gate.as_ref().map(Reader::what)
    }

    /// Reads who vouches for the listeners' certificate, and again whenever that file changes.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn show_authorities(&mut self, file: std::path::PathBuf) -> anyhow::Result<Arc<PublicCa>> {
        let metrics = self.rereads.clone();
        let reader = Reader::begin(vec![file.clone()], metrics, || PublicCa::read(file)).map_err(|why| {
            let (NotReread::Unreadable(why) | NotReread::Refused(why)) = why;
            anyhow::anyhow!("--public-ca: {why}")
        })?;
        let shown = reader.what();
        self.public_ca = Some(reader);
        Ok(shown)
    }

    /// Where it can be called.
    pub(crate) fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves the admin API, waits until the `first` mesh is in effect, and opens. Events are accepted when
    /// it returns.
    pub(crate) async fn open(
        self,
        first: impl Future<Output = anyhow::Result<Arc<Mesh>>>,
    ) -> anyhow::Result<OpenFront> {
        let ready = watch::Sender::new(false);
        let reload = watch::Sender::new(ReloadState::default());
        let shutdown = CancellationToken::new();
        let clock = Part::start(CancellationToken::new(), |shutdown| {
            super::clock::watch(Clock::System, self.board.clone(), shutdown)
        });
        let rereads = Part::start(CancellationToken::new(), |shutdown| async move {
            let tls = async {
                if let Some(tls) = self.tls {
                    tls.run(shutdown.clone()).await;
                }
            };
            let gate = async {
                if let Some(gate) = self.gate {
                    gate.run(shutdown.clone()).await;
                }
            };
            let keys = async {
                if let Some(keys) = self.keys {
                    keys.run(shutdown.clone()).await;
                }
            };
            let public_ca = async {
                #[cfg(feature = "kubernetes")]
                if let Some(public_ca) = self.public_ca {
                    public_ca.run(shutdown.clone()).await;
                }
            };
            tokio::join!(tls, gate, keys, public_ca);
        });
        let sinks = {
            let watched = sinks::watch(self.mesh.clone(), self.connector.clone(), self.board.clone());
            Part::start(CancellationToken::new(), |shutdown| async move {
                shutdown.run_until_cancelled(watched).await;
            })
        };
        let admin = Admin {
            mesh: self.mesh,
            reload: reload.subscribe(),
            board: self.board,
            logs: self.logs,
            owned: self.owned,
            keeper: self.keeper,
            clock: Clock::System,
            feed: self.feed,
            read_filter: millrace_crds::read_filter,
            log_filter: self.log_filter,
            turns: self.turns,
            registry: Arc::new(self.registry),
            ready: ready.subscribe(),
            version: env!("CARGO_PKG_VERSION"),
            allowed_hosts: self.admin_allowed_hosts,
            login: self.login,
            max_connections: self.admin_connections,
            shutdown: shutdown.clone(),
        };
        let (listener, metrics) = (self.admin_listener, self.serve_metrics.listener("admin"));
        let probes = self.probe_listener.map(|listener| {
            let metrics = self.serve_metrics.listener("probes");
            (listener, metrics)
        });
        // On threads of its own: health is answered whatever the process is busy with.
        let admin = Part::start_apart("millrace-admin", shutdown, |_| async {
            let beside = admin.clone();
            let probes = async {
                let Some((listener, metrics)) = probes else { return };
                match listener.moved_here() {
                    Ok(listener) => drop(beside.serve_probes(listener, metrics).await),
                    Err(error) => tracing::error!(%error, "probes cannot be answered"),
                }
            };
            let api = async {
                match listener.moved_here() {
                    Ok(listener) => drop(admin.serve(listener, metrics).await),
                    Err(error) => tracing::error!(%error, "the admin API cannot be served"),
                }
            };
            tokio::join!(api, probes);
        })?;
        let first = first.await?;
        let ingress = Part::start(CancellationToken::new(), |shutdown| async {
            self.ingress.run(shutdown).await;
        });
        let sources = Part::start(CancellationToken::new(), |shutdown| self.sources.run(shutdown));
        reload.send_replace(ReloadState {
            revision: first.revision,
            at: Clock::System.now(),
            error: None,
        });
        ready.send_replace(true);
        Ok(OpenFront {
            ready,
            reload,
            clock,
            rereads,
            sinks,
            webhooks: self.webhooks,
            sources,
            ingress,
            admin,
        })
    }
}

// === impl OpenFront ===

impl OpenFront {
    /// Where the result of the last load is reported.
    pub(crate) fn told(&self) -> &watch::Sender<ReloadState> {
        &self.reload
    }

    /// Stops accepting and finishes what is in hand here. Returns the admin API, which ends last: until then
    /// it reports how the rest goes.
    pub(crate) async fn close(self) -> Part {
        self.ready.send_replace(false);
        // Before the ingress, whose listener brings the sources' calls: an origin is then told to come back.
        self.webhooks.end();
        // At the same time, so that each has the whole drain timeout and together they take no more.
        tokio::join!(self.sources.stop(), self.ingress.stop());
        self.clock.stop().await;
        self.rereads.stop().await;
        self.sinks.stop().await;
        self.admin
    }
}
