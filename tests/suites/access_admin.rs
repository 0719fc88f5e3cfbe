//! Promise: with an access file, readers of the admin side read and operators change. Each change that is
//! asked for is written down, and those who follow see whom the door refused.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{bail, ensure};
use http::Method;
use millrace_tests::access::{Access, ask, code, with};
use millrace_tests::{Client, Event, Sink, wait_until};

#[tokio::test]
async fn readers_read_operators_change_and_each_change_is_written_down() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let reader = access.token("reader", &["--admin-role", "read"]).await?;
    let operator = access.token("operator", &["--admin-role", "operate"]).await?;
    let producer = access.token("producer", &["--broker", "*"]).await?;
    let mesh = access.mesh(&[], &sink).await?;
    let get = Method::GET;
    let table = [
        ("", &get, "/healthz", 200, ""),
        ("", &get, "/readyz", 200, ""),
        ("", &get, "/metrics", 401, "no-credentials"),
        ("", &get, "/api/v1/brokers", 401, "no-credentials"),
        ("", &get, "/nowhere", 401, "no-credentials"),
        ("", &Method::POST, "/healthz", 401, "no-credentials"),
        ("wrong", &get, "/api/v1/brokers", 401, "unknown-credentials"),
        (&producer, &get, "/api/v1/brokers", 403, "role-not-allowed"),
        (&reader, &get, "/api/v1/brokers", 200, ""),
        (&reader, &get, "/metrics", 200, ""),
        (
            &reader,
            &Method::DELETE,
            "/api/v1/parked/p1",
            403,
            "role-not-allowed",
        ),
        (
            &reader,
            &Method::PUT,
            "/api/v1/log-level",
            403,
            "role-not-allowed",
        ),
        ("", &Method::DELETE, "/api/v1/parked/p2", 401, "no-credentials"),
        (&operator, &get, "/api/v1/triggers", 200, ""),
        (
            &operator,
            &Method::DELETE,
            "/api/v1/parked/p3",
            404,
            "unknown-parked-event",
        ),
        (
            &operator,
            &Method::DELETE,
            "/api/v1/brokers/shop/default",
            409,
            "broker-in-use",
        ),
    ];
    for (token, method, path, status, expected) in table {
        let answer = ask(&mesh, token, method, path).await?;
        assert_eq!(
            (answer.status, &*code(&answer)),
            (status, expected),
            "{method} {path}"
        );
        assert_eq!(
            answer.headers.contains_key("www-authenticate"),
            status == 401,
            "{method} {path}"
        );
    }
    let said = mesh.running().stderr();
    let audited: Vec<&str> = said.lines().filter(|line| line.contains(" audit: ")).collect();
    // Strangers are counted, and write no lines.
    let expected = [
        ("token:reader", "parked drop", "p1", "refused"),
        ("token:reader", "log-level change", "", "refused"),
        ("token:operator", "parked drop", "p3", "refused"),
        ("token:operator", "brokers forget", "shop/default", "refused"),
    ];
    assert_eq!(audited.len(), expected.len(), "{audited:#?}");
    for (line, (who, action, rows, outcome)) in audited.iter().zip(expected) {
        for part in [
            format!("who=\"{who}\""),
            format!("action=\"{action}\""),
            format!("rows=\"{rows}\""),
            format!("outcome=\"{outcome}\""),
        ] {
            ensure!(line.contains(&part), "{part} in {line}");
        }
    }
    let metrics = ask(&mesh, &reader, &get, "/metrics").await?;
    let metrics = String::from_utf8(metrics.body.to_vec())?;
    ensure!(
        metrics.contains("millrace_admin_requests_refused_total{code=\"role-not-allowed\"} 3"),
        "{metrics}"
    );
    Ok(())
}

#[tokio::test]
async fn whom_the_door_refused_is_shown_by_tail() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let other = access.token("other", &["--broker", "bank/default"]).await?;
    let reader = access.token("reader", &["--admin-role", "read"]).await?;
    let mesh = access.mesh(&[], &sink).await?;
    let url = format!(
        "http://{}/api/v1/tail?broker=shop/default",
        mesh.admin().address()
    );
    let shown = access.folder().join("tail");
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--no-buffer",
        "-H",
        &format!("authorization: Bearer {reader}"),
        &url,
    ]);
    let mut tail = command
        .stdout(fs::File::create(&shown)?)
        .stderr(Stdio::null())
        .spawn()?;
    let until = async |what: &str| {
        wait_until(what, || async {
            Ok(fs::read_to_string(&shown)?.contains(what).then_some(()))
        })
        .await
    };
    until("following").await?;
    Client::new(mesh.listen())
        .post("/shop/default", &with("1", &format!("Bearer {other}")))
        .await?;
    until(r#"{"kind":"refused","broker":"shop/default","who":"token:other","code":"broker-not-allowed"}"#)
        .await?;
    Client::new(mesh.listen())
        .post("/shop/default", &Event::new("2", "t").binary())
        .await?;
    until(r#"{"kind":"refused","broker":"shop/default","who":null,"code":"no-credentials"}"#).await?;
    // Who is taken out of the file reads no more.
    let others = access.entries.lines().filter(|line| !line.contains("\"reader\""));
    access.entries = others.map(|line| format!("{line}\n")).collect();
    access.write("")?;
    for _ in 0..200 {
        if tail.try_wait()?.is_some() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tail.kill()?;
    tail.wait()?;
    bail!("the stream did not end")
}
