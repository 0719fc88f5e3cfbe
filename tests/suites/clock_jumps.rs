//! Promise: a clock that is set forward or back, by hours or by years, delays or hastens only what goes by
//! the wall clock. A machine that slept does at once what fell due meanwhile.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Context as _;
use futures_util::future::try_join_all;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::reload::{PATIENT, events, ids, taken, until_state};
use millrace_tests::{Answer, Clocks, Event, Gate, Mesh, Sink, wait_until};
use rustix::process::Signal;
use serde_json::Value;

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;
/// Forward and back, by hours and by years.
const JUMPS: [i64; 4] = [2 * HOUR, -2 * HOUR, 70 * YEAR, -40 * YEAR];

/// A Broker and a Trigger with this retry policy whose subscriber fails once.
fn failing_once(sink: &Sink, delivery: &str) -> Documents {
    sink.answer("/t", [Answer::status(503), Answer::ok()]);
    Documents::broker().trigger(&Trigger::new("t", &sink.url("/t")).delivery(delivery))
}

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

/// Waits until the mesh has noticed at least so many jumps; returns the last one in seconds.
async fn until_jumps(mesh: &Mesh, jumps: u64) -> anyhow::Result<f64> {
    wait_until(&format!("{jumps} jumps of the clock are shown"), || async {
        let clock = mesh.admin().get("mesh").await?["clock"].clone();
        anyhow::ensure!(clock["jumps"].as_u64() >= Some(jumps), "{clock}");
        Ok(clock["lastJump"]["seconds"].as_f64())
    })
    .await
}

/// When the next attempt at the event `1` is due, as `explain` shows it; `None`: none is due.
async fn next_due(mesh: &Mesh) -> anyhow::Result<Option<String>> {
    let answer = mesh.admin().get("explain?broker=shop/default&id=1").await?;
    let due = answer["triggers"][0]["nextDue"].as_str();
    Ok(due.map(str::to_owned))
}

/// Sends one event and waits until its first attempt has failed. On a slow machine the retry may be made
/// before this returns.
async fn send_and_fail(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    let has_failed = |trigger: &Value| trigger["failedAttempts"].as_u64() >= Some(1);
    let admin = mesh.admin();
    admin
        .until_trigger("shop/t", "an attempt has failed", has_failed)
        .await
        .map(drop)
}

/// Checks that no tick came twice.
fn assert_once(sink: &Sink, when: &str) {
    let mut ids = sink.ids("/in");
    ids.sort();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all, "{when}: a tick came twice");
}

async fn retry_over_a_jump(jump: i64) -> anyhow::Result<()> {
    let Some(clocks) = Clocks::new()? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let documents = failing_once(&sink, "{retry: 1, backoffPolicy: linear, backoffDelay: PT3S}");
    let mesh = clocks.of(Setup::new(documents.text())?)?.start().await?;
    send_and_fail(&mesh).await?;
    clocks.set(jump)?;
    sink.wait_for("/t", 2).await?;
    mesh.until_settled().await?;
    assert_eq!(sink.count("/t"), 2, "{jump}");
    Ok(())
}

#[tokio::test]
async fn a_retry_comes_whatever_the_clock_does_while_it_waits() -> anyhow::Result<()> {
    try_join_all(JUMPS.map(retry_over_a_jump)).await.map(drop)
}

#[tokio::test]
async fn retries_go_on_after_a_clock_that_was_wrong_is_right_again() -> anyhow::Result<()> {
    let Some(clocks) = Clocks::new()? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    sink.answer("/t", [Answer::status(503)]);
    let documents = Documents::broker().trigger(&Trigger::new("t", &sink.url("/t")).delivery(PATIENT));
    let mesh = clocks.of(Setup::new(documents.text())?)?.start().await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.wait_for("/t", 1).await?;
    for (n, wall) in [-2 * HOUR, 0, 3 * YEAR, 0].into_iter().enumerate() {
        let before = sink.count("/t");
        clocks.set(wall)?;
        until_jumps(&mesh, n as u64 + 1).await?;
        sink.wait_for("/t", before + 2).await?;
    }
    sink.answer("/t", [Answer::ok()]);
    mesh.until_settled().await?;
    let trigger = mesh.admin().trigger("shop/t").await?;
    assert_eq!(
        (&trigger["delivered"], &trigger["parked"]),
        (&1.into(), &0.into())
    );
    assert_eq!(
        trigger["failedAttempts"],
        sink.count("/t") - 1,
        "each attempt is made once"
    );
    Ok(())
}

#[tokio::test]
async fn a_jump_is_logged_counted_and_shown_and_a_due_time_moves_with_the_clock() -> anyhow::Result<()> {
    let Some(clocks) = Clocks::new()? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let documents = failing_once(&sink, "{retry: 1, backoffPolicy: linear, backoffDelay: PT1H}");
    let mut mesh = clocks.of(Setup::new(documents.text())?)?.start().await?;
    send_and_fail(&mesh).await?;
    let due = wait_until("the retry is written down", || next_due(&mesh)).await?;
    let first: Value = mesh.admin().get("mesh").await?["clock"].clone();
    assert_eq!((&first["jumps"], &first["lastJump"]), (&0.into(), &Value::Null));
    for (n, (wall, expected)) in [(DAY, DAY), (-DAY, -2 * DAY), (0, DAY)].into_iter().enumerate() {
        clocks.set(wall)?;
        let seconds = until_jumps(&mesh, n as u64 + 1).await?;
        assert!(
            (seconds - expected as f64).abs() < 60.0,
            "{seconds} for {expected}"
        );
        let shown = next_due(&mesh).await?;
        assert_eq!(
            shown.as_ref() == Some(&due),
            wall == 0,
            "{shown:?}, first {due}, at {wall}"
        );
    }
    let admin = mesh.admin();
    let back = admin
        .metric("millrace_clock_jumps_total{direction=\"back\"}")
        .await?;
    let forward = admin
        .metric("millrace_clock_jumps_total{direction=\"forward\"}")
        .await?;
    assert_eq!((forward, back), (2.0, 1.0));
    let said = mesh.process().stderr();
    for (direction, times) in [("set forward", 2), ("set back", 1)] {
        assert_eq!(said.matches(direction).count(), times, "{said}");
    }
    assert_eq!(sink.count("/t"), 1, "an hour is an hour");
    Ok(())
}

async fn retry_over_a_jump_and_a_stop(jump: i64) -> anyhow::Result<()> {
    let Some(clocks) = Clocks::new()? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let documents = failing_once(&sink, "{retry: 1, backoffPolicy: linear, backoffDelay: PT5S}");
    let mut mesh = clocks.of(Setup::new(documents.text())?)?.start().await?;
    send_and_fail(&mesh).await?;
    clocks.set(jump)?;
    until_jumps(&mesh, 1).await?;
    mesh.stop().await?;
    mesh.restart().await?;
    sink.wait_for("/t", 2).await?;
    mesh.until_settled().await?;
    assert_eq!(sink.count("/t"), 2, "{jump}");
    Ok(())
}

#[tokio::test]
async fn a_retry_outlives_a_jump_and_a_stop() -> anyhow::Result<()> {
    try_join_all(JUMPS.map(retry_over_a_jump_and_a_stop))
        .await
        .map(drop)
}

async fn retry_of_a_wrong_clock(wrong: i64) -> anyhow::Result<()> {
    let Some(clocks) = Clocks::new()? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let policy = "{retry: 1, backoffPolicy: linear, backoffDelay: PT1S, retryAfterMax: PT0S}";
    let documents = failing_once(&sink, policy);
    let closed = Gate::closed();
    sink.answer(
        "/t",
        [Answer::status(503), Answer::ok().after(&closed), Answer::ok()],
    );
    clocks.set(wrong)?;
    let mut mesh = clocks.of(Setup::new(documents.text())?)?.start().await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.wait_for("/t", 2).await?;
    // It ends with the second attempt written down, as open in the year of the wrong clock or as due.
    mesh.kill().await?;
    clocks.set(0)?;
    mesh.restart().await?;
    sink.wait_for("/t", 3).await?;
    mesh.until_settled().await?;
    Ok(())
}

#[tokio::test]
async fn a_retry_that_was_written_down_by_a_wrong_clock_is_not_waited_for() -> anyhow::Result<()> {
    try_join_all([2 * HOUR, 70 * YEAR].map(retry_of_a_wrong_clock))
        .await
        .map(drop)
}

async fn debts_over_a_jump(jump: i64) -> anyhow::Result<()> {
    let Some(clocks) = Clocks::new()? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let folder = tempfile::tempdir()?;
    let (file, aside) = (folder.path().join("t.yaml"), folder.path().join("t.away"));
    let trigger = Trigger::new("t", &sink.url("/t")).attributes("{type: x}");
    fs::write(&file, Documents::default().trigger(&trigger).text())?;
    let path = folder.path().to_string_lossy().into_owned();
    let setup = Setup::new(Documents::broker().text())?.args(&["-f", &path]);
    let mut mesh = clocks.of(setup)?.start().await?;
    taken(&mesh, || fs::rename(&file, &aside)).await?;
    until_state(&mesh, "shop/t", "orphaned").await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    clocks.set(jump)?;
    until_jumps(&mesh, 1).await?;
    // At its start a process looks for orphans whose grace period has ended.
    mesh.stop().await?;
    mesh.restart().await?;
    taken(&mesh, || fs::rename(&aside, &file)).await?;
    sink.wait_for("/t", 1).await?;
    Ok(())
}

#[tokio::test]
async fn the_debts_of_a_trigger_that_is_gone_are_kept_whatever_the_year() -> anyhow::Result<()> {
    try_join_all(JUMPS.map(debts_over_a_jump)).await.map(drop)
}

/// A Broker of `shop` that keeps settled events for so long, with a Trigger of its name.
fn keeping(documents: Documents, broker: &str, age: &str, sink: &Sink) -> Documents {
    let metadata =
        format!("{{name: {broker}, namespace: shop, annotations: {{millrace.dev/retention-age: {age}}}}}");
    let trigger = Trigger::new(broker, &sink.url(&format!("/{broker}"))).on(broker);
    documents
        .document("Broker", &metadata, "spec: {}")
        .trigger(&trigger.delivery(PATIENT))
}

/// The oldest readable position of a Broker's log, and the next one to be written.
async fn kept(mesh: &Mesh, broker: &str) -> anyhow::Result<(Option<u64>, Option<u64>)> {
    let brokers = mesh.admin().get("brokers").await?;
    let mut all = brokers.as_array().into_iter().flatten();
    let found = all.find(|shown| shown["name"] == broker);
    let found = found.with_context(|| format!("no {broker} in {brokers}"))?;
    Ok((found["oldest"].as_u64(), found["head"].as_u64()))
}

async fn until_nothing_kept(mesh: &Mesh, broker: &str) -> anyhow::Result<()> {
    wait_until(&format!("the history of {broker} to be gone"), || async {
        let (oldest, head) = kept(mesh, broker).await?;
        anyhow::ensure!(oldest.is_some() && oldest == head, "{oldest:?} {head:?}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn history_is_as_old_as_time_that_passed_and_only_a_start_believes_the_clock() -> anyhow::Result<()> {
    let Some(clocks) = Clocks::new()? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    sink.answer("/owed", [Answer::status(503)]);
    let documents = keeping(Documents::default(), "settled", "PT1H", &sink);
    let documents = keeping(documents, "owed", "PT1H", &sink);
    let documents = keeping(documents, "brief", "PT1S", &sink);
    let mut mesh = clocks.of(Setup::new(documents.text())?)?.start().await?;
    mesh.send("shop/settled", &events("", "x", 10)).await?;
    mesh.send("shop/owed", &events("", "x", 10)).await?;
    sink.wait_for("/settled", 10).await?;
    sink.wait_for("/owed", 10).await?;
    let before = kept(&mesh, "shop/settled").await?;
    clocks.set(DAY)?;
    until_jumps(&mesh, 1).await?;
    // By now retention has run: what is kept for a second only is gone.
    mesh.send("shop/brief", &events("", "x", 10)).await?;
    until_nothing_kept(&mesh, "shop/brief").await?;
    assert_eq!(kept(&mesh, "shop/settled").await?, before, "it got no older");

    mesh.stop().await?;
    mesh.restart().await?;
    until_nothing_kept(&mesh, "shop/settled").await?;
    // What a Trigger still owes is no history.
    sink.take("/owed");
    sink.answer("/owed", [Answer::ok()]);
    mesh.until_settled().await?;
    let owed = sink.ids("/owed").into_iter().collect();
    assert!(
        ids("", 10).into_iter().collect::<BTreeSet<_>>().is_subset(&owed),
        "{owed:?}"
    );
    Ok(())
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
