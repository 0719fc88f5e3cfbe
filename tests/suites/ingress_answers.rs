//! Promise: every request to the ingress gets the answer that the reference documents, and nothing but a 202
//! means "stored".

use anyhow::Context as _;
use bytes::Bytes;
use http::Method;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::event::Message;
use millrace_tests::mesh::Setup;
use millrace_tests::{Answer, Answered, Client, Event, Gate, Mesh, Sink, wait_until};

/// A mesh whose one trigger tells what was stored, and the sink behind it.
async fn watched() -> anyhow::Result<(Mesh, Sink)> {
    let sink = Sink::start().await?;
    let documents = Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")));
    Ok((Mesh::start(documents.text()).await?, sink))
}

fn headers(pairs: &[(&str, &str)], body: &'static str) -> Message {
    let headers = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Message {
        headers,
        body: Bytes::from_static(body.as_bytes()),
    }
}

/// Sends to the broker and compares status and code.
async fn refused(
    client: &mut Client,
    name: &str,
    message: &Message,
    expected: (u16, &str),
) -> anyhow::Result<()> {
    let answer = client
        .post("/shop/default", message)
        .await
        .context(name.to_owned())?;
    let code = answer.code().with_context(|| format!("{name}: {answer:?}"))?;
    assert_eq!((answer.status, code.as_str()), expected, "{name}: {answer:?}");
    Ok(())
}

fn assert_stored(answer: &Answered) {
    assert_eq!(answer.status, 202, "{answer:?}");
    assert!(answer.body.is_empty(), "a 202 has no body: {answer:?}");
}

#[tokio::test]
async fn the_three_content_modes_are_accepted() -> anyhow::Result<()> {
    let (mesh, sink) = watched().await?;
    let event = |id: &str| Event::new(id, "order.paid");
    assert_stored(&mesh.post("shop/default", &event("binary").binary()).await?);
    assert_stored(&mesh.post("shop/default/", &event("slash").binary()).await?);
    assert_stored(
        &mesh
            .post("shop/default", &event("structured").structured())
            .await?,
    );
    assert_stored(
        &mesh
            .post(
                "shop/default",
                &Event::batch(&[event("batch-1"), event("batch-2")]),
            )
            .await?,
    );
    assert_stored(&mesh.post("shop/default", &Event::batch(&[])).await?);
    sink.wait_for("/all", 5).await?;
    let mut ids = sink.ids("/all");
    ids.sort();
    assert_eq!(ids, ["batch-1", "batch-2", "binary", "slash", "structured"]);
    Ok(())
}

#[tokio::test]
async fn media_types_are_compared_without_case() -> anyhow::Result<()> {
    let (mesh, sink) = watched().await?;
    let mut message = Event::new("1", "x").structured();
    message.headers = vec![(
        "Content-Type".to_owned(),
        "Application/CloudEvents+JSON; Charset=UTF-8".to_owned(),
    )];
    assert_stored(&mesh.post("shop/default", &message).await?);
    assert_eq!(sink.wait_for("/all", 1).await?[0].event().id(), "1");
    Ok(())
}

#[tokio::test]
async fn version_0_3_is_accepted_and_not_upgraded() -> anyhow::Result<()> {
    let (mesh, sink) = watched().await?;
    let event = Event::new("old", "x").with("specversion", "0.3");
    assert_stored(&mesh.post("shop/default", &event.binary()).await?);
    assert_stored(&mesh.post("shop/default", &event.structured()).await?);
    for received in sink.wait_for("/all", 2).await? {
        assert_eq!(received.event().get("specversion"), Some("0.3"));
    }
    Ok(())
}

#[tokio::test]
async fn what_is_malformed_is_400_with_a_code() -> anyhow::Result<()> {
    let (mesh, sink) = watched().await?;
    let event = || Event::new("1", "x");
    let structured = |body| headers(&[("content-type", "application/cloudevents+json")], body);
    let batch = |body| headers(&[("content-type", "application/cloudevents-batch+json")], body);
    let extra = |name: &str, value: &str| {
        let mut message = event().binary();
        message.headers.push((name.to_owned(), value.to_owned()));
        message
    };
    let cases = [
        (
            "no event at all",
            headers(&[("content-type", "text/plain")], "hello"),
            "not-an-event",
        ),
        ("no id", event().without("id").binary(), "missing-attribute"),
        (
            "no source",
            event().without("source").binary(),
            "missing-attribute",
        ),
        ("no type", event().without("type").binary(), "missing-attribute"),
        (
            "no version",
            event().without("specversion").binary(),
            "missing-attribute",
        ),
        ("empty id", event().with("id", "").binary(), "bad-attribute-value"),
        (
            "unknown version",
            event().with("specversion", "19.0").binary(),
            "unsupported-specversion",
        ),
        (
            "unknown version, structured",
            event().with("specversion", "9000.1").structured(),
            "unsupported-specversion",
        ),
        (
            "bad time",
            event().with("time", "yesterday").binary(),
            "bad-attribute-value",
        ),
        (
            "bad name",
            event().with("my_ext", "1").binary(),
            "bad-attribute-name",
        ),
        ("attribute twice", extra("ce-id", "2"), "duplicate-attribute"),
        (
            "content type twice",
            extra("content-type", "text/plain"),
            "content-type-repeated",
        ),
        (
            "ce-datacontenttype",
            extra("ce-datacontenttype", "text/plain"),
            "datacontenttype-header",
        ),
        (
            "percent signs that spell no UTF-8",
            event().with("subject", "%C0%A0").binary(),
            "bad-percent-encoding",
        ),
        ("no JSON", structured("{"), "bad-json"),
        ("an array where an event should be", structured("[]"), "bad-json"),
        ("an event where a batch should be", batch("{}"), "bad-json"),
        (
            "member twice",
            structured(r#"{"specversion":"1.0","id":"1","id":"2","source":"/s","type":"t"}"#),
            "duplicate-attribute",
        ),
        (
            "both kinds of data",
            structured(
                r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1,"data_base64":"AA=="}"#,
            ),
            "both-data-members",
        ),
        (
            "data that is no Base64",
            structured(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"?"}"#),
            "bad-data",
        ),
        (
            "a fraction",
            structured(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","n":1.5}"#),
            "bad-attribute-value",
        ),
        (
            "a batch of two versions",
            Event::batch(&[event(), event().with("specversion", "0.3")]),
            "mixed-batch",
        ),
        (
            "one bad event in a batch",
            Event::batch(&[event(), event().without("id")]),
            "missing-attribute",
        ),
        (
            "used up",
            event().with("knativebrokerttl", "1").binary(),
            "looping",
        ),
    ];
    let mut client = Client::new(mesh.listen());
    for (name, message, code) in cases {
        refused(&mut client, name, &message, (400, code)).await?;
    }
    // Nothing of all that was stored, not even the good half of a batch.
    mesh.send("shop/default", &[Event::new("good", "x")]).await?;
    sink.wait_for("/all", 1).await?;
    assert_eq!(sink.ids("/all"), ["good"]);
    Ok(())
}

#[tokio::test]
async fn paths_that_lead_to_no_broker_are_404() -> anyhow::Result<()> {
    let (mesh, _sink) = watched().await?;
    let mut client = Client::new(mesh.listen());
    for path in [
        "/",
        "/shop",
        "/shop/default/more",
        "/shop/other",
        "/other/default",
        "//",
        "/shop//default",
    ] {
        let answer = client.post(path, &Event::new("1", "x").binary()).await?;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        answer.code().with_context(|| format!("{path}: {answer:?}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn other_methods_are_405_and_say_what_is_allowed() -> anyhow::Result<()> {
    let (mesh, _sink) = watched().await?;
    let mut client = Client::new(mesh.listen());
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = client.send(&method, "/shop/default", &headers(&[], "")).await?;
        assert_eq!(answer.status, 405, "{method}: {answer:?}");
        let allow = answer.header("allow").unwrap_or_default();
        assert!(
            allow.contains("POST") && allow.contains("OPTIONS"),
            "{method}: Allow: {allow}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn options_answers_the_webhook_handshake() -> anyhow::Result<()> {
    let (mesh, _sink) = watched().await?;
    let asked = headers(
        &[
            ("webhook-request-origin", "events.example.com"),
            ("webhook-request-rate", "120"),
        ],
        "",
    );
    let answer = Client::new(mesh.listen())
        .send(&Method::OPTIONS, "/shop/default", &asked)
        .await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        answer.header("allow").is_some_and(|allow| allow.contains("POST")),
        "{answer:?}"
    );
    let origin = answer.header("webhook-allowed-origin").unwrap_or_default();
    assert!(origin == "*" || origin == "events.example.com", "{answer:?}");
    assert!(answer.header("webhook-allowed-rate").is_some(), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_too_large_is_413_and_what_just_fits_is_taken() -> anyhow::Result<()> {
    let (mesh, sink) = watched().await?;
    let mut client = Client::new(mesh.listen());
    let sized = |size: usize| Event::new("1", "x").data("application/octet-stream", vec![7; size]);
    let many = |count: usize| Event::batch(&vec![Event::new("b", "x").no_data(); count]);
    let limit = 1024 * 1024;
    refused(
        &mut client,
        "data",
        &sized(limit + 1).binary(),
        (413, "event-too-large"),
    )
    .await?;
    refused(&mut client, "batch", &many(1_001), (413, "batch-too-large")).await?;
    let answer = Client::new(mesh.listen())
        .post("/shop/default", &sized(9 * limit).binary())
        .await?;
    assert_eq!(answer.status, 413, "{answer:?}");
    assert_stored(
        &Client::new(mesh.listen())
            .post("/shop/default", &sized(limit).binary())
            .await?,
    );
    let received = sink.wait_for("/all", 1).await?;
    assert_eq!(received[0].body, vec![7; limit]);
    assert_stored(
        &Client::new(mesh.listen())
            .post("/shop/default", &many(1_000))
            .await?,
    );
    sink.wait_for("/all", 1_001).await?;
    Ok(())
}

#[tokio::test]
async fn a_smaller_limit_can_be_set() -> anyhow::Result<()> {
    let setup = Setup::new(Documents::broker().text())?.args(&["--max-event-bytes", "2048"]);
    let mesh = setup.start().await?;
    let sized = |size: usize| Event::new("1", "x").data("text/plain", vec![b'a'; size]).binary();
    assert_stored(&mesh.post("shop/default", &sized(2_048)).await?);
    refused(
        &mut Client::new(mesh.listen()),
        "data",
        &sized(2_049),
        (413, "event-too-large"),
    )
    .await
}

#[tokio::test]
async fn what_is_no_json_event_format_is_415() -> anyhow::Result<()> {
    let (mesh, _sink) = watched().await?;
    let mut client = Client::new(mesh.listen());
    let cases = [
        ("application/cloudevents+avro", "unsupported-format"),
        ("application/cloudevents+xml", "unsupported-format"),
        ("application/cloudevents-batch+protobuf", "unsupported-format"),
        (
            "application/cloudevents+json; charset=utf-16",
            "unsupported-charset",
        ),
    ];
    for (content_type, code) in cases {
        refused(
            &mut client,
            content_type,
            &headers(&[("content-type", content_type)], "x"),
            (415, code),
        )
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn too_many_or_too_long_headers_are_431() -> anyhow::Result<()> {
    let (mesh, _sink) = watched().await?;
    let many = (0..300).fold(Event::new("1", "x"), |event, n| event.with(&format!("x{n}"), "1"));
    let long = Event::new("1", "x").with("long", &"a".repeat(70 * 1024));
    for (name, event) in [("many", many), ("long", long)] {
        let answer = mesh.post("shop/default", &event.binary()).await.context(name)?;
        assert_eq!(answer.status, 431, "{name}: {answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_event_of_64_kib_on_the_wire_is_taken_whatever_its_shape() -> anyhow::Result<()> {
    let (mesh, sink) = watched().await?;
    let in_data = Event::new("data", "x").data("text/plain", "d".repeat(63 * 1024));
    let in_attributes = Event::new("attributes", "x")
        .with("long", &"a".repeat(60 * 1024))
        .no_data();
    mesh.send("shop/default", &[in_data, in_attributes]).await?;
    sink.wait_for("/all", 2).await?;
    Ok(())
}

#[tokio::test]
async fn a_full_backlog_is_503_with_retry_after_until_it_drains() -> anyhow::Result<()> {
    let (sink, gate) = (Sink::start().await?, Gate::closed());
    sink.answer("/slow", [Answer::ok().after(&gate)]);
    let metadata = "{name: small, namespace: shop, annotations: {millrace.dev/backlog-bytes: \"1048576\"}}";
    let documents = Documents::default()
        .document("Broker", metadata, "spec: {}")
        .trigger(&Trigger::new("slow", &sink.url("/slow")).on("small"));
    let mesh = Mesh::start(documents.text()).await?;
    let mut client = Client::new(mesh.listen());
    let event = Event::new("1", "x")
        .data("application/octet-stream", vec![1; 64 * 1024])
        .binary();
    let mut stored = 0;
    let refusal = loop {
        let answer = client.post("/shop/small", &event).await?;
        if answer.status != 202 {
            break answer;
        }
        stored += 1;
        assert!(stored < 1_000, "a backlog of 1 MiB takes 1 000 events of 64 KiB");
    };
    assert_eq!((refusal.status, refusal.code()?.as_str()), (503, "backlog-full"));
    let wait: u64 = refusal.header("retry-after").context("no Retry-After")?.parse()?;
    assert!(wait >= 1);
    gate.open();
    sink.wait_for("/slow", stored).await?;
    wait_until("producers to be taken again", || async {
        let answer = mesh.post("shop/small", &event).await?;
        Ok(Some(()).filter(|()| answer.status == 202))
    })
    .await
}
