//! How a role runs, and the bounds that follow from it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use millrace_broker::HostRule;
use millrace_channel::embedded::{Durability, StoreOptions};
use millrace_delivery::egress::Egress;
use millrace_event::Clock;
use millrace_secrets::SecretRule;
use millrace_serve::TlsFiles;

/// How a role runs. Inert data.
#[derive(Clone, Debug)]
pub(crate) struct RoleConfig {
    /// The data folder.
    pub(crate) data: PathBuf,
    /// What documents may name.
    pub(crate) secrets: SecretRule,
    /// Where it can be called.
    pub(crate) doors: Doors,
    /// Names by which the admin API may be called beside its own address.
    pub(crate) admin_allowed_hosts: Vec<String>,
    /// The hosts under which the ingress may be called.
    pub(crate) hosts: HostRule,
    /// The most connections that may come in at one time, as far as there are descriptors.
    pub(crate) max_connections: usize,
    /// Memory for events on their way, in bytes; `None`: derived from the memory of the machine.
    pub(crate) memory_budget: Option<u64>,
    /// When an event counts as durable.
    pub(crate) durability: Durability,
    /// Throw unreadable state away.
    pub(crate) rebuild_state: bool,
    /// Whether a crash may write a core dump.
    pub(crate) allow_core_dumps: bool,
    /// The most data of one event.
    pub(crate) max_event_bytes: usize,
    /// The most connections to targets that may be open at one time, as far as there are descriptors.
    pub(crate) max_outgoing_connections: usize,
    /// Whether targets on this machine itself are refused: in a pod they are Millrace's own.
    pub(crate) refuse_loopback: bool,
    /// Where the operator lets connections lead.
    pub(crate) egress: Egress,
    /// How long what is in hand may take to end at shutdown.
    pub(crate) drain_timeout: Duration,
    /// How long the debts of a trigger that is gone are kept, and the folder of a Broker that is gone.
    pub(crate) orphan_grace: Duration,
    /// Bytes of the attempts' history of each broker.
    pub(crate) history_bytes: u64,
}

/// Where a process can be called, and how its doors are secured. Inert data.
#[derive(Clone, Debug)]
pub(crate) struct Doors {
    /// Where events come in by http.
    pub(crate) listen: Option<SocketAddr>,
    /// Where events come in by https.
    pub(crate) listen_tls: Option<SocketAddr>,
    /// Where the admin API is by http.
    pub(crate) admin_listen: Option<SocketAddr>,
    /// Where the admin API is by https.
    pub(crate) admin_listen_tls: Option<SocketAddr>,
    /// Where probes and scrapers are answered beside it.
    pub(crate) probe_listen: Option<SocketAddr>,
    /// Who may call, as this file says; `None`: anybody who can connect.
    pub(crate) access: Option<PathBuf>,
    /// Whether the operator lets anybody call.
    pub(crate) allow_anonymous: bool,
    /// Whether events may come in of which nobody knows who sends them: only this machine can connect, or the
    /// operator allows it.
    pub(crate) anonymous: bool,
    /// The certificate of both, and whose client certificates are taken. There if one speaks https.
    pub(crate) tls: Option<TlsFiles>,
}

/// How long one request to a source's sink may take, where nobody says.
pub(crate) const SINK_TIMEOUT: Duration = Duration::from_secs(30);

// === impl RoleConfig ===

impl RoleConfig {
    /// How the data folder is opened.
    pub(crate) fn store(&self) -> StoreOptions {
        StoreOptions {
            durability: self.durability,
            clock: Clock::System,
            rebuild_state: self.rebuild_state,
            history_bytes: self.history_bytes,
        }
    }

    /// How much of an answer is read. Twice the largest event: an event in base64 fits, and so does one that
    /// is somewhat too large, which intake then refuses in words. Anything larger cannot be a reply.
    pub(super) fn answer_bytes(&self) -> usize {
        const HEAD: usize = 64 << 10;
        self.max_event_bytes.saturating_mul(2).saturating_add(HEAD)
    }
}
