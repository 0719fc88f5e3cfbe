//! Promise: with an access file, only those whom it names come in, and only where it lets them. Who calls is
//! decided before a byte of the body is read. What is refused is said and counted, and no secret is.

use std::path::Path;

use anyhow::{Context as _, ensure};
use http::Method;
use millrace_tests::access::{Access, ask, code, with};
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::event::Message;
use millrace_tests::mesh::Setup;
use millrace_tests::raw::Socket;
use millrace_tests::{Client, Event, Mesh, Sink, wait_until};
use serde_json::Value;

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

async fn post(mesh: &Mesh, path: &str, message: &Message) -> anyhow::Result<(u16, String)> {
    let answer = Client::new(mesh.listen()).post(path, message).await?;
    Ok((answer.status, code(&answer)))
}

fn basic(name: &str, password: &str) -> String {
    use base64::Engine as _;
    let both = format!("{name}:{password}");
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(both))
}

#[tokio::test]
async fn who_is_not_known_gets_401_and_who_may_not_gets_403() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let shop = access.token("shop", &["--broker", "shop/*"]).await?;
    let other = access.token("other", &["--broker", "bank/default"]).await?;
    let operator = access.token("operator", &["--admin-role", "operate"]).await?;
    let old = access
        .token("old", &["--broker", "*", "--expires", "1ms"])
        .await?;
    let mesh = access.mesh(&[], &sink).await?;
    let at = "/shop/default";
    let bearer = |token: &str| format!("Bearer {token}");
    let table = [
        (at, bearer(&shop), 202, ""),
        (at, format!("bearer  {shop}"), 202, ""),
        (at, basic("anybody", &shop), 202, ""),
        ("/shop/none", bearer(&shop), 404, "unknown-broker"),
        (at, bearer(&other), 403, "broker-not-allowed"),
        (at, bearer(&operator), 403, "broker-not-allowed"),
        // Whether a broker is there is not told to who may not publish to it.
        ("/shop/none", bearer(&other), 403, "broker-not-allowed"),
        (at, bearer(&old), 401, "expired-credentials"),
        (at, bearer(&shop[..shop.len() - 1]), 401, "unknown-credentials"),
        (at, bearer(&format!("{shop}x")), 401, "unknown-credentials"),
        (at, basic(&shop, "x"), 401, "unknown-credentials"),
        (at, "Basic %%%".to_owned(), 401, "bad-credentials"),
        (at, "Bearer".to_owned(), 401, "bad-credentials"),
        (at, format!("Digest {shop}"), 401, "bad-credentials"),
    ];
    let mut taken = 0;
    for (nth, (path, authorization, status, expected)) in table.iter().enumerate() {
        let answer = post(&mesh, path, &with(&format!("e{nth}"), authorization)).await?;
        assert_eq!((answer.0, &*answer.1), (*status, *expected), "{path} row {nth}");
        taken += usize::from(*status == 202);
    }
    let mut twice = with("twice", &bearer(&shop));
    twice.headers.push(("authorization".to_owned(), bearer(&shop)));
    assert_eq!(
        post(&mesh, at, &twice).await?,
        (401, "bad-credentials".to_owned())
    );
    assert_eq!(
        post(&mesh, "/nowhere/at/all", &Event::new("x", "t").binary()).await?,
        (401, "no-credentials".to_owned())
    );

    let answer = Client::new(mesh.listen())
        .post(at, &Event::new("x", "t").binary())
        .await?;
    assert_eq!((answer.status, &*code(&answer)), (401, "no-credentials"));
    let challenge = answer.headers["www-authenticate"].to_str()?;
    ensure!(
        challenge.contains("Bearer realm=") && challenge.contains("Basic realm="),
        "{challenge}"
    );

    sink.wait_for("/all", taken).await?;
    let head = ask(&mesh, &operator, &Method::GET, "/api/v1/brokers").await?;
    let brokers: Value = serde_json::from_slice(&head.body)?;
    assert_eq!(brokers[0]["head"], taken, "{brokers}");

    // Counted by broker and reason, and no secret anywhere.
    let metrics = ask(&mesh, &operator, &Method::GET, "/metrics").await?;
    let metrics = String::from_utf8(metrics.body.to_vec())?;
    for (code, count) in [
        ("broker-not-allowed", 2),
        ("no-credentials", 1),
        ("expired-credentials", 1),
    ] {
        let name = "millrace_broker_requests_refused_total";
        let line = format!("{name}{{namespace=\"shop\",broker=\"default\",code=\"{code}\"}} {count}");
        ensure!(metrics.contains(&line), "{line} in {metrics}");
    }
    let said = mesh.running().stderr();
    for secret in [&shop, &other, &operator, &old] {
        ensure!(
            !said.contains(&**secret) && !metrics.contains(&**secret),
            "a token is shown"
        );
    }
    Ok(())
}

#[tokio::test]
async fn who_may_not_send_to_a_broker_is_not_told_whether_it_is_there() -> anyhow::Result<()> {
    let mut access = Access::new()?;
    let other = access.token("other", &["--broker", "bank/default"]).await?;
    let documents = Documents::broker().github("hook", "secret", "default");
    let file = text(&access.file());
    let setup = Setup::new(documents.text())?.args(&["--access", &file]);
    let mesh = setup.start().await?;
    // All that is answered, but the time.
    let all_of = async |method: &Method, path: &str, message: &Message| {
        let mut answer = Client::new(mesh.listen()).send(method, path, message).await?;
        answer.headers.remove("date");
        anyhow::Ok((answer.status, answer.headers, answer.body))
    };
    let methods = [Method::POST, Method::OPTIONS, Method::GET, Method::PUT];
    let bearers = [format!("Bearer {other}"), "Bearer made-up".to_owned()];
    let mut messages: Vec<Message> = bearers.iter().map(|shown| with("1", shown)).collect();
    messages.push(Event::new("1", "t").binary());
    messages.push(Event::batch(&[]));
    for message in &messages {
        for method in &methods {
            let there = all_of(method, "/shop/default", message).await?;
            let not_there = all_of(method, "/shop/none", message).await?;
            assert_eq!(there, not_there, "{method} {message:?}");
            ensure!((400..500).contains(&there.0), "{there:?}");
        }
    }
    // A source is called without a token. Whether there is one is told, but not where its events go.
    for (path, expected) in [("/sources/shop/hook", 401), ("/sources/shop/none", 404)] {
        let (status, _, body) = all_of(&Method::POST, path, &messages[2]).await?;
        let body = String::from_utf8(body.to_vec())?;
        assert_eq!(status, expected, "{path}: {body}");
        ensure!(!body.contains("default"), "{path}: {body}");
    }
    Ok(())
}

#[tokio::test]
async fn who_calls_is_decided_before_the_body_comes() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    access.token("shop", &["--broker", "shop/*"]).await?;
    let mesh = access.mesh(&[], &sink).await?;
    let mut socket = Socket::connect(mesh.listen()).await?;
    let head = "POST /shop/default HTTP/1.1\r\nhost: x\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\n\
                ce-specversion: 1.0\r\nexpect: 100-continue\r\ncontent-length: 1000\r\n\r\n";
    socket.write(head.as_bytes()).await?;
    let answer = socket.answer().await?.context("no answer")?;
    assert_eq!(answer.status, 401, "not 100, and not after the body");
    Ok(())
}

#[tokio::test]
async fn a_changed_file_counts_for_the_next_request_and_a_broken_one_for_none() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let first = access
        .token("first", &["--broker", "shop/default", "--admin-role", "read"])
        .await?;
    let mesh = access.mesh(&[], &sink).await?;
    let mut client = Client::new(mesh.listen());
    let mut status = async |id: &str, token: &str| {
        let answer = client
            .post("/shop/default", &with(id, &format!("Bearer {token}")))
            .await?;
        anyhow::Ok(answer.status)
    };
    assert_eq!(status("1", &first).await?, 202);

    // Two are good at the same time, then only the newer one: on one connection that stays open.
    let second = access
        .token("second", &["--broker", "shop/default", "--admin-role", "read"])
        .await?;
    let counted = |outcome: &'static str, token: String, count: u64| {
        let mesh = &mesh;
        async move {
            let line =
                format!("millrace_files_reread_total{{files=\"access\",outcome=\"{outcome}\"}} {count}");
            wait_until(&line, || async {
                let answer = ask(mesh, &token, &Method::GET, "/metrics").await?;
                let text = String::from_utf8(answer.body.to_vec())?;
                Ok(text.contains(&line).then_some(()))
            })
            .await
        }
    };
    counted("taken", first.clone(), 1).await?;
    assert_eq!(
        (status("2", &first).await?, status("3", &second).await?),
        (202, 202)
    );
    let both = access.entries.clone();
    access.entries = both.lines().skip(1).map(|line| format!("{line}\n")).collect();
    access.write("")?;
    counted("taken", second.clone(), 2).await?;
    assert_eq!(
        (status("4", &first).await?, status("5", &second).await?),
        (401, 202)
    );

    access.write("  unknown: field\n")?;
    counted("refused", second.clone(), 1).await?;
    assert_eq!(
        (status("6", &first).await?, status("7", &second).await?),
        (401, 202)
    );
    sink.wait_for("/all", 5).await?;
    Ok(())
}

#[tokio::test]
async fn the_calls_of_origins_need_no_token() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    access.token("shop", &["--broker", "*"]).await?;
    let mesh = access.mesh(&[], &sink).await?;
    let answer = post(&mesh, "/sources/shop/none", &Event::new("1", "t").binary()).await?;
    assert_eq!(answer.0, 404, "{}", answer.1);
    Ok(())
}

#[tokio::test]
async fn other_machines_are_let_in_by_an_access_file() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let token = access.token("shop", &["--broker", "*"]).await?;
    let (status, said) = Setup::new(Documents::broker().text())?
        .listen("0.0.0.0:0")
        .fail()
        .await?;
    ensure!(
        status.code() == Some(2) && said.contains("--access"),
        "{status} {said}"
    );
    let documents = Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")));
    let setup = Setup::new(documents.text())?.listen("0.0.0.0:0");
    let mesh = setup.args(&["--access", &text(&access.file())]).start().await?;
    let mut client = Client::new(([127, 0, 0, 1], mesh.listen().port()).into());
    let answer = client
        .post("/shop/default", &with("1", &format!("Bearer {token}")))
        .await?;
    assert_eq!(answer.status, 202);
    let said = mesh.running().stderr();
    ensure!(said.contains("in clear text"), "{said}");

    access.write("  unknown: field\n")?;
    let broken = Setup::new(Documents::broker().text())?.args(&["--access", &text(&access.file())]);
    let (status, said) = broken.fail().await?;
    ensure!(
        status.code() == Some(1) && said.contains("unknown"),
        "{status} {said}"
    );
    Ok(())
}

#[tokio::test]
async fn a_webhook_that_proves_nothing_is_closed_where_others_can_connect_unless_the_operator_opens_it()
-> anyhow::Result<()> {
    let mut access = Access::new()?;
    let reader = access.token("reader", &["--admin-role", "read"]).await?;
    let file = text(&access.file());
    let documents = Documents::broker();
    let source = "---\napiVersion: sources.millrace.dev/v1alpha1\nkind: GitWebhookSource\nmetadata: {name: open, namespace: \
                  shop}\nspec:\n  forge: gitea\n  verification: none\n  sink: {ref: {apiVersion: \
                  eventing.knative.dev/v1, kind: Broker, name: default}}\n";
    let both = format!("{}{source}", documents.text());
    for (listen, more, expected) in [
        ("0.0.0.0:0", None, "not-ready"),
        ("0.0.0.0:0", Some("--allow-anonymous"), "ready"),
        ("127.0.0.1:0", None, "ready"),
    ] {
        let flags: Vec<&str> = ["--access", &file].into_iter().chain(more).collect();
        let mesh = Setup::new(&both)?.listen(listen).args(&flags).start().await?;
        let source = wait_until(expected, || async {
            let answer = ask(&mesh, &reader, &Method::GET, "/api/v1/sources").await?;
            let sources: Value = serde_json::from_slice(&answer.body)?;
            ensure!(sources[0]["state"] == expected, "{sources}");
            Ok(Some(sources[0].clone()))
        })
        .await?;
        let why = source["reason"].as_str().unwrap_or_default();
        assert_eq!(why.contains("--allow-anonymous"), expected != "ready", "{source}");
    }
    Ok(())
}
