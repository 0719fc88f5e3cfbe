//! Promise: a Broker of a cluster keeps its channel where the ConfigMap says that its `config` names, and
//! says so in its status. What is wrong with a ConfigMap keeps its own Broker from being ready, and no other;
//! a Broker that serves is not taken down for it.

use std::collections::BTreeSet;

use anyhow::ensure;
use millrace_tests::channel_server::ChannelServer;
use millrace_tests::kafka::Kafka;
use millrace_tests::kube::served::{broker, trigger};
use millrace_tests::{Event, Kube, Mesh, Nats, Sink, wait_until};
use serde_json::{Value, json};

fn config(data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "on", "namespace": "shop"}, "data": data,
    })
}

/// The ConfigMap for that server.
fn on<S: ChannelServer>(server: &S) -> Value {
    config(&json!({"backend": S::BACKEND, "servers": server.servers()}))
}

/// The Broker `default` that names it.
fn kept() -> Value {
    let named = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "on", "namespace": "shop"});
    broker("default", json!({"config": named}))
}

fn ids(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// What `ChannelReady` says: its reason and its message.
fn channel(broker: &Value) -> String {
    let conditions = broker["status"]["conditions"].as_array().into_iter().flatten();
    let found = conditions.clone().find(|one| one["type"] == "ChannelReady");
    let text = |field: &str| found.and_then(|one| one[field].as_str()).unwrap_or_default();
    format!("{}: {}", text("reason"), text("message"))
}

/// Waits until producers of the Broker `default` are told to come back; it takes no event before.
async fn until_refused(mesh: &Mesh) -> anyhow::Result<()> {
    let status = wait_until("an answer of the Broker", || async {
        let answered = mesh
            .post("shop/default", &Event::new("refused", "x").binary())
            .await?;
        Ok([202, 503].contains(&answered.status).then_some(answered.status))
    })
    .await?;
    assert_eq!(status, 503);
    Ok(())
}

/// A Broker of a cluster on that server, from its beginning over two kills.
async fn is_kept_there<S: ChannelServer>(reason: &str) -> anyhow::Result<()> {
    let (Some(mut kube), Some(server)) = (Kube::with_kinds().await?, S::start().await?) else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let (default, all) = (kept(), trigger("all", &sink.url("/all")));
    for one in [&on(&server), &default, &all] {
        kube.apply(one).await?;
    }
    let mut mesh = kube.served()?.start().await?;
    let ready = kube.until(&default, "Ready", "True").await?;
    ensure!(
        channel(&ready).starts_with(&format!("{reason}: single-copy: ")),
        "{ready}"
    );
    kube.until(&all, "Ready", "True").await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.until_all("/all", &ids(&["1"])).await?;
    let brokers = mesh.admin().get("brokers").await?;
    ensure!(brokers[0]["backend"] == S::BACKEND, "{brokers}");
    ensure!(brokers[0]["durability"]["word"] == "single-copy", "{brokers}");
    mesh.kill().await?;
    mesh.restart().await?;
    mesh.send("shop/default", &[Event::new("2", "x")]).await?;
    sink.until_all("/all", &ids(&["1", "2"])).await?;

    // What was accepted of the cluster is enough to begin with.
    let file = mesh.setup().data_folder().join("mesh/accepted.json");
    wait_until("the ConfigMap to be kept", || async {
        Ok(std::fs::read_to_string(&file)?.contains(S::BACKEND).then_some(()))
    })
    .await?;
    kube.kill().await?;
    mesh.kill().await?;
    mesh.restart().await?;
    mesh.send("shop/default", &[Event::new("3", "x")]).await?;
    sink.until_all("/all", &ids(&["1", "2", "3"])).await?;
    kube.restart().await?;
    kube.until(&default, "Ready", "True").await?;
    mesh.until_settled().await
}

#[tokio::test]
async fn a_broker_on_nats_is_ready_delivers_and_says_what_a_202_is_worth_over_kill_9() -> anyhow::Result<()> {
    is_kept_there::<Nats>("JetStream").await
}

#[tokio::test]
async fn a_broker_on_kafka_is_ready_delivers_and_says_what_a_202_is_worth_over_kill_9() -> anyhow::Result<()>
{
    is_kept_there::<Kafka>("Kafka").await
}

#[tokio::test]
async fn what_is_wrong_with_a_config_is_said_of_its_broker_and_takes_down_nothing() -> anyhow::Result<()> {
    let (Some(kube), Some(mut nats)) = (Kube::with_kinds().await?, Nats::start().await?) else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let (default, other) = (kept(), broker("other", json!({})));
    for one in [&default, &other, &trigger("all", &sink.url("/all"))] {
        kube.apply(one).await?;
    }
    let mesh = kube.served()?.start().await?;
    kube.until(&default, "Ready", "False ConfigNotFound").await?;
    kube.until(&other, "Ready", "True").await?;
    mesh.send("shop/other", &[Event::new("1", "x")]).await?;
    until_refused(&mesh).await?;

    let mut login = on(&nats);
    login["data"]["auth-secret"] = json!("login");
    for (wrong, expected) in [
        (config(&json!({"backend": "nats"})), "False ConfigInvalid"),
        (config(&json!({"servers": nats.url()})), "False ConfigInvalid"),
        (login, "False SecretNotFound"),
    ] {
        kube.apply(&wrong).await?;
        kube.until(&default, "Ready", expected).await?;
        until_refused(&mesh).await?;
    }
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": "shop"},
        "stringData": {"user": "of-the-shop", "password": "hunter2"},
    });
    kube.apply(&secret).await?;
    kube.until(&default, "Ready", "True").await?;
    mesh.send("shop/default", &[Event::new("2", "x")]).await?;
    sink.until_all("/all", &ids(&["2"])).await?;

    // From here on it serves, whatever becomes of what it was opened with.
    let mut parted = on(&nats);
    parted["data"]["partitions"] = json!("2");
    let theirs = config(&json!({"channel-template-spec": "kind: InMemoryChannel"}));
    let mut count = 2;
    for (change, expected) in [
        (None, "False ConfigNotFound"),
        (Some(config(&json!({"backend": "nats"}))), "False ConfigInvalid"),
        (Some(parted), "False KeptElsewhere"),
        (Some(theirs), "False KeptElsewhere"),
    ] {
        // Applied by the same hand, entries that are left out go.
        match &change {
            Some(change) => drop(kube.apply(change).await?),
            None => kube.delete(&config(&json!({}))).await?,
        }
        kube.until(&default, "Ready", expected).await?;
        count += 1;
        mesh.send("shop/default", &[Event::new(&count.to_string(), "x")])
            .await?;
        sink.wait_for("/all", count - 1).await?;
    }
    kube.apply(&on(&nats)).await?;
    kube.until(&default, "Ready", "True").await?;

    nats.kill().await?;
    kube.until(&default, "Ready", "False NotOpen").await?;
    kube.until(&other, "Ready", "True").await?;
    nats.restart().await?;
    kube.until(&default, "Ready", "True").await?;
    Ok(())
}

#[tokio::test]
async fn a_broker_that_moved_from_knative_works_and_one_made_anew_may_be_elsewhere() -> anyhow::Result<()> {
    let (Some(kube), Some(nats)) = (Kube::with_kinds().await?, Nats::start().await?) else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    kube.namespace("knative-eventing").await?;
    let mut theirs = on(&nats);
    theirs["metadata"]["namespace"] = json!("knative-eventing");
    let mut moved = kept();
    moved["metadata"]["name"] = json!("moved");
    moved["spec"]["config"]["namespace"] = json!("knative-eventing");
    let (default, all) = (kept(), trigger("all", &sink.url("/all")));
    for one in [&theirs, &moved, &on(&nats), &default, &all] {
        kube.apply(one).await?;
    }
    let mesh = kube.served()?.start().await?;
    let ready = kube.until(&moved, "Ready", "True").await?;
    ensure!(channel(&ready).contains("in another namespace"), "{ready}");
    kube.until(&default, "Ready", "True").await?;
    mesh.send("shop/moved", &[Event::new("1", "x")]).await?;
    mesh.send("shop/default", &[Event::new("2", "x")]).await?;
    sink.until_all("/all", &ids(&["2"])).await?;

    // `spec.config` cannot be changed: who wants another makes the Broker anew.
    kube.delete(&default).await?;
    kube.apply(&broker("default", json!({}))).await?;
    let ready = kube.until(&default, "Ready", "True").await?;
    ensure!(channel(&ready).starts_with("Embedded: synced: "), "{ready}");
    mesh.send("shop/default", &[Event::new("3", "x")]).await?;
    sink.until_all("/all", &ids(&["2", "3"])).await?;
    // Back again, what is on the disk would be left behind.
    kube.delete(&default).await?;
    kube.apply(&default).await?;
    kube.until(&default, "Ready", "False KeptElsewhere").await?;
    Ok(())
}

#[tokio::test]
async fn a_trigger_that_was_made_anew_meanwhile_does_not_take_the_place_of_the_old_one() -> anyhow::Result<()>
{
    let (Some(kube), Some(nats)) = (Kube::with_kinds().await?, Nats::start().await?) else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let anew = trigger("anew", &sink.url("/anew"));
    let mut resumed = trigger("resumed", &sink.url("/resumed"));
    for one in [&on(&nats), &kept(), &anew, &resumed] {
        kube.apply(one).await?;
    }
    let mut mesh = kube.served()?.start().await?;
    for one in [&anew, &resumed] {
        kube.until(one, "Ready", "True").await?;
    }
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    for path in ["/anew", "/resumed"] {
        sink.until_all(path, &ids(&["1"])).await?;
    }
    mesh.until_settled().await?;
    mesh.stop().await?;
    let headers = b"ce-specversion: 1.0\r\nce-id: 2\r\nce-source: /other\r\nce-type: x\r\n";
    let mut wire = nats.connect().await?;
    wire.publish("millrace.shop.default.in.k", headers, b"").await?;
    for one in [&anew, &resumed] {
        kube.delete(one).await?;
    }
    resumed["metadata"]["annotations"] = json!({"millrace.dev/resume": "true"});
    for one in [&anew, &resumed] {
        kube.apply(one).await?;
    }
    // What it remembers has the old ones, which would be served until the API server has listed the new ones.
    std::fs::remove_dir_all(mesh.setup().data_folder().join("mesh"))?;
    mesh.restart().await?;
    mesh.send("shop/default", &[Event::new("3", "x")]).await?;
    sink.until_all("/resumed", &ids(&["1", "2", "3"])).await?;
    sink.until_all("/anew", &ids(&["1", "3"])).await?;
    mesh.until_settled().await?;
    assert!(!sink.ids("/anew").contains(&"2".to_owned()));
    Ok(())
}
