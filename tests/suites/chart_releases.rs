//! Promise: a release of the chart takes nothing that belongs to others, and leaves definitions and their
//! objects behind when it goes; what its notes say works.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context as _, ensure};
use millrace_tests::helm::{self, Helm, NAMESPACE, object};
use millrace_tests::kube::access;
use millrace_tests::{Kube, Mesh, Page, wait_until};
use serde_json::{Value, json};

const SET: &str = "millrace";

fn set() -> Value {
    object("apps/v1", "StatefulSet", SET)
}

fn definition(name: &str) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name}})
}

const TRIGGERS: &str = "triggers.eventing.knative.dev";
const CRONS: &str = "cronsources.sources.millrace.dev";

/// As Knative Eventing labels it, and otherwise the least that the API takes.
fn foreign_triggers() -> Value {
    let mut foreign = definition(TRIGGERS);
    foreign["metadata"]["labels"] = json!({"app.kubernetes.io/name": "knative-eventing"});
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    foreign["spec"] = json!({
        "group": "eventing.knative.dev", "scope": "Namespaced", "names": {"kind": "Trigger", "plural": "triggers"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
    });
    foreign
}

/// What the container is started with.
async fn arguments(kube: &Kube) -> anyhow::Result<String> {
    let set = kube.find(&set()).await?.context("no StatefulSet")?;
    Ok(set.data["spec"]["template"]["spec"]["containers"][0]["args"].to_string())
}

#[tokio::test]
async fn definitions_of_knative_eventing_are_left_alone() -> anyhow::Result<()> {
    let Some(kube) = Kube::start().await? else {
        return Ok(());
    };
    let Some(helm) = Helm::with(&kube.kubeconfig())? else {
        return Ok(());
    };
    kube.namespace(NAMESPACE).await?;
    kube.define(&foreign_triggers()).await?;
    let before = kube.find(&definition(TRIGGERS)).await?;

    let said = helm.refuse(&helm::command("install", &[])).await?;
    ensure!(
        said.contains(TRIGGERS) && said.contains("set crds.eventing=skip"),
        "{said}"
    );
    assert!(kube.find(&set()).await?.is_none());
    assert!(kube.find(&definition(CRONS)).await?.is_none());

    let values = ["crds.eventing=skip", "defaultBroker.create=false"];
    helm.succeed(&helm::command("install", &values)).await?;
    assert_eq!(kube.find(&definition(TRIGGERS)).await?, before);
    assert!(kube.find(&definition(CRONS)).await?.is_some());
    // Brokers without a class are Knative's.
    let arguments = arguments(&kube).await?;
    ensure!(!arguments.contains("--default-class"), "{arguments}");
    Ok(())
}

#[tokio::test]
async fn a_release_that_goes_leaves_definitions_and_objects() -> anyhow::Result<()> {
    let Some(kube) = Kube::start().await? else {
        return Ok(());
    };
    let Some(helm) = Helm::with(&kube.kubeconfig())? else {
        return Ok(());
    };
    kube.namespace(NAMESPACE).await?;
    let notes = helm.succeed(&helm::command("install", &[])).await?;
    ensure!(
        arguments(&kube)
            .await?
            .contains("--ensure-broker=millrace/default")
    );
    the_lines_of_the_notes_work(&notes).await?;
    the_pages_show_what_is_taken(&kube).await?;

    helm.succeed(&helm::command("upgrade", &["durability=os"]))
        .await?;
    ensure!(arguments(&kube).await?.contains("--durability=os"));
    helm.succeed(&["rollback", SET, "--namespace", NAMESPACE]).await?;
    ensure!(arguments(&kube).await?.contains("--durability=sync"));

    let broker = object("eventing.knative.dev/v1", "Broker", "mine");
    kube.apply(&broker).await?;
    let uid = uid_of_triggers(&kube).await?;
    helm.succeed(&["uninstall", SET, "--namespace", NAMESPACE])
        .await?;
    assert!(kube.find(&set()).await?.is_none());
    assert_eq!(uid_of_triggers(&kube).await?, uid);
    assert!(kube.find(&broker).await?.is_some());

    helm.succeed(&helm::command("install", &[])).await?;
    another_release_asks(&helm).await
}

async fn uid_of_triggers(kube: &Kube) -> anyhow::Result<Option<String>> {
    let found = kube.find(&definition(TRIGGERS)).await?;
    Ok(found.context("no definition")?.metadata.uid)
}

/// The documents that readers are told to apply.
async fn the_pages_show_what_is_taken(kube: &Kube) -> anyhow::Result<()> {
    kube.namespace("shop").await?;
    let mut kinds = BTreeSet::new();
    for page in [
        "docs/guides/kubernetes.md",
        "docs/guides/from-knative.md",
        "docs/operations/kubernetes.md",
    ] {
        for block in Page::read(page)?.yaml() {
            for document in helm::documents(block)? {
                // A kind that the API does not know comes with a driver of volumes.
                if document["kind"] != "VolumeSnapshot" {
                    let taken = kube.would_take(&document).await;
                    taken.with_context(|| format!("{page}: {document}"))?;
                }
                kinds.insert(document["kind"].to_string());
            }
        }
    }
    ensure!(kinds.len() >= 5, "{kinds:?}");
    Ok(())
}

/// A second release would share the definitions: it says so, and takes them only if it is told to.
async fn another_release_asks(helm: &Helm) -> anyhow::Result<()> {
    let mut other = helm::command("install", &["fullnameOverride=other"]);
    "other".clone_into(&mut other[1]);
    let said = helm.refuse(&other).await?;
    ensure!(
        said.contains("belongs to the release millrace in the namespace millrace"),
        "{said}"
    );
    ensure!(said.contains("crds.adopt=true with --take-ownership"), "{said}");
    other.extend(["--set", "crds.adopt=true", "--take-ownership"].map(str::to_owned));
    helm.succeed(&other).await.map(drop)
}

/// Types the `curl` lines, with the address of a mesh that has that Broker.
async fn the_lines_of_the_notes_work(notes: &str) -> anyhow::Result<()> {
    let broker = format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: default, namespace: {NAMESPACE}}}\n"
    );
    let mesh = Mesh::start(&broker).await?;
    let lines: Vec<&str> = notes
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("curl "))
        .collect();
    assert_eq!(lines.len(), 2, "{notes}");
    for (line, service) in lines.into_iter().zip([
        "http://millrace.millrace.svc.cluster.local/",
        "http://localhost:8080/",
    ]) {
        ensure!(line.contains(service), "{line}");
        let line = line.replace(service, &mesh.url(""));
        let output =
            tokio::task::spawn_blocking(move || Command::new("sh").arg("-c").arg(line).output()).await??;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(said.starts_with("HTTP/1.1 202"), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn roles_are_added_up_and_the_volume_outlives_the_release() -> anyhow::Result<()> {
    let Some(kube) = Kube::start().await? else {
        return Ok(());
    };
    let (Some(helm), Some(_controllers)) = (Helm::with(&kube.kubeconfig())?, kube.controllers()?) else {
        return Ok(());
    };
    kube.namespace(NAMESPACE).await?;
    helm.succeed(&helm::command("install", &[])).await?;

    // Another product says how its kind is addressed: the account may read it.
    let mut foreign = object(
        "rbac.authorization.k8s.io/v1",
        "ClusterRole",
        "of-another-product",
    );
    foreign["metadata"] =
        json!({"name": "of-another-product", "labels": {"duck.knative.dev/addressable": "true"}});
    foreign["rules"] =
        json!([{"apiGroups": ["example.com"], "resources": ["things"], "verbs": ["get", "list", "watch"]}]);
    kube.apply(&foreign).await?;
    let account = access::client(&kube.kubeconfig_of(NAMESPACE, SET).await?).await?;
    until_allowed(&account, ["watch", "example.com", "things", ""]).await?;

    // And Knative's controllers, whose role adds up what sources there are, may read ours.
    let mut observer = object("rbac.authorization.k8s.io/v1", "ClusterRole", "source-observer");
    let of_sources = json!([{"matchLabels": {"duck.knative.dev/source": "true"}}]);
    observer["metadata"] = json!({"name": "source-observer"});
    observer["aggregationRule"] = json!({"clusterRoleSelectors": of_sources});
    kube.apply(&observer).await?;
    let theirs = user(&kube, "source-observer").await?;
    until_allowed(
        &theirs,
        ["watch", "sources.millrace.dev", "cronsources", NAMESPACE],
    )
    .await?;

    // Who may edit a namespace may edit our kinds there, and who may view it may only view them.
    for (role, verb, refused) in [("view", "list", "create"), ("edit", "create", "escalate")] {
        let user = user(&kube, role).await?;
        until_allowed(&user, [verb, "eventing.knative.dev", "triggers", NAMESPACE]).await?;
        until_allowed(&user, [verb, "sources.millrace.dev", "cronsources", NAMESPACE]).await?;
        assert!(!access::may(&user, [refused, "eventing.knative.dev", "triggers", NAMESPACE]).await?);
    }

    let claim = object("v1", "PersistentVolumeClaim", "data-millrace-0");
    wait_until("the volume's claim", || kube.find(&claim)).await?;
    helm.succeed(&["uninstall", SET, "--namespace", NAMESPACE])
        .await?;
    let pod = object("v1", "Pod", "millrace-0");
    wait_until("the pod to go", || async {
        Ok(kube.find(&pod).await?.is_none().then_some(()))
    })
    .await?;
    let kept = kube.find(&claim).await?.context("the claim went")?;
    assert!(kept.metadata.deletion_timestamp.is_none());
    Ok(())
}

/// A client of a new account with one of the roles that Kubernetes has for users, in the namespace.
async fn user(kube: &Kube, role: &str) -> anyhow::Result<kube::Client> {
    kube.apply(&object("v1", "ServiceAccount", role)).await?;
    let mut binding = object("rbac.authorization.k8s.io/v1", "RoleBinding", role);
    binding["roleRef"] =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role});
    binding["subjects"] = json!([{"kind": "ServiceAccount", "name": role, "namespace": NAMESPACE}]);
    kube.apply(&binding).await?;
    access::client(&kube.kubeconfig_of(NAMESPACE, role).await?).await
}

/// Waits until the user may do it: roles are added up, and known to the API server, a little later.
async fn until_allowed(user: &kube::Client, action: [&str; 4]) -> anyhow::Result<()> {
    wait_until(&format!("{action:?}"), || async {
        Ok(access::may(user, action).await?.then_some(()))
    })
    .await
}
