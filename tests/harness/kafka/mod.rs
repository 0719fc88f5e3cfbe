//! A real Kafka broker in a folder of its own: one node, which is also its controller.
//!
//! It keeps its data and its ports over [`Kafka::stop`], [`Kafka::kill`] and [`Kafka::restart`], as a broker
//! that people run does. `admin` makes and deletes topics; [`client`] is the other side: records in, records
//! out. [`mod@source`] is a source that reads a topic, [`mod@sink`] a sink that writes to one, `channel` a
//! Broker that is kept there, and [`Net`] how a document says that its client logs in.

mod admin;
mod channel;
pub mod client;
mod net;
pub mod scene;
mod settings;
mod sink;
mod source;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::certificates::Certificates;
use crate::process::Process;
use crate::{peers, ports};

pub use client::Record;
pub use net::Net;
pub use settings::{Listener, PASSWORD, USER};
pub use sink::{sink, sink_ref, trigger_to};
pub use source::{group, source};

/// The files of a folder.
type Files = Vec<(OsString, Vec<u8>)>;

/// An empty data folder, as Kafka formats it: without and with the user that may log in. It is the same for
/// all brokers of this process, and making it takes Java a second.
static FORMATTED: [OnceCell<Files>; 2] = [OnceCell::const_new(), OnceCell::const_new()];
/// How often a start is tried: another process may have taken one of its ports.
const TRIES: usize = 3;

/// A Kafka broker. Dropping it kills it and deletes its data.
#[derive(Debug)]
pub struct Kafka {
    // Before the folder, so that it is dead when that is deleted.
    process: Option<Process>,
    folder: TempDir,
    lib: PathBuf,
    ports: Vec<u16>,
    certificates: Option<Certificates>,
    /// The address that it advertises, if that is not where it listens.
    advertised: Option<&'static str>,
    starts: usize,
}

// === impl Kafka ===

impl Kafka {
    /// Starts a broker that listens without encryption or login; `None` when the peer is not there and not
    /// required.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start() -> anyhow::Result<Option<Self>> {
        Self::begin(false).await
    }

    /// Starts a broker with all kinds of [`Listener`]; `None` when the peer is not there and not required.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn secured() -> anyhow::Result<Option<Self>> {
        Self::begin(true).await
    }

    async fn begin(secured: bool) -> anyhow::Result<Option<Self>> {
        let Some(lib) = peers::kafka()? else {
            return Ok(None);
        };
        let folder = tempfile::tempdir()?;
        let certificates = secured.then(|| Certificates::make(folder.path())).transpose()?;
        let mut kafka = Self {
            process: None,
            folder,
            lib,
            ports: Vec::new(),
            certificates,
            advertised: None,
            starts: 0,
        };
        let mut tries = 0;
        loop {
            tries += 1;
            kafka.place().await?;
            match kafka.launch().await {
                Ok(()) => return Ok(Some(kafka)),
                Err(error) if tries == TRIES => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Chooses ports, and makes an empty data folder.
    async fn place(&mut self) -> anyhow::Result<()> {
        let data = self.folder.path().join("data");
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        self.ports = ports::free(settings::PORTS)?;
        self.configure()?;
        let formatted = &FORMATTED[usize::from(self.certificates.is_some())];
        fs::create_dir(&data)?;
        for (name, content) in formatted.get_or_try_init(|| self.format()).await? {
            fs::write(data.join(name), content)?;
        }
        Ok(())
    }

    /// Lets Kafka format a data folder, and gives the files that it has made.
    async fn format(&self) -> anyhow::Result<Files> {
        let mut format = self.java();
        format
            .args(["kafka.tools.StorageTool", "format", "-t", settings::CLUSTER])
            .args(["-c", "server.properties"]);
        if self.certificates.is_some() {
            format.args(settings::scram_users());
        }
        let output = tokio::task::spawn_blocking(move || format.output()).await?;
        let output = output.context("starting java")?;
        anyhow::ensure!(
            output.status.success(),
            "formatting Kafka's data: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let mut files = Vec::new();
        for entry in fs::read_dir(self.folder.path().join("data"))? {
            let entry = entry?;
            files.push((entry.file_name(), fs::read(entry.path())?));
        }
        Ok(files)
    }

    fn configure(&self) -> anyhow::Result<()> {
        let data = self.folder.path().join("data");
        let properties =
            settings::properties(&data, &self.ports, self.certificates.as_ref(), self.advertised)?;
        Ok(fs::write(
            self.folder.path().join("server.properties"),
            properties,
        )?)
    }

    /// Starts the process and waits until it serves. Each start has a log of its own, in which "started"
    /// means this one.
    async fn launch(&mut self) -> anyhow::Result<()> {
        self.starts += 1;
        let log = self.folder.path().join(format!("kafka-{}.log", self.starts));
        let mut command = self.java();
        command.args(["kafka.Kafka", "server.properties"]);
        let mut process = Process::spawn("kafka", command, &log)?;
        process
            .until_ready(|| {
                let said = fs::read_to_string(&log);
                async { Ok(said?.contains("Kafka Server started")) }
            })
            .await?;
        self.process = Some(process);
        Ok(())
    }

    fn java(&self) -> Command {
        let mut java = Command::new("java");
        // A quick start counts for more here than what the optimizing compiler and the big collector bring.
        java.current_dir(self.folder.path())
            .args(["-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"])
            .arg(self.lib.join("*"));
        java
    }

    /// Where clients without encryption or login connect.
    pub fn bootstrap(&self) -> String {
        self.listener(Listener::Plain)
    }

    /// Where clients of one kind connect. All but [`Listener::Plain`] are there only in [`Kafka::secured`].
    pub fn listener(&self, listener: Listener) -> String {
        format!("127.0.0.1:{}", self.ports[listener as usize])
    }

    /// The certificate of the authority that has signed the broker's, for [`Kafka::secured`].
    pub fn authority(&self) -> Option<&Path> {
        self.certificates.as_ref().map(|made| made.authority.as_path())
    }

    /// A client's certificate and its key, which [`Listener::Tls`] demands.
    pub fn client_certificate(&self) -> Option<(&Path, &Path)> {
        let pair = &self.certificates.as_ref()?.client;
        Some((&pair.certificate, &pair.key))
    }

    /// Lets this user see and use a topic, and nobody else who logs in: for [`Kafka::secured`].
    ///
    /// # Errors
    /// When the broker refuses it.
    pub async fn allow(&self, topic: &str, user: &str) -> anyhow::Result<()> {
        const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/harness/kafka/Allow.java");
        let mut java = self.java();
        java.args([PROGRAM, &self.bootstrap(), topic, user]);
        let output = tokio::task::spawn_blocking(move || java.output()).await?;
        let output = output.context("starting java")?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "allowing {user} to use {topic}: {said}");
        Ok(())
    }

    /// Stops it in good order.
    ///
    /// # Errors
    /// When it does not end before the deadline.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(process) = &mut self.process {
            process.signal(Signal::TERM)?;
            process.ended().await?;
            self.process = None;
        }
        Ok(())
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it is not gone before the deadline.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(process) = &mut self.process {
            process.kill().await?;
            self.process = None;
        }
        Ok(())
    }

    /// Starts it again on the same data and ports; stops it first when it runs.
    ///
    /// # Errors
    /// When it does not end or not start.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.stop().await?;
        let mut tries = 1;
        while let Err(error) = self.launch().await {
            anyhow::ensure!(tries < TRIES, error);
            tries += 1;
        }
        Ok(())
    }

    /// Restarts it so that it advertises this `host:port` to its clients.
    ///
    /// # Errors
    /// When it does not end or not start.
    pub async fn advertise(&mut self, address: &'static str) -> anyhow::Result<()> {
        self.advertised = Some(address);
        self.configure()?;
        self.restart().await
    }

    /// What it has said since it last started.
    pub fn said(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }
}
