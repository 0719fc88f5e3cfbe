//! Kubernetes' own controllers beside the API: namespaces that are deleted become empty and go, what nothing
//! owns any more is collected, roles are added up, and a StatefulSet gets its Pods and claims.

use std::process::Command;

use super::Kube;
use crate::process::Process;
use crate::{peers, ports};

/// Those that a test can see the work of. The others would only take time.
const CONTROLLERS: &str = "namespace-controller,garbage-collector-controller,clusterrole-aggregation-controller,\
                           statefulset-controller";

// === impl Kube ===

impl Kube {
    /// Starts the controllers, which work until the process is dropped; `None` when the peer is not there and
    /// not required.
    ///
    /// # Errors
    /// When they do not start.
    pub fn controllers(&self) -> anyhow::Result<Option<Process>> {
        self.controllers_of(CONTROLLERS)
    }

    /// Starts the controllers of a whole cluster.
    pub(super) fn all_controllers(&self) -> anyhow::Result<Option<Process>> {
        self.controllers_of("*")
    }

    fn controllers_of(&self, list: &str) -> anyhow::Result<Option<Process>> {
        let Some(program) = peers::kube_controller_manager()? else {
            return Ok(None);
        };
        let mut command = Command::new(program);
        command.current_dir(self.folder.path());
        command.arg("--kubeconfig").arg(self.kubeconfig());
        command.args(["--controllers", list, "--leader-elect=false"]);
        // What pods get to know their API by.
        command.arg("--root-ca-file").arg(&self.certificates.authority);
        // Its own server, which nobody asks.
        let port = ports::free(1)?[0].to_string();
        command.args([
            "--bind-address",
            "127.0.0.1",
            "--secure-port",
            &port,
            "--cert-dir",
            "controllers",
        ]);
        let log = self.folder.path().join("kube-controller-manager.log");
        Ok(Some(Process::spawn("kube-controller-manager", command, &log)?))
    }
}
