//! Pods on the node, as its owner sees them: when they are ready, what runs in them, and how they are ended.

use std::fs;

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::Node;
use super::images::succeed;
use crate::helm::NAMESPACE;
use crate::{mesh, wait_until};

/// A running container of the node.
#[derive(Clone, Debug)]
pub struct Container {
    id: String,
    /// Its first process, as this machine numbers it.
    pub pid: u32,
    /// How often the kubelet has started it again.
    pub restarts: u64,
}

/// A pod by its name.
pub fn pod(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": name}})
}

/// Millrace's own pod.
pub fn millrace() -> Value {
    pod(NAMESPACE, "millrace-0")
}

/// Waits for as long as a kubelet may need that backs off, which is longer than anything else takes.
///
/// # Errors
/// When it is not so by then.
pub async fn patiently<T, F>(what: &str, mut condition: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let mut outcome = wait_until(what, &mut condition).await;
    for _ in 0..4 {
        if outcome.is_ok() {
            break;
        }
        outcome = wait_until(what, &mut condition).await;
    }
    outcome
}

/// Whether a pod says that it is ready, and is not about to go.
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let is_ready = conditions.any(|one| one["type"] == "Ready" && one["status"] == "True");
    is_ready && pod["metadata"]["deletionTimestamp"].is_null()
}

// === impl Node ===

impl Node {
    /// Waits until a pod is ready; gives it.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn until_ready(&self, pod: &Value) -> anyhow::Result<Value> {
        patiently(&format!("{} to be ready", pod["metadata"]["name"]), || async {
            let found = self.kube.seen(pod).await?;
            ensure!(is_ready(&found), "{}", found["status"]);
            Ok(Some(found))
        })
        .await
    }

    /// Waits until a pod is not ready, or gone.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn until_unready(&self, pod: &Value) -> anyhow::Result<()> {
        patiently(
            &format!("{} not to be ready", pod["metadata"]["name"]),
            || async {
                let found = self.kube.find(pod).await?;
                let found = found.map(serde_json::to_value).transpose()?;
                Ok(found.is_none_or(|found| !is_ready(&found)).then_some(()))
            },
        )
        .await
    }

    /// The first container of a pod, which runs.
    ///
    /// # Errors
    /// When there is none, or it does not run.
    pub async fn container(&self, pod: &Value) -> anyhow::Result<Container> {
        let found = self.kube.seen(pod).await?;
        let status = &found["status"]["containerStatuses"][0];
        let id = status["containerID"].as_str().unwrap_or_default();
        let id = id
            .strip_prefix("containerd://")
            .context("no container")?
            .to_owned();
        let mut list = self.ctr();
        list.args(["tasks", "list"]);
        let list = succeed(list).await?;
        let task = list.lines().find(|line| line.starts_with(&id));
        let pid = task.and_then(|line| line.split_whitespace().nth(1));
        let pid = pid
            .with_context(|| format!("{id} does not run:\n{list}"))?
            .parse()?;
        Ok(Container {
            id,
            pid,
            restarts: status["restartCount"].as_u64().unwrap_or_default(),
        })
    }

    /// Sends a signal to the first process of a pod's container; gives the container.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn signal(&self, pod: &Value, signal: Signal) -> anyhow::Result<Container> {
        let container = self.container(pod).await?;
        kill(container.pid, signal)?;
        Ok(container)
    }

    /// Runs `millrace` with these arguments in Millrace's own container, as `kubectl exec` does; gives what
    /// it says.
    ///
    /// # Errors
    /// When it fails.
    pub async fn millrace(&self, args: &[&str]) -> anyhow::Result<String> {
        let container = self.container(&millrace()).await?;
        let mut exec = self.ctr();
        let name = format!("exec-{}", fastrand::u32(..));
        exec.args(["tasks", "exec", "--exec-id", &name, &container.id, "millrace"]);
        exec.args(args);
        succeed(exec).await
    }

    /// Waits until Millrace has settled everything that it has accepted.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn until_settled(&self) -> anyhow::Result<()> {
        patiently("every trigger to settle everything", || async {
            let brokers = self.millrace(&["brokers", "--output", "json"]).await?;
            let triggers = self.millrace(&["triggers", "--output", "json"]).await?;
            let (brokers, triggers) = (serde_json::from_str(&brokers)?, serde_json::from_str(&triggers)?);
            mesh::settled(&brokers, &triggers).map(Some)
        })
        .await
    }
}

/// Sends a signal to a process.
fn kill(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    Ok(kill_process(
        pid.context("invariant: a process has a number")?,
        signal,
    )?)
}

/// `kill -9` for every container of the node, and for the shims that look after them.
pub(super) fn kill_containers() -> anyhow::Result<()> {
    let processes: Vec<(u32, String, u32)> = fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| stat(&entry))
        .collect();
    let shims = processes
        .iter()
        .filter(|(_, name, _)| name.starts_with("containerd-shim"));
    let shims: Vec<u32> = shims.map(|(pid, ..)| *pid).collect();
    ensure!(!shims.is_empty(), "no container runs");
    let inside = processes.iter().filter(|(_, _, parent)| shims.contains(parent));
    let inside: Vec<u32> = inside.map(|(pid, ..)| *pid).collect();
    for pid in shims.into_iter().chain(inside) {
        // It may have ended by itself.
        let _ = kill(pid, Signal::KILL);
    }
    Ok(())
}

/// The number, the name and the parent of a process that has not ended.
fn stat(entry: &fs::DirEntry) -> Option<(u32, String, u32)> {
    let pid = entry.file_name().to_str()?.parse().ok()?;
    let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    let mut fields = after.split_whitespace();
    (fields.next()? != "Z").then_some(())?;
    Some((pid, name, fields.next()?.parse().ok()?))
}
