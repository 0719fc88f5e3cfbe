//! Promise: each mesh in `examples/` is valid, says how to run it, is what its page shows, and does what its
//! page says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use http::Method;
use millrace_tests::kafka::Record;
use millrace_tests::mesh::Setup;
use millrace_tests::webhook::{self, Call};
use millrace_tests::{Answer, Event, Kafka, Mesh, Page, Sink, process};

/// Each example, and the page whose documents it holds.
const EXAMPLES: [(&str, &str); 10] = [
    ("cron", "docs/guides/cron.md"),
    ("dead-letters", "docs/concepts.md"),
    ("event-policies", "docs/guides/access.md"),
    ("filters", "docs/reference/filters.md"),
    ("git-webhooks", "docs/guides/git-webhooks.md"),
    ("kafka", "docs/guides/kafka.md"),
    ("kafka-bridge", "docs/guides/kafka-bridge.md"),
    ("kubernetes-api", "docs/guides/kubernetes-api.md"),
    ("quickstart", "README.md"),
    ("signed-deliveries", "docs/guides/signed-deliveries.md"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// The documents of an example.
fn text(example: &str) -> anyhow::Result<String> {
    let file = folder().join(example).join("mesh.yaml");
    fs::read_to_string(&file).with_context(|| file.display().to_string())
}

/// The documents, with the sink in the place of every subscriber.
fn at(sink: &Sink, example: &str) -> anyhow::Result<String> {
    let to = sink.address().to_string();
    Ok(text(example)?
        .replace("127.0.0.1:9001", &to)
        .replace("127.0.0.1:9009", &to))
}

#[test]
fn every_example_is_listed_and_says_how_to_run_it() -> anyhow::Result<()> {
    let mut there = BTreeSet::new();
    for entry in fs::read_dir(folder())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            there.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    let known: BTreeSet<String> = EXAMPLES
        .iter()
        .map(|(example, _)| (*example).to_owned())
        .collect();
    assert_eq!(there, known);
    let list = fs::read_to_string(folder().join("README.md"))?;
    for (example, page) in EXAMPLES {
        let text = text(example)?;
        let head: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
        let head = head.join("\n");
        ensure!(head.contains("millrace run -f "), "{example}: {head}");
        ensure!(head.contains(page), "{example} does not name {page}");
        ensure!(list.contains(&format!("]({example}/mesh.yaml)")), "{example}");
    }
    Ok(())
}

#[tokio::test]
async fn every_example_is_valid() -> anyhow::Result<()> {
    for (example, _) in EXAMPLES {
        let here = folder().join(example);
        let checked = process::run(&here, &["check", "-f", "mesh.yaml"], "").await?;
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        ensure!(checked.status.success(), "{example}: {said}");
        // A kubeconfig is the reader's own.
        let warned = said.contains("(warning)") && example != "kubernetes-api";
        ensure!(!warned, "{example}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn every_example_can_be_a_resource_but_for_the_kubeconfig() -> anyhow::Result<()> {
    for (example, _) in EXAMPLES {
        let here = folder().join(example);
        let checked = process::run(&here, &["check", "--kubernetes", "-f", "mesh.yaml"], "").await?;
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        if example == "kubernetes-api" {
            // In a cluster the source has a service account.
            let is_it = said.contains("spec.kubeconfig: ") && said.contains("(not-open)");
            ensure!(is_it && said.contains("1 problem:"), "{said}");
        } else {
            ensure!(checked.status.success(), "{example}: {said}");
        }
    }
    Ok(())
}

#[test]
fn a_page_shows_what_its_example_holds() -> anyhow::Result<()> {
    for (example, page) in EXAMPLES {
        let shown = Page::read(page)?;
        let rest = [text(example)?, role(example)];
        for document in shown.yaml().iter().flat_map(|block| block.split("---\n")) {
            if document.starts_with("apiVersion: ") {
                let is_there = rest.iter().any(|text| text.contains(document.trim()));
                ensure!(
                    is_there,
                    "examples/{example} lacks what {page} shows:\n{document}"
                );
            }
        }
        let links = shown.text().contains(&format!("examples/{example}/mesh.yaml"));
        ensure!(links, "{page} does not name examples/{example}/mesh.yaml");
    }
    Ok(())
}

/// What an example has for the cluster beside its mesh.
fn role(example: &str) -> String {
    fs::read_to_string(folder().join(example).join("role.yaml")).unwrap_or_default()
}

#[tokio::test]
async fn quickstart_brings_a_paid_order_to_its_service() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = Mesh::start(&at(&sink, "quickstart")?).await?;
    let till = |id: &str, kind: &str| Event::new(id, kind).with("source", "/shop/till");
    let other = Event::new("9", "order.paid").with("source", "/elsewhere");
    let sent = [till("7", "order.paid"), till("8", "order.opened"), other];
    mesh.send("shop/default", &sent).await?;
    mesh.until_settled().await?;
    assert_eq!(sink.ids("/ship"), ["7"]);
    Ok(())
}

#[tokio::test]
async fn filters_pass_what_each_dialect_says() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = Mesh::start(&at(&sink, "filters")?).await?;
    let event = fs::read(folder().join("filters/event.json"))?;
    let event: serde_json::Value = serde_json::from_slice(&event)?;
    let paid = Event::new("7", "order.paid")
        .with("source", "/shop/till")
        .data("application/json", event["data"].to_string());
    let cheap = paid.clone().with("id", "cheap").data(
        "application/json",
        r#"{"country": "DE", "items": [{"price": 99}]}"#,
    );
    let tested = paid.clone().with("id", "tested").with("source", "/test/1");
    let abroad = Event::new("abroad", "order.opened").with("region", "us");
    let refunded = Event::new("refunded", "order.refunded").with("region", "eu");
    mesh.send("shop/default", &[paid, cheap, tested, abroad, refunded])
        .await?;
    mesh.until_settled().await?;
    let wanted: [(&str, &[&str]); 6] = [
        ("/exact", &["7", "cheap", "tested"]),
        ("/affixes", &["7", "cheap"]),
        ("/cesql", &["7", "cheap", "refunded", "tested"]),
        ("/data", &["7", "tested"]),
        ("/combined", &["7", "cheap", "refunded"]),
        ("/attributes", &["7", "cheap", "tested"]),
    ];
    for (path, ids) in wanted {
        let mut received = sink.ids(path);
        received.sort();
        assert_eq!(received, ids, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn dead_letters_reach_their_sink_and_parked_events_are_redriven() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let busy = || Answer::status(503);
    sink.answer("/ship", [busy(), busy(), busy()]);
    sink.answer("/bill", [busy(), busy(), Answer::status(202)]);
    let mesh = Mesh::start(&at(&sink, "dead-letters")?).await?;
    mesh.send("shop/default", &[Event::new("7", "order.paid")])
        .await?;
    let dead = sink.wait_for("/page", 1).await?;
    let subscriber = sink.url("/ship");
    assert_eq!(dead[0].event().id(), "7");
    assert_eq!(dead[0].header("ce-knativeerrordest"), Some(&*subscriber));
    assert_eq!(dead[0].header("ce-knativeerrorcode"), Some("503"));
    let parked = mesh.admin().until_parked(1).await?;
    assert_eq!(parked[0]["trigger"], "shop/bill");
    let id = parked[0]["id"].as_str().context("an id")?;
    let path = format!("/api/v1/parked/{id}/redrive");
    assert_eq!(mesh.admin().ask(&Method::POST, &path).await?.status, 202);
    sink.wait_for("/bill", 3).await?;
    mesh.admin().until_parked(0).await?;
    assert_eq!((sink.count("/ship"), sink.count("/page")), (3, 1));
    Ok(())
}

#[tokio::test]
async fn cron_sends_an_event_at_its_time() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let often = at(&sink, "cron")?.replace("*/5 * * * *", "* * * * * *");
    let _mesh = Mesh::start(&often).await?;
    let received = sink.wait_for("/tidy", 1).await?;
    assert_eq!(received[0].header("ce-type"), Some("dev.knative.sources.ping"));
    assert_eq!(received[0].header("ce-team"), Some("payments"));
    assert_eq!(received[0].body.as_ref(), br#"{"job":"tidy"}"#);
    Ok(())
}

#[tokio::test]
async fn git_webhooks_take_the_call_that_the_comment_makes() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = Mesh::start(&at(&sink, "git-webhooks")?).await?;
    let body = r#"{"ref": "refs/heads/main"}"#;
    ensure!(
        text("git-webhooks")?.contains(body),
        "the comment posts something else"
    );
    let call = Call::github("push", "1", body);
    let forged = call.clone().signed_by_github("a guess");
    webhook::assert_refused(
        &webhook::post(&mesh, "github", &forged).await?,
        401,
        "signature-wrong",
    )?;
    let signed = call.signed_by_github("a long random text");
    assert_eq!(webhook::post(&mesh, "github", &signed).await?.status, 202);
    let received = sink.wait_for("/deploy", 1).await?;
    assert_eq!(received[0].header("ce-type"), Some("com.github.push"));
    assert_eq!(received[0].body.as_ref(), body.as_bytes());
    Ok(())
}

#[tokio::test]
async fn kafka_records_become_events() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    kafka.create_topic("orders", 1).await?;
    let sink = Sink::start().await?;
    let documents = at(&sink, "kafka")?.replace("127.0.0.1:9092", &kafka.bootstrap());
    let _mesh = Setup::new(&documents)?.start().await?;
    kafka.produce("orders", &[Record::of("paid")]).await?;
    let received = sink.wait_for("/ship", 1).await?;
    assert_eq!(received[0].header("ce-type"), Some("dev.knative.kafka.event"));
    assert_eq!(received[0].body.as_ref(), b"paid");
    Ok(())
}

#[tokio::test]
async fn the_kafka_bridge_writes_paid_orders_and_what_is_refused() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    for topic in ["orders", "paid", "dead"] {
        kafka.create_topic(topic, 1).await?;
    }
    let sink = Sink::start().await?;
    sink.answer("/ship", [Answer::status(422)]);
    let documents = at(&sink, "kafka-bridge")?.replace("127.0.0.1:9092", &kafka.bootstrap());
    let mesh = Setup::new(&documents)?.start().await?;
    mesh.send("shop/default", &[Event::new("7", "order.paid")])
        .await?;
    let paid = kafka.wait_for("paid", 1).await?;
    let id = ("ce_id".to_owned(), Some(b"7".to_vec()));
    ensure!(paid[0].headers.contains(&id), "{paid:?}");
    let dead = kafka.wait_for("dead", 1).await?;
    let dead = dead[0].value.clone().unwrap_or_default();
    let dead: serde_json::Value = serde_json::from_slice(&dead)?;
    assert_eq!(
        (&dead["id"], &dead["knativeerrorcode"]),
        (&"7".into(), &"422".into())
    );
    // A record of the topic `orders` takes the same ways.
    kafka
        .produce(
            "orders",
            &[Record::of("{}")
                .header("ce_specversion", "1.0")
                .header("ce_id", "8")
                .header("ce_source", "/till")
                .header("ce_type", "order.paid")],
        )
        .await?;
    kafka.wait_for("paid", 2).await?;
    Ok(())
}
