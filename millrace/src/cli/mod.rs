//! The command line: its arguments, and which command runs. Data goes to the standard output, remarks to the
//! standard error, and the exit code tells how the command ended.
//!
//! [`serving`], [`doors`], [`opened`] and [`cluster`] hold the flags of the commands that serve. [`backup`]
//! reads a data folder by itself, [`crds`] prints manifests, and [`access`] makes tokens. [`check`],
//! [`send`], [`brokers`], [`triggers`], [`parked`], [`explain`], [`tail`] and [`log_level`] are commands of
//! their own ([`objects`] is what two of them share). The last six ask a running Millrace through [`admin`],
//! over [`client`] and [`stream`], at the place that [`reach`] says, which may be a kept [`context`].

mod access;
mod admin;
mod allowed;
mod backup;
mod brokers;
mod check;
mod client;
mod cluster;
mod context;
mod crds;
mod doors;
mod egress;
pub(crate) mod exit;
mod explain;
mod log_level;
mod logs;
mod objects;
mod opened;
pub(crate) mod out;
mod parked;
mod reach;
mod send;
mod serving;
mod stream;
mod tail;
mod triggers;
mod values;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use tokio::runtime;

use exit::Exit;
use out::Output;
use reach::Reach;

/// A CloudEvents broker and trigger event mesh: it stores what comes in durably, and brings each event to
/// the services that want it.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, after_help = exit::HELP, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// How data is printed
    #[arg(long, short = 'o', global = true, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the Brokers and Triggers of these documents
    Run(serving::RunArgs),
    /// Run the sources of these documents alone, and send their events to a sink (K_SINK)
    Sources(serving::SourcesArgs),
    /// Serve a sample mesh and show every event as it passes; needs no documents
    Dev(serving::DevArgs),
    /// Say what is wrong with documents, and exit
    Check(check::CheckArgs),
    /// Print the custom resource definitions, or write them to files
    Crds(crds::CrdsArgs),
    /// Send an event, and say what the answer means
    Send(send::SendArgs),
    /// Show the Brokers of a running Millrace: state, positions, size of the log, what they hold
    Brokers(brokers::BrokersArgs),
    /// Show the Triggers of a running Millrace: state, backlog, cursor, last failure
    Triggers(triggers::TriggersArgs),
    /// Say why a service was (not) called for an event, by asking a running Millrace or from documents alone
    Explain(explain::ExplainArgs),
    /// Show what happens as it happens: each event, and what came of each attempt
    Tail(tail::TailArgs),
    /// Show, redrive or drop the events that were given up on
    #[command(subcommand)]
    Parked(parked::ParkedCommand),
    /// Show or change what a running Millrace logs
    LogLevel(log_level::LogLevelArgs),
    /// Keep where a Millrace runs and what is needed to ask there, by name
    #[command(subcommand)]
    Context(context::ContextCommand),
    /// Make tokens for producers and operators, and check access files
    #[command(subcommand)]
    Access(access::AccessCommand),
    /// Copy a data folder, also while a process is using it
    Backup(backup::BackupArgs),
    /// Print the version
    Version,
    /// Print a script that completes commands and flags in a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// A thread for blocking calls ends after so long without one. Starting one is cheap, and a burst of calls
/// starts many.
const BLOCKING_IDLE: Duration = Duration::from_secs(2);
/// Threads for blocking calls, for each core: most of them wait for a disk. Calls beyond that wait for one.
const BLOCKING_PER_CORE: usize = 16;
/// The bounds of what that makes.
const BLOCKING: (usize, usize) = (64, 512);

/// What all of the program does.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            let _ = error.print();
            return exit.into();
        }
    };
    match cli.execute() {
        Ok(exit) => exit.into(),
        Err(error) => {
            out::remark(&format!("error: {}", crate::reasons::reasons(&error)));
            Exit::Failed.into()
        }
    }
}

/// The commands that ask a running Millrace.
const ASKING: &[&str] = &["brokers", "triggers", "parked", "explain", "tail", "log-level"];

/// Whether a command that usually asks answers from documents alone.
fn is_offline(name: &str, command: &ArgMatches) -> bool {
    name == "explain" && command.value_source("event").is_some()
}

/// What is wrong with a flag for asking in a command that asks nobody, or that sends.
fn asks_nobody(name: &str, command: &ArgMatches) -> Option<String> {
    let asks = ASKING.contains(&name) && !is_offline(name, command);
    let mut given = reach::FLAGS
        .into_iter()
        .filter(|flag| command.value_source(flag) == Some(ValueSource::CommandLine));
    // `send` reaches another listener of the same place; `context add` keeps all of them.
    let wrong = given.find(|flag| !asks && (*flag == "admin" || name != "send") && name != "context")?;
    let instead = match name {
        "run" | "sources" | "dev" => "; --admin-listen says where its own admin API is",
        "send" => "; --url says where it sends to",
        _ => "",
    };
    let flag = wrong.replace('_', "-");
    Some(match wrong {
        "admin" => format!("--admin names a running Millrace to ask, and this command asks none{instead}"),
        _ => format!("--{flag} is for asking a running Millrace, and this command asks none"),
    })
}

/// Says what does not make sense, for the exit code of usage.
fn usage(message: &str) -> Exit {
    out::remark(&format!(
        "error: {message}\n\nFor more information, try '--help'."
    ));
    Exit::Usage
}

// === impl Cli ===

impl Cli {
    /// Reads a command line.
    ///
    /// # Errors
    /// What does not make sense in it.
    fn read<A: Into<OsString> + Clone>(line: impl IntoIterator<Item = A>) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(line)?;
        if let Some((name, command)) = matches.subcommand()
            && let Some(message) = asks_nobody(name, command)
        {
            return Err(Self::command().error(ErrorKind::ArgumentConflict, message));
        }
        Self::from_arg_matches(&matches)
    }

    fn execute(self) -> anyhow::Result<Exit> {
        let Global { output, reach } = self.global;
        match self.command {
            Command::Run(serving::RunArgs { files, .. })
            | Command::Sources(serving::SourcesArgs { files, .. })
                if files.iter().any(|file| file.as_os_str() == "-") =>
            {
                Ok(usage(
                    "documents are watched, which cannot be done with the standard input: name a file or folder",
                ))
            }
            Command::Run(args) if args.cluster.kubernetes => run_cluster(args),
            Command::Run(args) => match args.serving.config(args.data) {
                Ok(config) => serve(args.serving.listening.log_format, "info", |log| {
                    crate::run::run(config, args.files, log)
                }),
                Err(message) => Ok(usage(&message)),
            },
            Command::Sources(args) => match args.config() {
                Ok((config, sinks)) => serve(args.listening.log_format, "info", |log| {
                    crate::sources::sources(config, sinks, args.files, log)
                }),
                Err(message) => Ok(usage(&message)),
            },
            Command::Dev(args) => match args.config() {
                Ok(config) => serve(args.serving.listening.log_format, "warn", |log| {
                    crate::dev::dev(config, log)
                }),
                Err(message) => Ok(usage(&message)),
            },
            Command::Check(args) => ask(async { Ok(check::check(&args, output).await) }),
            Command::Crds(args) => crds::crds(&args, output),
            Command::Send(args) => ask(send::send(args, reach, output)),
            Command::Brokers(args) => ask(brokers::brokers(args, reach, output)),
            Command::Triggers(args) => ask(triggers::triggers(args, reach, output)),
            Command::Explain(args) => ask(explain::explain(args, reach, output)),
            Command::Tail(args) => ask(tail::tail(args, reach, output)),
            Command::Parked(command) => ask(parked::parked(command, reach, output)),
            Command::LogLevel(args) => ask(log_level::log_level(args, reach, output)),
            Command::Context(command) => context::context(command, &reach, output),
            Command::Access(command) => access::access(&command, output),
            Command::Backup(args) => backup::backup(&args, output),
            Command::Version => {
                version(output);
                Ok(Exit::Ok)
            }
            Command::Completion { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Self::command(), "millrace", &mut script);
                out::data(&String::from_utf8_lossy(&script));
                Ok(Exit::Ok)
            }
        }
    }
}

/// What is logged by default. The client logs each attempt while the API server is away; the controller says
/// it once.
#[cfg(feature = "kubernetes")]
const CLUSTER_LOG: &str = "info,kube_client=off,kube_runtime=off";

/// `millrace run --kubernetes`.
#[cfg(feature = "kubernetes")]
fn run_cluster(args: serving::RunArgs) -> anyhow::Result<Exit> {
    let made = args.serving.config(args.data).and_then(|mut config| {
        let cluster = args.cluster.config(config.doors.listen)?;
        // Beside a laptop's cluster subscribers may be on the laptop; in a pod loopback is the pod itself.
        config.refuse_loopback = cluster.kubeconfig.is_none();
        Ok((config, cluster))
    });
    match made {
        Ok((config, cluster)) => serve(args.serving.listening.log_format, CLUSTER_LOG, |log| {
            crate::run::cluster::run(config, cluster, log)
        }),
        Err(message) => Ok(usage(&message)),
    }
}

/// Without the client of Kubernetes there is no cluster.
#[cfg(not(feature = "kubernetes"))]
fn run_cluster(_: serving::RunArgs) -> anyhow::Result<Exit> {
    Ok(usage(
        "this build has no client of Kubernetes (feature `kubernetes`)",
    ))
}

fn version(output: Output) {
    match output {
        Output::Table => out::data(concat!("millrace ", env!("CARGO_PKG_VERSION"))),
        Output::Json => out::json(&serde_json::json!({"version": env!("CARGO_PKG_VERSION")})),
    }
}

/// Runs a command that serves, on all processors.
fn serve<F: Future<Output = anyhow::Result<Exit>>>(
    format: logs::LogFormat,
    filter: &str,
    command: impl FnOnce(Arc<logs::Filter>) -> F,
) -> anyhow::Result<Exit> {
    let log = match logs::begin(format, filter) {
        Ok(log) => log,
        Err(message) => return Ok(usage(&message)),
    };
    let mut runtime = runtime::Builder::new_multi_thread();
    runtime.thread_keep_alive(BLOCKING_IDLE);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    runtime.max_blocking_threads((cores * BLOCKING_PER_CORE).clamp(BLOCKING.0, BLOCKING.1));
    let runtime = runtime.enable_all().build()?;
    let ended = runtime.block_on(command(log));
    // A thread that hangs in a blocking call (a name server, a file system) holds nothing that is not
    // durable.
    runtime.shutdown_background();
    ended
}

/// Runs a command that asks somebody else.
fn ask(command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    if let Err(message) = logs::begin(logs::LogFormat::Text, "warn") {
        return Ok(usage(&message));
    }
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(command)
}

#[cfg(test)]
mod tests;
