//! CoreDNS, so that pods find Services by name.

use serde_json::{Value, json};

use super::{DNS, Node};
use crate::kube::node::pods::patiently;

/// Names of the cluster, and no others.
const COREFILE: &str = ".:5353 {\n  errors\n  ready\n  kubernetes cluster.local\n  cache 5\n}\n";

fn object(version: &str, kind: &str, name: &str, more: &Value) -> Value {
    let mut object = json!({
        "apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "kube-system"},
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        object[field] = value.clone();
    }
    object
}

/// It listens above 1024, since its image has a plain user.
fn deployment() -> Value {
    let labels = json!({"k8s-app": "kube-dns"});
    let container = json!({
        "name": "coredns", "image": "localhost/coredns:1", "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
    });
    let pod = json!({
        // It asks the API before it can answer anybody.
        "dnsPolicy": "Default", "serviceAccountName": "coredns", "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    });
    json!({
        "replicas": 1, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    })
}

// === impl Node ===

impl Node {
    /// Starts it, and waits until it answers.
    pub(super) async fn with_dns(&self) -> anyhow::Result<()> {
        let group = "rbac.authorization.k8s.io";
        let rbac = &format!("{group}/v1");
        let verbs = json!(["list", "watch"]);
        let rules = json!([
            {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": verbs},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": verbs},
        ]);
        let subject = json!({"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"});
        let role = json!({"apiGroup": group, "kind": "ClusterRole", "name": "coredns"});
        let port =
            |name, protocol| json!({"name": name, "port": 53, "targetPort": 5353, "protocol": protocol});
        let service = json!({
            "clusterIP": DNS, "selector": {"k8s-app": "kube-dns"}, "ports": [port("dns", "UDP"), port("tcp", "TCP")],
        });
        let deployment = object("apps/v1", "Deployment", "coredns", &json!({"spec": deployment()}));
        for object in [
            object("v1", "ServiceAccount", "coredns", &json!({})),
            object(rbac, "ClusterRole", "coredns", &json!({"rules": rules})),
            object(
                rbac,
                "ClusterRoleBinding",
                "coredns",
                &json!({"roleRef": role, "subjects": [subject]}),
            ),
            object(
                "v1",
                "ConfigMap",
                "coredns",
                &json!({"data": {"Corefile": COREFILE}}),
            ),
            object("v1", "Service", "kube-dns", &json!({"spec": service})),
            deployment.clone(),
        ] {
            self.kube.apply(&object).await?;
        }
        patiently("CoreDNS to answer", || async {
            let found = self.kube.seen(&deployment).await?;
            anyhow::ensure!(found["status"]["availableReplicas"] == 1, "{}", found["status"]);
            Ok(Some(()))
        })
        .await
    }
}
