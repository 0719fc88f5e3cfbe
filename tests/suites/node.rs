//! Promise: on a real node, what `helm install --wait` leaves carries events from pods to pods, keeps what
//! the chart says of its pod, and loses nothing that it has accepted, whatever happens to pod and node.
//!
//! Each test has a cluster of its own, in a network and with processes that nobody else sees. They need root
//! and minutes, so only `cargo xtask test --long` runs them. How long producers were refused is printed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use millrace_tests::helm::{self, NAMESPACE};
use millrace_tests::kube::node::callers::Callers;
use millrace_tests::kube::node::pods::{self, patiently};
use millrace_tests::kube::node::{Node, machine};
use millrace_tests::kube::served::{EVENTING, condition};
use millrace_tests::{Client, Event, Sink, process};
use rustix::process::Signal;
use serde_json::{Value, json};

/// The Broker that the chart makes.
const BROKER: &str = "/millrace/default";
/// What comes to the sink through the subscriber pod, and what comes to it directly.
const PATHS: [&str; 2] = ["/pod", "/service"];

/// An object of the chart's namespace.
fn object(version: &str, kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec,
    })
}

/// A Trigger for everything to a path of a Service, whose events nobody gives up on in this test.
fn trigger(service: &str, path: &str) -> Value {
    let reference = json!({"apiVersion": "v1", "kind": "Service", "name": service});
    let delivery = json!({"retry": 100, "backoffPolicy": "linear", "backoffDelay": "PT0.2S"});
    let spec = json!({
        "broker": "default", "subscriber": {"ref": reference, "uri": path}, "delivery": delivery,
    });
    object(EVENTING, "Trigger", service, &spec)
}

/// The subscriber pod, so many times: a Millrace that hands on to the sink what it has stored.
fn subscriber(replicas: u32) -> Value {
    let labels = json!({"app": "subscriber"});
    let container = json!({
        "name": "subscriber", "image": format!("millrace:{}", env!("CARGO_PKG_VERSION")), "imagePullPolicy": "Never",
        "args": [
            "run", "-f", "/etc/mesh/mesh.yaml", "--data", "/data/kept", "--listen", "0.0.0.0:8080",
            "--admin-listen", "127.0.0.1:9090", "--probe-listen", "0.0.0.0:9091", "--allow-anonymous",
        ],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 9091}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "mesh", "mountPath": "/etc/mesh"}, {"name": "data", "mountPath": "/data"}],
    });
    let pod = json!({
        "containers": [container], "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [{"name": "mesh", "configMap": {"name": "subscriber"}}, {"name": "data", "emptyDir": {"medium": "Memory"}}],
    });
    let template = json!({"metadata": {"labels": labels}, "spec": pod});
    let spec = json!({"replicas": replicas, "selector": {"matchLabels": labels}, "template": template});
    object("apps/v1", "Deployment", "subscriber", &spec)
}

/// Two Triggers for everything: one to the subscriber pod, one to a Service of the sink.
async fn subscribe(node: &Node, sink: &Sink) -> anyhow::Result<()> {
    let delivery = "{retry: 100, backoffPolicy: linear, backoffDelay: PT0.2S}";
    let mesh = format!(
        "apiVersion: {EVENTING}\nkind: Broker\nmetadata: {{name: inbox, namespace: pod}}\n---\n\
         apiVersion: {EVENTING}\nkind: Trigger\nmetadata: {{name: relay, namespace: pod}}\n\
         spec: {{broker: inbox, subscriber: {{uri: '{}'}}, delivery: {delivery}}}\n",
        sink.url(PATHS[0])
    );
    let files = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "subscriber", "namespace": NAMESPACE},
        "data": {"mesh.yaml": mesh},
    });
    node.kube.apply(&files).await?;
    node.kube.apply(&subscriber(1)).await?;
    let ports = json!([{"port": 80, "targetPort": 8080}]);
    let service = json!({"selector": {"app": "subscriber"}, "ports": ports});
    node.kube
        .apply(&object("v1", "Service", "subscriber", &service))
        .await?;
    node.service_of(sink, NAMESPACE, "direct").await?;
    until_available(node, 1).await?;
    node.kube.ready(&trigger("subscriber", "/pod/inbox")).await?;
    node.kube.ready(&trigger("direct", PATHS[1])).await?;
    Ok(())
}

/// Waits until so many subscriber pods are ready, and no other is left.
async fn until_available(node: &Node, replicas: usize) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(node.kube.client(), NAMESPACE);
    patiently(&format!("{replicas} subscribers"), || async {
        let found = pods.list(&ListParams::default().labels("app=subscriber")).await?;
        let found: Vec<Value> = found
            .items
            .iter()
            .map(serde_json::to_value)
            .collect::<Result<_, _>>()?;
        let ready = found.iter().filter(|pod| pods::is_ready(pod)).count();
        ensure!(ready == replicas && found.len() == replicas, "{found:?}");
        Ok(Some(()))
    })
    .await
}

async fn until_received(sink: &Sink, ids: &[String]) -> anyhow::Result<()> {
    let wanted: BTreeSet<String> = ids.iter().cloned().collect();
    for path in PATHS {
        sink.until_all(path, &wanted).await?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "a whole cluster, which takes root and minutes: cargo xtask test --long"]
async fn installed_it_carries_events_from_a_pod_to_a_pod_that_comes_and_goes() -> anyhow::Result<()> {
    let test = "installed_it_carries_events_from_a_pod_to_a_pod_that_comes_and_goes";
    let Some(folder) = machine::inside(test).await? else {
        return Ok(());
    };
    let Some(node) = Node::start(&folder).await? else {
        return Ok(());
    };
    let began = Instant::now();
    let Some(helm) = node.install(&[]).await? else {
        return Ok(());
    };
    println!(
        "`helm install --wait` took {:.1} s",
        began.elapsed().as_secs_f64()
    );
    // That is what `--wait` is for: the first answer is a 202. Until kube-proxy has heard of the pod, it
    // refuses connections.
    let address = node.cluster_address(NAMESPACE, "millrace").await?;
    let first = Event::new("first", "sent").binary();
    let (answer, mut producer) = patiently("a connection to the pod", || async {
        let mut producer = Client::new(address);
        let answer = producer.post(BROKER, &first).await?;
        Ok(Some((answer, producer)))
    })
    .await?;
    assert_eq!(answer.status, 202, "{:?}", answer.body);

    let sink = node.sink().await?;
    subscribe(&node, &sink).await?;
    let said = helm
        .succeed(&["test", "millrace", "--namespace", NAMESPACE, "--logs"])
        .await?;
    ensure!(said.contains("Succeeded"), "{said}");
    for path in PATHS {
        let received = sink.wait_for(path, 1).await?;
        assert_eq!(received[0].event().get("type"), Some("dev.millrace.test"));
    }

    node.kube.apply(&subscriber(0)).await?;
    until_available(&node, 0).await?;
    let ids: Vec<String> = (0..20).map(|number| format!("while-away-{number}")).collect();
    for id in &ids {
        let answer = producer.post(BROKER, &Event::new(id, "sent").binary()).await?;
        assert_eq!(answer.status, 202);
    }
    let of_subscriber = trigger("subscriber", "");
    patiently("failed attempts at a Service without a pod", || async {
        let triggers: Value = serde_json::from_str(&node.millrace(&["triggers", "--output", "json"]).await?)?;
        let mut triggers = triggers.as_array().into_iter().flatten();
        let found = triggers
            .find(|one| one["name"] == "millrace/subscriber")
            .context("no such trigger")?;
        ensure!(found["deferred"].as_u64() > Some(0), "{found}");
        Ok(Some(()))
    })
    .await?;
    assert_eq!(condition(&node.kube.seen(&of_subscriber).await?, "Ready"), "True");
    assert_eq!(sink.count(PATHS[0]), 1);
    node.kube.apply(&subscriber(1)).await?;
    until_received(&sink, &ids).await
}

#[tokio::test]
#[ignore = "a whole cluster, which takes root and minutes: cargo xtask test --long"]
async fn the_pod_has_no_more_than_the_chart_says_and_its_probes_notice_a_process_that_hangs()
-> anyhow::Result<()> {
    let test = "the_pod_has_no_more_than_the_chart_says_and_its_probes_notice_a_process_that_hangs";
    let Some(folder) = machine::inside(test).await? else {
        return Ok(());
    };
    let Some(node) = Node::start(&folder).await? else {
        return Ok(());
    };
    if node.install(&[]).await?.is_none() {
        return Ok(());
    }
    let pod = pods::millrace();
    let container = node.container(&pod).await?;
    let process = PathBuf::from(format!("/proc/{}", container.pid));
    let status = fs::read_to_string(process.join("status"))?;
    for line in [
        "Uid:\t65532\t65532\t65532\t65532",
        "Gid:\t65532\t65532\t65532\t65532",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        ensure!(status.contains(line), "{line} is not in\n{status}");
    }
    let mounts = fs::read_to_string(process.join("mountinfo"))?;
    let options = |place: &str| {
        let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let found = mounts.find(|fields| fields.get(4) == Some(&place));
        found.and_then(|fields| fields.get(5).map(|options| (*options).to_owned()))
    };
    for (place, access) in [("/", "ro"), ("/var/lib/millrace", "rw"), ("/tmp", "rw")] {
        let options = options(place).with_context(|| format!("{place} is not in\n{mounts}"))?;
        ensure!(options.starts_with(access), "{place}: {options}");
    }
    let environment = fs::read_to_string(process.join("environ"))?;
    ensure!(!environment.contains("MILLRACE_PORT") && !environment.contains("MILLRACE_SERVICE"));

    // The kubelet gives the volume to the group, and the process keeps its data there.
    assert_eq!(fs::metadata(node.volume_folder())?.gid(), 65532);
    let kept = fs::metadata(node.volume_folder().join("data/FORMAT"))?;
    assert_eq!((kept.uid(), kept.gid()), (65532, 65532));

    let callers = Callers::start(node.cluster_address(NAMESPACE, "millrace").await?, BROKER, "hang");
    let begin = Instant::now();
    node.signal(&pod, Signal::STOP).await?;
    node.until_unready(&pod).await?;
    println!(
        "a process that hangs was taken out of the Service after {:.0} s",
        begin.elapsed().as_secs_f64()
    );
    patiently("the container to be restarted", || async {
        Ok((node.container(&pod).await?.restarts > container.restarts).then_some(()))
    })
    .await?;
    after(&node, &callers, begin, "a process that hangs is restarted").await
}

/// Waits until the pod is ready and producers are answered, and prints what they have felt since `begin`.
async fn after(node: &Node, callers: &Callers, begin: Instant, what: &str) -> anyhow::Result<()> {
    node.until_ready(&pods::millrace()).await?;
    callers.tell(what, begin).await
}

#[tokio::test]
#[ignore = "a whole cluster, which takes root and minutes: cargo xtask test --long"]
async fn nothing_accepted_is_lost_when_the_pod_or_the_node_goes() -> anyhow::Result<()> {
    let test = "nothing_accepted_is_lost_when_the_pod_or_the_node_goes";
    let Some(folder) = machine::inside(test).await? else {
        return Ok(());
    };
    let Some(mut node) = Node::start(&folder).await? else {
        return Ok(());
    };
    if node.install(&[]).await?.is_none() {
        return Ok(());
    }
    let sink = node.sink().await?;
    subscribe(&node, &sink).await?;
    let pod = pods::millrace();
    let address = node.cluster_address(NAMESPACE, "millrace").await?;
    let callers = Callers::start(address, BROKER, "load");
    after(&node, &callers, Instant::now(), "without a disturbance").await?;

    let begin = Instant::now();
    node.kube.delete(&pod).await?;
    after(&node, &callers, begin, "the pod is deleted").await?;

    let begin = Instant::now();
    let killed = node.signal(&pod, Signal::KILL).await?;
    patiently("the container to be restarted", || async {
        Ok((node.container(&pod).await?.restarts > killed.restarts).then_some(()))
    })
    .await?;
    after(&node, &callers, begin, "the process is killed").await?;

    let begin = Instant::now();
    let running = node.container(&pod).await?;
    node.restart_agents().await?;
    after(&node, &callers, begin, "kubelet and containerd are restarted").await?;
    assert_eq!(node.container(&pod).await?.pid, running.pid);

    let begin = Instant::now();
    node.crash().await?;
    patiently("the container to be restarted", || async {
        Ok((node.container(&pod).await?.restarts > running.restarts).then_some(()))
    })
    .await?;
    after(&node, &callers, begin, "everything on the node is killed").await?;

    let accepted = callers.accepted();
    drop(callers);
    node.until_settled().await?;
    until_received(&sink, &accepted).await?;
    println!(
        "{} events were accepted, and both subscribers got each of them",
        accepted.len()
    );
    Ok(())
}

/// The binary of the image before: `MILLRACE_PREVIOUS`, or the one under test, whose image differs by name
/// alone.
fn previous() -> anyhow::Result<PathBuf> {
    match std::env::var_os("MILLRACE_PREVIOUS") {
        Some(given) => Ok(PathBuf::from(given)),
        None => process::binary(),
    }
}

#[tokio::test]
#[ignore = "a whole cluster, which takes root and minutes: cargo xtask test --long"]
async fn an_upgrade_and_its_rollback_lose_nothing() -> anyhow::Result<()> {
    let Some(folder) = machine::inside("an_upgrade_and_its_rollback_lose_nothing").await? else {
        return Ok(());
    };
    let Some(node) = Node::start(&folder).await? else {
        return Ok(());
    };
    node.millrace_image(&previous()?, "previous").await?;
    let Some(helm) = node.install(&["image.tag=previous"]).await? else {
        return Ok(());
    };
    let sink = node.sink().await?;
    subscribe(&node, &sink).await?;
    let address = node.cluster_address(NAMESPACE, "millrace").await?;
    let callers = Callers::start(address, BROKER, "upgrade");
    after(&node, &callers, Instant::now(), "without a disturbance").await?;

    let begin = Instant::now();
    let values = [
        "--reset-then-reuse-values",
        "image.tag=",
        "--wait",
        "--timeout=5m",
    ];
    helm.succeed(&helm::command("upgrade", &values)).await?;
    after(&node, &callers, begin, "`helm upgrade --wait` to another image").await?;
    assert_eq!(
        image(&node).await?,
        format!("millrace:{}", env!("CARGO_PKG_VERSION"))
    );

    let begin = Instant::now();
    let rollback = [
        "rollback",
        "millrace",
        "--namespace",
        NAMESPACE,
        "--wait",
        "--timeout=5m",
    ];
    helm.succeed(&rollback).await?;
    after(&node, &callers, begin, "`helm rollback --wait`").await?;
    assert_eq!(image(&node).await?, "millrace:previous");

    let accepted = callers.accepted();
    drop(callers);
    node.until_settled().await?;
    until_received(&sink, &accepted).await?;
    println!(
        "{} events were accepted, and both subscribers got each of them",
        accepted.len()
    );
    Ok(())
}

/// The image of Millrace's pod.
async fn image(node: &Node) -> anyhow::Result<Value> {
    let pod = node.until_ready(&pods::millrace()).await?;
    Ok(pod["spec"]["containers"][0]["image"].clone())
}
