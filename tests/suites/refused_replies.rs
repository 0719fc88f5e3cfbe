//! Promise: no reply vanishes. An answer that claims to be a CloudEvent and cannot be taken is dead-lettered
//! or parked with the reason, and the subscriber is not called again.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::{Answer, Event, Gate, Mesh, Sink, wait_until};
use serde_json::{Value, json};

/// An event in a 200, in structured mode.
fn structured(event: &Event) -> Answer {
    Answer::ok()
        .header("content-type", "application/cloudevents+json")
        .body(event.json().to_string())
}

/// Answers that claim to be CloudEvents and cannot be taken: the code, the field at fault, and the answer.
fn broken() -> Vec<(&'static str, &'static str, Answer)> {
    let event = Event::new("r", "answer");
    let typed = |content_type: &str| Answer::ok().header("content-type", content_type);
    let half = Event::batch(&[event.clone(), event.clone().without("source")]);
    vec![
        (
            "missing-attribute",
            "ce-id",
            Answer::reply(&event.clone().without("id")),
        ),
        (
            "missing-attribute",
            "ce-type",
            Answer::reply(&event.clone().without("type")),
        ),
        (
            "missing-attribute",
            "ce-specversion",
            Answer::ok().header("ce-id", "half an event"),
        ),
        (
            "bad-attribute-value",
            "ce-time",
            Answer::reply(&event.clone().with("time", "yesterday")),
        ),
        (
            "bad-attribute-name",
            "ce-my_name",
            Answer::reply(&event.clone().with("my_name", "x")),
        ),
        (
            "unsupported-specversion",
            "ce-specversion",
            Answer::reply(&event.clone().with("specversion", "9.9")),
        ),
        (
            "unsupported-encoding",
            "content-encoding",
            Answer::reply(&event).header("content-encoding", "gzip"),
        ),
        (
            "missing-attribute",
            "id",
            structured(&event.clone().without("id")),
        ),
        (
            "bad-json",
            "",
            typed("application/cloudevents+json").body("{\"specversion\": \"1.0\""),
        ),
        (
            "missing-attribute",
            "[1].source",
            typed("application/cloudevents-batch+json").body(half.body),
        ),
        (
            "unsupported-format",
            "content-type",
            typed("Application/CloudEvents+avro").body("?"),
        ),
    ]
}

/// How a refusal begins, in a parked event's reason and in a dead letter.
fn refusal(code: &str, field: &str) -> String {
    let at = if field.is_empty() {
        String::new()
    } else {
        format!(" ({field})")
    };
    format!("the reply was refused: {code}{at}: ")
}

#[tokio::test]
async fn a_200_that_says_it_is_an_event_and_is_none_is_done_and_parked_with_code_and_field()
-> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let broken = broken();
    sink.answer("/first", broken.iter().map(|(_, _, answer)| answer.clone()));
    let documents = Documents::broker()
        .trigger(
            &Trigger::new("first", &sink.url("/first"))
                .attributes("{type: question}")
                .annotation("millrace.dev/parallelism", "1"),
        )
        .trigger(&Trigger::new("second", &sink.url("/second")).attributes("{type: answer}"));
    let mesh = Mesh::start(documents.text()).await?;
    let questions: Vec<_> = (0..broken.len())
        .map(|n| Event::new(&n.to_string(), "question"))
        .collect();
    mesh.send("shop/default", &questions).await?;
    let mut parked = mesh.admin().until_parked(broken.len()).await?;
    mesh.until_settled().await?;
    assert_eq!(
        (sink.count("/first"), sink.count("/second")),
        (broken.len(), 0),
        "each is delivered once"
    );
    parked.sort_by_key(|row| {
        row["position"]
            .as_str()
            .and_then(|text| text.parse::<usize>().ok())
    });
    for (n, (row, (code, field, answer))) in parked.iter().zip(&broken).enumerate() {
        let reason = row["reason"].as_str().unwrap_or_default();
        assert!(reason.starts_with(&refusal(code, field)), "{reason}");
        assert_eq!(
            (&row["stage"], &row["event"]["type"]),
            (&json!("reply"), &json!("dev.millrace.reply.refused"))
        );
        let shown = mesh
            .admin()
            .get(&format!("parked/{}", row["id"].as_str().unwrap_or_default()))
            .await?;
        assert_eq!(
            (&shown["event"]["askedid"], &shown["event"]["askedsource"]),
            (&json!(n.to_string()), &json!("/tests"))
        );
        // The whole answer is kept: headers as attributes, the body as data.
        if let Some((_, value)) = answer.headers.iter().find(|(name, _)| name == "ce-id") {
            assert_eq!(shown["event"]["replyid"], json!(value));
        }
        let text = shown["event"]["data_base64"]
            .as_str()
            .map(|text| BASE64_STANDARD.decode(text))
            .transpose()?;
        match text {
            Some(text) => assert_eq!(answer.body, text),
            None if answer.body.is_empty() => assert_eq!(shown["event"].get("data"), None),
            None => assert_eq!(
                shown["event"]["data"],
                serde_json::from_slice::<Value>(&answer.body)?
            ),
        }
    }
    let trigger = mesh.admin().trigger("shop/first").await?;
    assert_eq!(
        (&trigger["delivered"], &trigger["failedAttempts"]),
        (&json!(broken.len()), &json!(0))
    );
    let counted = mesh
        .admin()
        .metric("millrace_dispatch_refused_replies_total")
        .await?;
    assert_eq!(counted, f64::from(u32::try_from(broken.len())?));
    Ok(())
}

#[tokio::test]
async fn a_reply_that_cannot_be_taken_goes_to_the_dead_letter_sink() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer(
        "/first",
        [Answer::reply(
            &Event::new("r", "answer")
                .without("source")
                .data("text/plain", "thanks"),
        )],
    );
    let delivery = format!("{{deadLetterSink: {{uri: \"{}\"}}}}", sink.url("/dead"));
    let documents = Documents::broker_with(&delivery)
        .trigger(&Trigger::new("first", &sink.url("/first")).attributes("{type: question}"));
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[Event::new("q", "question")]).await?;
    let dead = sink.wait_for("/dead", 1).await?;
    mesh.until_settled().await?;
    let letter = dead[0].event();
    assert_eq!(
        (letter.get("type"), &dead[0].body[..]),
        (Some("dev.millrace.reply.refused"), &b"thanks"[..])
    );
    assert_eq!(
        (
            letter.get("askedid"),
            letter.get("replyid"),
            letter.get("replytype")
        ),
        (Some("q"), Some("r"), Some("answer"))
    );
    assert_eq!(letter.get("knativeerrordest"), Some(sink.url("/first").as_str()));
    let why = BASE64_STANDARD.decode(letter.get("knativeerrordata").unwrap_or_default())?;
    assert!(
        why.starts_with(refusal("missing-attribute", "ce-source").as_bytes()),
        "{why:?}"
    );
    assert_eq!(sink.count("/first"), 1);
    mesh.admin().until_parked(0).await?;
    Ok(())
}

#[tokio::test]
async fn a_batch_that_went_round_too_often_is_parked_as_a_whole() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let replies = [Event::new("a", "ring"), Event::new("b", "ring")];
    let message = Event::batch(&replies);
    sink.answer(
        "/ring",
        [Answer::ok()
            .header("content-type", &message.headers[0].1)
            .body(message.body.clone())],
    );
    let documents = Documents::broker().trigger(&Trigger::new("ring", &sink.url("/ring")));
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send(
        "shop/default",
        &[Event::new("first", "ring").with("knativebrokerttl", "2")],
    )
    .await?;
    let parked = mesh.admin().until_parked(1).await?;
    mesh.until_settled().await?;
    assert_eq!(sink.ids("/ring"), ["first"]);
    let reason = parked[0]["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with(&refusal("looping", "")), "{reason}");
    let shown = mesh
        .admin()
        .get(&format!(
            "parked/{}",
            parked[0]["id"].as_str().unwrap_or_default()
        ))
        .await?;
    assert_eq!(
        shown["event"]["data"],
        serde_json::from_slice::<Value>(&message.body)?
    );
    Ok(())
}

#[tokio::test]
async fn a_reply_waits_for_its_broker_to_come_back() -> anyhow::Result<()> {
    let (sink, mesh) = with_its_broker_away("PT5M", "the reply to be refused for now", async |mesh| {
        let refused = mesh
            .admin()
            .metric("millrace_broker_requests_refused_total")
            .await?;
        Ok((refused >= 2.0).then_some(()))
    })
    .await?;
    let heard = sink.wait_for("/second", 1).await?;
    mesh.until_settled().await?;
    assert_eq!((heard[0].event().id(), sink.count("/first")), ("r", 1));
    assert_eq!(mesh.admin().get("parked").await?, json!([]));
    Ok(())
}

/// Nobody is called again for it.
#[tokio::test]
async fn a_reply_whose_broker_stays_away_is_parked_as_it_was() -> anyhow::Result<()> {
    let (sink, mesh) = with_its_broker_away("PT8S", "the reply to be refused for good", async |mesh| {
        let refused = mesh
            .admin()
            .metric("millrace_dispatch_refused_replies_total")
            .await?;
        Ok((refused >= 1.0).then_some(()))
    })
    .await?;
    let parked = mesh.admin().until_parked(1).await?;
    assert!(
        parked[0]["reason"].to_string().contains("unknown-broker"),
        "{parked:?}"
    );
    assert_eq!((sink.count("/first"), sink.count("/second")), (1, 0));
    Ok(())
}

/// A subscriber answers with a reply while its Broker is in no document, until something is so. Then the
/// Broker is back.
async fn with_its_broker_away(
    timeout: &str,
    what: &str,
    is_so: impl AsyncFn(&Mesh) -> anyhow::Result<Option<()>>,
) -> anyhow::Result<(Sink, Mesh)> {
    let sink = Sink::start().await?;
    let asked = Gate::closed();
    sink.answer(
        "/first",
        [Answer::reply(&Event::new("r", "answer")).after(&asked)],
    );
    let first = Trigger::new("first", &sink.url("/first"))
        .attributes("{type: question}")
        .delivery(&format!("{{timeout: {timeout}}}"));
    let second = Trigger::new("second", &sink.url("/second")).attributes("{type: answer}");
    let documents = Documents::broker().trigger(&first).trigger(&second);
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[Event::new("q", "question")]).await?;
    sink.wait_for("/first", 1).await?;
    let without = Documents::default().and_broker("other", "{}");
    mesh.reload(without.text()).await?;
    asked.open();
    wait_until(what, || is_so(&mesh)).await?;
    mesh.reload(documents.text()).await?;
    Ok((sink, mesh))
}
