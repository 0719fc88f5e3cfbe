//! Promise: a clock that is set forward or back, by hours or by years, delays or hastens no retry, and no
//! debt is dropped because of it.

use std::fs;

use futures_util::future::try_join_all;
use millrace_tests::clocks::{DAY, HOUR, YEAR, until_jumps};
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::reload::{PATIENT, taken, until_state};
use millrace_tests::{Answer, Clocks, Event, Gate, Mesh, Sink, wait_until};
use serde_json::Value;

/// Forward and back, by hours and by years.
const JUMPS: [i64; 4] = [2 * HOUR, -2 * HOUR, 70 * YEAR, -40 * YEAR];

/// A Broker and a Trigger with this retry policy whose subscriber fails once.
fn failing_once(sink: &Sink, delivery: &str) -> Documents {
    sink.answer("/t", [Answer::status(503), Answer::ok()]);
    Documents::broker().trigger(&Trigger::new("t", &sink.url("/t")).delivery(delivery))
}

/// When the next attempt at the event `1` is due, as `explain` shows it; `None`: none is due.
async fn next_due(mesh: &Mesh) -> anyhow::Result<Option<jiff::Timestamp>> {
    let answer = mesh.admin().get("explain?broker=shop/default&id=1").await?;
    let due = answer["triggers"][0]["nextDue"].as_str();
    Ok(due.map(str::parse).transpose()?)
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
        // How far the clock was set is measured, so the last millisecond may differ.
        let is_the_first = shown.is_some_and(|shown| shown.duration_since(due).as_secs() == 0);
        assert_eq!(is_the_first, wall == 0, "{shown:?}, first {due}, at {wall}");
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
