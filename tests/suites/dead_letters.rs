//! Promise: what is given up on reaches the dead-letter sink with the reason, tried by the same policy, or is parked.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::{Answer, Event, Mesh, Sink};

/// One trigger for `subscriber`, with a dead-letter sink at `/dead`.
async fn mesh(sink: &Sink, subscriber: &str) -> anyhow::Result<Mesh> {
    let delivery = format!(
        "{{retry: 2, backoffPolicy: linear, backoffDelay: PT0.01S, deadLetterSink: {{uri: \"{}\"}}}}",
        sink.url("/dead")
    );
    let documents = Documents::broker().trigger(&Trigger::new("t", subscriber).delivery(&delivery));
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[Event::new("1", "x").with("ext", "kept")])
        .await?;
    Ok(mesh)
}

fn decoded(event: &Event) -> anyhow::Result<Vec<u8>> {
    Ok(BASE64_STANDARD.decode(event.get("knativeerrordata").unwrap_or_default())?)
}

#[tokio::test]
async fn a_dead_letter_says_who_refused_it_and_how() -> anyhow::Result<()> {
    let cases = [
        (Answer::status(422), "422", Vec::new()),
        (
            Answer::status(422).body("no such order"),
            "422",
            b"no such order".to_vec(),
        ),
        (
            Answer::status(500).body("x".repeat(5_000)),
            "500",
            vec![b'x'; 1_024],
        ),
        (
            Answer::status(400).body(&b"\xFF\x00"[..]),
            "400",
            b"\xFF\x00".to_vec(),
        ),
    ];
    for (answer, code, body) in cases {
        let sink = Sink::start().await?;
        sink.answer("/t", [answer.clone()]);
        let _mesh = mesh(&sink, &sink.url("/t")).await?;
        let event = sink.wait_for("/dead", 1).await?[0].event();
        assert_eq!(
            event.get("knativeerrordest"),
            Some(sink.url("/t").as_str()),
            "{answer:?}"
        );
        assert_eq!(event.get("knativeerrorcode"), Some(code), "{answer:?}");
        if !body.is_empty() {
            assert_eq!(decoded(&event)?, body, "{answer:?}");
        }
        assert_eq!(
            (event.id(), event.get("ext")),
            ("1", Some("kept")),
            "the event is the original"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_subscriber_that_cannot_be_reached_is_named_with_the_reason() -> anyhow::Result<()> {
    let (sink, gone) = (Sink::start().await?, Sink::start().await?);
    gone.down();
    let _mesh = mesh(&sink, &gone.url("/t")).await?;
    let event = sink.wait_for("/dead", 1).await?[0].event();
    assert_eq!(event.get("knativeerrordest"), Some(gone.url("/t").as_str()));
    assert_eq!(event.get("knativeerrorcode"), Some("-1"));
    assert!(!decoded(&event)?.is_empty());
    Ok(())
}

#[tokio::test]
async fn the_dead_letter_itself_is_tried_by_the_same_policy() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/t", [Answer::status(500)]);
    sink.answer("/dead", [Answer::status(503), Answer::status(503), Answer::ok()]);
    let mesh = mesh(&sink, &sink.url("/t")).await?;
    mesh.until_settled().await?;
    assert_eq!((sink.count("/t"), sink.count("/dead")), (3, 3));
    mesh.admin().until_parked(0).await?;
    Ok(())
}

#[tokio::test]
async fn a_dead_letter_is_not_forgotten_by_a_crash() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/t", [Answer::status(422)]);
    let mut refusals = 3;
    sink.decide("/dead", move |_, _| {
        refusals -= 1;
        if refusals >= 0 {
            Answer::status(503).header("retry-after", "1")
        } else {
            Answer::ok()
        }
    });
    let mut mesh = mesh(&sink, &sink.url("/t")).await?;
    for attempts in [1, 2] {
        sink.wait_for("/dead", attempts).await?;
        mesh.kill().await?;
        mesh.restart().await?;
    }
    mesh.until_settled().await?;
    let delivered = sink.received("/dead").len() == 4;
    // A crash may have repeated an attempt that was not written down: then the policy ended earlier.
    let parked = mesh.admin().get("parked").await?;
    assert!(
        delivered || parked.as_array().is_some_and(|parked| parked.len() == 1),
        "{parked}"
    );
    assert!(
        sink.count("/t") <= 3,
        "the subscriber is not asked again and again"
    );
    Ok(())
}

#[tokio::test]
async fn a_sink_that_refuses_for_good_has_it_parked_with_the_history() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/t", [Answer::status(500).body("broken")]);
    sink.answer("/dead", [Answer::status(403)]);
    let mesh = mesh(&sink, &sink.url("/t")).await?;
    let parked = mesh.admin().until_parked(1).await?;
    assert_eq!((sink.count("/t"), sink.count("/dead")), (3, 1));
    let id = parked[0]["id"].as_str().unwrap_or_default();
    let one = mesh.admin().get(&format!("parked/{id}")).await?;
    let failures = one["failures"].as_array().cloned().unwrap_or_default();
    let statuses: Vec<_> = failures
        .iter()
        .filter_map(|failure| failure["status"].as_u64())
        .collect();
    assert_eq!(statuses, [500, 500, 500, 403], "{one}");
    Ok(())
}

#[tokio::test]
async fn what_a_dead_letter_sink_replies_is_ignored() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/t", [Answer::status(422)]);
    sink.answer("/dead", [Answer::reply(&Event::new("reply", "x"))]);
    let mesh = mesh(&sink, &sink.url("/t")).await?;
    mesh.until_settled().await?;
    assert_eq!((sink.count("/t"), sink.count("/dead")), (1, 1));
    Ok(())
}
