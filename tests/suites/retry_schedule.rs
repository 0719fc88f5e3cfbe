//! Promise: attempts come as the delivery policy says, and a crash continues the schedule instead of
//! beginning again.
//!
//! Only lower bounds are asserted: a wait may take longer on a busy machine, but never end early.

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime};

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::reload::events;
use millrace_tests::{Answer, Event, Mesh, Received, Sink};

/// What two clocks that are read at different places may differ by, milliseconds cut off included.
const CLOCKS: Duration = Duration::from_millis(10);

/// The pauses between arrivals.
fn gaps(received: &[Received]) -> Vec<Duration> {
    received
        .windows(2)
        .map(|pair| pair[1].at.duration_since(pair[0].at))
        .collect()
}

fn assert_at_least(gaps: &[Duration], least: &[u64], what: &str) {
    assert_eq!(gaps.len(), least.len(), "{what}: {gaps:?}");
    for (gap, least) in gaps.iter().zip(least) {
        assert!(
            *gap + CLOCKS >= Duration::from_millis(*least),
            "{what}: {gaps:?} where at least {least} ms were due"
        );
    }
}

/// A trigger that notices when all that was settled before is durable.
fn probe(sink: &Sink) -> Trigger {
    // Each event fails once: its second attempt can only come from a row that was committed.
    let mut seen = HashSet::new();
    sink.decide("/probe", move |received, _| {
        if seen.insert(received.event().id().to_owned()) {
            Answer::status(500)
        } else {
            Answer::ok()
        }
    });
    Trigger::new("probe", &sink.url("/probe"))
        .attributes("{type: probe}")
        .delivery("{retry: 1, backoffPolicy: linear, backoffDelay: PT0.001S}")
}

/// Waits until everything settled up to now is durable.
async fn until_durable(mesh: &Mesh, sink: &Sink, id: &str) -> anyhow::Result<()> {
    let before = sink.count("/probe");
    mesh.send("shop/default", &[Event::new(id, "probe")]).await?;
    sink.wait_for("/probe", before + 2).await.map(drop)
}

#[tokio::test]
async fn a_crash_continues_the_schedule() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/t", [Answer::status(500)]);
    let policy = "{retry: 3, backoffPolicy: linear, backoffDelay: PT1S}";
    let documents = Documents::broker()
        .trigger(
            &Trigger::new("t", &sink.url("/t"))
                .attributes("{type: x}")
                .delivery(policy),
        )
        .trigger(&probe(&sink));
    let mut mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    // Attempts that came while the kill was on its way: each may be repeated.
    let mut late = 0;
    for attempts in [1, 2, 3] {
        let wanted = attempts + late;
        sink.wait_for("/t", wanted).await?;
        mesh.admin()
            .until_trigger("shop/t", "the failure is noted", |trigger| {
                trigger["failedAttempts"].as_u64() > Some(0)
            })
            .await?;
        until_durable(&mesh, &sink, &format!("probe-{attempts}")).await?;
        mesh.kill().await?;
        late += sink.count("/t").saturating_sub(wanted);
        mesh.restart().await?;
    }
    let parked = mesh.admin().until_parked(1).await?;
    assert_eq!(parked[0]["attempts"], 4, "{parked:?}");
    let received = sink.received("/t");
    assert!(
        (4..=4 + late).contains(&received.len()),
        "{} attempts, {late} late",
        received.len()
    );
    if late == 0 {
        assert_at_least(&gaps(&received), &[1_000, 2_000, 3_000], "over crashes");
    }
    Ok(())
}

#[tokio::test]
async fn a_retry_after_outlives_a_crash() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let busy = Answer::status(503).header("retry-after", "3");
    sink.answer("/t", [busy, Answer::ok()]);
    let documents = Documents::broker()
        .trigger(
            &Trigger::new("t", &sink.url("/t"))
                .attributes("{type: x}")
                .delivery("{retry: 1, backoffPolicy: linear, backoffDelay: PT0.01S}"),
        )
        .trigger(&probe(&sink));
    let mut mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    mesh.admin()
        .until_trigger("shop/t", "the failure is noted", |trigger| {
            trigger["deferred"] == 1
        })
        .await?;
    until_durable(&mesh, &sink, "probe").await?;
    mesh.kill().await?;
    mesh.restart().await?;
    let received = sink.wait_for("/t", 2).await?;
    assert_at_least(&gaps(&received)[..1], &[3_000], "over a crash");
    Ok(())
}

#[tokio::test]
async fn the_dead_letters_schedule_goes_on_after_a_crash_too() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/t", [Answer::status(500)]);
    sink.answer("/dead", [Answer::status(500)]);
    let policy = format!(
        "{{retry: 2, backoffPolicy: linear, backoffDelay: PT0.5S, deadLetterSink: {{uri: \"{}\"}}}}",
        sink.url("/dead")
    );
    let documents = Documents::broker()
        .trigger(
            &Trigger::new("t", &sink.url("/t"))
                .attributes("{type: x}")
                .delivery(&policy),
        )
        .trigger(&probe(&sink));
    let mut mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.wait_for("/dead", 1).await?;
    until_durable(&mesh, &sink, "probe").await?;
    // The dead letter came from a row, so the subscriber's attempts are behind it for good.
    mesh.kill().await?;
    let before = sink.count("/dead");
    mesh.restart().await?;
    let parked = mesh.admin().until_parked(1).await?;
    assert_eq!(sink.count("/t"), 3, "the subscriber is not asked again");
    assert_eq!(parked[0]["attempts"], 6, "{parked:?}");
    // The last one before the crash may not have been written down.
    let dead = sink.count("/dead");
    assert!(
        (3..=4).contains(&dead),
        "{dead} attempts, {before} before the crash"
    );
    Ok(())
}

#[tokio::test]
async fn the_gaps_grow_as_the_policy_says() -> anyhow::Result<()> {
    let cases: [(&str, &[u64]); 3] = [
        (
            "{retry: 4, backoffPolicy: linear, backoffDelay: PT0.1S}",
            &[100, 200, 300, 400],
        ),
        (
            "{retry: 4, backoffPolicy: exponential, backoffDelay: PT0.1S}",
            &[100, 200, 400, 800],
        ),
        // An hour would be beyond every deadline here: it is capped.
        (
            "{retry: 2, backoffPolicy: exponential, backoffDelay: PT1H, backoffMax: PT0.2S}",
            &[200, 200],
        ),
    ];
    let sink = Sink::start().await?;
    let mut documents = Documents::broker();
    for (n, (policy, _)) in cases.iter().enumerate() {
        let path = format!("/t{n}");
        sink.answer(&path, [Answer::status(503)]);
        documents = documents.trigger(&Trigger::new(&format!("t{n}"), &sink.url(&path)).delivery(policy));
    }
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    mesh.admin().until_parked(cases.len()).await?;
    for (n, (policy, least)) in cases.iter().enumerate() {
        assert_at_least(&gaps(&sink.received(&format!("/t{n}"))), least, policy);
    }
    Ok(())
}

#[tokio::test]
async fn retry_after_counts_as_far_as_the_policy_lets_it() -> anyhow::Result<()> {
    // Status, Retry-After, `retryAfterMax`, and the least that the second attempt waits. An ignored hour is
    // beyond every deadline here.
    let cases: [(u16, &str, &str, u64); 8] = [
        (503, "1", "", 1_000),
        (429, "1", "", 1_000),
        (503, "3600", ", retryAfterMax: PT1S", 1_000),
        (503, "3600", ", retryAfterMax: PT0S", 20),
        (500, "3600", "", 20),
        (503, "soon", "", 20),
        (503, "-3600", "", 20),
        (503, "Sun, 06 Nov 1994 08:49:37 GMT", "", 20),
    ];
    let sink = Sink::start().await?;
    let mut documents = Documents::broker();
    for (n, (status, asked, max, _)) in cases.iter().enumerate() {
        let path = format!("/t{n}");
        sink.answer(
            &path,
            [Answer::status(*status).header("retry-after", asked), Answer::ok()],
        );
        let policy = format!("{{retry: 1, backoffPolicy: linear, backoffDelay: PT0.02S{max}}}");
        documents = documents.trigger(&Trigger::new(&format!("t{n}"), &sink.url(&path)).delivery(&policy));
    }
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    mesh.until_settled().await?;
    for (n, case) in cases.iter().enumerate() {
        let received = sink.received(&format!("/t{n}"));
        assert_at_least(&gaps(&received), &[case.3], &format!("{case:?}"));
    }
    Ok(())
}

#[tokio::test]
async fn a_trigger_with_much_to_retry_does_not_hold_up_the_retries_of_others() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/busy", [Answer::status(503)]);
    let busy = Trigger::new("busy", &sink.url("/busy"))
        .attributes("{type: busy}")
        .delivery("{retry: 1000000, backoffPolicy: linear, backoffDelay: PT0.001S, backoffMax: PT0.001S}");
    let mut documents = Documents::broker().trigger(&busy);
    for n in 0..4 {
        let path = format!("/t{n}");
        sink.answer(&path, [Answer::status(503), Answer::ok()]);
        let trigger = Trigger::new(&format!("t{n}"), &sink.url(&path))
            .attributes("{type: x}")
            .delivery("{retry: 1, backoffPolicy: linear, backoffDelay: PT0.01S}");
        documents = documents.trigger(&trigger);
    }
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &events("busy-", "busy", 600)).await?;
    sink.wait_for("/busy", 1_200).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    for n in 0..4 {
        sink.wait_for(&format!("/t{n}"), 2).await?;
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a date in an answer is one of the wall clock"
)]
#[tokio::test]
async fn retry_after_may_be_a_date() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    // A date has no fractions of seconds: this one is at least a second away.
    let (now, began) = (SystemTime::now(), Instant::now());
    let date = now + Duration::from_secs(2);
    let busy = Answer::status(429).header("retry-after", &httpdate::fmt_http_date(date));
    sink.answer("/t", [busy, Answer::ok()]);
    let trigger = Trigger::new("t", &sink.url("/t"))
        .delivery("{retry: 1, backoffPolicy: linear, backoffDelay: PT0.01S}");
    let mesh = Mesh::start(Documents::broker().trigger(&trigger).text()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    let received = sink.wait_for("/t", 2).await?;
    // The fraction that the date lost, seen from the moment it was made.
    let lost = now.duration_since(SystemTime::UNIX_EPOCH)?.subsec_nanos();
    let due = began + Duration::from_secs(2) - Duration::from_nanos(u64::from(lost));
    assert!(received[1].at + CLOCKS >= due, "{:?} early", due - received[1].at);
    Ok(())
}
