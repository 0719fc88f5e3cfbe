//! Promise: `helm install --wait` ends once events can be sent: on a cluster that has never seen our kinds
//! the pod makes the default Broker with no rights but the chart's, and is ready only when that Broker is.
//!
//! There is no kubelet here. The test starts the binary with the pod's own arguments and account, and tells
//! the API that the pod is ready when its readiness probe says so.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use kube::core::DynamicObject;
use millrace_tests::access::Access;
use millrace_tests::certificates::Authority;
use millrace_tests::event::Message;
use millrace_tests::helm::{self, Helm, NAMESPACE, object};
use millrace_tests::kube::served::condition;
use millrace_tests::process::{self, Process};
use millrace_tests::{Client, Event, Kube, ports, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A release whose pod runs here.
struct Installed {
    kube: Kube,
    install: Process,
    pod: Process,
    set: DynamicObject,
    /// What the pod has said when it was ready.
    ready: Value,
    folder: TempDir,
}

#[tokio::test]
async fn install_wait_ends_once_events_can_be_sent() -> anyhow::Result<()> {
    becomes_ready(&[]).await
}

#[tokio::test]
async fn rights_in_one_namespace_are_enough_for_it() -> anyhow::Result<()> {
    becomes_ready(&[r#"watchNamespaces=["millrace"]"#]).await
}

async fn becomes_ready(values: &[&str]) -> anyhow::Result<()> {
    let Some(installed) = Installed::start(values, &[]).await? else {
        return Ok(());
    };
    let listen = installed.address("listen")?;
    let event = Event::new("1", "x").binary();
    let answer = Client::new(listen).post("/millrace/default", &event).await?;
    assert_eq!(answer.status, 202);
    installed.end().await
}

#[tokio::test]
async fn by_https_only_it_takes_events_and_orders_of_those_who_log_in() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let authority = Authority::make(folder.path(), "ca")?;
    let pair = authority.server("server")?;
    let mut access = Access::new()?;
    for (name, flags) in [
        ("producer", ["--broker", "millrace/default"]),
        ("reader", ["--admin-role", "read"]),
    ] {
        let token = access.token(name, &flags).await?;
        std::fs::write(access.folder().join(name), token)?;
    }
    let read = |file: &Path| std::fs::read_to_string(file);
    let of = |kind: &str, name: &str| object("v1", kind, name);
    let mut callers = of("ConfigMap", "callers");
    callers["data"] = json!({"access.yaml": read(&access.file())?});
    let mut tls = of("Secret", "millrace-tls");
    tls["type"] = json!("kubernetes.io/tls");
    tls["stringData"] = json!({
        "tls.crt": read(&pair.certificate)?, "tls.key": read(&pair.key)?, "ca.crt": read(&authority.file)?,
    });
    let values = [
        "access.existingConfigMap=callers",
        "tls.existingSecret=millrace-tls",
        "tls.http=false",
        "tls.clientCa.existingSecret=millrace-tls",
        "admin.enabled=true",
        "refs=same-namespace",
        r#"egress.deny=["10.0.0.0/8"]"#,
    ];
    let Some(installed) = Installed::start(&values, &[callers, tls]).await? else {
        return Ok(());
    };
    ensure!(
        installed.ready["listen"].is_null(),
        "http is off: {}",
        installed.ready
    );
    let broker = installed.broker().await?;
    let url = broker["status"]["address"]["url"].as_str().unwrap_or_default();
    assert_eq!(
        url,
        "https://millrace.millrace.svc.cluster.local/millrace/default"
    );

    let (events, orders) = (installed.address("listenTls")?, installed.address("adminTls")?);
    let ca = authority.file.to_string_lossy().into_owned();
    let send = |token: &str| {
        let url = format!("--url=https://{events}");
        let mut args: Vec<String> = [
            "send",
            "--broker=millrace/default",
            "--type=x",
            "--data=1",
            "--ca",
        ]
        .map(str::to_owned)
        .into();
        args.extend([ca.clone(), url]);
        args.extend((!token.is_empty()).then(|| format!("--token-file={token}")));
        args
    };
    let sent = process::run(access.folder(), &send("producer"), "").await?;
    ensure!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let refused = process::run(access.folder(), &send(""), "").await?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && said.contains("401"), "{said}");
    let admin = format!("--admin=https://{orders}");
    let args = ["brokers", &admin, "--ca", &ca, "--token-file=reader"];
    let listed = process::run(access.folder(), &args, "").await?;
    let said = String::from_utf8_lossy(&listed.stdout).into_owned();
    ensure!(
        listed.status.success() && said.contains("millrace/default"),
        "{said}{}",
        String::from_utf8_lossy(&listed.stderr)
    );
    installed.end().await
}

// === impl Installed ===

impl Installed {
    /// Installs with these values, beside these objects, until the pod is ready; `None` when a peer is not
    /// there and not required.
    async fn start(values: &[&str], objects: &[Value]) -> anyhow::Result<Option<Self>> {
        let Some(kube) = Kube::start().await? else {
            return Ok(None);
        };
        let Some(helm) = Helm::with(&kube.kubeconfig())? else {
            return Ok(None);
        };
        kube.namespace(NAMESPACE).await?;
        for object in objects {
            kube.apply(object).await?;
        }
        let command = helm::command("install", &[values, &["--wait", "--timeout=10m"]].concat());
        let install = helm.start(&command)?;

        let set = object("apps/v1", "StatefulSet", "millrace");
        let set = wait_until("the StatefulSet", || kube.find(&set)).await?;
        let spec = &set.data["spec"]["template"]["spec"];
        let folder = tempfile::tempdir()?;
        let mounts = mount(&kube, spec, folder.path()).await?;
        let probes = format!("127.0.0.1:{}", ports::free(1)?[0]);
        let account = kube.kubeconfig_of(NAMESPACE, "millrace").await?;
        let mut pod = pod(&spec["containers"][0], &mounts, folder.path(), &probes, &account)?;
        let ready = serde_json::from_str(&pod.first_line().await?)?;
        until_ready(probes.parse()?).await?;
        let installed = Self {
            kube,
            install,
            pod,
            set,
            ready,
            folder,
        };
        wait_until("the status of the Broker to say so", || async {
            let broker = installed.broker().await?;
            Ok((condition(&broker, "Ready") == "True").then_some(()))
        })
        .await?;
        Ok(Some(installed))
    }

    /// The default Broker.
    async fn broker(&self) -> anyhow::Result<Value> {
        let broker = object("eventing.knative.dev/v1", "Broker", "default");
        let broker = self.kube.find(&broker).await?;
        Ok(broker.context("ready without the Broker")?.data)
    }

    /// One of the addresses that the pod has said.
    fn address(&self, name: &str) -> anyhow::Result<SocketAddr> {
        let said = self.ready[name].as_str();
        Ok(said.with_context(|| self.ready.to_string())?.parse()?)
    }

    /// Says that the pod is ready, which ends the installation.
    async fn end(mut self) -> anyhow::Result<()> {
        // Helm says how it went when it ends.
        let said = self.install.stdout();
        ensure!(said.is_empty(), "{said:?}");
        let status = json!({
            "observedGeneration": self.set.metadata.generation, "replicas": 1, "readyReplicas": 1,
            "availableReplicas": 1, "currentReplicas": 1, "updatedReplicas": 1, "currentRevision": "1",
            "updateRevision": "1",
        });
        let set = object("apps/v1", "StatefulSet", "millrace");
        self.kube.set_status(&set, &status).await?;
        ensure!(self.install.ended().await?.success(), "{}", self.install.stderr());
        ensure!(!self.pod.stderr().contains("forbidden"), "{}", self.pod.stderr());
        drop(self.folder);
        Ok(())
    }
}

/// Writes what a kubelet would mount of Secrets and ConfigMaps; gives where each place of the pod is here.
async fn mount(kube: &Kube, spec: &Value, folder: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut places = Vec::new();
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        let (kind, name) = match (&volume["secret"]["secretName"], &volume["configMap"]["name"]) {
            (Value::String(name), _) => ("Secret", name),
            (_, Value::String(name)) => ("ConfigMap", name),
            _ => continue,
        };
        let found = kube.find(&object("v1", kind, name)).await?;
        let found = found.with_context(|| format!("there is no {kind} {name}"))?;
        let mounts = spec["containers"][0]["volumeMounts"].as_array();
        let mount = mounts
            .into_iter()
            .flatten()
            .find(|mount| mount["name"] == volume["name"]);
        let path = mount.and_then(|mount| mount["mountPath"].as_str());
        let here = folder.join(volume["name"].as_str().unwrap_or_default());
        std::fs::create_dir(&here)?;
        for (key, text) in found.data["data"].as_object().into_iter().flatten() {
            let text = text.as_str().unwrap_or_default();
            let octets = match kind {
                "Secret" => BASE64_STANDARD.decode(text)?,
                _ => text.as_bytes().to_vec(),
            };
            std::fs::write(here.join(key), octets)?;
        }
        places.push((path.context("a volume is mounted")?.to_owned(), here));
    }
    Ok(places)
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
fn pod(
    container: &Value,
    mounts: &[(String, PathBuf)],
    folder: &Path,
    probes: &str,
    account: &Path,
) -> anyhow::Result<Process> {
    let mut command = Command::new(process::binary()?);
    for argument in container["args"].as_array().into_iter().flatten() {
        let argument = argument.as_str().context("an argument is a text")?;
        let (flag, value) = argument.split_once('=').unwrap_or((argument, ""));
        let mounted = mounts.iter().find_map(|(path, here)| {
            let file = value.strip_prefix(path.as_str())?.strip_prefix('/')?;
            Some(here.join(file))
        });
        match flag {
            _ if mounted.is_some() => command.arg(flag).args(mounted),
            "--data" => command.arg("--data").arg(folder.join("data")),
            "--listen" | "--listen-tls" | "--admin-listen" | "--admin-listen-tls" if value != "off" => {
                command.args([flag, "127.0.0.1:0"])
            }
            "--probe-listen" => command.args([flag, probes]),
            _ => command.arg(argument),
        };
    }
    command.arg("--kubeconfig").arg(account).current_dir(folder);
    Process::spawn("millrace", command, &folder.join("stderr"))
}
