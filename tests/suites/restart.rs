//! Promise: a stop that was asked for repeats nothing and loses nothing, and a restart goes on where it was.

use std::collections::BTreeMap;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::{Answer, Event, Gate, Mesh, Sink, wait_until};

/// A policy that keeps trying, often.
const PATIENT: &str = "{retry: 100000, backoffPolicy: exponential, backoffDelay: PT0.1S, backoffMax: PT0.5S}";

fn events(from: usize, to: usize) -> Vec<Event> {
    (from..to).map(|n| Event::new(&n.to_string(), "x")).collect()
}

/// How often each event was answered with 200 at `path`, for those that were not answered once.
fn not_once(sink: &Sink, path: &str, expected: usize) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<String, usize> = (0..expected).map(|n| (n.to_string(), 0)).collect();
    for id in sink.ids(path) {
        *counts.entry(id).or_default() += 1;
    }
    counts.retain(|_, count| *count != 1);
    counts
}

#[tokio::test]
async fn what_waited_for_a_dead_subscriber_is_delivered_once_after_a_restart() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.down();
    let trigger = Trigger::new("all", &sink.url("/all"))
        .delivery(PATIENT)
        .annotation("millrace.dev/max-deferred", "200");
    let mut mesh = Mesh::start(Documents::broker().trigger(&trigger).text()).await?;
    mesh.send("shop/default", &events(0, 1_000)).await?;
    // Some wait for their next attempt, others are not read yet.
    mesh.admin()
        .until_trigger("shop/all", "deferred events", |trigger| {
            trigger["deferred"].as_u64() >= Some(200)
        })
        .await?;
    assert!(mesh.stop().await?.success());
    mesh.restart().await?;
    sink.up().await?;
    sink.wait_for("/all", 1_000).await?;
    mesh.until_settled().await?;
    assert_eq!(not_once(&sink, "/all", 1_000), BTreeMap::new());
    Ok(())
}

#[tokio::test]
async fn what_waited_for_a_dead_subscriber_is_delivered_once_when_it_returns() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.down();
    let trigger = Trigger::new("all", &sink.url("/all"))
        .delivery(PATIENT)
        .annotation("millrace.dev/max-deferred", "200");
    let mesh = Mesh::start(Documents::broker().trigger(&trigger).text()).await?;
    mesh.send("shop/default", &events(0, 1_000)).await?;
    mesh.admin()
        .until_trigger("shop/all", "deferred events", |trigger| {
            trigger["deferred"].as_u64() >= Some(200)
        })
        .await?;
    sink.up().await?;
    sink.wait_for("/all", 1_000).await?;
    mesh.until_settled().await?;
    assert_eq!(not_once(&sink, "/all", 1_000), BTreeMap::new());
    Ok(())
}

#[tokio::test]
async fn what_was_delivered_before_a_stop_is_not_delivered_again() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mut mesh = Mesh::start(
        Documents::broker()
            .trigger(&Trigger::new("all", &sink.url("/all")))
            .text(),
    )
    .await?;
    for round in 0..5 {
        mesh.send("shop/default", &events(round * 100, round * 100 + 100))
            .await?;
        assert!(mesh.stop().await?.success());
        mesh.restart().await?;
    }
    sink.wait_for("/all", 500).await?;
    mesh.until_settled().await?;
    assert_eq!(not_once(&sink, "/all", 500), BTreeMap::new());
    Ok(())
}

#[tokio::test]
async fn a_stop_waits_for_what_is_in_flight() -> anyhow::Result<()> {
    let (sink, gate) = (Sink::start().await?, Gate::closed());
    sink.answer("/all", [Answer::ok().after(&gate)]);
    let mut mesh = Mesh::start(
        Documents::broker()
            .trigger(&Trigger::new("all", &sink.url("/all")))
            .text(),
    )
    .await?;
    mesh.send("shop/default", &events(0, 20)).await?;
    sink.wait_for("/all", 20).await?;
    mesh.process().signal(rustix::process::Signal::TERM)?;
    gate.open();
    assert!(mesh.process().ended().await?.success());
    mesh.restart().await?;
    mesh.send("shop/default", &events(20, 21)).await?;
    sink.wait_for("/all", 21).await?;
    mesh.until_settled().await?;
    assert_eq!(not_once(&sink, "/all", 21), BTreeMap::new());
    Ok(())
}

#[tokio::test]
async fn two_processes_do_not_share_a_data_folder() -> anyhow::Result<()> {
    let mesh = Mesh::start(Documents::broker().text()).await?;
    let (status, said) = mesh.setup().fail().await?;
    assert_eq!(status.code(), Some(4), "{said}");
    wait_until("the first one to go on", || async {
        Ok(Some(mesh.admin().get("mesh").await?))
    })
    .await?;
    Ok(())
}
