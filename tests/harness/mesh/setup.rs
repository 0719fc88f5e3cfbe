//! How a mesh is started: its folder, documents, arguments and environment.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::Context as _;
use serde_json::Value;
use tempfile::TempDir;

use super::Mesh;
use crate::process::{self, Process};

/// What a test that fails shows of its processes.
const SHOWN_LINES: usize = 40;

/// How a mesh is to be started. Dropping it prints the end of what its processes said, which is shown where
/// the test failed.
#[derive(Debug)]
pub struct Setup {
    folder: TempDir,
    /// What is started in the place of the binary, and becomes it.
    before: Vec<String>,
    role: &'static str,
    pub(super) args: Vec<String>,
    environment: Vec<(String, String)>,
    /// Where its documents come from, instead of the file.
    kubeconfig: Option<PathBuf>,
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
            kubeconfig: None,
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

    /// With the objects of a cluster as its documents (`--kubernetes`).
    #[must_use]
    pub fn cluster(mut self, kubeconfig: &Path) -> Self {
        self.kubeconfig = Some(kubeconfig.to_path_buf());
        self
    }

    /// Started by this program with these arguments, behind which stand the binary and its own: it is to
    /// become that.
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
    pub fn args(mut self, args: &[impl AsRef<str>]) -> Self {
        self.args.extend(args.iter().map(|arg| arg.as_ref().to_owned()));
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
            listen: either(&ready, "listen")?,
            admin: either(&ready, "admin")?,
            ready,
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
        let mut command = vec![self.role.to_owned()];
        command.extend(match &self.kubeconfig {
            Some(file) => vec!["--kubernetes".to_owned(), "--kubeconfig".to_owned(), path(file)],
            None => vec!["-f".to_owned(), path(&self.file())],
        });
        command.extend(["--data".to_owned(), path(&self.data)]);
        command.extend(["--listen", &self.listen, "--admin-listen", "127.0.0.1:0"].map(str::to_owned));
        command.extend(self.args.iter().cloned());
        command
    }

    pub(super) fn process(&self) -> anyhow::Result<Process> {
        let binary = process::binary()?.to_string_lossy().into_owned();
        let line = [&self.before, [binary].as_slice(), &self.command()].concat();
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path());
        Process::spawn("millrace", command, &self.stderr_file())
    }

    pub(super) async fn spawn(&self) -> anyhow::Result<(Process, Value)> {
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
        // Whether the test fails is not known here: most end with an error and do not panic. The test runner
        // keeps the output of those that pass to itself.
        let said = fs::read(self.stderr_file()).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().rev().take(SHOWN_LINES).collect();
        println!("--- the last lines of millrace on stderr");
        lines.iter().rev().for_each(|line| println!("{line}"));
    }
}

/// The plain address of a listener; the one with TLS, if it has no other.
pub(super) fn either(ready: &Value, name: &str) -> anyhow::Result<SocketAddr> {
    address(ready, name).or_else(|_| address(ready, &format!("{name}Tls")))
}

pub(super) fn address(ready: &Value, name: &str) -> anyhow::Result<SocketAddr> {
    let address = ready[name]
        .as_str()
        .with_context(|| format!("no {name} in {ready}"))?;
    address.parse().with_context(|| format!("{name} in {ready}"))
}
