//! Promise: announcing much and sending little holds up nobody, and a body that hardly arrives at all is
//! ended.

use anyhow::Context as _;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::raw::Socket;
use millrace_tests::webhook::{Call, post};
use millrace_tests::{Client, Event, Mesh, Sink};

/// Small enough that a few dozen announced bodies would exceed all of it.
const BUDGET: [&str; 2] = ["--memory-budget", "64MiB"];

const BATCH: &str =
    "POST /shop/default HTTP/1.1\r\nhost: x\r\ncontent-type: application/cloudevents-batch+json\r\n";

async fn mesh(more: &str) -> anyhow::Result<(Mesh, Sink)> {
    let sink = Sink::start().await?;
    let documents = Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")));
    let documents = format!("{}{more}", documents.text());
    Ok((Setup::new(&documents)?.args(&BUDGET).start().await?, sink))
}

/// Connections that announce so much and send little.
async fn slow(mesh: &Mesh, count: usize, head: &str, sent: &str) -> anyhow::Result<Vec<Socket>> {
    let mut all = Vec::new();
    for _ in 0..count {
        let mut socket = Socket::connect(mesh.listen()).await?;
        socket.write(format!("{head}\r\n{sent}").as_bytes()).await?;
        all.push(socket);
    }
    Ok(all)
}

/// Small events and a large batch: each is accepted the first time, and arrives.
async fn honest(mesh: &Mesh, sink: &Sink) -> anyhow::Result<()> {
    let small: Vec<_> = (0..50)
        .map(|nth| Event::new(&format!("small-{nth}"), "x"))
        .collect();
    mesh.send("shop/default", &small).await?;
    let text = "x".repeat(700_000);
    let large: Vec<_> = (0..6)
        .map(|nth| Event::new(&format!("large-{nth}"), "x").data("text/plain", text.clone()))
        .collect();
    let answer = mesh.post("shop/default", &Event::batch(&large)).await?;
    anyhow::ensure!(answer.status == 202, "{answer:?}");
    sink.wait_for("/all", small.len() + large.len()).await?;
    Ok(())
}

#[tokio::test]
async fn bodies_that_are_announced_and_not_sent_hold_up_nobody() -> anyhow::Result<()> {
    let (mesh, sink) = mesh("").await?;
    let head = format!("{BATCH}content-length: {}\r\n", 8 << 20);
    let announced = slow(&mesh, 40, &head, "[").await?;
    let silent = slow(&mesh, 40, &head, "").await?;
    honest(&mesh, &sink).await?;
    for mut socket in announced.into_iter().chain(silent) {
        let answer = socket.answer().await?.context("no answer")?;
        assert!([408, 503].contains(&answer.status), "{answer:?}");
    }
    mesh.admin().until_metric("millrace_memory_used_bytes", 0.0).await
}

#[tokio::test]
async fn half_of_a_large_body_holds_what_it_is_and_no_more() -> anyhow::Result<()> {
    let (mesh, sink) = mesh("").await?;
    let head = format!("{BATCH}content-length: {}\r\n", 8 << 20);
    // Together far more than the room for bodies: most must be refused, or wait to be read.
    let half = " ".repeat(4 << 20);
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let mut socket = Socket::connect(mesh.listen()).await?;
        let written = format!("{head}\r\n{half}");
        stalled.push(tokio::spawn(async move {
            // One that is refused may not even read all of it.
            let _ = socket.write(written.as_bytes()).await;
            socket.answer().await
        }));
    }
    // Small events have room, however much the large ones hold.
    let small: Vec<_> = (0..200)
        .map(|nth| Event::new(&format!("small-{nth}"), "x"))
        .collect();
    mesh.send("shop/default", &small).await?;
    let mut refused = 0;
    for task in stalled {
        // A connection that is cut while it still writes may lose the answer.
        if let Ok(Some(answer)) = task.await? {
            assert!([408, 503].contains(&answer.status), "{answer:?}");
            refused += 1;
        }
    }
    assert!(refused > 0, "none was told why");
    honest(&mesh, &sink).await
}

#[tokio::test]
async fn a_byte_a_second_is_too_slow_however_the_body_is_framed() -> anyhow::Result<()> {
    let (mesh, sink) = mesh("").await?;
    let event = "POST /shop/default HTTP/1.1\r\nhost: x\r\nce-specversion: 1.0\r\nce-id: s\r\nce-source: /s\r\nce-type: t\r\n";
    let cases = [
        (format!("{event}content-length: 1000\r\n\r\n"), "a"),
        (format!("{event}transfer-encoding: chunked\r\n\r\n"), "1\r\na\r\n"),
    ];
    let mut tasks = Vec::new();
    for (head, piece) in cases {
        let mut socket = Socket::connect(mesh.listen()).await?;
        tasks.push(tokio::spawn(async move {
            socket.write(head.as_bytes()).await?;
            for _ in 0..60 {
                if socket.write(piece.as_bytes()).await.is_err() {
                    break;
                }
                if let Ok(answer) =
                    tokio::time::timeout(std::time::Duration::from_secs(1), socket.answer()).await
                {
                    return answer;
                }
            }
            socket.answer().await
        }));
    }
    honest(&mesh, &sink).await?;
    for task in tasks {
        let answer = task.await??.context("no answer")?;
        assert_eq!((answer.status, answer.code()?.as_str()), (408, "body-too-slow"));
    }
    Ok(())
}

#[tokio::test]
async fn unsigned_calls_that_say_nothing_do_not_make_signed_ones_wait() -> anyhow::Result<()> {
    let source = "---\napiVersion: sources.millrace.dev/v1alpha1\nkind: GitWebhookSource\n\
                  metadata: {name: github, namespace: shop}\nspec:\n  forge: github\n  \
                  sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}\n  \
                  secrets: [{secretKeyRef: {name: hooks, key: new}}]\n\
                  ---\napiVersion: v1\nkind: Secret\nmetadata: {name: hooks, namespace: shop}\nstringData: {new: new}\n";
    let (mesh, sink) = mesh(source).await?;
    let head = format!(
        "POST /sources/shop/github HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         x-github-event: push\r\nx-github-delivery: s\r\nx-hub-signature-256: sha256=00\r\ncontent-length: {}\r\n",
        1 << 20
    );
    let silent = slow(&mesh, 100, &head, "").await?;
    let begun = slow(&mesh, 100, &head, "{").await?;
    let name = "x".repeat(200_000);
    for nth in 0..20 {
        let body = format!(
            r#"{{"ref": "{name}", "repository": {{"url": "https://github.com/o/r", "full_name": "o/r"}}}}"#
        );
        let call = Call::github("push", &format!("call-{nth}"), body).signed_by_github("new");
        assert_eq!(post(&mesh, "github", &call).await?.status, 202, "{nth}");
    }
    sink.wait_for("/all", 20).await?;
    drop((silent, begun));
    let mut client = Client::new(mesh.listen());
    let answer = client
        .post("/shop/default", &Event::new("last", "x").binary())
        .await?;
    assert_eq!(answer.status, 202);
    Ok(())
}
