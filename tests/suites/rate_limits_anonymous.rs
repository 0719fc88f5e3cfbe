//! Promise: an access file without `authentication` asks nobody who they are, and limits each address and
//! each Broker all the same. It is taken only with `--allow-anonymous`, and no change of a file opens a door.
//!
//! The limits here let through one event a second: what a slow machine lets pass meanwhile is less than what
//! the tests send.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::Method;
use millrace_tests::access::{Access, ask};
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::event::Message;
use millrace_tests::limited::{batch, metric, post, refused, reread, retry_after, verdict};
use millrace_tests::mesh::Setup;
use millrace_tests::raw::stranger;
use millrace_tests::{Answered, Client, Event, Mesh, Sink, within};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A mesh with this access file, which anybody may call. Its policy lets nobody send.
async fn open(limits: &str, sink: &Sink) -> anyhow::Result<(TempDir, Mesh)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("access.yaml");
    fs::write(&file, limits)?;
    let nobody = "---\napiVersion: eventing.knative.dev/v1alpha1\nkind: EventPolicy\nmetadata: {name: nobody, namespace: \
                  shop}\nspec: {}\n";
    let documents = Documents::broker()
        .and_broker("free", "{}")
        .trigger(&Trigger::new("all", &sink.url("/all")));
    let setup = Setup::new(&format!("{}{nobody}", documents.text()))?;
    let args = ["--access", &file.to_string_lossy(), "--allow-anonymous"];
    let mesh = setup.args(&args).start().await?;
    Ok((folder, mesh))
}

/// A client at another address of this machine.
fn at(mesh: &Mesh, last: u8) -> Client {
    Client::new(mesh.listen()).of_peer(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)))
}

async fn send(client: &mut Client, broker: &str, size: usize) -> anyhow::Result<Answered> {
    client.post(&format!("/shop/{broker}"), &batch(size)).await
}

fn limited(code: &str) -> (u16, String) {
    (429, code.to_owned())
}

#[tokio::test]
async fn each_address_has_a_limit_of_its_own_and_all_share_that_of_a_broker() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let limits = "limits:\n  default: {eventsPerSecond: 1, eventsAtOnce: 1000}\n  brokers:\n    - {broker: shop/default, \
                  eventsPerSecond: 1, eventsAtOnce: 2500}\n";
    let (_folder, mesh) = open(limits, &sink).await?;
    let (mut one, mut other, mut third) = (at(&mesh, 2), at(&mesh, 3), at(&mesh, 4));
    assert_eq!(send(&mut one, "default", 1_000).await?.status, 202);
    let answer = send(&mut one, "default", 1_000).await?;
    assert_eq!(verdict(&answer), limited("rate-limited"));
    ensure!((1..=1_000).contains(&retry_after(&answer)?), "{answer:?}");
    let problem: Value = serde_json::from_slice(&answer.body)?;
    let detail = problem["detail"].as_str().unwrap_or_default();
    ensure!(detail.contains("address:127.0.0.2"), "{problem}");
    // All Brokers together, and on whichever connection. What is shown makes nobody another.
    one.close();
    assert_eq!(
        verdict(&send(&mut one, "free", 1_000).await?),
        limited("rate-limited")
    );
    let answer = post(&mut one, "free", "made-up", batch(1_000)).await?;
    assert_eq!(verdict(&answer), limited("rate-limited"));

    assert_eq!(send(&mut other, "default", 1_000).await?.status, 202);
    let answer = send(&mut third, "default", 1_000).await?;
    assert_eq!(verdict(&answer), limited("broker-rate-limited"));
    assert_eq!(send(&mut third, "free", 1_000).await?.status, 202);
    sink.wait_for("/all", 2_000).await?;
    // The admin side asks nobody either.
    assert_eq!(metric(&mesh, "", &refused("default", "rate-limited")).await?, 1);
    Ok(())
}

#[tokio::test]
async fn each_address_has_as_many_requests_in_hand_as_the_file_says() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (_folder, mesh) = open("limits:\n  default: {requestsInHand: 1}\n", &sink).await?;
    let head = "POST /shop/default HTTP/1.1\r\nhost: x\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\nce-specversion: 1.0\r\n\
                expect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    // This one is in hand until its body has come.
    let mut held = stranger(mesh.listen()).await?;
    held.write_all(head.as_bytes()).await?;
    let mut answer = [0; 12];
    within("100 Continue", held.read_exact(&mut answer)).await?;
    assert_eq!(&answer, b"HTTP/1.1 100");
    let answer = send(&mut at(&mesh, 2), "default", 1).await?;
    assert_eq!(verdict(&answer), limited("concurrency-limited"));
    assert_eq!(send(&mut at(&mesh, 3), "default", 1).await?.status, 202);
    held.write_all(b"{}").await?;
    sink.wait_for("/all", 2).await?;
    Ok(())
}

#[tokio::test]
async fn a_sender_of_webhooks_is_told_what_the_limits_let_through() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let file = "limits:\n  default: {eventsPerSecond: 2}\nwebhooks:\n  origins: [hooks.example.com]\n";
    let (_folder, mesh) = open(file, &sink).await?;
    for (origin, status, rate) in [
        ("hooks.example.com", 200, Some("120")),
        ("other.example.com", 403, None),
    ] {
        let headers = vec![("webhook-request-origin".to_owned(), origin.to_owned())];
        let body = Bytes::new();
        let asking = Message { headers, body };
        let answer = Client::new(mesh.listen())
            .send(&Method::OPTIONS, "/shop/default", &asking)
            .await?;
        assert_eq!(answer.status, status, "{answer:?}");
        let told = answer.headers.get("webhook-allowed-rate");
        assert_eq!(told.map(|told| told.to_str()).transpose()?, rate, "{origin}");
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_asks_nobody_is_refused_unless_anybody_may_call() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("access.yaml");
    fs::write(&file, "limits: {default: {eventsPerSecond: 1}}\n")?;
    let documents = Documents::broker();
    for listen in ["127.0.0.1:0", "0.0.0.0:0"] {
        let setup = Setup::new(documents.text())?.listen(listen);
        let args = ["--access", &file.to_string_lossy()];
        let (status, said) = setup.args(&args).fail().await?;
        ensure!(!status.success(), "{listen}");
        ensure!(said.contains("--allow-anonymous"), "{listen}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_loses_its_authentication_opens_no_door() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let operator = access.token("operator", &["--admin-role", "read"]).await?;
    let mesh = access.mesh(&["--allow-anonymous"], &sink).await?;
    let limits = "limits: {default: {eventsPerSecond: 1}}\n";
    let lose = || fs::write(access.file(), limits).context("written");
    reread(&mesh, &operator, "refused", lose).await?;
    let said = mesh.running().stderr();
    ensure!(said.contains("changes only with a restart"), "{said}");
    let message = Event::new("1", "t").binary();
    let answer = Client::new(mesh.listen()).post("/shop/default", &message).await?;
    assert_eq!(verdict(&answer), (401, "no-credentials".to_owned()));
    let answer = ask(&mesh, "", &Method::GET, "/api/v1/brokers").await?;
    assert_eq!(answer.status, 401);
    Ok(())
}
