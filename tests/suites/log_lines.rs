//! Promise: each log line about the work for one Broker, Trigger or source names it, also if a library wrote
//! the line.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::kafka::source;
use millrace_tests::mesh::Setup;
use millrace_tests::{Answer, Event, Mesh, Sink, wait_until};
use serde_json::{Value, json};

const BROKER: &str = "{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}";
/// A line that the dispatcher logs, about a Trigger.
const OF_A_TRIGGER: &str = "a body that is not a CloudEvent";
/// One that librdkafka logs, on a thread of its own, about a source.
const OF_A_SOURCE: &str = "librdkafka: FAIL";
/// One that a thread for files logs, which serves all Brokers in turn.
const OF_A_BROKER: &str = "millrace_channel::embedded::log::writer";

/// A Trigger whose subscriber answers with thanks, and a source whose Kafka is not there: nothing listens on
/// port 9.
async fn mesh(sink: &Sink, args: &[&str]) -> anyhow::Result<Mesh> {
    sink.answer(
        "/ship",
        [Answer::ok().header("content-type", "text/plain").body("thanks")],
    );
    let documents = Documents::broker().trigger(&Trigger::new("ship", &sink.url("/ship")));
    let documents = documents.text().to_owned() + &source("127.0.0.1:9", "orders", BROKER, "");
    let mesh = Setup::new(&documents)?.args(args).start().await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    mesh.until_settled().await?;
    Ok(mesh)
}

/// The first line that says this.
async fn line(mesh: &Mesh, says: &str) -> anyhow::Result<String> {
    wait_until(says, || async {
        let log = mesh.running().stderr();
        Ok(log.lines().find(|line| line.contains(says)).map(str::to_owned))
    })
    .await
}

/// Removes the segment that is written, under the running process.
fn remove_segment(mesh: &Mesh) -> anyhow::Result<()> {
    let log = mesh.setup().data_folder().join("brokers/shop/default/log");
    let mut files = fs::read_dir(log)?.map(|entry| entry.map(|entry| entry.path()));
    let is_segment = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "log");
    let segment = files.find_map(|file| file.ok().filter(is_segment));
    Ok(fs::remove_file(segment.context("no segment")?)?)
}

#[tokio::test]
async fn lines_for_people_name_it_before_they_say_what_happened() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = mesh(&sink, &[]).await?;
    for (says, names) in [
        (
            OF_A_TRIGGER,
            " broker{broker=shop/default}:trigger{trigger=shop/ship}: ",
        ),
        (OF_A_SOURCE, " source{source=KafkaSource shop/orders}: "),
    ] {
        let line = line(&mesh, says).await?;
        assert!(line.contains(names), "{line}");
    }
    remove_segment(&mesh)?;
    let line = line(&mesh, OF_A_BROKER).await?;
    assert!(line.contains(" broker{broker=shop/default}: "), "{line}");
    Ok(())
}

#[tokio::test]
async fn lines_in_json_name_it_in_their_spans() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = mesh(&sink, &["--log-format", "json"]).await?;
    let broker = json!({"name": "broker", "broker": "shop/default"});
    for (says, spans) in [
        (
            OF_A_TRIGGER,
            json!([broker, {"name": "trigger", "trigger": "shop/ship"}]),
        ),
        (
            OF_A_SOURCE,
            json!([{"name": "source", "source": "KafkaSource shop/orders"}]),
        ),
    ] {
        let line: Value = serde_json::from_str(&line(&mesh, says).await?)?;
        assert_eq!(line["spans"], spans, "{line}");
    }
    remove_segment(&mesh)?;
    let line: Value = serde_json::from_str(&line(&mesh, OF_A_BROKER).await?)?;
    assert_eq!(line["spans"], json!([broker]), "{line}");
    Ok(())
}
