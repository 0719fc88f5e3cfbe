//! Promise: a release of the chart takes nothing that belongs to others, and leaves definitions and their
//! objects behind when it goes; what its notes say works.

use std::process::Command;

use anyhow::{Context as _, ensure};
use millrace_tests::helm::{self, Helm, NAMESPACE};
use millrace_tests::{Kube, Mesh};
use serde_json::{Value, json};

const SET: &str = "millrace";

fn set() -> Value {
    object("apps/v1", "StatefulSet", SET)
}

fn object(version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}})
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
    they_are_taken_over_when_knative_is_gone(&kube, &helm).await
}

/// As the page on Knative says it: the label is changed by hand, and Helm is told to take them.
async fn they_are_taken_over_when_knative_is_gone(kube: &Kube, helm: &Helm) -> anyhow::Result<()> {
    let trigger = object("eventing.knative.dev/v1", "Trigger", "kept");
    kube.apply(&trigger).await?;
    let mut foreign = foreign_triggers();
    foreign["metadata"]["labels"] = json!({"app.kubernetes.io/name": "millrace"});
    kube.define(&foreign).await?;
    let values = [
        "--reuse-values",
        "crds.eventing=install",
        "--take-ownership",
        "--force-conflicts",
    ];
    helm.succeed(&helm::command("upgrade", &values)).await?;
    let ours = kube.find(&definition(TRIGGERS)).await?.context("no definition")?;
    ensure!(
        ours.data["spec"]["versions"][0]["schema"]
            .to_string()
            .contains("subscriber")
    );
    assert!(kube.find(&trigger).await?.is_some());
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

    helm.succeed(&helm::command("upgrade", &["durability=os"]))
        .await?;
    ensure!(arguments(&kube).await?.contains("--durability=os"));
    helm.succeed(&["rollback", SET, "--namespace", NAMESPACE]).await?;
    ensure!(arguments(&kube).await?.contains("--durability=sync"));

    let broker = object("eventing.knative.dev/v1", "Broker", "mine");
    kube.apply(&broker).await?;
    let uid = kube
        .find(&definition(TRIGGERS))
        .await?
        .context("no definition")?
        .metadata
        .uid;
    helm.succeed(&["uninstall", SET, "--namespace", NAMESPACE])
        .await?;
    assert!(kube.find(&set()).await?.is_none());
    let kept = kube
        .find(&definition(TRIGGERS))
        .await?
        .context("the definition went")?;
    assert_eq!(kept.metadata.uid, uid);
    assert!(kube.find(&broker).await?.is_some());

    helm.succeed(&helm::command("install", &[])).await?;
    another_release_asks(&helm).await
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
