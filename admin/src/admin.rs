//! What is served, from what, and where.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use hyper_util::service::TowerToHyperService;
use millrace_channel::{Logs, Ownership};
use millrace_event::{Clock, Timestamp};
use millrace_filter::{Compiled, Turns};
use millrace_model::{Mesh, StatusBoard};
use millrace_serve::{Address, Drained, Hosts, Listener, ListenerMetrics, ServeOptions};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::guard::Guard;
use crate::{
    BrokerKeeper, LogFilter, Login, TailFeed, brokers, events, explain, guard, health, kafka_sinks,
    log_level, mesh, metrics, parked, refused, sources, tail, triggers,
};

/// How the last load of documents went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadState {
    /// The revision that runs since then: a refused load leaves the one before.
    pub revision: u64,
    /// When it was.
    pub at: Timestamp,
    /// Why it was refused, or cannot be applied for now; `None` when it was taken.
    pub error: Option<String>,
}

/// The parts that the admin listener reads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The mesh as it should be.
    pub mesh: watch::Receiver<Arc<Mesh>>,
    /// How the last load went.
    pub reload: watch::Receiver<ReloadState>,
    /// The mesh as it is.
    pub board: Arc<StatusBoard>,
    /// The Brokers' events.
    pub logs: Logs,
    /// The partitions that this process owns: lanes, attempts, parked events.
    pub owned: Ownership,
    /// Who forgets brokers that are gone; `None`: this process has none.
    pub keeper: Option<Arc<dyn BrokerKeeper>>,
    /// The clock.
    pub clock: Clock,
    /// What happens, for those who follow it.
    pub feed: TailFeed,
    /// Reads a filter as a Trigger would have it in its `filters`; an error says in a sentence what is wrong.
    pub read_filter: fn(&str) -> Result<Compiled, String>,
    /// The filter of the process's log.
    pub log_filter: Arc<dyn LogFilter>,
    /// Runs filters that need much work, off the I/O threads.
    pub turns: Turns,
    /// Every metric of the process.
    pub registry: Arc<Registry>,
    /// Whether the process accepts events.
    pub ready: watch::Receiver<bool>,
    /// The version of the program.
    pub version: &'static str,
    /// Names (`millrace.example`, or with a port `millrace.example:9090`) by which clients may call this
    /// listener beside its own address: for a proxy or a tunnel before it.
    pub allowed_hosts: Vec<String>,
    /// Who may ask; `None`: anybody who can connect.
    pub login: Option<Login>,
    /// The most connections at one time. They do not count among those of other listeners.
    pub max_connections: usize,
    /// Ends the listener.
    pub shutdown: CancellationToken,
}

/// What one request's header may take, in bytes.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Connections of probes and scrapers at one time.
const MAX_PROBES: usize = 32;

// === impl Admin ===

impl Admin {
    /// Everything this listener answers, for the addresses at which it can be called.
    pub fn router(&self, own: &[Address]) -> Router {
        let guard = Arc::new(Guard {
            hosts: Hosts::own(own, &self.allowed_hosts).strict(),
            login: self.login.clone(),
        });
        Router::new()
            .route("/", get(health::index))
            .route("/healthz", get(health::alive))
            .route("/readyz", get(health::ready))
            .route("/metrics", get(metrics::scrape))
            .route("/api/v1/mesh", get(mesh::show))
            .route("/api/v1/brokers", get(brokers::list))
            .route(
                "/api/v1/brokers/{namespace}/{name}",
                get(brokers::show).delete(brokers::forget),
            )
            .route("/api/v1/triggers", get(triggers::list))
            .route(
                "/api/v1/triggers/{namespace}/{name}",
                get(triggers::show).delete(triggers::forget),
            )
            .route("/api/v1/sources", get(sources::list))
            .route("/api/v1/kafka-sinks", get(kafka_sinks::list))
            .route("/api/v1/parked", get(parked::list))
            .route("/api/v1/parked/{id}", get(parked::show).delete(parked::drop))
            .route("/api/v1/parked/{id}/redrive", post(parked::redrive))
            .route("/api/v1/explain", get(explain::show))
            .route("/api/v1/events", get(events::stream))
            .route("/api/v1/tail", get(tail::follow))
            .route("/api/v1/log-level", get(log_level::show).put(log_level::change))
            .fallback(refused::unknown_path)
            .layer(DefaultBodyLimit::max(guard::MAX_BODY_BYTES))
            .layer(from_fn_with_state(guard, guard::admit))
            .with_state(self.clone())
    }

    /// What a probe or a scraper needs, and nothing else. Any Host is answered: a kubelet calls a pod by its
    /// address.
    pub fn probe_router(&self) -> Router {
        Router::new()
            .route("/healthz", get(health::alive))
            .route("/readyz", get(health::ready))
            .route("/metrics", get(metrics::scrape))
            .fallback(refused::unknown_path)
            .layer(DefaultBodyLimit::max(0))
            .with_state(self.clone())
    }

    /// Serves what probes and scrapers need until [`Admin::shutdown`].
    pub async fn serve_probes(self, listener: Listener, metrics: ListenerMetrics) -> Drained {
        let options = ServeOptions {
            max_connections: MAX_PROBES,
            max_header_bytes: MAX_HEADER_BYTES,
            ..ServeOptions::default()
        };
        let service = TowerToHyperService::new(self.probe_router());
        millrace_serve::serve(listener, options, metrics, service, self.shutdown).await
    }

    /// Serves until [`Admin::shutdown`].
    pub async fn serve(self, listener: Listener, metrics: ListenerMetrics) -> Drained {
        let options = ServeOptions {
            max_connections: self.max_connections,
            max_header_bytes: MAX_HEADER_BYTES,
            ..ServeOptions::default()
        };
        let service = TowerToHyperService::new(self.router(&listener.addresses()));
        millrace_serve::serve(listener, options, metrics, service, self.shutdown).await
    }
}
