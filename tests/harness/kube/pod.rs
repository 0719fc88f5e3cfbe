//! A pod's view of its cluster: the variables and the files by which a process inside of one knows its API
//! server and itself.
//!
//! The files have one fixed place. They are put there in a mount namespace of the process alone, so nothing
//! is written outside of the test's folders.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::Value;
use tempfile::TempDir;

use super::Kube;
use crate::mesh::Setup;

/// What a pod of a service account finds.
#[derive(Debug)]
pub struct Pod {
    folder: TempDir,
    port: u16,
    namespace: String,
    account: String,
}

/// Mounts the folder `$1` where a pod has its account, and becomes the rest of the arguments.
const MOUNTED: &str = "mount -t tmpfs millrace-test /var/run && cd /var/run && mkdir -p secrets/kubernetes.io/serviceaccount \
    && mount --bind \"$1\" secrets/kubernetes.io/serviceaccount && cd \"$OLDPWD\" && shift && exec \"$@\"";

// === impl Pod ===

impl Pod {
    /// The arguments that start a program in the pod.
    fn before(&self) -> Vec<String> {
        let folder = self.folder.path().to_string_lossy();
        ["unshare", "-Urm", "sh", "-c", MOUNTED, "sh", &folder]
            .map(str::to_owned)
            .to_vec()
    }

    /// Starts the mesh inside of it.
    #[must_use]
    pub fn around(&self, setup: Setup) -> Setup {
        setup
            .before(self.before())
            .environment("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            .environment("KUBERNETES_SERVICE_PORT", &self.port.to_string())
    }

    /// Whether this machine lets a program start in it; else a remark, or a failure where peers are required.
    fn can_be(&self) -> anyhow::Result<bool> {
        let before = self.before();
        let mut command = Command::new(&before[0]);
        command.args(&before[1..]).arg("true");
        crate::peers::can(&mut command, "no mount namespace can be made")
    }

    fn put(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        put(self.folder.path(), name, content)
    }
}

/// In one step, as the kubelet does.
fn put(folder: &Path, name: &str, content: &[u8]) -> anyhow::Result<()> {
    let next = folder.join(format!(".{name}"));
    fs::write(&next, content).with_context(|| format!("writing {}", next.display()))?;
    Ok(fs::rename(next, folder.join(name))?)
}

// === impl Kube ===

impl Kube {
    /// What a pod of a new service account in this namespace finds, which may do only what `rules` say;
    /// `None`, with a remark, where that cannot be made and is not required.
    ///
    /// # Errors
    /// When the API refuses it, or the files cannot be written.
    pub async fn pod(&self, account: &str, namespace: &str, rules: &Value) -> anyhow::Result<Option<Pod>> {
        self.account(account, Some(namespace), rules).await?;
        let pod = Pod {
            folder: tempfile::Builder::new().prefix("millrace-pod-").tempdir()?,
            port: self.port,
            namespace: namespace.to_owned(),
            account: account.to_owned(),
        };
        pod.put("ca.crt", &fs::read(&self.certificates.authority)?)?;
        pod.put("namespace", namespace.as_bytes())?;
        self.renew(&pod).await?;
        Ok(pod.can_be()?.then_some(pod))
    }

    /// Puts a new token where the pod finds it.
    ///
    /// # Errors
    /// When the API gives none.
    pub async fn renew(&self, pod: &Pod) -> anyhow::Result<()> {
        let token = self.token(&pod.namespace, &pod.account).await?;
        pod.put("token", token.as_bytes())
    }

    /// Makes all tokens of the pod worthless: its account goes, and another of the same name comes.
    /// [`Kube::renew`] gives it a token of that one.
    ///
    /// # Errors
    /// When the API refuses it.
    pub async fn revoke(&self, pod: &Pod) -> anyhow::Result<()> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client(), &pod.namespace);
        api.delete(&pod.account, &DeleteParams::default()).await?;
        let account = serde_json::json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": pod.account, "namespace": pod.namespace },
        });
        self.apply(&account).await.map(drop)
    }
}
