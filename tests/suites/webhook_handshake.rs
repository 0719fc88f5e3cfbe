//! Promise: a sender of webhooks that asks first (OPTIONS) is told by the access file whether it may send,
//! and how many requests a minute. Who asks logs in as for sending, and consent is never given to others.

use anyhow::ensure;
use bytes::Bytes;
use http::Method;
use millrace_tests::access::{Access, ask, code};
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::event::Message;
use millrace_tests::mesh::Setup;
use millrace_tests::{Answered, Client, Event, Mesh, Sink, wait_until};

const ORIGINS: &str = "webhooks:\n  origins: [hooks.example.com, '*.partners.example']\n";

fn message(mut message: Message, token: &str, more: &[(&str, &str)]) -> Message {
    let mut add = |name: &str, value: &str| message.headers.push((name.to_owned(), value.to_owned()));
    if !token.is_empty() {
        add("authorization", &format!("Bearer {token}"));
    }
    for (name, value) in more {
        add(name, value);
    }
    message
}

async fn handshake(
    mesh: &Mesh,
    broker: &str,
    token: &str,
    more: &[(&str, &str)],
) -> anyhow::Result<Answered> {
    let empty = Message {
        headers: Vec::new(),
        body: Bytes::new(),
    };
    Client::new(mesh.listen())
        .send(
            &Method::OPTIONS,
            &format!("/shop/{broker}"),
            &message(empty, token, more),
        )
        .await
}

async fn delivery(mesh: &Mesh, token: &str, id: &str, origin: Option<&str>) -> anyhow::Result<(u16, String)> {
    let more: Vec<_> = origin
        .iter()
        .map(|origin| ("webhook-request-origin", *origin))
        .collect();
    let event = message(Event::new(id, "t").binary(), token, &more);
    let answer = Client::new(mesh.listen()).post("/shop/default", &event).await?;
    Ok((answer.status, code(&answer)))
}

/// The header in which consent is given, and the one with the rate.
fn consent(answer: &Answered) -> (Option<&str>, Option<&str>) {
    let header = |name| answer.headers.get(name).and_then(|value| value.to_str().ok());
    (header("webhook-allowed-origin"), header("webhook-allowed-rate"))
}

#[tokio::test]
async fn consent_is_given_to_the_origins_of_the_access_file_and_they_alone_deliver() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let hooks = access
        .token("hooks", &["--broker", "shop/default", "--admin-role", "read"])
        .await?;
    access.write(ORIGINS)?;
    let mesh = access.mesh(&[], &sink).await?;
    for (origin, is_allowed) in [
        ("hooks.example.com", true),
        ("HOOKS.example.com", true),
        ("eu.partners.example", true),
        ("partners.example", false),
        ("evil.example", false),
        ("hooks.example.com.evil.example", false),
        ("*", false),
        ("hooks.example.com, evil.example", false),
        ("caf\u{e9}.example", false),
        ("", false),
    ] {
        let answer = handshake(
            &mesh,
            "default",
            &hooks,
            &[
                ("webhook-request-origin", origin),
                ("webhook-request-rate", "120"),
            ],
        )
        .await?;
        match is_allowed {
            true => {
                assert_eq!(answer.status, 200, "{origin}");
                assert_eq!(consent(&answer), (Some(origin), Some("*")), "{origin}");
            }
            false => {
                assert_eq!(code(&answer), "origin-not-allowed", "{origin}");
                assert_eq!((answer.status, consent(&answer)), (403, (None, None)), "{origin}");
            }
        }
        let expected = match is_allowed {
            true => (202, String::new()),
            false => (403, "origin-not-allowed".to_owned()),
        };
        assert_eq!(
            delivery(&mesh, &hooks, "1", Some(origin)).await?,
            expected,
            "{origin}"
        );
    }
    // One of two is not enough.
    let both = [
        ("webhook-request-origin", "hooks.example.com"),
        ("webhook-request-origin", "evil.example"),
    ];
    assert_eq!(handshake(&mesh, "default", &hooks, &both).await?.status, 403);
    // Whoever does not speak of origins is known by the token alone.
    assert_eq!(delivery(&mesh, &hooks, "2", None).await?.0, 202);
    let answer = handshake(&mesh, "default", &hooks, &[]).await?;
    assert_eq!((answer.status, consent(&answer)), (200, (None, None)));
    sink.wait_for("/all", 4).await?;

    let metrics = ask(&mesh, &hooks, &Method::GET, "/metrics").await?;
    let metrics = String::from_utf8(metrics.body.to_vec())?;
    let line = "{namespace=\"shop\",broker=\"default\",code=\"origin-not-allowed\"} 15";
    ensure!(metrics.contains(line), "{metrics}");

    // A name that is taken out ends with the next delivery.
    access.write("webhooks: {origins: ['*.partners.example']}\n")?;
    wait_until("the origin to be refused", || async {
        let answer = delivery(&mesh, &hooks, "3", Some("hooks.example.com")).await?;
        Ok((answer.1 == "origin-not-allowed").then_some(()))
    })
    .await?;
    assert_eq!(
        delivery(&mesh, &hooks, "4", Some("eu.partners.example")).await?.0,
        202
    );
    Ok(())
}

#[tokio::test]
async fn the_rate_is_what_the_limits_let_through() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let hooks = access.token("hooks", &["--broker", "*"]).await?;
    access.write(
        "limits:\n  default: {eventsPerSecond: 5, eventsAtOnce: 100}\n  brokers:\n    - {broker: shop/default, eventsPerSecond: 2}\n    \
         - {broker: shop/wide, eventsPerSecond: 1000}\n",
    )?;
    let documents = Documents::broker()
        .and_broker("wide", "{}")
        .trigger(&Trigger::new("all", &sink.url("/all")));
    let file = access.file().to_string_lossy().into_owned();
    let mesh = Setup::new(documents.text())?
        .args(&["--access", &file])
        .start()
        .await?;
    let origin = ("webhook-request-origin", "any.example");
    for (broker, rate) in [("default", "120"), ("wide", "300")] {
        for asked in [None, Some("60"), Some("100000"), Some("many")] {
            let mut more = vec![origin];
            more.extend(asked.map(|rate| ("webhook-request-rate", rate)));
            let answer = handshake(&mesh, broker, &hooks, &more).await?;
            assert_eq!(consent(&answer), (Some("any.example"), Some(rate)), "{broker}");
        }
    }
    // Asking costs none of it.
    for _ in 0..200 {
        let answer = handshake(&mesh, "default", &hooks, &[origin]).await?;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(
        delivery(&mesh, &hooks, "1", Some("any.example")).await?,
        (202, String::new())
    );
    Ok(())
}

#[tokio::test]
async fn who_may_not_send_gets_no_consent() -> anyhow::Result<()> {
    let mut access = Access::new()?;
    let hooks = access.token("hooks", &["--broker", "*"]).await?;
    let other = access.token("other", &["--broker", "bank/default"]).await?;
    access.write(ORIGINS)?;
    let policy = "---\napiVersion: eventing.knative.dev/v1alpha1\nkind: EventPolicy\nmetadata: {name: p, namespace: shop}\n\
                  spec: {to: [{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: closed}}], from: [{sub: nobody}]}\n";
    let documents = Documents::broker().and_broker("closed", "{}");
    let file = access.file().to_string_lossy().into_owned();
    let text = format!("{}{policy}", documents.text());
    let mesh = Setup::new(&text)?.args(&["--access", &file]).start().await?;
    for (broker, token, status, expected) in [
        ("default", &*hooks, 200, ""),
        ("default", "", 401, "no-credentials"),
        ("default", "guessed", 401, "unknown-credentials"),
        ("default", &other, 403, "broker-not-allowed"),
        ("closed", &hooks, 403, "no-policy-allows"),
        ("none", &hooks, 404, "unknown-broker"),
    ] {
        let asked = [
            ("webhook-request-origin", "hooks.example.com"),
            ("webhook-request-rate", "1"),
        ];
        let answer = handshake(&mesh, broker, token, &asked).await?;
        assert_eq!((answer.status, &*code(&answer)), (status, expected), "{broker}");
        assert_eq!(consent(&answer).0.is_some(), status == 200, "{broker}");
    }
    Ok(())
}
