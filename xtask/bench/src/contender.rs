//! A program under test: a process of its own, started on free ports, ended when it is dropped.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A kind of contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// (a): forwards through hyper-util's pooled client.
    Pooled,
    /// (a'): forwards on connections of its own.
    Own,
    /// (b): `millrace run` as it is shipped.
    Millrace,
    /// (c): the same, with `--durability os`.
    MillraceOs,
    /// As (b), without the history of attempts.
    MillraceForgets,
}

/// A running contender.
pub(crate) struct Contender {
    child: Child,
    // Kept open: a program that writes to a closed pipe gets an error.
    _stdout: BufReader<ChildStdout>,
    listen: SocketAddr,
    /// None where nobody asks for https.
    listen_tls: Option<SocketAddr>,
    /// None of a forwarder.
    admin: Option<SocketAddr>,
    ready_after: Duration,
}

/// A folder on the disk under test, with the documents and the data of one mesh.
pub(crate) struct MeshFolder {
    folder: TempDir,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pooled => "a   bare forwarder, pooled client",
            Self::Own => "a'  bare forwarder, own connections",
            Self::Millrace => "b   millrace",
            Self::MillraceOs => "c   millrace --durability os",
            Self::MillraceForgets => "millrace --history-bytes 0",
        }
    }
}

impl MeshFolder {
    /// An empty folder below `base` with these documents.
    pub(crate) fn new(base: &Path, documents: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(base).with_context(|| format!("making {}", base.display()))?;
        let folder = tempfile::Builder::new().prefix("run-").tempdir_in(base)?;
        fs::write(folder.path().join("mesh.yaml"), documents)?;
        Ok(Self { folder })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Contender {
    /// Starts one; what it delivers goes to `sink` (a forwarder) or where the documents say (Millrace).
    pub(crate) fn start(kind: Kind, place: &MeshFolder, sink: SocketAddr) -> anyhow::Result<Self> {
        let command = match kind {
            Kind::Pooled | Kind::Own => forwarder(kind, sink)?,
            Kind::Millrace | Kind::MillraceOs | Kind::MillraceForgets => {
                millrace(&built()?, kind, place.folder.path())
            }
        };
        Self::spawn(command, kind.name(), place)
    }

    /// Starts another binary of Millrace, as it is shipped.
    pub(crate) fn start_other(binary: &Path, place: &MeshFolder) -> anyhow::Result<Self> {
        let command = millrace(binary, Kind::Millrace, place.folder.path());
        Self::spawn(command, "the other binary", place)
    }

    /// Starts Millrace as it is shipped, with further flags.
    pub(crate) fn start_with(flags: &[String], place: &MeshFolder) -> anyhow::Result<Self> {
        let mut command = millrace(&built()?, Kind::Millrace, place.folder.path());
        command.args(flags);
        Self::spawn(command, Kind::Millrace.name(), place)
    }

    fn spawn(mut command: Command, name: &str, place: &MeshFolder) -> anyhow::Result<Self> {
        let began = Instant::now();
        let said = fs::File::create(place.folder.path().join("stderr"))?;
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(said)
            .spawn()
            .context("starting a contender")?;
        let mut stdout = BufReader::new(child.stdout.take().context("invariant: stdout is piped")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let ready_after = began.elapsed();
        let ready: Value = serde_json::from_str(&line).with_context(|| {
            let said = fs::read_to_string(place.folder.path().join("stderr")).unwrap_or_default();
            format!("{name} did not become ready: {line}{said}")
        })?;
        let listen = ready["listen"]
            .as_str()
            .context("no address in the ready line")?
            .parse()?;
        Ok(Self {
            child,
            _stdout: stdout,
            listen,
            listen_tls: ready["listenTls"].as_str().map(str::parse).transpose()?,
            admin: ready["admin"].as_str().map(str::parse).transpose()?,
            ready_after,
        })
    }

    /// Where events go in.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The same by https.
    pub(crate) fn listen_tls(&self) -> anyhow::Result<SocketAddr> {
        self.listen_tls.context("it does not listen for https")
    }

    /// Where the admin API is, which a forwarder has not.
    pub(crate) fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// From its start to its ready line.
    pub(crate) fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid =
            Pid::from_raw(i32::try_from(self.child.id())?).context("invariant: a process has a number")?;
        kill_process(pid, Signal::TERM)?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("a contender ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forwarder(kind: Kind, sink: SocketAddr) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([
        "forward",
        if kind == Kind::Pooled { "pooled" } else { "own" },
        &sink.to_string(),
    ]);
    Ok(command)
}

/// The binary that cargo built beside this one.
pub(crate) fn built() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let given = std::env::var_os("MILLRACE_BIN").map(PathBuf::from);
    let binary = given.unwrap_or_else(|| here.with_file_name("millrace"));
    if !binary.exists() {
        bail!(
            "there is no {}: run `cargo xtask bench`, which builds it",
            binary.display()
        );
    }
    Ok(binary)
}

fn millrace(binary: &Path, kind: Kind, folder: &Path) -> Command {
    let mut command = Command::new(binary);
    command
        .arg("run")
        .arg("-f")
        .arg(folder.join("mesh.yaml"))
        .arg("--data")
        .arg(folder.join("data"));
    command
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .current_dir(folder);
    match kind {
        Kind::MillraceOs => drop(command.args(["--durability", "os"])),
        Kind::MillraceForgets => drop(command.args(["--history-bytes", "0"])),
        Kind::Pooled | Kind::Own | Kind::Millrace => {}
    }
    command
}
