//! Promise: clients that other people wrote can send to Millrace and read what it delivers.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::peers::{self, Peer};
use millrace_tests::{Event, Mesh, Received, Sink};
use serde_json::{Value, json};

#[tokio::test]
async fn the_python_client_sends_and_reads() -> anyhow::Result<()> {
    let Some(peer) = peers::python()? else {
        return Ok(());
    };
    there_and_back(&peer, "python/client.py").await
}

#[tokio::test]
async fn the_javascript_client_sends_and_reads() -> anyhow::Result<()> {
    let Some(peer) = peers::node()? else { return Ok(()) };
    there_and_back(&peer, "node/client.js").await
}

/// A service with the JavaScript client answers with a subject that is not ASCII: Node writes it as ISO
/// 8859-1.
#[tokio::test]
async fn a_reply_of_the_javascript_client_keeps_its_subject() -> anyhow::Result<()> {
    let Some(peer) = peers::node()? else { return Ok(()) };
    let sink = Sink::start().await?;
    let folder = tempfile::tempdir()?;
    let mut service = peer.start(
        "node/client.js",
        &["serve".to_owned()],
        &folder.path().join("stderr"),
    )?;
    let port = service.first_line().await?;
    let documents = Documents::broker()
        .trigger(&Trigger::new("asks", &format!("http://127.0.0.1:{port}/")).attributes("{type: question}"))
        .trigger(&Trigger::new("hears", &sink.url("/hears")).attributes("{type: reply, subject: café}"))
        .trigger(
            &Trigger::new("json", &sink.url("/json"))
                .attributes("{type: reply}")
                .delivery("{format: json}"),
        );
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[Event::new("q", "question")]).await?;
    let heard = sink.wait_for("/hears", 1).await?;
    assert_eq!(heard[0].header("ce-subject"), Some("caf%C3%A9"));
    let json: Value = serde_json::from_slice(&sink.wait_for("/json", 1).await?[0].body)?;
    assert_eq!(json["subject"], "café");
    Ok(())
}

/// The client sends its events in binary and structured mode; it then reads what the subscriber got, and says
/// what it sees.
async fn there_and_back(peer: &Peer, script: &str) -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = Documents::broker()
        .trigger(&Trigger::new("binary", &sink.url("/binary")))
        .trigger(&Trigger::new("json", &sink.url("/json")).delivery("{format: json}"));
    let mesh = Mesh::start(documents.text()).await?;
    let said = peer
        .run(script, &["send".to_owned(), mesh.url("shop/default")])
        .await?;
    let sent: Vec<Value> = said.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert!(sent.len() >= 6, "{said}");
    for event in &sent {
        assert_eq!(event["status"], 202, "{event}");
    }
    for path in ["/binary", "/json"] {
        let received = sink.wait_for(path, sent.len()).await?;
        let file = mesh.setup().folder().join("received.json");
        std::fs::write(
            &file,
            Value::from(received.iter().map(message).collect::<Vec<_>>()).to_string(),
        )?;
        let said = peer
            .run(script, &["read".to_owned(), file.to_string_lossy().into_owned()])
            .await?;
        let read: Vec<Value> = said.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        assert_eq!(by_id(&read), by_id(&sent), "{path}");
    }
    Ok(())
}

/// A delivery as the script takes it.
fn message(received: &Received) -> Value {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: BTreeMap<_, _> = received
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect();
    json!({ "headers": headers, "body": BASE64_STANDARD.encode(&received.body) })
}

/// What the client says of an event, without the answer that it got.
fn by_id(events: &[Value]) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for event in events {
        let mut event = event.clone();
        event.as_object_mut().map(|members| members.remove("status"));
        all.insert(event["id"].as_str().unwrap_or_default().to_owned(), event);
    }
    all
}
