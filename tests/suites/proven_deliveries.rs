//! Promise: a subscriber can tell who sends a delivery by its signature, which the libraries of others
//! verify.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::peers::{self, Peer};
use millrace_tests::proofs::{DEAD_LETTER, SUBSCRIBER, mesh, secret};
use millrace_tests::{Answer, Event, Received, Sink};
use serde_json::{Value, json};

/// Secrets of Standard Webhooks: two that sign, and one that does not.
const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const STRANGER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// An ed25519 key: test 1 of RFC 8032.
const PRIVATE: &str = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const PUBLIC: &str = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

/// A delivery as the libraries' scripts take it.
fn message(received: &Received) -> Value {
    let headers: BTreeMap<_, _> = received
        .headers
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    json!({ "headers": headers, "body": BASE64_STANDARD.encode(&received.body) })
}

/// What a library says of deliveries: the event's id, and for each secret whether it accepts it.
async fn judged(
    (peer, script): (&Peer, &str),
    deliveries: &[Received],
    secrets: &[&str],
) -> anyhow::Result<Vec<(Value, Vec<bool>)>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("received.json");
    fs::write(
        &file,
        Value::from(deliveries.iter().map(message).collect::<Vec<_>>()).to_string(),
    )?;
    let mut args = vec![file.to_string_lossy().into_owned()];
    args.extend(secrets.iter().map(|&secret| secret.to_owned()));
    let said = peer.run(script, &args).await?;
    let verdicts = said.lines().map(|line| {
        let line: Value = serde_json::from_str(line)?;
        let accepted = line["accepted"].as_array().into_iter().flatten();
        Ok((line["id"].clone(), accepted.map(|one| one == true).collect()))
    });
    verdicts.collect()
}

/// A subscriber with a library of Standard Webhooks accepts what was sent with either secret, and nothing
/// that was changed.
async fn accepts(library: (&Peer, &str)) -> anyhow::Result<()> {
    let (folder, sink) = (tempfile::tempdir()?, Sink::start().await?);
    let (old, new) = (
        secret(folder.path(), "old", OLD)?,
        secret(folder.path(), "new", NEW)?,
    );
    let auth = format!("{{standardWebhooks: {{secrets: [{old}, {new}]}}}}");
    let trigger = Trigger::new("ship", &sink.url("/ship")).annotation(SUBSCRIBER, &auth);
    let mesh = mesh(&Documents::broker().trigger(&trigger), folder.path()).await?;
    let events = [
        Event::new("plain", "order.paid"),
        Event::new("café ☕", "order.paid").with("subject", "ünïcode \"quoted\""),
    ];
    mesh.send("shop/default", &events).await?;
    let mut received = sink.wait_for("/ship", 2).await?;
    received.sort_by_key(|one| one.event().id().to_owned());
    for one in &received {
        let kind = one.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/cloudevents+json"), "{kind}");
    }
    let verdicts = judged(library, &received, &[OLD, NEW, STRANGER]).await?;
    let ids: BTreeSet<_> = verdicts
        .iter()
        .map(|(id, _)| id.as_str().unwrap_or_default())
        .collect();
    assert_eq!(ids, BTreeSet::from(["plain", "café ☕"]));
    assert!(
        verdicts
            .iter()
            .all(|(_, accepted)| *accepted == [true, true, false]),
        "{verdicts:?}"
    );

    let forged = received.iter().map(|one| {
        let mut forged = one.clone();
        let mut body = forged.body.to_vec();
        body.push(b' ');
        forged.body = body.into();
        forged
    });
    let forged: Vec<_> = forged.collect();
    let verdicts = judged(library, &forged, &[OLD, NEW]).await?;
    assert!(
        verdicts.iter().all(|(_, accepted)| *accepted == [false, false]),
        "{verdicts:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_library_for_python_accepts_signed_deliveries() -> anyhow::Result<()> {
    let Some(peer) = peers::standard_webhooks_python()? else {
        return Ok(());
    };
    accepts((&peer, "standard-webhooks-python/verify.py")).await
}

#[tokio::test]
async fn the_library_for_javascript_accepts_signed_deliveries() -> anyhow::Result<()> {
    let Some(peer) = peers::standard_webhooks_node()? else {
        return Ok(());
    };
    accepts((&peer, "standard-webhooks-node/verify.js")).await
}

#[tokio::test]
async fn aws_knows_who_signs_each_attempt_and_each_attribute_is_signed() -> anyhow::Result<()> {
    let Some(peer) = peers::botocore()? else {
        return Ok(());
    };
    const PATH: &str = "/a%20b?x=%2F&a=1";
    const KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    let (folder, sink) = (tempfile::tempdir()?, Sink::start().await?);
    let (key, token) = (
        secret(folder.path(), "key", KEY)?,
        secret(folder.path(), "token", "of/the+session==")?,
    );
    let auth = format!(
        "{{awsSigV4: {{region: eu-central-1, accessKeyId: AKIDEXAMPLE, secretAccessKey: {key}, sessionToken: {token}}}}}"
    );
    sink.answer(PATH, [Answer::status(503), Answer::ok()]);
    let url = sink.url(PATH);
    let trigger = Trigger::new("ship", &url)
        .annotation(SUBSCRIBER, &auth)
        .delivery("{retry: 3, backoffDelay: PT0.01S}");
    let mesh = mesh(&Documents::broker().trigger(&trigger), folder.path()).await?;
    let event = Event::new("café ☕", "order.paid")
        .with("mine", "a  b")
        .data("text/plain", "grün");
    mesh.send("shop/default", &[event]).await?;
    let received = sink.wait_for(PATH, 2).await?;
    let described = received.iter().map(|one| {
        let mut described = message(one);
        described["url"] = json!(url);
        described
    });
    let file = folder.path().join("received.json");
    fs::write(&file, Value::from(described.collect::<Vec<_>>()).to_string())?;
    let args = [
        &file.to_string_lossy(),
        "eu-central-1",
        "lambda",
        "AKIDEXAMPLE",
        KEY,
        "of/the+session==",
    ];
    let said = peer.run("botocore/sign.py", &args.map(str::to_owned)).await?;
    let signed: Vec<&str> = said.lines().collect();
    for (one, expected) in received.iter().zip(&signed) {
        assert_eq!(one.header("authorization"), Some(*expected));
        let attributes = [
            "ce-id",
            "ce-mine",
            "ce-source",
            "ce-specversion",
            "ce-type",
            "content-type",
        ];
        for attribute in attributes {
            assert!(
                one.header(attribute).is_some() && expected.contains(attribute),
                "{attribute}: {expected}"
            );
        }
    }
    assert_eq!(signed.len(), 2, "{said}");
    Ok(())
}

#[tokio::test]
async fn a_public_key_proves_a_delivery_signed_with_ed25519() -> anyhow::Result<()> {
    let Some(peer) = peers::standard_webhooks_node()? else {
        return Ok(());
    };
    let (folder, sink) = (tempfile::tempdir()?, Sink::start().await?);
    let (key, shared) = (
        secret(folder.path(), "key", PRIVATE)?,
        secret(folder.path(), "shared", OLD)?,
    );
    let auth = format!("{{standardWebhooks: {{secrets: [{key}, {shared}]}}}}");
    let trigger = Trigger::new("ship", &sink.url("/ship")).annotation(SUBSCRIBER, &auth);
    let mesh = mesh(&Documents::broker().trigger(&trigger), folder.path()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    let received = sink.wait_for("/ship", 1).await?;
    let library = (&peer, "standard-webhooks-node/verify.js");
    let other = "whpk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let verdicts = judged(library, &received, &[PUBLIC, OLD, other]).await?;
    assert_eq!(verdicts[0].1, [true, true, false]);
    Ok(())
}

#[tokio::test]
async fn the_id_is_that_of_one_delivery_over_all_its_attempts() -> anyhow::Result<()> {
    let (folder, sink) = (tempfile::tempdir()?, Sink::start().await?);
    let auth = format!(
        "{{standardWebhooks: {{secrets: [{}]}}}}",
        secret(folder.path(), "s", OLD)?
    );
    sink.answer("/a", [Answer::status(503), Answer::status(503)]);
    sink.answer("/b", [Answer::status(400)]);
    let delivery = |retry: u32| {
        let dead = sink.url("/dead");
        format!("{{retry: {retry}, backoffDelay: PT0.01S, deadLetterSink: {{uri: '{dead}'}}}}")
    };
    let trigger = |name: &str| {
        Trigger::new(name, &sink.url(&format!("/{name}")))
            .delivery(&delivery(5))
            .annotation(SUBSCRIBER, &auth)
            .annotation(DEAD_LETTER, &auth)
    };
    let documents = Documents::broker().trigger(&trigger("a")).trigger(&trigger("b"));
    let mesh = mesh(&documents, folder.path()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    let ids = |received: &[Received]| -> Vec<String> {
        let id = |one: &Received| one.header("webhook-id").unwrap_or_default().to_owned();
        received.iter().map(id).collect()
    };
    let a = ids(&sink.wait_for("/a", 3).await?);
    let b = ids(&sink.wait_for("/b", 1).await?);
    let dead = ids(&sink.wait_for("/dead", 1).await?);
    assert!(
        a.iter()
            .all(|id| *id == a[0] && !id.is_empty() && !id.contains('.')),
        "{a:?}"
    );
    let all: BTreeSet<_> = [&a[0], &b[0], &dead[0]].into();
    assert_eq!(all.len(), 3, "two Triggers, and a dead letter");
    Ok(())
}
