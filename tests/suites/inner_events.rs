//! Promise: an event within an event stays within. Receivers tell the content mode by the beginning of
//! Content-Type. So data that is itself a CloudEvent could be read instead of the event that the filters have
//! judged.

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::webhook::{Call, post};
use millrace_tests::{Answer, Event, Mesh, Received, Sink};
use serde_json::{Value, json};

const INNER: &str = r#"{"specversion":"1.0","id":"inner","source":"/inner","type":"secret", "data": 1.10}"#;

/// A structured event with data of this type: as `data` if it is JSON, otherwise in Base64.
fn outer(id: &str, media_type: &str, data: &str) -> String {
    let head = json!({"specversion": "1.0", "id": id, "source": "/tests", "type": "outer", "datacontenttype": media_type});
    let head = head.to_string();
    let head = head.trim_end_matches('}');
    if serde_json::from_str::<Value>(data).is_ok() {
        format!("{head},\"data\":{data}}}")
    } else {
        format!("{head},\"data_base64\":\"{}\"}}", BASE64_STANDARD.encode(data))
    }
}

async fn send(mesh: &Mesh, json: String) -> anyhow::Result<()> {
    let mut message = Event::new("x", "x").structured();
    message.body = Bytes::from(json);
    let answer = mesh.post("shop/default", &message).await?;
    anyhow::ensure!(answer.status == 202, "{answer:?}");
    Ok(())
}

/// The body of a delivery in structured mode; fails if any part of it could be read in another mode.
fn structured(received: &Received) -> anyhow::Result<Value> {
    let content_type = received.header("content-type");
    anyhow::ensure!(
        content_type == Some("application/cloudevents+json; charset=utf-8"),
        "{received:?}"
    );
    let attribute = received
        .headers
        .keys()
        .find(|name| name.as_str().starts_with("ce-"));
    anyhow::ensure!(attribute.is_none(), "{received:?}");
    Ok(serde_json::from_slice(&received.body)?)
}

/// The data of an event in structured mode, byte for byte as far as JSON text shows it.
fn data(event: &Value) -> anyhow::Result<String> {
    match (event.get("data"), event["data_base64"].as_str()) {
        (Some(data), None) => Ok(data.to_string()),
        (None, Some(text)) => Ok(String::from_utf8(BASE64_STANDARD.decode(text)?)?),
        _ => anyhow::bail!("not exactly one of data and data_base64: {event}"),
    }
}

#[tokio::test]
async fn data_that_is_an_event_leaves_in_structured_mode_whatever_the_policy_says() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/refuses", [Answer::status(400)]);
    let dead = format!(
        "{{format: binary, deadLetterSink: {{uri: \"{}\"}}}}",
        sink.url("/dead")
    );
    // No event of the inner type may reach the subscriber `asks`; `wants` filters for the outer type.
    let documents = Documents::broker()
        .trigger(&Trigger::new("binary", &sink.url("/binary")).delivery("{format: binary}"))
        .trigger(&Trigger::new("json", &sink.url("/json")).delivery("{format: json}"))
        .trigger(&Trigger::new("secret", &sink.url("/secret")).attributes("{type: secret}"))
        .trigger(&Trigger::new("refuses", &sink.url("/refuses")).delivery(&dead));
    let mesh = Mesh::start(documents.text()).await?;
    let cases = [
        ("application/cloudevents+json", INNER),
        ("Application/CloudEvents+JSON; charset=utf-8", INNER),
        ("application/cloudevents-batch+json", "[]"),
        ("application/cloudevents", INNER),
        ("application/cloudevents+json", "{broken"),
        ("APPLICATION/CLOUDEVENTS+XML", "<event/>"),
        ("application/cloudevents+avro; x=y", "\u{1}\u{2}"),
    ];
    for (n, (media_type, data)) in cases.iter().enumerate() {
        send(&mesh, outer(&n.to_string(), media_type, data)).await?;
    }
    mesh.until_settled().await?;
    for path in ["/binary", "/json", "/refuses", "/dead"] {
        let received = sink.received(path);
        assert_eq!(received.len(), cases.len(), "{path}");
        for received in received {
            let event = structured(&received)?;
            let id = event["id"].as_str().context("an id")?;
            let (media_type, sent) = cases[id.parse::<usize>()?];
            assert_eq!(
                (&event["type"], &event["datacontenttype"]),
                (&json!("outer"), &json!(media_type))
            );
            match serde_json::from_str::<Value>(sent) {
                Ok(sent) => assert_eq!(
                    serde_json::from_str::<Value>(&data(&event)?)?,
                    sent,
                    "{path} {event}"
                ),
                Err(_) => assert_eq!(data(&event)?, sent, "{path} {event}"),
            }
            assert_eq!(
                event.get("knativeerrorcode").is_some(),
                path == "/dead",
                "{event}"
            );
        }
    }
    assert_eq!(
        sink.count("/secret"),
        0,
        "nobody sees an event that no filter has seen"
    );
    Ok(())
}

#[tokio::test]
async fn a_reply_that_holds_an_event_is_the_one_outside() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let reply = Answer::ok()
        .header("content-type", "application/cloudevents+json")
        .body(outer("reply", "application/cloudevents+json", INNER));
    sink.answer("/asks", [reply]);
    let documents = Documents::broker()
        .and_broker("other", "{}")
        .trigger(&Trigger::new("asks", &sink.url("/asks")).attributes("{type: question}"))
        .trigger(&Trigger::new("hears", &sink.url("/hears")).attributes("{type: outer}"))
        .trigger(&Trigger::new("secret", &sink.url("/secret")).attributes("{type: secret}"));
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[Event::new("q", "question")]).await?;
    let heard = sink.wait_for("/hears", 1).await?;
    mesh.until_settled().await?;
    let event = structured(&heard[0])?;
    assert_eq!(
        (&event["id"], &event["data"]["id"]),
        (&json!("reply"), &json!("inner"))
    );
    assert_eq!(sink.count("/secret"), 0);
    Ok(())
}

/// A generic webhook accepts any JSON, with its Content-Type.
#[tokio::test]
async fn a_webhook_that_brings_an_event_leaves_as_one_event_to_a_broker_and_to_a_url() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let source = |name: &str, to: &str| {
        format!(
            "---\napiVersion: sources.millrace.dev/v1alpha1\nkind: GitWebhookSource\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{forge: generic, verification: none, sink: {to}}}\n"
        )
    };
    let broker = "{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}";
    let url = format!("{{uri: \"{}\"}}", sink.url("/url"));
    let documents = Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")));
    let mesh = Mesh::start(&format!(
        "{}{}{}",
        documents.text(),
        source("in", broker),
        source("out", &url)
    ))
    .await?;
    for name in ["in", "out"] {
        mesh.admin()
            .until_source(&format!("shop/{name}"), "ready", |source| {
                source["state"] == "ready"
            })
            .await?;
        let call = Call::new(&[], INNER).header("content-type", "Application/CloudEvents+json; a=b");
        let answer = post(&mesh, name, &call).await?;
        anyhow::ensure!(answer.status == 202, "{answer:?}");
    }
    for path in ["/all", "/url"] {
        let event = structured(&sink.wait_for(path, 1).await?[0])?;
        assert_eq!(
            (&event["type"], &event["datacontenttype"], &event["data"]["id"]),
            (
                &json!("dev.millrace.webhook"),
                &json!("Application/CloudEvents+json; a=b"),
                &json!("inner")
            ),
            "{path}"
        );
    }
    Ok(())
}
