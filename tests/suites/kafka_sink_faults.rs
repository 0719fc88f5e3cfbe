//! Promise: what Kafka does not take is told in words, and tried again where that may help. What no other
//! attempt changes goes to the dead letters at once. Nothing is sent to a server that may not be called.

use anyhow::ensure;
use http::Method;
use millrace_tests::documents::Documents;
use millrace_tests::kafka::{Kafka, sink, trigger_to};
use millrace_tests::mesh::Setup;
use millrace_tests::{Event, Mesh};
use serde_json::Value;

const RETRIES: &str = "delivery: {retry: 2, backoffPolicy: linear, backoffDelay: PT0.1S}";

/// The parked event of the Trigger of this name.
async fn parked(mesh: &Mesh, count: usize, trigger: &str) -> anyhow::Result<Value> {
    let all = mesh.admin().until_parked(count).await?;
    let of_it = all.iter().find(|row| row["trigger"] == trigger);
    Ok(of_it.cloned().unwrap_or_default())
}

#[tokio::test]
async fn what_kafka_does_not_take_is_told_in_words() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    kafka
        .create_topic_with("small", 1, &[("max.message.bytes", "100000")])
        .await?;
    kafka
        .create_topic_with("compacted", 1, &[("cleanup.policy", "compact")])
        .await?;
    let mut text = Documents::broker().text().to_owned();
    for (topic, kind) in [("missing", "a"), ("small", "b"), ("compacted", "c")] {
        let more = format!("filter: {{attributes: {{type: {kind}}}}}, {RETRIES}");
        text += &sink(&kafka.bootstrap(), topic, topic, "");
        text += &trigger_to(topic, topic, &more);
    }
    let mesh = Mesh::start(&text).await?;
    let large = Event::new("2", "b").data("text/plain", vec![b'x'; 200_000]);
    let events = [Event::new("1", "a"), large, Event::new("3", "c")];
    mesh.send("shop/default", &events).await?;

    // A topic may be made yet; what is too large, or has no key, stays so.
    for (trigger, attempts, why) in [
        (
            "shop/missing",
            3,
            "topic missing: there is no such topic after 3 attempts",
        ),
        ("shop/small", 1, "topic small: Kafka takes no record so large"),
        (
            "shop/compacted",
            1,
            "topic compacted: the topic does not take this record",
        ),
    ] {
        let row = parked(&mesh, 3, trigger).await?;
        let reason = row["reason"].as_str().unwrap_or_default();
        ensure!(reason.starts_with(why), "{row}");
        ensure!(row["attempts"] == attempts, "{row}");
    }

    // The sink says it too.
    let sinks = mesh.admin().get("kafka-sinks").await?;
    let all = sinks.as_array().into_iter().flatten();
    let missing = all.clone().find(|sink| sink["name"] == "shop/missing");
    ensure!(
        missing.is_some_and(|sink| sink["reason"] == "topic missing: there is no such topic"),
        "{sinks}"
    );
    let ready = all.filter(|sink| sink["state"] == "ready").count();
    ensure!(ready == 2, "{sinks}");

    // Commands and metrics show these attempts like any others.
    let shown = mesh
        .millrace(&["explain", "--broker", "shop/default", "--id", "1"])
        .await?;
    let shown = String::from_utf8(shown.stdout)?;
    ensure!(shown.contains("topic missing: there is no such topic"), "{shown}");
    let row = parked(&mesh, 3, "shop/missing").await?;
    let path = format!("parked/{}", row["id"].as_str().unwrap_or_default());
    let kept = mesh.admin().get(&path).await?.to_string();
    ensure!(kept.contains("\"kafkasink:shop/missing\""), "{kept}");
    let outcomes = mesh.admin().series("millrace_delivery_attempts_total").await?;
    let of = |outcome: &str| {
        let found = outcomes.iter().find(|(labels, _)| labels.contains(outcome));
        found.map_or(0.0, |(_, value)| *value)
    };
    assert_eq!((of("\"failed\""), of("\"rejected\"")), (3.0, 2.0), "{outcomes:?}");

    // Once the topic is there, what was given up is written.
    kafka.create_topic("missing", 1).await?;
    let row = parked(&mesh, 3, "shop/missing").await?;
    let path = format!(
        "/api/v1/parked/{}/redrive",
        row["id"].as_str().unwrap_or_default()
    );
    mesh.admin().ask(&Method::POST, &path).await?;
    let records = kafka.wait_for("missing", 1).await?;
    let id = ("ce_id".to_owned(), Some(b"1".to_vec()));
    ensure!(records[0].headers.contains(&id), "{records:?}");
    Ok(())
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_that_may_not_be_called() -> anyhow::Result<()> {
    let servers = [("metadata", "169.254.169.254:9092"), ("denied", "127.0.0.1:9092")];
    let mut text = Documents::broker().text().to_owned();
    for (name, server) in servers {
        text += &(sink(server, name, "orders", "") + &trigger_to(name, name, RETRIES));
    }
    let setup = Setup::new(&text)?.args(&["--egress-deny", "127.0.0.1:9092"]);
    let mesh = setup.start().await?;
    mesh.send("shop/default", &[Event::new("1", "order.paid")])
        .await?;
    for (name, server) in servers {
        let row = parked(&mesh, 2, &format!("shop/{name}")).await?;
        let why = format!("topic orders: `bootstrapServers`: {server}: connections to ");
        let reason = row["reason"].as_str().unwrap_or_default();
        ensure!(reason.starts_with(&why) && row["attempts"] == 1, "{row}");
    }
    Ok(())
}
