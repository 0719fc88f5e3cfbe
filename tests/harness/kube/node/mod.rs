//! A node that runs pods: kubelet, containerd and kube-proxy beside a whole control plane, with CoreDNS for
//! the names in it.
//!
//! It stands on a [`machine`] of its own, so a test that needs one calls [`machine::inside`] first. [`files`]
//! has the configuration of its programs, [`images`] what pods are started from, [`pods`] what is done with
//! pods, and [`callers`] what producers see meanwhile.

pub mod callers;
mod dns;
mod files;
mod images;
pub mod machine;
pub mod pods;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use self::pods::patiently;
use super::{Kube, Reach};
use crate::helm::NAMESPACE;
use crate::peers::{self, NodePrograms};
use crate::process::Process;
use crate::{Helm, Sink, wait_until};

/// The node's address.
pub const ADDRESS: &str = "192.168.77.1";
/// What the node is called.
const NAME: &str = "node1";
/// Where pods have their addresses.
const PODS: &str = "10.244.0.0/24";
/// The Service of CoreDNS.
const DNS: &str = "10.0.0.10";
/// The version of the chart, which is the tag that it takes.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A cluster of one node. Its pods end with the machine.
#[derive(Debug)]
pub struct Node {
    /// The API.
    pub kube: Kube,
    folder: PathBuf,
    programs: NodePrograms,
    kubelet: Process,
    containerd: Process,
    // Held for their end.
    _others: [Process; 3],
}

// === impl Node ===

impl Node {
    /// Starts it in the folder that [`machine::inside`] gave, and waits until it is ready and names can be
    /// looked up; `None` when a peer is not there and not required.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(folder: &Path) -> anyhow::Result<Option<Self>> {
        let Some(programs) = peers::kubernetes_node()? else {
            return Ok(None);
        };
        let Some(kube) = Kube::start_for(Reach::Node).await? else {
            return Ok(None);
        };
        let Some(controllers) = kube.all_controllers()? else {
            return Ok(None);
        };
        let kubeconfig = kube.kubeconfig();
        files::write(folder, &programs, &kubeconfig)?;
        let start = |name: &'static str, configuration: &str| {
            let mut command = with_runtime(&programs.kubernetes.join(name), &programs.runtime);
            command.current_dir(folder).arg(configuration);
            Process::spawn(name, command, &folder.join(format!("{name}.log")))
        };
        let scheduler = start(
            "kube-scheduler",
            &format!("--kubeconfig={}", kubeconfig.display()),
        )?;
        let proxy = start("kube-proxy", "--config=kube-proxy.yaml")?;
        let node = Self {
            containerd: containerd(folder, &programs).await?,
            kubelet: kubelet(folder, &programs, &kubeconfig)?,
            kube,
            folder: folder.to_owned(),
            programs,
            _others: [controllers, scheduler, proxy],
        };
        node.usual_images().await?;
        node.until_node_ready().await?;
        node.with_dns().await?;
        Ok(Some(node))
    }

    async fn until_node_ready(&self) -> anyhow::Result<()> {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME}});
        patiently("the node to be ready", || async {
            let found = self.kube.seen(&node).await?;
            let conditions = found["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            let is_ready = conditions.any(|one| one["type"] == "Ready" && one["status"] == "True");
            ensure!(is_ready, "{}", found["status"]["conditions"]);
            Ok(Some(()))
        })
        .await
    }

    /// containerd's own client.
    fn ctr(&self) -> Command {
        let mut ctr = Command::new(self.programs.runtime.join("usr/bin/ctr"));
        ctr.arg("--address").arg(self.folder.join("containerd.sock"));
        ctr.args(["--namespace", "k8s.io"]);
        ctr
    }

    /// `kill -9` for kubelet and containerd, which are started again. Containers go on meanwhile.
    ///
    /// # Errors
    /// When they do not start.
    pub async fn restart_agents(&mut self) -> anyhow::Result<()> {
        self.kubelet.kill().await?;
        self.containerd.kill().await?;
        self.begin_again().await
    }

    /// `kill -9` for everything on the node, pods too; kubelet and containerd are started again.
    ///
    /// # Errors
    /// When they do not start.
    pub async fn crash(&mut self) -> anyhow::Result<()> {
        self.kubelet.kill().await?;
        self.containerd.kill().await?;
        pods::kill_containers()?;
        self.begin_again().await
    }

    async fn begin_again(&mut self) -> anyhow::Result<()> {
        self.containerd = containerd(&self.folder, &self.programs).await?;
        self.kubelet = kubelet(&self.folder, &self.programs, &self.kube.kubeconfig())?;
        Ok(())
    }

    /// Installs the chart with these values in a namespace that takes only restricted pods, and waits as
    /// `--wait` does; gives Helm.
    ///
    /// # Errors
    /// When Helm is missing although peers are required, or the chart does not become ready.
    pub async fn install(&self, values: &[&str]) -> anyhow::Result<Option<Helm>> {
        let Some(helm) = Helm::with(&self.kube.kubeconfig())? else {
            return Ok(None);
        };
        let enforced = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": enforced},
        });
        self.kube.apply(&namespace).await?;
        self.kube.apply(&self.volume().await?).await?;
        let command = crate::helm::command("install", &[values, &["--wait", "--timeout=5m"]].concat());
        helm.succeed(&command).await?;
        Ok(Some(helm))
    }

    /// A volume for the chart's claim, which is free whatever else lies on this machine. Its plugin gives it
    /// the group that the pod asks for, as those of real disks do.
    async fn volume(&self) -> anyhow::Result<Value> {
        let place = self.volume_folder();
        std::fs::create_dir(&place)?;
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=1g", "millrace-node"])
            .arg(&place);
        images::succeed(mount).await?;
        let term = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [NAME]});
        Ok(json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "disk"},
            "spec": {
                "capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"], "local": {"path": place},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [term]}]}},
            },
        }))
    }

    /// Where the volume lies on the node.
    pub fn volume_folder(&self) -> PathBuf {
        self.folder.join("volume")
    }

    /// The address of a Service in the cluster, as kube-proxy serves it.
    ///
    /// # Errors
    /// When there is no such Service.
    pub async fn cluster_address(&self, namespace: &str, name: &str) -> anyhow::Result<SocketAddr> {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name},
        });
        let found = self.kube.seen(&service).await?;
        let address = found["spec"]["clusterIP"].as_str().context("no address")?;
        let port = found["spec"]["ports"][0]["port"].as_u64().context("no port")?;
        Ok(format!("{address}:{port}").parse()?)
    }

    /// A Service of that name whose only backend is this sink, which listens at the node's address.
    ///
    /// # Errors
    /// When the API refuses it.
    pub async fn service_of(&self, sink: &Sink, namespace: &str, name: &str) -> anyhow::Result<()> {
        let port = sink.address().port();
        let metadata = json!({"namespace": namespace, "name": name});
        self.kube
            .apply(&json!({
                "apiVersion": "v1", "kind": "Service", "metadata": metadata,
                "spec": {"ports": [{"port": 80, "targetPort": port}]},
            }))
            .await?;
        let labels = json!({"kubernetes.io/service-name": name});
        self.kube
            .apply(&json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"namespace": namespace, "name": name, "labels": labels},
                "addressType": "IPv4", "ports": [{"port": port}], "endpoints": [{"addresses": [ADDRESS]}],
            }))
            .await?;
        Ok(())
    }

    /// A sink that pods reach.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn sink(&self) -> anyhow::Result<Sink> {
        Sink::start_on(ADDRESS.parse()?).await
    }
}

/// A program that finds the container runtime's programs and libraries.
fn with_runtime(program: &Path, runtime: &Path) -> Command {
    let below = |places: &[&str]| -> Vec<String> {
        let whole = places
            .iter()
            .map(|place| runtime.join(place).display().to_string());
        whole.collect()
    };
    let mut path = below(&["usr/bin", "usr/sbin"]);
    path.extend(std::env::var("PATH"));
    let mut command = Command::new(program);
    command.env("PATH", path.join(":"));
    let libraries = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    command.env("LD_LIBRARY_PATH", below(&[&libraries]).join(":"));
    command
}

async fn containerd(folder: &Path, programs: &NodePrograms) -> anyhow::Result<Process> {
    let mut command = with_runtime(&programs.runtime.join("usr/bin/containerd"), &programs.runtime);
    command.current_dir(folder).args(["--config", "containerd.toml"]);
    let process = Process::spawn("containerd", command, &folder.join("containerd.log"))?;
    wait_until("containerd to answer", || async {
        let socket = folder.join("containerd.sock");
        tokio::net::UnixStream::connect(&socket).await?;
        Ok(Some(()))
    })
    .await?;
    Ok(process)
}

fn kubelet(folder: &Path, programs: &NodePrograms, kubeconfig: &Path) -> anyhow::Result<Process> {
    let mut command = with_runtime(&programs.kubernetes.join("kubelet"), &programs.runtime);
    command
        .current_dir(folder)
        .args(["--config", "kubelet.yaml", "--hostname-override", NAME]);
    command.arg("--kubeconfig").arg(kubeconfig);
    command.arg("--root-dir").arg(folder.join("kubelet"));
    command.arg("--cert-dir").arg(folder.join("kubelet-certificates"));
    command.args(["--node-ip", ADDRESS]);
    Process::spawn("kubelet", command, &folder.join("kubelet.log"))
}
