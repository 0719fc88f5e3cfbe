//! Promise: the access file says how many requests a sender, and how many all senders of a Broker, have in
//! hand at one time. Whoever has more is told so before a body is read, and keeps no place that others need.

use anyhow::{Context as _, ensure};
use http::Method;
use millrace_tests::access::{Access, ask, code, with};
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::raw::Socket;
use millrace_tests::{Answered, Client, Mesh, Sink, wait_until};
use serde_json::Value;

/// Begins an event, and waits until the server asks for its body or refuses it. In the first case the request
/// is in hand until the body has come.
async fn begin(mesh: &Mesh, broker: &str, token: &str) -> anyhow::Result<(Socket, Answered)> {
    let mut socket = Socket::connect(mesh.listen()).await?;
    let head = format!(
        "POST /shop/{broker} HTTP/1.1\r\nhost: x\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\nce-specversion: 1.0\r\n\
         authorization: Bearer {token}\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    );
    socket.write(head.as_bytes()).await?;
    let answer = socket.answer().await?.context("no answer")?;
    Ok((socket, answer))
}

/// One that is in hand.
async fn held(mesh: &Mesh, broker: &str, token: &str) -> anyhow::Result<Socket> {
    let (socket, answer) = begin(mesh, broker, token).await?;
    ensure!(answer.status == 100, "{answer:?}");
    Ok(socket)
}

/// Sends the body: the request is no longer in hand.
async fn finish(mut socket: Socket) -> anyhow::Result<()> {
    socket.write(b"{}").await?;
    let answer = socket.answer().await?.context("no answer")?;
    ensure!(answer.status == 202, "{answer:?}");
    Ok(())
}

async fn post(mesh: &Mesh, broker: &str, token: &str) -> anyhow::Result<(u16, String)> {
    let mut client = Client::new(mesh.listen());
    let message = with("whole", &format!("Bearer {token}"));
    let answer = client.post(&format!("/shop/{broker}"), &message).await?;
    Ok((answer.status, code(&answer)))
}

fn refused() -> (u16, String) {
    (429, "concurrency-limited".to_owned())
}

fn taken() -> (u16, String) {
    (202, String::new())
}

#[tokio::test]
async fn who_keeps_many_connections_at_work_leaves_room_for_others() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let loud = access.token("loud", &["--broker", "*"]).await?;
    let quiet = access
        .token("quiet", &["--broker", "*", "--admin-role", "read"])
        .await?;
    access.write("limits:\n  default: {requestsInHand: 4}\n")?;
    let mesh = access.mesh(&["--max-connections", "16"], &sink).await?;
    // As many as would fill the listener twice, all from one address, which others share.
    let mut sockets = Vec::new();
    for nth in 0..32 {
        let (socket, answer) = begin(&mesh, "default", &loud).await?;
        if nth < 4 {
            assert_eq!(answer.status, 100, "{nth}: {answer:?}");
        } else {
            assert_eq!((answer.status, code(&answer)), refused(), "{nth}");
            assert_eq!(answer.headers["retry-after"], "1");
            let problem: Value = serde_json::from_slice(&answer.body)?;
            let detail = problem["detail"].as_str().unwrap_or_default();
            ensure!(detail.contains("token:loud"), "{problem}");
        }
        sockets.push(socket);
    }
    for nth in 0..50 {
        assert_eq!(post(&mesh, "default", &quiet).await?, taken(), "{nth}");
    }
    let counted = "millrace_broker_requests_refused_total{namespace=\"shop\",broker=\"default\",code=\"concurrency-limited\"} 28";
    let metrics = ask(&mesh, &quiet, &Method::GET, "/metrics").await?;
    let metrics = String::from_utf8(metrics.body.to_vec())?;
    ensure!(metrics.lines().any(|line| line == counted), "{metrics}");

    // What is answered makes room for the next one, and so does what is broken off.
    let mut held = sockets.drain(..4);
    finish(held.next().context("the first")?).await?;
    assert_eq!(post(&mesh, "default", &loud).await?, taken());
    finish(held.next().context("the second")?).await?;
    drop(held);
    drop(sockets);
    let mut again = Vec::new();
    for _ in 0..4 {
        let socket = wait_until("what was broken off to make room", || async {
            let (socket, answer) = begin(&mesh, "default", &loud).await?;
            Ok((answer.status == 100).then_some(socket))
        });
        again.push(socket.await?);
    }
    assert_eq!(post(&mesh, "default", &loud).await?, refused());
    sink.wait_for("/all", 53).await?;
    Ok(())
}

#[tokio::test]
async fn all_who_send_to_a_broker_share_its_limit() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let a = access.token("a", &["--broker", "*"]).await?;
    let b = access.token("b", &["--broker", "*"]).await?;
    access.write("limits:\n  brokers:\n    - {broker: shop/default, requestsInHand: 2}\n")?;
    let documents = Documents::broker().and_broker("free", "{}");
    let documents = documents.trigger(&Trigger::new("all", &sink.url("/all")));
    let file = access.file().to_string_lossy().into_owned();
    let mesh = Setup::new(documents.text())?
        .args(&["--access", &file])
        .start()
        .await?;
    let first = held(&mesh, "default", &a).await?;
    let second = held(&mesh, "default", &b).await?;
    for token in [&a, &b] {
        let answer = post(&mesh, "default", token).await?;
        assert_eq!(answer, (429, "broker-concurrency-limited".to_owned()));
        assert_eq!(post(&mesh, "free", token).await?, taken());
    }
    finish(first).await?;
    assert_eq!(post(&mesh, "default", &b).await?, taken());
    finish(second).await?;
    Ok(())
}

#[tokio::test]
async fn a_changed_limit_counts_what_is_in_hand_already() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let token = access.token("till", &["--broker", "*"]).await?;
    let default = |most: u32| format!("limits:\n  default: {{requestsInHand: {most}}}\n");
    access.write(&default(1))?;
    let mesh = access.mesh(&[], &sink).await?;
    let first = held(&mesh, "default", &token).await?;
    assert_eq!(post(&mesh, "default", &token).await?, refused());
    access.write(&default(2))?;
    let second = wait_until("room for a second one", || async {
        let (socket, answer) = begin(&mesh, "default", &token).await?;
        Ok((answer.status == 100).then_some(socket))
    });
    let second = second.await?;
    assert_eq!(post(&mesh, "default", &token).await?, refused());
    // Fewer than are in hand give up none of them.
    access.write(&default(1))?;
    finish(first).await?;
    wait_until("the smaller limit", || async {
        Ok((post(&mesh, "default", &token).await? == refused()).then_some(()))
    })
    .await?;
    finish(second).await?;
    assert_eq!(post(&mesh, "default", &token).await?, taken());
    Ok(())
}
