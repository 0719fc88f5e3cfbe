//! Real clients, servers and payloads of other people, found where `cargo xtask peers` put them.
//!
//! Each is `None`, with a remark that names the test that is skipped, where it is not there and not required.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::process::Process;

/// A real client, and how to run a script with it.
#[derive(Clone, Debug)]
pub struct Peer {
    name: &'static str,
    environment: PathBuf,
    program: PathBuf,
}

/// PyPI's `cloudevents`.
///
/// # Errors
/// When it is missing although peers are required.
pub fn python() -> anyhow::Result<Option<Peer>> {
    const LOCK: &str = include_str!("../peers/python/requirements.txt");
    let version = version(LOCK, "cloudevents==").context("invariant: the lock names a version")?;
    let environment = found("python-cloudevents", version)?;
    Ok(environment.map(|environment| Peer {
        name: "python-cloudevents",
        program: environment.join("bin/python"),
        environment,
    }))
}

/// npm's `cloudevents`.
///
/// # Errors
/// When it is missing although peers are required.
pub fn node() -> anyhow::Result<Option<Peer>> {
    const LOCK: &str = include_str!("../peers/node/package-lock.json");
    let version = version(LOCK, "\"cloudevents\": \"").context("invariant: the lock names a version")?;
    let environment = found("node-cloudevents", version)?;
    Ok(environment.map(|environment| Peer {
        name: "node-cloudevents",
        program: PathBuf::from("node"),
        environment,
    }))
}

/// PyPI's `standardwebhooks`.
///
/// # Errors
/// When it is missing although peers are required.
pub fn standard_webhooks_python() -> anyhow::Result<Option<Peer>> {
    const LOCK: &str = include_str!("../peers/standard-webhooks-python/requirements.txt");
    let version = version(LOCK, "standardwebhooks==").context("invariant: the lock names a version")?;
    let environment = found("python-standardwebhooks", version)?;
    Ok(environment.map(|environment| Peer {
        name: "python-standardwebhooks",
        program: environment.join("bin/python"),
        environment,
    }))
}

/// AWS's library for Python.
///
/// # Errors
/// When it is missing although peers are required.
pub fn botocore() -> anyhow::Result<Option<Peer>> {
    const LOCK: &str = include_str!("../peers/botocore/requirements.txt");
    let version = version(LOCK, "botocore==").context("invariant: the lock names a version")?;
    let environment = found("python-botocore", version)?;
    Ok(environment.map(|environment| Peer {
        name: "python-botocore",
        program: environment.join("bin/python"),
        environment,
    }))
}

/// npm's `standardwebhooks`.
///
/// # Errors
/// When it is missing although peers are required.
pub fn standard_webhooks_node() -> anyhow::Result<Option<Peer>> {
    const LOCK: &str = include_str!("../peers/standard-webhooks-node/package-lock.json");
    let version = version(LOCK, "\"standardwebhooks\": \"").context("invariant: the lock names a version")?;
    let environment = found("node-standardwebhooks", version)?;
    Ok(environment.map(|environment| Peer {
        name: "node-standardwebhooks",
        program: PathBuf::from("node"),
        environment,
    }))
}

/// npm's `jose`, which makes the keys and tokens of issuers.
///
/// # Errors
/// When it is missing although peers are required.
pub fn jose_node() -> anyhow::Result<Option<Peer>> {
    const LOCK: &str = include_str!("../peers/jose-node/package-lock.json");
    let version = version(LOCK, "\"jose\": \"").context("invariant: the lock names a version")?;
    let environment = found("node-jose", version)?;
    Ok(environment.map(|environment| Peer {
        name: "node-jose",
        program: PathBuf::from("node"),
        environment,
    }))
}

/// npm's `oidc-provider`, a provider of OpenID Connect.
///
/// # Errors
/// When it is missing although peers are required.
pub fn oidc_provider() -> anyhow::Result<Option<Peer>> {
    const LOCK: &str = include_str!("../peers/oidc-node/package-lock.json");
    let version = version(LOCK, "\"oidc-provider\": \"").context("invariant: the lock names a version")?;
    let environment = found("node-oidc-provider", version)?;
    Ok(environment.map(|environment| Peer {
        name: "node-oidc-provider",
        program: PathBuf::from("node"),
        environment,
    }))
}

/// A set of recorded payloads: those of one GitHub.
#[derive(Clone, Debug)]
pub struct Payloads {
    /// Its folder: `api.github.com`, or `ghes-35` for GitHub Enterprise Server 3.5.
    pub github: String,
    /// `{name, description, examples}`, one for each event, where `name` is the value of `X-GitHub-Event` and
    /// each example is a body.
    pub kinds: Vec<Value>,
}

/// All payloads of npm's `@octokit/webhooks-examples`, whose folders are the sets.
///
/// # Errors
/// When they are missing although peers are required, or cannot be read.
pub fn webhooks() -> anyhow::Result<Option<Vec<Payloads>>> {
    const LOCK: &str = include_str!("../peers/webhooks/package-lock.json");
    let version =
        version(LOCK, "\"@octokit/webhooks-examples\": \"").context("invariant: the lock names a version")?;
    let Some(environment) = found("webhooks-examples", version)? else {
        return Ok(None);
    };
    let package = environment.join("node_modules/@octokit/webhooks-examples");
    let mut sets = Vec::new();
    for entry in fs::read_dir(&package).with_context(|| format!("reading {}", package.display()))? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let index = entry.path().join("index.json");
        let text = fs::read(&index).with_context(|| format!("reading {}", index.display()))?;
        sets.push(Payloads {
            github: entry.file_name().to_string_lossy().into_owned(),
            kinds: serde_json::from_slice(&text)?,
        });
    }
    sets.sort_by(|one, other| one.github.cmp(&other.github));
    Ok(Some(sets))
}

/// The folder of Kafka's jars.
#[cfg(feature = "servers")]
pub(crate) fn kafka() -> anyhow::Result<Option<PathBuf>> {
    const LOCK: &str = include_str!("../peers/kafka/pom.xml");
    let version = version(LOCK, "<artifactId>kafka_2.13</artifactId>\n      <version>")
        .context("invariant: the lock names a version")?;
    Ok(found("kafka", version)?.map(|environment| environment.join("lib")))
}

/// The program nats-server.
#[cfg(feature = "servers")]
pub(crate) fn nats_server() -> anyhow::Result<Option<PathBuf>> {
    const LOCK: &str = include_str!("../peers/nats-server/go.mod");
    let version = version(LOCK, "github.com/nats-io/nats-server/v2 v")
        .context("invariant: the lock names a version")?;
    Ok(found("nats-server", version)?.map(|environment| environment.join("nats-server")))
}

/// The program etcd.
#[cfg(feature = "servers")]
pub(crate) fn etcd() -> anyhow::Result<Option<PathBuf>> {
    const LOCK: &str = include_str!("../peers/etcd/go.mod");
    let version =
        version(LOCK, "go.etcd.io/etcd/server/v3 v").context("invariant: the lock names a version")?;
    Ok(found("etcd", version)?.map(|environment| environment.join("etcd")))
}

/// The program kube-apiserver.
#[cfg(feature = "servers")]
pub(crate) fn kube_apiserver() -> anyhow::Result<Option<PathBuf>> {
    const LOCK: &str = include_str!("../peers/kube-apiserver/go.mod");
    let version = version(LOCK, "k8s.io/kubernetes v").context("invariant: the lock names a version")?;
    Ok(found("kube-apiserver", version)?.map(|environment| environment.join("kube-apiserver")))
}

/// The program kube-controller-manager.
#[cfg(feature = "servers")]
pub(crate) fn kube_controller_manager() -> anyhow::Result<Option<PathBuf>> {
    const LOCK: &str = include_str!("../peers/kube-controller-manager/go.mod");
    let version = version(LOCK, "k8s.io/kubernetes v").context("invariant: the lock names a version")?;
    let environment = found("kube-controller-manager", version)?;
    Ok(environment.map(|environment| environment.join("kube-controller-manager")))
}

/// The folders of what makes a machine a node.
#[cfg(feature = "servers")]
#[derive(Clone, Debug)]
pub(crate) struct NodePrograms {
    /// kubelet, kube-proxy, kube-scheduler and pause.
    pub(crate) kubernetes: PathBuf,
    /// The program coredns.
    pub(crate) coredns: PathBuf,
    /// The root of containerd, runc, the network's plugins, and nft.
    pub(crate) runtime: PathBuf,
}

/// What makes a machine a node.
#[cfg(feature = "servers")]
pub(crate) fn kubernetes_node() -> anyhow::Result<Option<NodePrograms>> {
    const KUBERNETES: &str = include_str!("../peers/kubernetes-node/go.mod");
    const COREDNS: &str = include_str!("../peers/coredns/go.mod");
    const RUNTIME: &str = include_str!("../peers/container-runtime/SHA256SUMS");
    let peer = |name, lock, after| {
        let version = version(lock, after).context("invariant: the lock names a version")?;
        found(name, version)
    };
    let kubernetes = peer("kubernetes-node", KUBERNETES, "k8s.io/kubernetes v")?;
    let coredns = peer("coredns", COREDNS, "github.com/coredns/coredns v")?;
    let runtime = peer("container-runtime", RUNTIME, "containerd_")?;
    let (Some(kubernetes), Some(coredns), Some(runtime)) = (kubernetes, coredns, runtime) else {
        return Ok(None);
    };
    Ok(Some(NodePrograms {
        kubernetes,
        coredns: coredns.join("coredns"),
        runtime,
    }))
}

/// The program helm.
#[cfg(feature = "servers")]
pub(crate) fn helm() -> anyhow::Result<Option<PathBuf>> {
    const LOCK: &str = include_str!("../peers/helm/go.mod");
    let version = version(LOCK, "helm.sh/helm/v4 v").context("invariant: the lock names a version")?;
    Ok(found("helm", version)?.map(|environment| environment.join("helm")))
}

/// The program helm-unittest.
///
/// # Errors
/// When it is missing although peers are required.
pub fn helm_unittest() -> anyhow::Result<Option<PathBuf>> {
    const LOCK: &str = include_str!("../peers/helm-unittest/go.mod");
    let version = version(LOCK, "github.com/helm-unittest/helm-unittest v")
        .context("invariant: the lock names a version")?;
    Ok(found("helm-unittest", version)?.map(|environment| environment.join("helm-unittest")))
}

/// The environment of a peer; `None`, with a remark that says what is skipped, when it is not there and not
/// required.
fn found(name: &str, version: &str) -> anyhow::Result<Option<PathBuf>> {
    let environment = cache()?.join(format!("{name}-{version}"));
    if environment.join("LOCK").exists() {
        return Ok(Some(environment));
    }
    let reason =
        format!("the peer {name} {version} is not there; `cargo xtask peers` makes it, or `peers --long`");
    skip(&reason)?;
    Ok(None)
}

/// Says what is not tested: straight to the terminal, past the capture of the test's output, since it must be
/// seen.
///
/// # Errors
/// The reason, where nothing may be skipped.
pub(crate) fn skip(reason: &str) -> anyhow::Result<()> {
    use std::io::Write as _;

    if std::env::var_os("MILLRACE_REQUIRE_PEERS").is_some_and(|value| value == "1") {
        bail!("{reason} (MILLRACE_REQUIRE_PEERS=1)");
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
    Ok(())
}

/// Whether this machine can run a command; if not, prints a remark that says what is `lacking`, and why.
///
/// # Errors
/// The reason, where nothing may be skipped.
pub fn can(command: &mut Command, lacking: &str) -> anyhow::Result<bool> {
    let refused = match command.output() {
        Ok(output) if output.status.success() => return Ok(true),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    skip(&format!("{lacking}: {refused}"))?;
    Ok(false)
}

/// The same place as in `xtask/src/peers.rs`.
fn cache() -> anyhow::Result<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(base
        .context("neither XDG_CACHE_HOME nor HOME is set")?
        .join("millrace/peers"))
}

/// The version that follows `after`, up to what cannot be part of one.
fn version<'a>(pinned: &'a str, after: &str) -> Option<&'a str> {
    let (_, rest) = pinned.split_once(after)?;
    let end = rest
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        .unwrap_or(rest.len());
    Some(&rest[..end])
}

// === impl Peer ===

impl Peer {
    /// Runs a script of `tests/peers/` with arguments, to its end.
    ///
    /// # Errors
    /// When it fails; what it said is in the error.
    pub async fn run(&self, script: &str, args: &[String]) -> anyhow::Result<String> {
        let mut command = self.command(script, args);
        let output: Output = tokio::task::spawn_blocking(move || command.output()).await??;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        anyhow::ensure!(
            output.status.success(),
            "{} ended with {}: {said}",
            self.name,
            output.status
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Starts a serving script of `tests/peers/`. Its standard error goes to the file `stderr`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, script: &str, args: &[String], stderr: &Path) -> anyhow::Result<Process> {
        Process::spawn(self.name, self.command(script, args), stderr)
    }

    fn command(&self, script: &str, args: &[String]) -> Command {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("peers")
            .join(script);
        let mut command = Command::new(&self.program);
        command
            .arg(script)
            .args(args)
            .env("NODE_PATH", self.environment.join("node_modules"));
        command
    }
}
