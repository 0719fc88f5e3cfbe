//! Promise: schedules go by the wall clock and survive each of its jumps: no tick comes twice, and none stops
//! the ticks after it. A machine that slept does at once what fell due meanwhile.

use futures_util::future::try_join_all;
use millrace_tests::clocks::{HOUR, YEAR, until_jumps};
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::{Answer, Clocks, Event, Sink};
use rustix::process::Signal;
use serde_json::Value;

/// A Broker, a Trigger for everything, and a CronSource with a tick each second.
fn ticking(sink: &Sink, catch_up: &str) -> String {
    let mesh = Documents::broker().trigger(&Trigger::new("all", &sink.url("/in")));
    format!(
        "{}---\napiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\nmetadata: {{name: tick, namespace: shop}}\n\
         spec: {{schedule: '* * * * * *', catchUp: {catch_up}, sink: {{ref: {{apiVersion: eventing.knative.dev/v1, kind: \
         Broker, name: default}}}}}}\n",
        mesh.text()
    )
}

/// Checks that no tick came twice.
fn assert_once(sink: &Sink, when: &str) {
    let mut ids = sink.ids("/in");
    ids.sort();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all, "{when}: a tick came twice");
}

#[tokio::test]
async fn a_schedule_waits_for_a_clock_that_is_hours_behind_and_goes_on_when_it_is_right() -> anyhow::Result<()>
{
    let Some(clocks) = Clocks::new()? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mesh = clocks.of(Setup::new(&ticking(&sink, "last"))?)?.start().await?;
    sink.wait_for("/in", 2).await?;
    clocks.set(-2 * HOUR)?;
    let says = |source: &Value| {
        let reason = source["reason"].as_str().unwrap_or_default();
        source["state"] == "ready" && reason.contains("the clock was set back, and")
    };
    let admin = mesh.admin();
    admin
        .until_source("shop/tick", "says that it waits", says)
        .await?;
    mesh.until_settled().await?;
    let before = sink.count("/in");
    clocks.set(0)?;
    sink.wait_for("/in", before + 2).await?;
    let is_well = |source: &Value| source["reason"].is_null();
    admin
        .until_source("shop/tick", "has nothing to say", is_well)
        .await?;
    assert_once(&sink, "2 h back, and right again");
    Ok(())
}

async fn schedule_over_a_jump((jump, catch_up): (i64, &str)) -> anyhow::Result<()> {
    let Some(clocks) = Clocks::new()? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mut mesh = clocks.of(Setup::new(&ticking(&sink, catch_up))?)?.start().await?;
    sink.wait_for("/in", 2).await?;
    clocks.set(jump)?;
    until_jumps(&mesh, 1).await?;
    let before = sink.count("/in");
    sink.wait_for("/in", before + 3).await?;
    clocks.set(0)?;
    until_jumps(&mesh, 2).await?;
    let before = sink.count("/in");
    sink.wait_for("/in", before + 3).await?;
    assert_once(&sink, &format!("{jump}, and right again"));
    // A last tick far ahead of the next start's clock does not stop the source either.
    clocks.set(70 * YEAR)?;
    until_jumps(&mesh, 3).await?;
    let before = sink.count("/in");
    sink.wait_for("/in", before + 1).await?;
    mesh.stop().await?;
    clocks.set(0)?;
    mesh.restart().await?;
    let before = sink.count("/in");
    sink.wait_for("/in", before + 3).await?;
    Ok(())
}

#[tokio::test]
async fn a_schedule_goes_on_from_a_time_that_is_far_from_the_one_before() -> anyhow::Result<()> {
    try_join_all(
        [
            (-5 * HOUR, "all"),
            (-40 * YEAR, "all"),
            (2 * HOUR, "none"),
            (5 * HOUR, "none"),
            (70 * YEAR, "last"),
        ]
        .map(schedule_over_a_jump),
    )
    .await
    .map(drop)
}

#[tokio::test]
async fn what_fell_due_while_the_machine_slept_is_done_when_it_wakes_up() -> anyhow::Result<()> {
    let Some(clocks) = Clocks::new()? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    sink.answer("/t", [Answer::status(503), Answer::ok()]);
    let policy = "{retry: 1, backoffPolicy: linear, backoffDelay: PT20H}";
    let documents = Documents::default().trigger(
        &Trigger::new("t", &sink.url("/t"))
            .attributes("{type: x}")
            .delivery(policy),
    );
    let text = format!("{}{}", ticking(&sink, "last"), documents.text());
    let mut mesh = clocks.of(Setup::new(&text)?)?.start().await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.wait_for("/t", 1).await?;
    mesh.admin()
        .until_trigger("shop/t", "the retry is written down", |trigger| {
            trigger["deferred"] == 1
        })
        .await?;
    sink.wait_for("/in", 2).await?;
    for (nights, attempts) in [(1, 1), (2, 2)] {
        mesh.process().signal(Signal::STOP)?;
        clocks.sleep(nights * 15 * HOUR)?;
        mesh.process().signal(Signal::CONT)?;
        let before = sink.count("/in");
        sink.wait_for("/in", before + 3).await?;
        sink.wait_for("/t", attempts).await?;
    }
    assert_once(&sink, "two nights");
    let clock = mesh.admin().get("mesh").await?["clock"].clone();
    assert_eq!(clock["jumps"], 0, "sleep is no jump: {clock}");
    let slept = mesh
        .process()
        .stderr()
        .matches("the machine was suspended")
        .count();
    assert_eq!(slept, 2);
    Ok(())
}
