//! `millrace run --kubernetes`: the cluster is the origin of the mesh, and gets back how each object stands.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::Uri;
use millrace_admin::{LogFilter, ReloadState};
use millrace_channel::{Channel, Forgotten, Ownership};
use millrace_controller::{
    Authentication, Controller, Gone, Metrics, Options, Public, TokenRequests, Vouching, connect,
};
use millrace_delivery::{AccountTokens, Issued};
use millrace_event::{Clock, ObjectName};
use millrace_model::auth::AccountToken;
use millrace_model::{Mesh, StatusBoard};

use super::channels::ChannelsSeen;
use super::node::Node;
use crate::cli::exit::Exit;
use crate::role::config::RoleConfig;
use crate::role::{self, Live, Origin, Role as _};

/// What is served of which cluster. Inert data.
#[derive(Clone, Debug)]
pub(crate) struct ClusterConfig {
    /// The cluster; `None`: that of the pod in which this runs.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Also Brokers without a class are served.
    pub(crate) default_class: bool,
    /// The namespaces that are watched; empty: all.
    pub(crate) namespaces: Vec<String>,
    /// Where producers reach the ingress; `None`: at its address.
    pub(crate) public_url: Option<Uri>,
    /// The same by https, where that is by http.
    pub(crate) public_url_tls: Option<Uri>,
    /// Who vouches for the ingress, if producers are to be told.
    pub(crate) public_ca: Option<PathBuf>,
    /// The domain of Services; `None`: what this machine looks names up in.
    pub(crate) domain: Option<String>,
    /// A Broker that is created where there is none.
    pub(crate) ensure_broker: Option<ObjectName>,
    /// References lead to no other namespace.
    pub(crate) same_namespace: bool,
    /// The ServiceAccounts whose tokens deliveries show, by their namespaces.
    pub(crate) accounts: BTreeMap<String, ObjectName>,
}

/// A cluster as the origin of the mesh.
struct Cluster {
    controller: Controller,
    owned: Ownership,
    board: Arc<StatusBoard>,
    channels: ChannelsSeen,
    /// When lanes were looked at.
    looked: Option<Instant>,
}

/// The API server as who gives out tokens to deliveries.
#[derive(Debug)]
struct Asked(TokenRequests);

/// How often sources are asked how they stand, and how often lanes are.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_AT_LANES: Duration = Duration::from_secs(5);

/// A mesh that is not in effect after so long is shown as not in effect yet.
const SLOW: Duration = Duration::from_secs(5);
/// The folder of the data folder where accepted documents are kept.
const KEPT: &str = "mesh";
/// Where this machine says in which domains it looks names up.
const RESOLVER: &str = "/etc/resolv.conf";
/// The domain of a cluster that says nothing else.
const DOMAIN: &str = "cluster.local";

/// Serves the objects of a cluster until SIGTERM or SIGINT.
pub(crate) async fn run(
    config: RoleConfig,
    cluster: ClusterConfig,
    log: Arc<dyn LogFilter>,
) -> anyhow::Result<Exit> {
    let connection = connect(cluster.kubeconfig.as_deref()).await?;
    let mut node = match super::build(&config, None, log)? {
        Ok(node) => node.with_each_broker_alone(),
        Err(exit) => return Ok(exit),
    };
    if !cluster.accounts.is_empty() {
        node.ask_cluster(Arc::new(Asked(TokenRequests::new(&connection))));
    }
    let public = public(&cluster, &mut node)?;
    let options = options(&config, cluster, public, &node);
    let metrics = Metrics::register(node.registry());
    let origin = Cluster {
        owned: node.owned(),
        board: node.board(),
        channels: node.channels(),
        looked: None,
        controller: Controller::start(connection, options, metrics).await,
    };
    role::serve_from(origin, node, &config).await
}

fn options(config: &RoleConfig, cluster: ClusterConfig, public: Public, node: &Node) -> Options {
    Options {
        default_class: cluster.default_class,
        namespaces: cluster.namespaces,
        own_namespace: None,
        public,
        cluster_domain: cluster.domain.unwrap_or_else(domain),
        ensure_broker: cluster.ensure_broker,
        same_namespace: cluster.same_namespace,
        accounts: cluster.accounts,
        authentication: authentication(node),
        kept: config.data.join(KEPT),
    }
}

/// Where producers reach the Brokers.
fn public(cluster: &ClusterConfig, node: &mut Node) -> anyhow::Result<Public> {
    let url = match &cluster.public_url {
        Some(url) => url.clone(),
        None => format!("{}/", node.addresses().ingress_url()).parse()?,
    };
    let mut public = Public::at(url);
    public.tls.clone_from(&cluster.public_url_tls);
    if let Some(file) = &cluster.public_ca {
        let shown = node.show_authorities(file.clone())?;
        public.authorities = Vouching(Arc::new(move || Some(shown.certificates())));
    }
    Ok(public)
}

/// What holds for Brokers without a policy, as the access file says at that time.
fn authentication(node: &Node) -> Authentication {
    let gate = node.gate().filter(|gate| gate.asks_who_calls());
    Authentication(Arc::new(move || gate.as_ref().map(|gate| gate.default_mode())))
}

/// The domain of the cluster, as a pod finds it.
fn domain() -> String {
    let resolver = std::fs::read_to_string(RESOLVER).unwrap_or_default();
    domain_of(&resolver).unwrap_or(DOMAIN).to_owned()
}

/// The domain that a list of search domains has below `svc.`.
fn domain_of(resolver: &str) -> Option<&str> {
    let lists = resolver.lines().filter_map(|line| line.strip_prefix("search"));
    let mut domains = lists.flat_map(str::split_ascii_whitespace);
    domains.find_map(|domain| domain.strip_prefix("svc."))
}

// === impl Asked ===

#[async_trait]
impl AccountTokens for Asked {
    async fn issue(&self, wanted: &AccountToken) -> Result<Issued, String> {
        let (token, lifetime) = self.0.ask(wanted).await?;
        Ok(Issued {
            token: token.into_bytes().into(),
            lifetime,
        })
    }
}

// === impl Cluster ===

impl Origin for Cluster {
    async fn first(&mut self) -> Mesh {
        self.controller.next().await
    }

    async fn follow(&mut self, running: &mut impl Live) {
        let mesh = running.current();
        let channels = self.channels.of(&mesh);
        self.controller.took(Ok(mesh), channels);
        self.forget().await;
        loop {
            let Ok(mesh) = tokio::time::timeout(LOOK, self.controller.next()).await else {
                let mesh = running.current();
                let channels = self.channels.of(&mesh);
                self.controller.see_effect(mesh, channels);
                self.controller.see_doors();
                self.forget().await;
                self.look(&running.current());
                continue;
            };
            self.look(&running.current());
            let at = Clock::System.now();
            let outcome = self.take(mesh, running).await;
            let error = outcome.as_ref().err().cloned();
            if let Some(error) = &error {
                tracing::error!(
                    %error,
                    "the objects cannot be served for now, and are tried again; the mesh that ran goes on running"
                );
            }
            let channels = self.channels.of(&running.current());
            self.controller.took(outcome, channels);
            let revision = running.current().revision;
            running.told().send_replace(ReloadState { revision, at, error });
            self.forget().await;
        }
    }

    async fn end(self) {
        self.controller.stop().await;
    }
}

impl Cluster {
    /// Brings a mesh into effect, and has the statuses say so where that takes long.
    async fn take(&mut self, mesh: Mesh, running: &mut impl Live) -> Result<Arc<Mesh>, String> {
        let before = running.current().revision;
        let taken = {
            let mut taking = std::pin::pin!(running.take(mesh));
            match tokio::time::timeout(SLOW, &mut taking).await {
                Ok(taken) => taken,
                Err(_) => {
                    self.controller.waits();
                    taking.await
                }
            }
        };
        let mesh = taken.map_err(|error| crate::reasons::reasons(&error))?;
        if mesh.revision != before {
            let revision = mesh.revision;
            tracing::info!(revision, "the cluster changed; the new mesh is in effect");
        }
        Ok(mesh)
    }

    /// Tells the controller how what runs stands.
    fn look(&mut self, mesh: &Mesh) {
        self.controller.observe(&self.board.sources_of(mesh));
        self.controller.observe_sinks(&self.board.kafka_sinks_of(mesh));
        if self.looked.is_none_or(|at| at.elapsed() >= LOOK_AT_LANES) {
            self.looked = Some(Instant::now());
            self.controller.observe_lanes(&self.board.triggers());
        }
    }

    /// Drops what waits for another attempt by Triggers that were deleted. Their places go as well once
    /// others of their names are there.
    async fn forget(&mut self) {
        for gone in self.controller.gone() {
            for channel in self.owned.of(&gone.broker) {
                self.forget_one(&gone, &*channel).await;
            }
        }
    }

    async fn forget_one(&self, gone: &Gone, channel: &dyn Channel) {
        let Gone { trigger, broker, .. } = gone;
        let forgotten = match gone.is_replaced {
            true => channel.forget_orphan(trigger).await,
            false => channel.forget_work(trigger).await,
        };
        match forgotten {
            Ok(Forgotten::Rows(rows)) => {
                tracing::info!(%trigger, %broker, rows, "the Trigger was deleted; what waited for another attempt is dropped");
                if rows > 0 {
                    self.controller.dropped(gone, rows);
                }
            }
            Ok(Forgotten::Unknown | Forgotten::InUse) => {}
            Err(error) => {
                tracing::warn!(%trigger, %broker, %error, "what a deleted Trigger was owed is kept for the grace period");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_is_what_a_pod_looks_services_up_in() {
        let pod = "search shop.svc.mill.example svc.mill.example mill.example\nnameserver 10.96.0.10\n";
        assert_eq!(domain_of(pod), Some("mill.example"));
        assert_eq!(domain_of("search home.example\n"), None);
        assert_eq!(domain_of(""), None);
    }
}
