//! What makes connections, and the shares of what is limited: built once, from inert options.

use std::sync::Arc;

use millrace_budget::Part;
use millrace_event::Clock;
use millrace_model::Authorities;
use millrace_secrets::{SecretReader, SecretRule};
use rustls::pki_types::CertificateDer;

use crate::auth::{AccountTokens, Auth, Auths};
use crate::connection::Connection;
use crate::guard::Guard;
use crate::metrics::Metrics;
use crate::outgoing::{Outgoing, Owner};
use crate::resolve::Resolver;
use crate::tls::Tls;

/// What all connections share.
#[derive(Clone, Debug)]
pub struct ConnectorOptions {
    /// The guard.
    pub guard: Guard,
    /// Bytes of an answer's body that are read; 1 MiB by default. More is cut off, and the connection closed.
    pub max_answer_bytes: usize,
    /// Connections that may be open at one time; 20 000 by default.
    pub max_connections: usize,
    /// Name lookups that may run at one time, each on a thread of its own; 1 024 by default.
    pub max_lookups: usize,
    /// Memory for answers that may be replies, until they are stored; 64 MiB by default.
    pub replies: Part,
    /// Reads what deliveries show.
    pub secrets: SecretReader,
}

/// Makes connections: resolves, asks the guard, connects, speaks TLS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connector {
    pub(crate) shared: Arc<Shared>,
}

/// The share of a Trigger or source in what is limited: connections and name lookups. Clones share it.
#[derive(Clone, Debug)]
pub struct Share {
    pub(crate) shared: Arc<Shared>,
    pub(crate) owner: Arc<Owner>,
}

/// What the slots of a connector share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) options: ConnectorOptions,
    pub(crate) outgoing: Arc<Outgoing>,
    pub(crate) resolver: Resolver,
    pub(crate) tls: Tls,
    pub(crate) auths: Auths,
    #[cfg(feature = "kafka")]
    pub(crate) writers: crate::kafka::writers::Writers,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
}

/// The most bytes that are read of an answer's body, unless the caller sets a limit.
const MAX_ANSWER: usize = 1 << 20;

// === impl ConnectorOptions ===

impl Default for ConnectorOptions {
    fn default() -> Self {
        Self {
            guard: Guard::default(),
            max_answer_bytes: MAX_ANSWER,
            replies: Part::new(64 << 20, MAX_ANSWER),
            max_connections: 20_000,
            max_lookups: 1_024,
            secrets: SecretReader::new(SecretRule::default()),
        }
    }
}

// === impl Connector ===

impl Connector {
    /// A connector with these options, the machine's clock and root certificates, and metrics of its own.
    pub fn new(options: ConnectorOptions) -> Self {
        let metrics = Metrics::default();
        Self {
            shared: Arc::new(Shared {
                outgoing: Outgoing::new(options.max_connections, metrics.room.clone()),
                resolver: Resolver::system(options.max_lookups, metrics.lookups.clone()),
                auths: Auths::new(options.secrets.clone()),
                #[cfg(feature = "kafka")]
                writers: Default::default(),
                options,
                tls: Tls::default(),
                clock: Clock::default(),
                metrics,
            }),
        }
    }

    /// The clock that a Retry-After date is held against.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        Arc::make_mut(&mut self.shared).clock = clock;
        self
    }

    /// Counts attempts and connections there; must be called before the first share is made.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        let shared = Arc::make_mut(&mut self.shared);
        shared.outgoing = Outgoing::new(shared.options.max_connections, metrics.room.clone());
        shared.resolver = Resolver::system(shared.options.max_lookups, metrics.lookups.clone());
        shared.metrics = metrics;
        self
    }

    /// Trusts these certificates for https, and not the machine's.
    ///
    /// # Errors
    /// When none of them can be used, or TLS cannot be set up on this machine at all.
    pub fn with_roots(mut self, roots: &[CertificateDer<'static>]) -> Result<Self, rustls::Error> {
        Arc::make_mut(&mut self.shared).tls = Tls::with_roots(roots)?;
        Ok(self)
    }

    /// Trusts these for every https target, beside those whom the machine trusts, instead of those that were
    /// given before. Connections that are open go on.
    pub fn trust(&self, bundles: Option<&Authorities>) {
        self.shared.tls.trust(bundles);
    }

    /// Asks that cluster for the tokens of its ServiceAccounts that deliveries show. Whoever says so first
    /// counts.
    pub fn ask_cluster(&self, cluster: Arc<dyn AccountTokens>) {
        self.shared.auths.ask_cluster(cluster);
    }

    /// The guard that is asked about each address: for code that connects by itself.
    pub fn guard(&self) -> &Guard {
        &self.shared.options.guard
    }

    /// The handle for what deliveries show; those that show the same share it.
    pub fn auth(&self, spec: &Arc<millrace_model::Auth>) -> Arc<Auth> {
        self.shared.auths.of(spec)
    }

    /// A share of what is limited, for one owner: log lines name it if its tasks stand in a span.
    pub fn share(&self) -> Share {
        Share {
            shared: self.shared.clone(),
            owner: self.shared.outgoing.owner(),
        }
    }

    /// A slot without an open connection yet, with a share of its own.
    pub fn slot(&self) -> Connection {
        self.share().slot()
    }
}

// === impl Share ===

impl Share {
    /// A slot without an open connection yet.
    pub fn slot(&self) -> Connection {
        Connection::new(self.shared.clone(), &self.owner)
    }
}
