//! Promise: an event that ends the process whenever it is attempted does not do so for ever, and costs the
//! others nothing. One that is only there whenever the process ends soon after its start is not held
//! responsible.

use std::time::Duration;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::{Answer, Event, Gate, Mesh, Sink, wait_until};

/// More kills than it may take until the event is held responsible.
const TOO_OFTEN: usize = 10;

/// A process lives so long that ends early.
const EARLY: Duration = Duration::from_millis(250);

fn events(ids: impl Iterator<Item = String>) -> Vec<Event> {
    ids.map(|id| Event::new(&id, "t")).collect()
}

/// Kills the process each time the event `poison` has reached the subscriber, until it is parked; says how
/// often.
async fn kill_until_parked(mesh: &mut Mesh, sink: &Sink) -> anyhow::Result<usize> {
    let poisoned = || sink.ids("/t").iter().filter(|id| *id == "poison").count();
    for kills in 0..TOO_OFTEN {
        let admin = mesh.admin();
        let parked = wait_until("the poison to be attempted or parked", || async {
            let parked = admin.get("parked").await?;
            let given_up = parked.as_array().is_some_and(|parked| !parked.is_empty());
            Ok((given_up || poisoned() > kills).then_some(given_up))
        })
        .await?;
        if parked {
            return Ok(kills);
        }
        mesh.kill().await?;
        mesh.restart().await?;
    }
    anyhow::bail!("still attempted after {TOO_OFTEN} kills")
}

#[tokio::test]
async fn an_event_that_ends_the_process_at_each_attempt_is_parked_and_the_others_arrive() -> anyhow::Result<()>
{
    let sink = Sink::start().await?;
    let never = Gate::closed();
    sink.decide("/t", move |received, _| {
        if received.header("ce-id") == Some("poison") {
            Answer::ok().after(&never)
        } else {
            Answer::ok()
        }
    });
    let trigger = Trigger::new("t", &sink.url("/t"));
    let mut mesh = Mesh::start(Documents::broker().trigger(&trigger).text()).await?;
    mesh.send("shop/default", &events((0..20).map(|n| format!("before-{n}"))))
        .await?;
    mesh.send("shop/default", &events(std::iter::once("poison".to_owned())))
        .await?;
    mesh.send("shop/default", &events((0..20).map(|n| format!("after-{n}"))))
        .await?;
    let kills = kill_until_parked(&mut mesh, &sink).await?;
    assert!(kills >= 2, "one crash is no proof: {kills}");
    // It alone, although others were in flight at every kill.
    let parked = mesh.admin().get("parked").await?;
    let ids: Vec<_> = parked
        .as_array()
        .into_iter()
        .flatten()
        .map(|parked| parked["event"]["id"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(ids, ["poison"]);
    let reason = parked[0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("ended uncleanly"), "{reason}");
    mesh.until_settled().await?;
    let arrived = sink.ids("/t");
    for name in ["before", "after"] {
        for n in 0..20 {
            assert!(arrived.contains(&format!("{name}-{n}")), "{name}-{n} is lost");
        }
    }
    assert_eq!(
        mesh.admin().get("parked").await?.as_array().map(Vec::len),
        Some(1),
        "the others are settled, not given up on"
    );
    Ok(())
}

#[tokio::test]
async fn an_event_that_was_in_flight_whenever_a_process_ended_early_is_delivered() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let open = Gate::closed();
    let answered = open.clone();
    sink.decide("/t", move |_, _| Answer::ok().after(&answered));
    let trigger = Trigger::new("t", &sink.url("/t"));
    let mut mesh = Mesh::start(Documents::broker().trigger(&trigger).text()).await?;
    mesh.send("shop/default", &events(std::iter::once("slow".to_owned())))
        .await?;
    for attempts in 1..=3 {
        sink.wait_for("/t", attempts).await?;
        mesh.kill().await?;
        mesh.restart().await?;
    }
    for _ in 0..TOO_OFTEN {
        // Long enough for an attempt that waits for nothing.
        tokio::time::sleep(EARLY).await;
        mesh.kill().await?;
        mesh.restart().await?;
    }
    open.open();
    mesh.until_settled().await?;
    assert_eq!(
        mesh.admin().until_parked(0).await?,
        Vec::<serde_json::Value>::new()
    );
    Ok(())
}
