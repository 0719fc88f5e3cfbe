//! That the real servers start and do what the other suites build on. What fails here is wrong with the
//! machine, or with the harness, and not with Millrace.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use millrace_tests::kafka::{Kafka, Listener, PASSWORD, Record, USER};
use millrace_tests::kube::access;
use millrace_tests::peers::Payloads;
use millrace_tests::{Kube, peers, within};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::{Value, json};

#[tokio::test]
async fn kafka_keeps_records_over_a_stop_and_a_kill() -> anyhow::Result<()> {
    let Some(mut kafka) = Kafka::start().await? else {
        return Ok(());
    };
    kafka.create_topic("orders", 2).await?;
    let first = Record::of("one").key("k").header("ce_id", "1").partition(1);
    kafka.produce("orders", std::slice::from_ref(&first)).await?;
    let before = kafka.wait_for("orders", 1).await?;
    assert_eq!((&before[0].key, &before[0].value), (&first.key, &first.value));
    assert_eq!(
        (&before[0].headers, before[0].partition),
        (&first.headers, Some(1))
    );

    kafka.restart().await?;
    assert_eq!(kafka.records("orders").await?, before);

    kafka.produce("orders", &[Record::of("two").partition(1)]).await?;
    kafka.kill().await?;
    kafka.restart().await?;
    let after = kafka.records("orders").await?;
    assert_eq!(after.len(), 2, "{after:?}");
    assert_eq!(after[1].offset, 1);

    assert_eq!(kafka.committed("nobody", "orders", 1).await?, None);
    kafka.delete_topic("orders").await?;
    assert!(kafka.create_topic("a topic", 1).await.is_err());
    Ok(())
}

#[tokio::test]
async fn kafka_lets_in_who_can_log_in_and_nobody_else() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::secured().await? else {
        return Ok(());
    };
    let with_tls = (Listener::SaslTls, "sasl_ssl");
    let without = (Listener::Sasl, "sasl_plaintext");
    for (mechanism, listeners) in [
        ("PLAIN", &[without, with_tls][..]),
        ("SCRAM-SHA-256", &[without]),
        ("SCRAM-SHA-512", &[without, with_tls]),
    ] {
        for &(listener, protocol) in listeners {
            let mut config = trusting(&kafka, listener, protocol)?;
            config.set("sasl.mechanism", mechanism).set("sasl.username", USER);
            config.set("sasl.password", "wrong");
            assert!(
                !connects(&config).await?,
                "{mechanism} on {protocol} without the password"
            );
            config.set("sasl.password", PASSWORD);
            assert!(connects(&config).await?, "{mechanism} on {protocol}");
        }
    }
    let mut config = trusting(&kafka, Listener::Tls, "ssl")?;
    assert!(!connects(&config).await?, "a client without a certificate");
    let (certificate, key) = kafka.client_certificate().expect("secured");
    config.set("ssl.certificate.location", certificate.to_string_lossy());
    config.set("ssl.key.location", key.to_string_lossy());
    assert!(connects(&config).await?, "a client with a certificate");
    Ok(())
}

fn trusting(kafka: &Kafka, listener: Listener, protocol: &str) -> anyhow::Result<ClientConfig> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.listener(listener));
    config.set("security.protocol", protocol);
    config.set(
        "ssl.ca.location",
        kafka.authority().expect("secured").to_string_lossy(),
    );
    Ok(config)
}

/// Whether the broker answers. That it refuses comes as an event; without it librdkafka would go on trying.
async fn connects(config: &ClientConfig) -> anyhow::Result<bool> {
    let config = config.clone();
    let outcome = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = config.create()?;
        for _ in 0..100 {
            if consumer.fetch_metadata(None, Duration::from_millis(500)).is_ok() {
                return anyhow::Ok(true);
            }
            if let Some(Err(_)) = consumer.poll(Duration::from_millis(10)) {
                return Ok(false);
            }
        }
        anyhow::bail!("it neither answers nor refuses")
    });
    within("Kafka to let a client in or not", outcome).await?
}

#[tokio::test]
async fn kubernetes_keeps_objects_over_a_restart_and_can_forget_their_history() -> anyhow::Result<()> {
    let Some(mut kube) = Kube::start().await? else {
        return Ok(());
    };
    kube.namespace("shop").await?;
    let first = kube.apply(&config_map("1")).await?.metadata.resource_version;
    let first = first.expect("a version");
    kube.apply(&config_map("2")).await?;
    let maps: Api<ConfigMap> = Api::namespaced(kube.client(), "shop");
    let data = |map: &ConfigMap| map.data.clone().unwrap_or_default()["n"].clone();
    let event = changed_since(&maps, &first).await?;
    assert!(
        matches!(&event, WatchEvent::Modified(map) if data(map) == "2"),
        "{event:?}"
    );

    // An open watch does not hold up the restart, and does not outlive it.
    let mut open = std::pin::pin!(maps.watch(&WatchParams::default(), &first).await?);
    assert!(within("an event of the watch", open.try_next()).await?.is_some());
    kube.restart().await?;
    let last = within("the watch to end", open.try_next()).await;
    assert!(!matches!(&last, Ok(Some(_))), "{last:?}");
    kube.kill().await?;
    kube.restart().await?;
    let listed = maps.list(&ListParams::default()).await?;
    assert_eq!(listed.items.iter().map(data).collect::<Vec<_>>(), ["2"]);

    kube.forget_history().await?;
    let event = changed_since(&maps, &first).await?;
    assert!(
        matches!(&event, WatchEvent::Error(status) if status.code == 410),
        "{event:?}"
    );

    kube.delete(&config_map("2")).await?;
    assert!(maps.list(&ListParams::default()).await?.items.is_empty());
    Ok(())
}

/// The first thing that a watch says that goes on from `version`.
async fn changed_since(maps: &Api<ConfigMap>, version: &str) -> anyhow::Result<WatchEvent<ConfigMap>> {
    let events = maps.watch(&WatchParams::default(), version).await?;
    let mut events = std::pin::pin!(events);
    let event = within("an event of the watch", events.try_next()).await?;
    event.ok_or_else(|| anyhow::anyhow!("the watch ended"))
}

#[tokio::test]
async fn kubernetes_serves_kinds_of_ours_and_limits_who_may_read_them() -> anyhow::Result<()> {
    let Some(kube) = Kube::start().await? else {
        return Ok(());
    };
    kube.namespace("shop").await?;
    kube.define(&definition()).await?;
    let cup = |size: u8| {
        json!({
            "apiVersion": "tests.millrace.dev/v1",
            "kind": "Cup",
            "metadata": { "name": "blue", "namespace": "shop" },
            "spec": { "size": size },
        })
    };
    kube.apply(&cup(3)).await?;
    let refused = kube
        .apply(&cup(9))
        .await
        .expect_err("a rule of the kind")
        .to_string();
    assert!(refused.contains("no cup is so big"), "{refused}");

    kube.apply(&config_map("1")).await?;
    let rules = json!([{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"] }]);
    let kubeconfig = kube.account("reader", Some("shop"), &rules).await?;
    let reader = access::client(&kubeconfig).await?;
    let maps: Api<ConfigMap> = Api::namespaced(reader.clone(), "shop");
    assert_eq!(maps.list(&ListParams::default()).await?.items.len(), 1);
    let forbidden = maps.watch(&WatchParams::default(), "0").await.err();
    assert!(
        matches!(&forbidden, Some(kube::Error::Api(status)) if status.code == 403),
        "{forbidden:?}"
    );
    let elsewhere: Api<ConfigMap> = Api::namespaced(reader, "default");
    assert!(elsewhere.list(&ListParams::default()).await.is_err());
    Ok(())
}

fn config_map(n: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "settings", "namespace": "shop" },
        "data": { "n": n },
    })
}

/// A kind with a rule.
fn definition() -> Value {
    let rule = json!([{ "rule": "self.size < 5", "message": "no cup is so big" }]);
    let spec = json!({
        "type": "object",
        "properties": { "size": { "type": "integer" } },
        "x-kubernetes-validations": rule,
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "cups.tests.millrace.dev" },
        "spec": {
            "group": "tests.millrace.dev",
            "scope": "Namespaced",
            "names": { "plural": "cups", "singular": "cup", "kind": "Cup" },
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "properties": { "spec": spec } } },
            }],
        },
    })
}

#[test]
fn the_webhook_payloads_are_there() -> anyhow::Result<()> {
    let Some(sets) = peers::webhooks()? else {
        return Ok(());
    };
    for Payloads { github, kinds } in &sets {
        let push = kinds.iter().find(|event| event["name"] == "push").expect(github);
        assert!(
            push["examples"][0]["repository"]["full_name"].is_string(),
            "{github}: {push}"
        );
    }
    assert!(sets.iter().any(|set| set.github == "api.github.com"));
    Ok(())
}
