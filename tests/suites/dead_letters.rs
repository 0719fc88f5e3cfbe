//! Promise: what is given up on reaches the dead-letter sink with the reason, tried by the same policy, or is
//! parked.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::{Answer, Event, Mesh, Received, Sink};
use serde_json::json;

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

/// So many retries in quick succession, and the sink.
fn quick(retry: u32, dead: &str) -> String {
    format!(
        "{{retry: {retry}, backoffDelay: PT0.01S, backoffMax: PT0.02S, deadLetterSink: {{uri: \"{dead}\"}}}}"
    )
}

/// The three attributes of a dead letter, the last decoded.
fn told(letter: &Received) -> anyhow::Result<(String, String, Vec<u8>)> {
    let event = letter.event();
    let attribute = |name| event.get(name).unwrap_or("missing").to_owned();
    Ok((
        attribute("knativeerrordest"),
        attribute("knativeerrorcode"),
        decoded(&event)?,
    ))
}

/// A trigger at `/t` with that delivery, and one event on its way.
async fn sent(sink: &Sink, delivery: &str) -> anyhow::Result<Mesh> {
    let documents = Documents::broker().trigger(&Trigger::new("t", &sink.url("/t")).delivery(delivery));
    let mesh = Mesh::start(documents.text()).await?;
    let event = Event::new("1", "x").with("time", "2018-04-05T17:31:00.5+02:00");
    mesh.send("shop/default", &[event]).await?;
    Ok(mesh)
}

#[tokio::test]
async fn a_dead_letter_is_the_event_as_it_was_and_nothing_but_three_attributes_more() -> anyhow::Result<()> {
    for (answer, code) in [(Answer::status(503), "503"), (Answer::close(), "-1")] {
        let sink = Sink::start().await?;
        sink.answer("/t", [answer.clone()]);
        let mesh = sent(&sink, &quick(0, &sink.url("/dead"))).await?;
        mesh.until_settled().await?;
        assert_eq!((sink.count("/t"), sink.count("/dead")), (1, 1), "{answer:?}");
        let letter = &sink.received("/dead")[0];
        let (dest, said, reason) = told(letter)?;
        assert_eq!((dest, said.as_str()), (sink.url("/t"), code), "{answer:?}");
        assert!(
            !reason.is_empty(),
            "{answer:?}: without a body the reason is told"
        );
        let plain = ["knativeerrordest", "knativeerrorcode", "knativeerrordata"]
            .iter()
            .fold(letter.event(), |event, name| event.without(name));
        assert_eq!(plain, sink.received("/t")[0].event(), "{answer:?}");
        assert_eq!(letter.header("prefer"), None, "no reply is asked for");
    }
    Ok(())
}

#[tokio::test]
async fn the_dead_letter_is_tried_by_the_same_policy_and_tells_of_the_subscriber() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/t", [Answer::status(422).body("no")]);
    sink.answer(
        "/dead",
        [
            Answer::status(503).body("busy"),
            Answer::close(),
            Answer::status(202),
        ],
    );
    let mesh = sent(&sink, &quick(2, &sink.url("/dead"))).await?;
    mesh.until_settled().await?;
    let letters = sink.received("/dead");
    assert_eq!((sink.count("/t"), letters.len()), (1, 3));
    for letter in &letters {
        assert_eq!(told(letter)?, (sink.url("/t"), "422".to_owned(), b"no".to_vec()));
    }
    let trigger = mesh.admin().trigger("shop/t").await?;
    assert_eq!(
        (
            &trigger["deadLettered"],
            &trigger["parked"],
            &trigger["delivered"]
        ),
        (&json!(1), &json!(0), &json!(0))
    );
    Ok(())
}

#[tokio::test]
async fn a_crash_does_not_begin_the_dead_letters_schedule_again() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/t", [Answer::status(400).body("no")]);
    sink.answer("/dead", [Answer::status(500)]);
    // The waits are far longer than the interval at which outcomes are written down.
    let delivery = format!(
        "{{retry: 3, backoffDelay: PT0.6S, backoffMax: PT0.6S, deadLetterSink: {{uri: \"{}\"}}}}",
        sink.url("/dead")
    );
    let mut mesh = sent(&sink, &delivery).await?;
    sink.wait_for("/dead", 2).await?;
    mesh.kill().await?;
    mesh.restart().await?;
    let parked = mesh.admin().until_parked(1).await?;
    assert_eq!(sink.count("/t"), 1, "the subscriber is not asked again");
    let letters = sink.received("/dead");
    assert!(
        (4..=5).contains(&letters.len()),
        "four attempts, and one that may be repeated: {}",
        letters.len()
    );
    let (dest, code, data) = told(&letters[letters.len() - 1])?;
    assert_eq!(
        (dest, code.as_str(), &data[..]),
        (sink.url("/t"), "400", &b"no"[..])
    );
    assert_eq!(
        (&parked[0]["attempts"], &parked[0]["stage"]),
        (&json!(5), &json!("dead-letter"))
    );
    Ok(())
}

#[tokio::test]
async fn what_the_dead_letter_sink_refuses_or_never_takes_is_parked() -> anyhow::Result<()> {
    for (answer, retry, requests) in [
        (Answer::status(410), 5, 1),
        (Answer::status(400), 5, 1),
        (Answer::status(500), 2, 3),
    ] {
        let sink = Sink::start().await?;
        sink.answer("/t", [Answer::status(400)]);
        sink.answer("/dead", [answer.clone()]);
        let mesh = sent(&sink, &quick(retry, &sink.url("/dead"))).await?;
        mesh.until_settled().await?;
        let parked = mesh.admin().until_parked(1).await?;
        assert_eq!(
            (sink.count("/t"), sink.count("/dead")),
            (1, requests),
            "{answer:?}"
        );
        let reason = parked[0]["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("dead-letter sink"), "{reason}");
        assert_eq!(parked[0]["attempts"], 1 + requests, "{answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_dead_letter_sink_that_is_taken_away_has_what_it_is_owed_parked() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/t", [Answer::status(400)]);
    sink.answer("/dead", [Answer::status(500)]);
    let mesh = sent(&sink, &quick(1_000_000, &sink.url("/dead"))).await?;
    sink.wait_for("/dead", 1).await?;
    let without = Trigger::new("t", &sink.url("/t")).delivery("{retry: 1000000, backoffDelay: PT0.01S}");
    mesh.reload(Documents::broker().trigger(&without).text()).await?;
    let parked = mesh.admin().until_parked(1).await?;
    assert_eq!(parked[0]["event"]["id"], "1");
    let reason = parked[0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("no dead-letter sink"), "{reason}");
    assert_eq!(sink.count("/t"), 1);
    Ok(())
}

/// What becomes of an event by the subscriber's answer (Knative's data plane, "Status codes").
const DELIVERED: &[u16] = &[200, 201, 202, 204];
const RETRIED: &[u16] = &[404, 408, 409, 429, 500, 501, 502, 503, 504, 599];
const FINAL: &[u16] = &[
    300, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 405, 406, 410, 411, 413, 415, 422, 451,
];

#[tokio::test]
async fn each_status_is_delivered_retried_or_final_and_no_redirect_is_followed() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mut documents = Documents::broker();
    for &status in DELIVERED.iter().chain(RETRIED).chain(FINAL) {
        let path = format!("/{status}");
        let failing = Answer::status(status).header("location", &sink.url("/elsewhere"));
        sink.answer(&path, [failing.clone(), failing, Answer::ok()]);
        let trigger = Trigger::new(&format!("t{status}"), &sink.url(&path))
            .delivery("{retry: 5, backoffDelay: PT0.01S, backoffMax: PT0.02S}");
        documents = documents.trigger(&trigger);
    }
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    mesh.until_settled().await?;
    let counts = |statuses: &[u16]| -> Vec<_> {
        let count = |&status: &u16| (status, sink.count(&format!("/{status}")));
        statuses.iter().map(count).collect()
    };
    let each = |statuses: &[u16], count| statuses.iter().map(|&status| (status, count)).collect::<Vec<_>>();
    assert_eq!(counts(DELIVERED), each(DELIVERED, 1));
    assert_eq!(counts(RETRIED), each(RETRIED, 3));
    assert_eq!(counts(FINAL), each(FINAL, 1));
    assert_eq!(sink.count("/elsewhere"), 0);
    let parked = mesh.admin().until_parked(FINAL.len()).await?;
    let parked: BTreeSet<&str> = parked.iter().filter_map(|row| row["trigger"].as_str()).collect();
    let names: Vec<String> = FINAL.iter().map(|status| format!("shop/t{status}")).collect();
    assert_eq!(parked, names.iter().map(String::as_str).collect());
    Ok(())
}
