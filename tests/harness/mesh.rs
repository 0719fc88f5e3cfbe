//! A mesh on a folder of its own: `millrace run` (or `sources`) started, killed, started again, reloaded.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::event::Message;
use crate::process::{self, Process};
use crate::{Admin, Answered, Client, Event, wait_until};

/// What a test that fails shows of its processes.
const SHOWN_LINES: usize = 40;

/// One `millrace run` and the folder that it works in.
#[derive(Debug)]
pub struct Mesh {
    // Before the folder, so that the process is gone when the folder is removed.
    process: Process,
    setup: Setup,
    listen: SocketAddr,
    admin: SocketAddr,
}

/// How a mesh is to be started. Dropping it prints the end of what its processes said, which is shown where the test
/// failed.
#[derive(Debug)]
pub struct Setup {
    folder: TempDir,
    /// What is started in the place of the binary, and becomes it.
    before: Vec<String>,
    role: &'static str,
    args: Vec<String>,
    environment: Vec<(String, String)>,
    data: PathBuf,
    listen: String,
    is_silent: bool,
}

// === impl Setup ===

impl Setup {
    /// A mesh with these documents.
    ///
    /// # Errors
    /// When no folder can be made.
    pub fn new(documents: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("millrace-test-").tempdir()?;
        let data = folder.path().join("data");
        let setup = Self {
            folder,
            before: Vec::new(),
            role: "run",
            args: Vec::new(),
            environment: Vec::new(),
            data,
            listen: "127.0.0.1:0".to_owned(),
            is_silent: false,
        };
        setup.write(documents)?;
        Ok(setup)
    }

    /// As `millrace sources` and not as `millrace run`.
    #[must_use]
    pub fn sources(mut self) -> Self {
        self.role = "sources";
        self
    }

    /// Started by this program with these arguments, behind which stand the binary and its own: it is to become that.
    #[must_use]
    pub fn before(mut self, before: Vec<String>) -> Self {
        self.before = before;
        self
    }

    /// With this variable of the environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With these arguments more.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// With documents that may name the files of this folder, and of no other.
    #[must_use]
    pub fn secret_dir(self, folder: &Path) -> Self {
        let folder = folder.to_string_lossy();
        self.args(&["--secret-dir", &folder])
    }

    /// With its ingress at this address instead of any free port.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// Does not print at the end what its processes logged: a benchmark prints its own report.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.is_silent = true;
        self
    }

    /// With its data in this folder, which the test owns.
    #[must_use]
    pub fn data(mut self, data: &Path) -> Self {
        self.data = data.to_path_buf();
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start(self) -> anyhow::Result<Mesh> {
        let (process, ready) = self.spawn().await?;
        Ok(Mesh {
            process,
            listen: address(&ready, "listen")?,
            admin: address(&ready, "admin")?,
            setup: self,
        })
    }

    /// Starts it where that is expected to fail, and waits for the end.
    ///
    /// # Errors
    /// When it becomes ready, or does not end before the deadline.
    pub async fn fail(&self) -> anyhow::Result<(ExitStatus, String)> {
        let mut process = self.process()?;
        let status = process.ended().await?;
        Ok((status, process.stderr()))
    }

    /// The file of the documents.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("mesh.yaml")
    }

    /// The folder that holds all of it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder.
    pub fn data_folder(&self) -> &Path {
        &self.data
    }

    /// Replaces the documents in one step, as a careful editor does.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, documents: &str) -> anyhow::Result<()> {
        let next = self.folder.path().join(".mesh.yaml.next");
        fs::write(&next, documents)?;
        Ok(fs::rename(next, self.file())?)
    }

    fn stderr_file(&self) -> PathBuf {
        self.folder.path().join("stderr")
    }

    fn command(&self) -> Vec<String> {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let mut command = vec![
            self.role.to_owned(),
            "-f".to_owned(),
            path(&self.file()),
            "--data".to_owned(),
            path(&self.data),
        ];
        command.extend(["--listen", &self.listen, "--admin-listen", "127.0.0.1:0"].map(str::to_owned));
        command.extend(self.args.iter().cloned());
        command
    }

    fn process(&self) -> anyhow::Result<Process> {
        let binary = process::binary()?.to_string_lossy().into_owned();
        let line = [&self.before, [binary].as_slice(), &self.command()].concat();
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path());
        Process::spawn("millrace", command, &self.stderr_file())
    }

    async fn spawn(&self) -> anyhow::Result<(Process, Value)> {
        let mut process = self.process()?;
        let line = process.first_line().await?;
        let ready: Value =
            serde_json::from_str(&line).with_context(|| format!("not the ready line: {line}"))?;
        anyhow::ensure!(ready["ready"] == true, "not the ready line: {line}");
        Ok((process, ready))
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        if self.is_silent {
            return;
        }
        // Whether the test fails is not known here: most end with an error and do not panic. The test runner keeps the
        // output of those that pass to itself.
        let said = fs::read(self.stderr_file()).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().rev().take(SHOWN_LINES).collect();
        println!("--- the last lines of millrace on stderr");
        lines.iter().rev().for_each(|line| println!("{line}"));
    }
}

fn address(ready: &Value, name: &str) -> anyhow::Result<SocketAddr> {
    let address = ready[name]
        .as_str()
        .with_context(|| format!("no {name} in {ready}"))?;
    address.parse().with_context(|| format!("{name} in {ready}"))
}

// === impl Mesh ===

impl Mesh {
    /// A mesh with these documents and nothing special.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start(documents: &str) -> anyhow::Result<Self> {
        Setup::new(documents)?.start().await
    }

    /// Where events go in.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where it is asked how it stands.
    pub fn admin(&self) -> Admin {
        Admin::new(self.admin)
    }

    /// How it was set up: its files and folders.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The process, for inspection.
    pub fn running(&self) -> &Process {
        &self.process
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The URL of a broker, `namespace/name`.
    pub fn url(&self, broker: &str) -> String {
        format!("http://{}/{broker}", self.listen)
    }

    /// Posts a message to a broker on a connection of its own.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, broker: &str, message: &Message) -> anyhow::Result<Answered> {
        Client::new(self.listen)
            .post(&format!("/{broker}"), message)
            .await
    }

    /// Sends events in binary mode, one after the other, and checks that each is accepted.
    ///
    /// # Errors
    /// When one is not answered with 202.
    pub async fn send(&self, broker: &str, events: &[Event]) -> anyhow::Result<()> {
        let mut client = Client::new(self.listen);
        for event in events {
            let answer = client.post(&format!("/{broker}"), &event.binary()).await?;
            anyhow::ensure!(
                answer.status == 202,
                "{}: {}: {:?}",
                event.id(),
                answer.status,
                answer.body
            );
        }
        Ok(())
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// When it is not gone before the deadline.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill().await
    }

    /// SIGTERM, and waits for the end of the drain.
    ///
    /// # Errors
    /// When it does not end before the deadline.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.process.signal(Signal::TERM)?;
        self.process.ended().await
    }

    /// Starts it again on the same data (and other ports).
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        let (process, ready) = self.setup.spawn().await?;
        self.process = process;
        self.listen = address(&ready, "listen")?;
        self.admin = address(&ready, "admin")?;
        Ok(())
    }

    /// Starts it again with these arguments more, also for every start after.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn restart_with(&mut self, args: &[&str]) -> anyhow::Result<()> {
        self.setup.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self.restart().await
    }

    /// Starts it again, and kills it after so long, ready or not.
    ///
    /// # Errors
    /// When it cannot be started, or is not gone before the deadline.
    pub async fn stumble(&mut self, life: Duration) -> anyhow::Result<()> {
        let setup = &self.setup;
        self.process = setup.process()?;
        // The moment of the kill is the test's choice; nothing is waited for.
        tokio::time::sleep(life).await;
        self.process.kill().await
    }

    /// Replaces the documents and waits until the new ones are what runs.
    ///
    /// # Errors
    /// When they are refused or not taken before the deadline.
    pub async fn reload(&self, documents: &str) -> anyhow::Result<()> {
        let admin = self.admin();
        let before = admin.get("mesh").await?["revision"].clone();
        self.setup.write(documents)?;
        wait_until("the new documents to run", || async {
            let mesh = admin.get("mesh").await?;
            Ok(Some(()).filter(|()| mesh["revision"] != before))
        })
        .await
    }

    /// Waits until every trigger has settled everything that its broker has taken.
    ///
    /// # Errors
    /// When that is not so before the deadline.
    pub async fn until_settled(&self) -> anyhow::Result<()> {
        let admin = self.admin();
        wait_until("every trigger to settle everything", || async {
            let (brokers, triggers) = (admin.get("brokers").await?, admin.get("triggers").await?);
            let head = |name: &Value| {
                let found = brokers
                    .as_array()
                    .into_iter()
                    .flatten()
                    .find(|broker| broker["name"] == *name);
                found
                    .and_then(|broker| broker["head"].as_u64())
                    .unwrap_or_default()
            };
            let is_settled = |trigger: &Value| {
                let idle = ["backlog", "queued", "deferred"]
                    .iter()
                    .all(|count| trigger[count] == 0);
                idle && trigger["cursor"]
                    .as_u64()
                    .is_some_and(|cursor| cursor >= head(&trigger["broker"]))
            };
            let open = triggers
                .as_array()
                .into_iter()
                .flatten()
                .find(|trigger| !is_settled(trigger));
            anyhow::ensure!(open.is_none(), "{}; {brokers}", open.cloned().unwrap_or_default());
            Ok(Some(()))
        })
        .await
    }

    /// Runs a client command of the binary against this mesh.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn millrace(&self, args: &[&str]) -> anyhow::Result<Output> {
        let mut all: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        all.extend(["--admin".to_owned(), format!("http://{}", self.admin)]);
        process::run(self.setup.folder(), &all, "").await
    }
}
