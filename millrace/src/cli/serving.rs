//! The flags of `run`, `sources` and `dev`, and the configuration that they make.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use millrace_broker::HostRule;
use millrace_channel::embedded::Durability;

use crate::cli::cluster::ClusterArgs;
use crate::cli::doors::DoorArgs;
use crate::cli::egress::EgressArgs;
use crate::cli::logs::LogFormat;
use crate::cli::opened::OpenedArgs;
use crate::cli::values::{parse_bytes, parse_count, parse_duration, parse_event_bytes, parse_host};
use crate::role::config::RoleConfig;
use crate::sources::sink::Sinks;

/// `millrace run`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// A file or folder of documents; repeat it for more. They are watched: changes take effect without a
    /// restart
    #[arg(
        short = 'f',
        long = "file",
        value_name = "PATH",
        required_unless_present = "kubernetes",
        conflicts_with = "kubernetes"
    )]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: Box<ClusterArgs>,
    /// The data folder; created where it is not there
    #[arg(
        long,
        value_name = "DIR",
        env = "MILLRACE_DATA",
        default_value = "./millrace-data"
    )]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) serving: ServingArgs,
}

/// `millrace sources`.
#[derive(Args, Clone, Debug)]
pub(crate) struct SourcesArgs {
    /// A file or folder of documents; repeat it for more. They are watched: changes take effect without a
    /// restart
    #[arg(short = 'f', long = "file", value_name = "PATH", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The folder where sources keep what they remember; created where it is not there
    #[arg(
        long,
        value_name = "DIR",
        env = "MILLRACE_DATA",
        default_value = "./millrace-sources"
    )]
    pub(crate) data: PathBuf,
    /// Where every source sends its events, instead of to its own sink
    #[arg(long, value_name = "URL", env = "K_SINK")]
    sink: Option<String>,
    /// Certificates in PEM that vouch for this sink, beside those that the machine trusts
    #[arg(long, value_name = "PEM", env = "K_CA_CERTS")]
    ca_certs: Option<String>,
    /// Extensions that every event gets: {"extensions": {"name": "text"}}
    #[arg(long, value_name = "JSON", env = "K_CE_OVERRIDES")]
    ce_overrides: Option<String>,
    /// How long one request to a sink may take [default: 30]
    #[arg(long, value_name = "SECONDS", env = "K_SINK_TIMEOUT")]
    sink_timeout: Option<String>,
    #[command(flatten)]
    pub(crate) listening: ListeningArgs,
}

/// `millrace dev`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DevArgs {
    /// The data folder; created where it is not there
    #[arg(long, value_name = "DIR", default_value = "./.millrace-dev")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) serving: ServingArgs,
}

/// The flags of commands that store events.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServingArgs {
    #[command(flatten)]
    pub(crate) listening: ListeningArgs,
    /// When an event counts as stored
    #[arg(long, value_enum, default_value_t)]
    pub(crate) durability: DurabilityArg,
    /// How long the place of a Trigger that is gone from the documents is kept, and the folder of such a
    /// Broker
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
    pub(crate) orphan_grace: Duration,
    /// How much of the attempts' history is kept for `millrace explain`, for each Broker; 0 keeps none
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_bytes)]
    pub(crate) history_bytes: u64,
    /// Set aside a state database that cannot be read: every Trigger then begins at the oldest event that is
    /// kept
    #[arg(long)]
    pub(crate) rebuild_state: bool,
}

/// The flags of all commands that serve.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListeningArgs {
    #[command(flatten)]
    pub(crate) doors: DoorArgs,
    /// A name by which clients may call the admin listener beside its own address, as through a proxy: NAME
    /// for any port, or NAME:PORT. Repeat it, or separate names by commas
    #[arg(long, value_name = "HOST", env = "MILLRACE_ADMIN_ALLOWED_HOSTS", value_delimiter = ',', value_parser = parse_host)]
    pub(crate) admin_allowed_hosts: Vec<String>,
    /// A host name by which producers may call, besides the listener's own address: NAME for any port, or
    /// NAME:PORT. Repeat it, or separate names by commas. `run` accepts any host unless this flag is given
    #[arg(long, value_name = "HOST", env = "MILLRACE_ALLOWED_HOSTS", value_delimiter = ',', value_parser = parse_host)]
    pub(crate) allowed_hosts: Vec<String>,
    /// The most connections that may come in at one time; fewer where the limit of open files is low
    #[arg(long, value_name = "N", default_value_t = MAX_CONNECTIONS, value_parser = parse_count)]
    pub(crate) max_connections: usize,
    /// Memory for events on their way: coming in, queued, in flight, replies [default: a quarter of the
    /// memory, between 128MiB and 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub(crate) memory_budget: Option<u64>,
    /// Let a crash write a core dump, which holds secrets
    #[arg(long)]
    pub(crate) allow_core_dumps: bool,
    /// The most data that one event may have
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = parse_event_bytes)]
    pub(crate) max_event_bytes: usize,
    /// The most connections to subscribers and sinks that may be open at one time; fewer where the limit of
    /// open files is low
    #[arg(long, value_name = "N", default_value_t = MAX_OUTGOING_CONNECTIONS, value_parser = parse_count)]
    pub(crate) max_outgoing_connections: usize,
    /// How long requests and deliveries in hand may take to end at shutdown
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) drain_timeout: Duration,
    #[command(flatten)]
    pub(crate) egress: EgressArgs,
    #[command(flatten)]
    pub(crate) opened: OpenedArgs,
    /// How log lines look
    #[arg(long, value_enum, env = "MILLRACE_LOG_FORMAT", default_value_t)]
    pub(crate) log_format: LogFormat,
}

/// When an event counts as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DurabilityArg {
    /// Once the disk has it: survives a power failure
    #[default]
    Sync,
    /// Once the operating system has it: faster; survives the end of the process, not of the machine
    Os,
}

/// The default of `--max-connections`.
const MAX_CONNECTIONS: usize = 10_000;

/// The default of `--max-outgoing-connections`.
const MAX_OUTGOING_CONNECTIONS: usize = 20_000;

// === impl DevArgs ===

impl DevArgs {
    /// The configuration of `millrace dev`, which runs beside a browser.
    ///
    /// # Errors
    /// A sentence, when flags contradict each other.
    pub(crate) fn config(&self) -> Result<RoleConfig, String> {
        Ok(RoleConfig {
            hosts: HostRule::Laptop(self.serving.listening.allowed_hosts.clone()),
            ..self.serving.config(self.data.clone())?
        })
    }
}

// === impl SourcesArgs ===

impl SourcesArgs {
    /// The configuration of the role, and where its sources send to.
    ///
    /// # Errors
    /// A sentence, when the flags do not make sense.
    pub(crate) fn config(&self) -> Result<(RoleConfig, Sinks), String> {
        let sinks = Sinks::parse(
            self.sink.as_deref(),
            self.ce_overrides.as_deref(),
            self.sink_timeout.as_deref(),
        )?
        .vouched_for_by(self.ca_certs.as_deref())?;
        Ok((self.listening.config(self.data.clone())?, sinks))
    }
}

// === impl ServingArgs ===

impl ServingArgs {
    /// The configuration of a role on this data folder.
    ///
    /// # Errors
    /// A sentence, when the flags do not go together.
    pub(crate) fn config(&self, data: PathBuf) -> Result<RoleConfig, String> {
        Ok(RoleConfig {
            durability: match self.durability {
                DurabilityArg::Sync => Durability::Sync,
                DurabilityArg::Os => Durability::Os,
            },
            rebuild_state: self.rebuild_state,
            orphan_grace: self.orphan_grace,
            history_bytes: self.history_bytes,
            ..self.listening.config(data)?
        })
    }
}

// === impl ListeningArgs ===

impl ListeningArgs {
    /// The configuration of a role on this data folder, with the defaults for what is stored.
    fn config(&self, data: PathBuf) -> Result<RoleConfig, String> {
        Ok(RoleConfig {
            secrets: self.opened.rule(vec![data.clone()]),
            data,
            doors: self.doors.doors()?,
            admin_allowed_hosts: self.admin_allowed_hosts.clone(),
            hosts: match &*self.allowed_hosts {
                [] => HostRule::Any,
                names => HostRule::Named(names.to_vec()),
            },
            max_connections: self.max_connections,
            memory_budget: self.memory_budget,
            durability: Durability::Sync,
            rebuild_state: false,
            allow_core_dumps: self.allow_core_dumps,
            max_event_bytes: self.max_event_bytes,
            max_outgoing_connections: self.max_outgoing_connections,
            refuse_loopback: false,
            egress: self.egress.egress(),
            drain_timeout: self.drain_timeout,
            orphan_grace: Duration::ZERO,
            history_bytes: 0,
        })
    }
}
