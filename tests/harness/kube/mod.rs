//! A real Kubernetes API in a folder of its own: kube-apiserver on etcd, and no controllers unless
//! [`controllers`] starts them.
//!
//! Without them there is no garbage collection and no deletion of namespaces: a test takes a namespace of its
//! own. No Pod runs, except on a [`node`]. The API keeps its data and its port over [`Kube::kill`] and
//! [`Kube::restart`]. [`access`] is who may do what, [`pod`] how that looks from inside, [`watched`] a source
//! that looks at it, [`served`] a mesh whose documents are its objects, [`stage`] that with a subscriber, and
//! [`requests`] what other clients send.

pub mod access;
pub mod controllers;
mod etcd;
pub mod node;
pub mod pod;
pub mod requests;
pub mod served;
pub mod stage;
pub mod watched;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kube::api::{ListParams, Patch, PatchParams};
use kube::core::DynamicObject;
use kube::discovery::pinned_kind;
use kube::{Api, Client};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::etcd::Etcd;
use crate::certificates::Certificates;
use crate::mesh::{Mesh, Setup};
use crate::process::Process;
use crate::{peers, ports, wait_until};

/// How often a start is tried: another process may have taken one of its ports.
const TRIES: usize = 3;

/// Who reaches the API.
#[derive(Clone, Copy, Debug)]
enum Reach {
    /// Processes of this machine, on `127.0.0.1`. No Pod runs, and none needs a service account.
    Loopback,
    /// The pods of the node as well, at its address.
    Node,
}

/// A Kubernetes API. Dropping it kills it and deletes its data.
pub struct Kube {
    // Before the folder, so that they are dead when that is deleted.
    process: Option<Process>,
    etcd: Etcd,
    folder: TempDir,
    program: PathBuf,
    port: u16,
    reach: Reach,
    certificates: Certificates,
    client: Client,
}

impl std::fmt::Debug for Kube {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kube")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

// === impl Kube ===

impl Kube {
    /// Starts etcd and the API; `None` when a peer is not there and not required.
    ///
    /// # Errors
    /// When one of them does not start.
    pub async fn start() -> anyhow::Result<Option<Self>> {
        Self::start_for(Reach::Loopback).await
    }

    async fn start_for(reach: Reach) -> anyhow::Result<Option<Self>> {
        let (Some(etcd), Some(program)) = (peers::etcd()?, peers::kube_apiserver()?) else {
            return Ok(None);
        };
        let mut tries = 1;
        loop {
            match Self::begin(&etcd, &program, reach).await {
                Ok(kube) => return Ok(Some(kube)),
                Err(error) if tries == TRIES => return Err(error),
                Err(_) => tries += 1,
            }
        }
    }

    async fn begin(etcd: &Path, program: &Path, reach: Reach) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let etcd = Etcd::start(etcd, folder.path()).await?;
        let certificates = Certificates::make(folder.path())?;
        fs::write(
            folder.path().join("tokens.csv"),
            format!("{},admin,1,\"system:masters\"\n", access::ADMIN),
        )?;
        let port = ports::free(1)?[0];
        let kubeconfig = access::kubeconfig(folder.path(), "admin", port, &certificates, access::ADMIN)?;
        let mut kube = Self {
            process: None,
            etcd,
            client: access::client(&kubeconfig).await?,
            folder,
            program: program.to_owned(),
            port,
            reach,
            certificates,
        };
        kube.launch().await?;
        Ok(kube)
    }

    async fn launch(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        command.current_dir(self.folder.path()).args(self.flags());
        let log = self.folder.path().join("kube-apiserver.log");
        let mut process = Process::spawn("kube-apiserver", command, &log)?;
        let client = &self.client;
        process
            .until_ready(|| async {
                // While it starts nobody listens; that is no failure yet.
                let request = http::Request::get("/readyz").body(Vec::new())?;
                Ok(client.request_text(request).await.is_ok_and(|text| text == "ok"))
            })
            .await?;
        self.process = Some(process);
        Ok(())
    }

    fn flags(&self) -> Vec<String> {
        let file = |path: &Path| path.display().to_string();
        let server = &self.certificates.server;
        let reach = match self.reach {
            Reach::Loopback => [
                ("bind-address", "127.0.0.1"),
                ("disable-admission-plugins", "ServiceAccount"),
            ],
            Reach::Node => [
                ("advertise-address", node::ADDRESS),
                // The names of nodes are nobody's to look up.
                ("kubelet-preferred-address-types", "InternalIP"),
            ],
        };
        let reach = reach.map(|(flag, value)| (flag, value.to_owned()));
        [
            ("etcd-servers", self.etcd.url()),
            // What is compacted is up to the test.
            ("etcd-compaction-interval", "0".to_owned()),
            ("secure-port", self.port.to_string()),
            ("tls-cert-file", file(&server.certificate)),
            ("tls-private-key-file", file(&server.key)),
            (
                "service-account-issuer",
                "https://kubernetes.default.svc".to_owned(),
            ),
            // The public key is taken from the certificate.
            ("service-account-key-file", file(&server.certificate)),
            ("service-account-signing-key-file", file(&server.key)),
            ("service-cluster-ip-range", "10.0.0.0/24".to_owned()),
            ("token-auth-file", "tokens.csv".to_owned()),
            ("authorization-mode", "RBAC".to_owned()),
            // A beta in this version: they are what writes defaults that look at other fields.
            ("feature-gates", "MutatingAdmissionPolicy=true".to_owned()),
            (
                "runtime-config",
                "admissionregistration.k8s.io/v1beta1=true".to_owned(),
            ),
        ]
        .into_iter()
        .chain(reach)
        .map(|(flag, value)| format!("--{flag}={value}"))
        .collect()
    }

    /// A client that may do everything. It outlives restarts.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The kubeconfig of a user who may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("admin.kubeconfig")
    }

    /// A mesh with these documents, which may name the kubeconfigs of this server.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn mesh(&self, documents: &str) -> anyhow::Result<Mesh> {
        let setup = Setup::new(documents)?.secret_dir(self.folder.path());
        setup.start().await
    }

    /// The certificate of who vouches for it.
    pub fn authority(&self) -> &Path {
        &self.certificates.authority
    }

    /// The port of the API on `127.0.0.1`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `kill -9` for the API; etcd goes on.
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

    /// Starts the API on the same data and port; kills it first when it runs, which ends all watches. (Its
    /// own way to end waits for open watches longer than any test does, and it has no state that it could
    /// lose.)
    ///
    /// # Errors
    /// When it does not end or not start.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill().await?;
        let mut tries = 1;
        while let Err(error) = self.launch().await {
            anyhow::ensure!(tries < TRIES, error);
            tries += 1;
        }
        Ok(())
    }

    /// Makes all versions up to now too old: a watch that goes on from one of them is answered with 410, as
    /// it is after a long pause. etcd drops its history, and a restart of the API drops what it had cached of
    /// it.
    ///
    /// # Errors
    /// When etcd refuses, or the API does not start again.
    pub async fn forget_history(&mut self) -> anyhow::Result<()> {
        self.etcd.compact().await?;
        self.restart().await
    }

    /// Creates a namespace, or finds it.
    ///
    /// # Errors
    /// When the API refuses it.
    pub async fn namespace(&self, name: &str) -> anyhow::Result<()> {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        self.apply(&namespace).await.map(drop)
    }

    /// Applies one object of any kind that the API knows, as `kubectl apply --server-side` does; gives what
    /// it became.
    ///
    /// # Errors
    /// When the API does not know its kind, or refuses it.
    pub async fn apply(&self, object: &Value) -> anyhow::Result<DynamicObject> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let params = PatchParams::apply("the-test").force();
        Ok(self
            .api(object)
            .await?
            .patch(name, &params, &Patch::Apply(object))
            .await?)
    }

    /// Asks the API whether it would take an object, as `kubectl apply --server-side --dry-run=server
    /// --validate=strict` does: nothing is stored, and a field that it does not know is refused too.
    ///
    /// # Errors
    /// When it does not know the kind, or would refuse the object.
    pub async fn would_take(&self, object: &Value) -> anyhow::Result<()> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let params = PatchParams::apply("the-test")
            .force()
            .dry_run()
            .validation_strict();
        self.api(object)
            .await?
            .patch(name, &params, &Patch::Apply(object))
            .await?;
        Ok(())
    }

    /// The object of this kind, namespace and name; `None` when there is none.
    ///
    /// # Errors
    /// When the API does not know its kind, or does not answer.
    pub async fn find(&self, object: &Value) -> anyhow::Result<Option<DynamicObject>> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        Ok(self.api(object).await?.get_opt(name).await?)
    }

    /// Says how an object stands, in the place of the controller that would: its `status` becomes this.
    ///
    /// # Errors
    /// When there is no such object, or the API refuses it.
    pub async fn set_status(&self, object: &Value, status: &Value) -> anyhow::Result<()> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let patch = Patch::Merge(json!({ "status": status }));
        let api = self.api(object).await?;
        api.patch_status(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Deletes the object of this kind, namespace and name.
    ///
    /// # Errors
    /// When there is none.
    pub async fn delete(&self, object: &Value) -> anyhow::Result<()> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        self.api(object)
            .await?
            .delete(name, &kube::api::DeleteParams::default())
            .await?;
        Ok(())
    }

    /// Applies a CustomResourceDefinition, and waits until its kind is served and found.
    ///
    /// # Errors
    /// When the API refuses it, or does not serve it before the deadline.
    pub async fn define(&self, definition: &Value) -> anyhow::Result<()> {
        self.apply(definition).await?;
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        let api = self.api(definition).await?;
        let spec = &definition["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = json!({
            "apiVersion": format!("{}/{}", text(&spec["group"]), text(&spec["versions"][0]["name"])),
            "kind": spec["names"]["kind"],
        });
        wait_until(&format!("{name} to be served"), || async {
            let conditions = api.get(name).await?.data["status"]["conditions"].clone();
            let established = conditions.as_array().is_some_and(|conditions| {
                conditions
                    .iter()
                    .any(|one| one["type"] == "Established" && one["status"] == "True")
            });
            // It is served a little before it is listed where clients look for it.
            self.api(&object).await?.list(&ListParams::default()).await?;
            Ok(established.then_some(()))
        })
        .await
    }

    /// The part of the API for objects like this one.
    async fn api(&self, object: &Value) -> anyhow::Result<Api<DynamicObject>> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let version = text(&object["apiVersion"]);
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        let kind = kube::core::GroupVersionKind::gvk(group, version, &text(&object["kind"]));
        let (resource, capabilities) = pinned_kind(&self.client, &kind).await?;
        Ok(
            match (capabilities.scope, object["metadata"]["namespace"].as_str()) {
                (kube::discovery::Scope::Namespaced, namespace) => {
                    Api::namespaced_with(self.client.clone(), namespace.unwrap_or("default"), &resource)
                }
                (kube::discovery::Scope::Cluster, _) => Api::all_with(self.client.clone(), &resource),
            },
        )
    }
}
