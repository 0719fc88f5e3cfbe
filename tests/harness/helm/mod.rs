//! Helm with the project's chart, with caches and settings of its own.

pub mod combinations;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::ensure;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::peers;
use crate::process::Process;

/// The namespace of the releases.
pub const NAMESPACE: &str = "millrace";

/// The chart, and the one with the definitions in it.
pub const CHARTS: [&str; 2] = ["charts/millrace", "charts/millrace/charts/millrace-crds"];

/// The version that templates are made for, unless a later flag says otherwise: that of the peer.
const KUBERNETES: &str = "1.34.4";

/// The program, and where it keeps its things.
#[derive(Debug)]
pub struct Helm {
    program: PathBuf,
    folder: TempDir,
    kubeconfig: PathBuf,
}

/// The documents of a YAML text.
///
/// # Errors
/// When it is not YAML.
pub fn documents(yaml: &str) -> anyhow::Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml)?;
    Ok(documents
        .into_iter()
        .filter(|document| !document.is_null())
        .collect())
}

/// The head of an object in the namespace of the releases.
pub fn object(version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}})
}

/// The objects of a kind among those of a release.
pub fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> + Clone {
    objects.iter().filter(move |object| object["kind"] == kind)
}

/// The name of an object.
pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// A chart's folder.
pub fn chart(chart: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(chart)
}

// === impl Helm ===

impl Helm {
    /// Helm without a cluster, or `None` when the peer is not there and not required.
    ///
    /// # Errors
    /// When it is missing although peers are required.
    pub fn alone() -> anyhow::Result<Option<Self>> {
        // A file that does not exist: no cluster of this machine's user is ever reached.
        Self::with(Path::new("no-kubeconfig"))
    }

    /// Helm that works on the cluster of a kubeconfig.
    ///
    /// # Errors
    /// When it is missing although peers are required.
    pub fn with(kubeconfig: &Path) -> anyhow::Result<Option<Self>> {
        let Some(program) = peers::helm()? else {
            return Ok(None);
        };
        let folder = tempfile::tempdir()?;
        Ok(Some(Self {
            program,
            kubeconfig: folder.path().join(kubeconfig),
            folder,
        }))
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> anyhow::Result<Output> {
        let mut command = self.command(args);
        Ok(tokio::task::spawn_blocking(move || command.output()).await??)
    }

    /// Starts a command that waits for something. What it says on stderr is in [`Process::stderr`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start<A: AsRef<OsStr>>(&self, args: &[A]) -> anyhow::Result<Process> {
        Process::spawn("helm", self.command(args), &self.folder.path().join("helm.log"))
    }

    fn command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(self.folder.path());
        command.env("KUBECONFIG", &self.kubeconfig);
        for (name, folder) in [
            ("HELM_CACHE_HOME", "cache"),
            ("HELM_CONFIG_HOME", "config"),
            ("HELM_DATA_HOME", "data"),
        ] {
            command.env(name, self.folder.path().join(folder));
        }
        command
    }

    /// Runs a command that succeeds; gives what it says.
    ///
    /// # Errors
    /// When it fails, with what it says.
    pub async fn succeed<A: AsRef<OsStr>>(&self, args: &[A]) -> anyhow::Result<String> {
        let output = self.run(args).await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.success(),
            "helm ended with {}: {said}",
            output.status
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs a command that is refused; gives why.
    ///
    /// # Errors
    /// When it succeeds.
    pub async fn refuse<A: AsRef<OsStr>>(&self, args: &[A]) -> anyhow::Result<String> {
        let output = self.run(args).await?;
        ensure!(!output.status.success(), "helm succeeded");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// What a release with these values consists of.
    ///
    /// # Errors
    /// When the chart refuses them.
    pub async fn template(&self, values: &[&str]) -> anyhow::Result<Vec<Value>> {
        let mut all = vec!["--kube-version", KUBERNETES];
        all.extend(values);
        documents(&self.succeed(&command("template", &all)).await?)
    }
}

/// `helm template` or the like: of the release `millrace`, with `name=value` for each value, or a flag.
pub fn command(verb: &str, values: &[&str]) -> Vec<String> {
    let place = chart(CHARTS[0]).to_string_lossy().into_owned();
    let mut args = vec![verb.to_owned(), "millrace".to_owned(), place];
    args.extend(["--namespace", NAMESPACE].map(str::to_owned));
    for value in values {
        if value.contains('=') && !value.starts_with('-') {
            let (_, given) = value.split_once('=').unwrap_or_default();
            let is_json = given.starts_with(['[', '{']) && serde_json::from_str::<Value>(given).is_ok();
            args.push(if is_json { "--set-json" } else { "--set" }.to_owned());
        }
        args.push((*value).to_owned());
    }
    args
}
