//! Promise: `helm install --wait` ends once events can be sent: on a cluster that has never seen our kinds
//! the pod makes the default Broker with no rights but the chart's, and is ready only when that Broker is.
//!
//! There is no kubelet here. The test starts the binary with the pod's own arguments and account, and tells
//! the API that the pod is ready when its readiness probe says so.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use http::Method;
use millrace_tests::event::Message;
use millrace_tests::helm::{self, Helm, NAMESPACE, object};
use millrace_tests::kube::served::condition;
use millrace_tests::process::{self, Process};
use millrace_tests::{Client, Event, Kube, ports, wait_until};
use serde_json::{Value, json};

#[tokio::test]
async fn install_wait_ends_once_events_can_be_sent() -> anyhow::Result<()> {
    becomes_ready(&[]).await
}

#[tokio::test]
async fn rights_in_one_namespace_are_enough_for_it() -> anyhow::Result<()> {
    becomes_ready(&[r#"watchNamespaces=["millrace"]"#]).await
}

async fn becomes_ready(values: &[&str]) -> anyhow::Result<()> {
    let Some(kube) = Kube::start().await? else {
        return Ok(());
    };
    let Some(helm) = Helm::with(&kube.kubeconfig())? else {
        return Ok(());
    };
    kube.namespace(NAMESPACE).await?;
    let command = helm::command("install", &[values, &["--wait", "--timeout=10m"]].concat());
    let mut install = helm.start(&command)?;

    let set = object("apps/v1", "StatefulSet", "millrace");
    let made = wait_until("the StatefulSet", || kube.find(&set)).await?;
    let container = &made.data["spec"]["template"]["spec"]["containers"][0];
    let folder = tempfile::tempdir()?;
    let probes = format!("127.0.0.1:{}", ports::free(1)?[0]);
    let account = kube.kubeconfig_of(NAMESPACE, "millrace").await?;
    let mut pod = pod(container, folder.path(), &probes, &account)?;
    let ready: Value = serde_json::from_str(&pod.first_line().await?)?;
    until_ready(probes.parse()?).await?;

    let broker = object("eventing.knative.dev/v1", "Broker", "default");
    let broker = kube.find(&broker).await?.context("ready without the Broker")?;
    ensure!(condition(&broker.data, "Ready") == "True", "{}", broker.data);
    let listen = ready["listen"].as_str().context("no address")?.parse()?;
    let event = Event::new("1", "x").binary();
    let answer = Client::new(listen).post("/millrace/default", &event).await?;
    assert_eq!(answer.status, 202);
    // Helm says how it went when it ends.
    ensure!(install.stdout().is_empty(), "{:?}", install.stdout());

    let status = json!({
        "observedGeneration": made.metadata.generation, "replicas": 1, "readyReplicas": 1, "availableReplicas": 1,
        "currentReplicas": 1, "updatedReplicas": 1, "currentRevision": "1", "updateRevision": "1",
    });
    kube.set_status(&set, &status).await?;
    ensure!(install.ended().await?.success(), "{}", install.stderr());
    ensure!(!pod.stderr().contains("forbidden"), "{}", pod.stderr());
    Ok(())
}

/// Asks as the readiness probe does.
async fn until_ready(probes: SocketAddr) -> anyhow::Result<()> {
    wait_until("the pod to be ready", || async {
        let empty = Message {
            headers: Vec::new(),
            body: bytes::Bytes::new(),
        };
        let answer = Client::new(probes).send(&Method::GET, "/readyz", &empty).await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await
}

/// The container of the pod, with what only a node has in other places.
fn pod(container: &Value, folder: &Path, probes: &str, account: &Path) -> anyhow::Result<Process> {
    let mut command = Command::new(process::binary()?);
    for argument in container["args"].as_array().into_iter().flatten() {
        let argument = argument.as_str().context("an argument is a text")?;
        let (flag, _) = argument.split_once('=').unwrap_or((argument, ""));
        match flag {
            "--data" => command.arg("--data").arg(folder.join("data")),
            "--listen" | "--admin-listen" => command.args([flag, "127.0.0.1:0"]),
            "--probe-listen" => command.args([flag, probes]),
            _ => command.arg(argument),
        };
    }
    command.arg("--kubeconfig").arg(account).current_dir(folder);
    Process::spawn("millrace", command, &folder.join("stderr"))
}
