//! Promise: a KafkaSink of a cluster is ready once its topic can be reached, says why while it cannot, and a
//! Trigger that refers to it delivers there.

use anyhow::ensure;
use millrace_tests::kafka::{Kafka, Listener, PASSWORD, USER};
use millrace_tests::kube::served::{EVENTING, SOURCES, broker, condition, object};
use millrace_tests::{Event, Kube, wait_until};
use serde_json::{Value, json};

const SINKS: &str = "sinks.millrace.dev/v1alpha1";

fn sink(name: &str, server: &str, net: &Value) -> Value {
    let mut sink = object(
        SINKS,
        "KafkaSink",
        name,
        json!({"bootstrapServers": [server], "topic": name}),
    );
    if !net.is_null() {
        sink["spec"]["net"] = net.clone();
    }
    sink
}

fn to(name: &str) -> Value {
    json!({"ref": {"apiVersion": SINKS, "kind": "KafkaSink", "name": name}})
}

#[tokio::test]
async fn a_sink_becomes_ready_with_its_topic_and_a_trigger_delivers_to_it() -> anyhow::Result<()> {
    let (Some(kube), Some(kafka)) = (Kube::with_kinds().await?, Kafka::start().await?) else {
        return Ok(());
    };
    let server = kafka.bootstrap();
    let orders = sink("orders", &server, &Value::Null);
    let dead = sink("dead", &server, &Value::Null);
    let spec = json!({
        "broker": "default", "subscriber": to("orders"), "delivery": {"deadLetterSink": to("dead")},
    });
    let trigger = object(EVENTING, "Trigger", "write", spec);
    let tick = json!({
        "schedule": "* * * * * *", "contentType": "text/plain", "data": "tick", "sink": to("ticks"),
    });
    let tick = object(SOURCES, "CronSource", "tick", tick);
    let ticks = sink("ticks", &server, &Value::Null);
    kafka.create_topic("dead", 1).await?;
    kafka.create_topic("ticks", 1).await?;
    for one in [&broker("default", json!({})), &trigger, &tick] {
        kube.apply(one).await?;
    }
    let mesh = kube.served()?.start().await?;

    // What is not there is said; what comes late is found.
    kube.until(&trigger, "SubscriberResolved", "False KafkaSinkNotFound")
        .await?;
    for one in [&orders, &dead, &ticks] {
        kube.apply(one).await?;
    }
    let missing = kube.until(&orders, "Ready", "False NotReachable").await?;
    let said = missing["status"]["conditions"].to_string();
    ensure!(said.contains("topic orders: there is no such topic"), "{said}");
    kafka.create_topic("orders", 1).await?;
    kube.until(&orders, "Ready", "True").await?;
    kube.until(&dead, "Ready", "True").await?;
    let ready = kube.until(&trigger, "Ready", "True").await?;
    ensure!(ready["status"]["subscriberUri"].is_null(), "{ready}");
    ensure!(
        condition(&ready, "DeadLetterSinkResolved").starts_with("True"),
        "{ready}"
    );

    mesh.send("shop/default", &[Event::new("1", "order.paid")])
        .await?;
    let records = kafka.wait_for("orders", 1).await?;
    let id = ("ce_id".to_owned(), Some(b"1".to_vec()));
    ensure!(records[0].headers.contains(&id), "{records:?}");
    let ticks = kafka.wait_for("ticks", 1).await?;
    assert_eq!(ticks[0].value.as_deref(), Some(&b"tick"[..]));

    // A sink that is deleted is no target any more, and events wait.
    kube.delete(&orders).await?;
    kube.until(&trigger, "Ready", "False KafkaSinkNotFound").await?;
    mesh.send("shop/default", &[Event::new("2", "order.paid")])
        .await?;
    kube.apply(&orders).await?;
    kube.until(&trigger, "Ready", "True").await?;
    kafka.wait_for("orders", 2).await?;
    assert_eq!(mesh.admin().get("parked").await?, json!([]));
    Ok(())
}

#[tokio::test]
async fn a_login_comes_from_a_secret_of_the_namespace() -> anyhow::Result<()> {
    let (Some(kube), Some(kafka)) = (Kube::with_kinds().await?, Kafka::secured().await?) else {
        return Ok(());
    };
    kafka.create_topic("orders", 1).await?;
    let key = |key: &str| json!({"secretKeyRef": {"name": "login", "key": key}});
    let net = json!({"sasl": {"enable": true, "user": key("user"), "password": key("password")}});
    let orders = sink("orders", &kafka.listener(Listener::Sasl), &net);
    let trigger = object(
        EVENTING,
        "Trigger",
        "write",
        json!({"broker": "default", "subscriber": to("orders")}),
    );
    for one in [&broker("default", json!({})), &orders, &trigger] {
        kube.apply(one).await?;
    }
    let mesh = kube.served()?.start().await?;
    kube.until(&orders, "Ready", "False SecretNotFound").await?;
    kube.until(&trigger, "SubscriberResolved", "False SecretNotFound")
        .await?;
    mesh.send("shop/default", &[Event::new("1", "order.paid")])
        .await?;
    let secret = |password: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": "shop"},
            "stringData": {"user": USER, "password": password},
        })
    };
    kube.apply(&secret("wrong")).await?;
    wait_until("the login to be refused", || async {
        let said = kube.seen(&orders).await?["status"].to_string();
        ensure!(said.contains("the login is refused"), "{said}");
        Ok(Some(()))
    })
    .await?;
    kube.apply(&secret(PASSWORD)).await?;
    kube.until(&orders, "Ready", "True").await?;
    kafka.wait_for("orders", 1).await?;
    Ok(())
}
