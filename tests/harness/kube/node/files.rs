//! The files that the node's programs are configured with. Everything lies in the node's folder.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{ADDRESS, DNS, NAME, PODS};
use crate::peers::NodePrograms;

/// Writes all of them.
pub(super) fn write(folder: &Path, programs: &NodePrograms, kubeconfig: &Path) -> anyhow::Result<()> {
    fs::write(
        folder.join("containerd.toml"),
        containerd(folder, &programs.runtime),
    )?;
    fs::create_dir(folder.join("cni"))?;
    // JSON is YAML, and needs no library.
    for (file, content) in [
        ("cni/10-bridge.conflist", network(folder)),
        ("kubelet.yaml", kubelet(folder)),
        ("kube-proxy.yaml", proxy(kubeconfig)),
    ] {
        fs::write(folder.join(file), content.to_string())?;
    }
    // Pods look up names at CoreDNS, which asks nobody further.
    Ok(fs::write(folder.join("resolv.conf"), "")?)
}

/// The machine may be one on which nobody may raise limits or make the kernel spare a process; none of ours
/// needs that.
fn containerd(folder: &Path, runtime: &Path) -> String {
    let (folder, runtime) = (folder.display(), runtime.display());
    format!(
        r#"version = 2
root = "{folder}/containerd"
state = "{folder}/containerd-state"
oom_score = 0
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        BinaryName = "{runtime}/usr/sbin/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{runtime}/usr/lib/cni"
    conf_dir = "{folder}/cni"
"#
    )
}

/// Pods hang on a bridge; there is no other node that they would have to reach.
fn network(folder: &Path) -> Value {
    json!({"cniVersion": "0.4.0", "name": "pods", "plugins": [{
        "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
        "ipam": {
            "type": "host-local", "dataDir": folder.join("addresses"), "ranges": [[{"subnet": PODS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }]})
}

fn kubelet(folder: &Path) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{}/containerd.sock", folder.display()),
        // Nobody but the node's own processes is in its network.
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "address": ADDRESS, "clusterDNS": [DNS], "clusterDomain": "cluster.local",
        "resolvConf": folder.join("resolv.conf"),
        // The machine's cgroups stay as they are, whichever of their versions it has.
        "cgroupDriver": "cgroupfs", "cgroupsPerQOS": false, "enforceNodeAllocatable": [], "failSwapOn": false,
        "localStorageCapacityIsolation": false,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        // Ours are in no registry.
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": folder.join("logs"), "volumePluginDir": folder.join("plugins"),
        "nodeStatusUpdateFrequency": "5s",
        // It goes on where it may not change a limit.
        "featureGates": {"KubeletInUserNamespace": true}, "oomScoreAdj": 0,
        "makeIPTablesUtilChains": false,
    })
}

fn proxy(kubeconfig: &Path) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": "nftables", "clusterCIDR": PODS, "hostnameOverride": NAME,
        "clientConnection": {"kubeconfig": kubeconfig},
        // Settings of the whole machine.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "healthzBindAddress": "127.0.0.1:10256", "metricsBindAddress": "127.0.0.1:10249",
    })
}
