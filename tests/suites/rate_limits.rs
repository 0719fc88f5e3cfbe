//! Promise: the access file says how much each may send. Whoever sends more is told when to come back, and
//! costs nobody else anything.
//!
//! The limits here let through one event a second, or one byte: what a slow machine lets pass meanwhile is
//! less than what the tests send.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, ensure};
use millrace_tests::access::Access;
use millrace_tests::documents::Documents;
use millrace_tests::issuer::{Issuer, Order, until};
use millrace_tests::limited::{batch, limit, metric, post, refused, retry_after, sized, verdict};
use millrace_tests::mesh::Setup;
use millrace_tests::process::Process;
use millrace_tests::raw::Socket;
use millrace_tests::{Client, Event, Sink, peers, wait_until};
use serde_json::{Value, json};

#[tokio::test]
async fn who_sends_too_much_is_told_when_to_come_back_and_others_notice_nothing() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let loud = access.token("loud", &["--broker", "*"]).await?;
    let quiet = access
        .token("quiet", &["--broker", "*", "--admin-role", "read"])
        .await?;
    limit(&mut access, "loud", "{eventsPerSecond: 1, eventsAtOnce: 1000}")?;
    let mesh = access.mesh(&[], &sink).await?;
    let mut client = Client::new(mesh.listen());
    assert_eq!(
        post(&mut client, "default", &loud, batch(1_000)).await?.status,
        202
    );
    let answer = post(&mut client, "default", &loud, batch(1_000)).await?;
    assert_eq!(verdict(&answer), (429, "rate-limited".to_owned()));
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let wait = retry_after(&answer)?;
    ensure!((1..=1_000).contains(&wait), "{wait}");
    let problem: Value = serde_json::from_slice(&answer.body)?;
    let detail = problem["detail"].as_str().unwrap_or_default();
    ensure!(
        detail.contains("token:loud") && detail.contains("events"),
        "{problem}"
    );

    // It goes on as fast as it can, and none of the others' events is refused.
    let (goes_on, count) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(1)));
    let hammering = (0..4).map(|_| {
        let (goes_on, count, loud) = (goes_on.clone(), count.clone(), loud.clone());
        let (mut client, message) = (Client::new(mesh.listen()), batch(900));
        tokio::spawn(async move {
            while goes_on.load(Ordering::Relaxed) {
                let answer = post(&mut client, "default", &loud, message.clone()).await?;
                ensure!(verdict(&answer).1 == "rate-limited", "{answer:?}");
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })
    });
    let hammering: Vec<_> = hammering.collect();
    for nth in 0..200 {
        let answer = post(&mut client, "default", &quiet, batch(1)).await?;
        assert_eq!(answer.status, 202, "{nth}: {answer:?}");
    }
    goes_on.store(false, Ordering::Relaxed);
    for one in hammering {
        one.await??;
    }
    sink.wait_for("/all", 1_200).await?;
    let counted = metric(&mesh, &quiet, &refused("default", "rate-limited")).await?;
    assert_eq!(counted, count.load(Ordering::Relaxed));
    Ok(())
}

#[tokio::test]
async fn what_is_larger_than_a_burst_is_told_that_it_never_fits_and_costs_nothing() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let till = access.token("till", &["--broker", "*"]).await?;
    limit(
        &mut access,
        "till",
        "{eventsPerSecond: 1, eventsAtOnce: 900, bytesPerSecond: 1Ki, bytesAtOnce: 300Ki}",
    )?;
    let mesh = access.mesh(&[], &sink).await?;
    let mut client = Client::new(mesh.listen());
    for (message, said) in [
        (batch(901), "900 events"),
        (sized(300 * 1_024 + 1), "307200 bytes"),
    ] {
        let answer = post(&mut client, "default", &till, message).await?;
        assert_eq!(verdict(&answer), (413, "over-burst".to_owned()));
        ensure!(!answer.headers.contains_key("retry-after"), "{answer:?}");
        let problem: Value = serde_json::from_slice(&answer.body)?;
        ensure!(problem.to_string().contains(said), "{problem}");
    }
    // A body that is announced to be too much is not even asked for.
    let mut socket = Socket::connect(mesh.listen()).await?;
    let head = format!(
        "POST /shop/default HTTP/1.1\r\nhost: x\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\nce-specversion: 1.0\r\n\
         authorization: Bearer {till}\r\nexpect: 100-continue\r\ncontent-length: 307201\r\n\r\n"
    );
    socket.write(head.as_bytes()).await?;
    assert_eq!(socket.answer().await?.context("no answer")?.status, 413);
    // All of it is still there, and its bytes go with its events.
    assert_eq!(post(&mut client, "default", &till, batch(899)).await?.status, 202);
    assert_eq!(
        post(&mut client, "default", &till, sized(300 * 1_024))
            .await?
            .status,
        202
    );
    let answer = post(&mut client, "default", &till, sized(200 * 1_024)).await?;
    assert_eq!(verdict(&answer), (429, "rate-limited".to_owned()));
    sink.wait_for("/all", 900).await?;
    Ok(())
}

#[tokio::test]
async fn what_filters_of_policies_refuse_is_paid_and_a_loop_costs_nothing() -> anyhow::Result<()> {
    let mut access = Access::new()?;
    let till = access.token("till", &["--broker", "*"]).await?;
    limit(&mut access, "till", "{eventsPerSecond: 1, eventsAtOnce: 1000}")?;
    let policy = "---\napiVersion: eventing.knative.dev/v1alpha1\nkind: EventPolicy\nmetadata: {name: paid, namespace: shop}\n\
                  spec: {from: [{sub: '*'}], filters: [{exact: {type: paid}}]}\n";
    let file = access.file().to_string_lossy().into_owned();
    let text = format!("{}{policy}", Documents::broker().text());
    let mesh = Setup::new(&text)?.args(&["--access", &file]).start().await?;
    let mut client = Client::new(mesh.listen());
    let looping = Event::new("x", "paid").with("knativebrokerttl", "1").no_data();
    let looping = Event::batch(&vec![looping; 1_000]);
    let answer = post(&mut client, "default", &till, looping).await?;
    assert_eq!(verdict(&answer), (400, "looping".to_owned()));
    let answer = post(&mut client, "default", &till, batch(1_000)).await?;
    assert_eq!(verdict(&answer), (403, "no-policy-allows".to_owned()));
    let answer = post(&mut client, "default", &till, batch(1_000)).await?;
    assert_eq!(verdict(&answer), (429, "rate-limited".to_owned()));
    Ok(())
}

#[tokio::test]
async fn each_subject_of_an_issuer_has_a_limit_of_its_own() -> anyhow::Result<()> {
    let Some(library) = peers::jose_node()? else {
        return Ok(());
    };
    let (issuer, sink) = (Issuer::start().await?, Sink::start().await?);
    let mut order = Order::default().key("a", "ES256", &json!({}), &json!({}));
    for nth in 0..50 {
        order.good(
            ("a", "ES256"),
            &issuer.claims(&json!({"sub": format!("pod-{nth}")})),
        );
    }
    let made = order.make(&library).await?;
    issuer.publishes(&made.keys(&["a"]));
    let mut access = Access::new()?;
    access.token("operator", &["--admin-role", "read"]).await?;
    let limit = "{bytesPerSecond: 1, bytesAtOnce: 2000}";
    let subjects = "subjects: [{sub: pod-0, brokers: ['*'], limit: {}}, {sub: '*', brokers: ['*']}]";
    let issuers = issuer.entry(&[subjects]);
    access.write(&format!("{issuers}limits:\n  default: {limit}\n"))?;
    let mesh = access.mesh(&[], &sink).await?;
    // Once the keys are there. The event has some bytes of data.
    until(&mesh, "first", &made.tokens[1], (202, "")).await?;
    let mut client = Client::new(mesh.listen());
    for (nth, token) in made.tokens.iter().enumerate().skip(2) {
        let first = post(&mut client, "default", token, sized(2_000)).await?;
        assert_eq!(first.status, 202, "{nth}");
        let second = post(&mut client, "default", token, sized(2_000)).await?;
        assert_eq!(verdict(&second), (429, "rate-limited".to_owned()), "{nth}");
    }
    // An empty limit of one's own is none, whatever the default.
    for _ in 0..3 {
        let answer = post(&mut client, "default", &made.tokens[0], sized(100_000)).await?;
        assert_eq!(answer.status, 202);
    }
    Ok(())
}

#[tokio::test]
async fn a_tail_shows_some_of_what_is_refused_and_all_else() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let loud = access.token("loud", &["--broker", "*"]).await?;
    let reader = access
        .token("reader", &["--broker", "*", "--admin-role", "read"])
        .await?;
    limit(&mut access, "loud", "{eventsPerSecond: 1, eventsAtOnce: 1000}")?;
    let mesh = access.mesh(&[], &sink).await?;
    let token = access.folder().join("reader.token");
    std::fs::write(&token, &reader)?;
    let (admin, token) = (
        format!("http://{}", mesh.admin().address()),
        token.to_string_lossy().into_owned(),
    );
    let args = ["tail", "-o", "json", "--admin", &admin, "--token-file", &token];
    let mut tail = Process::start(&args, access.folder(), &access.folder().join("tail"))?;
    tail.first_line().await?;
    let mut client = Client::new(mesh.listen());
    let message = batch(1_000);
    post(&mut client, "default", &loud, message.clone()).await?;
    for _ in 0..300 {
        let answer = post(&mut client, "default", &loud, message.clone()).await?;
        assert_eq!(answer.status, 429);
    }
    let last = Event::new("last", "t").binary();
    assert_eq!(post(&mut client, "default", &reader, last).await?.status, 202);
    wait_until("the last event", || async {
        Ok(tail
            .stdout()
            .iter()
            .any(|line| line.contains("\"last\""))
            .then_some(()))
    })
    .await?;
    let refused: Vec<String> = tail
        .stdout()
        .into_iter()
        .filter(|line| line.contains("\"rate-limited\""))
        .collect();
    ensure!(!refused.is_empty() && refused.len() < 300, "{}", refused.len());
    let line: Value = serde_json::from_str(&refused[0])?;
    assert_eq!(
        line,
        json!({"kind": "refused", "broker": "shop/default", "who": "token:loud", "code": "rate-limited"})
    );
    Ok(())
}
