//! Promise: while the volume is short, Brokers that hold more than their part of it are refused. The others
//! go on, and no Broker loses an event.

use std::time::Duration;

use millrace_tests::documents::{Documents, STUBBORN, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::{Answered, Client, Event, Mesh, Producers, Sink, Volume, wait_until};

const EVENT_BYTES: usize = 32 << 10;

fn event(id: &str) -> Event {
    Event::new(id, "x").data("text/plain", vec![b'.'; EVENT_BYTES])
}

/// Two Brokers with a Trigger each, on a volume of 64 MiB: the subscriber of `default` is away, that of
/// `fine` is not. So many events of `default` wait for retries, the rest behind them.
async fn two_brokers(volume: &Volume, dead: &Sink, fine: &Sink, deferred: &str) -> anyhow::Result<Mesh> {
    let documents = Documents::broker()
        .trigger(
            &Trigger::new("dead", &dead.url("/dead"))
                .delivery(STUBBORN)
                .annotation("millrace.dev/max-deferred", deferred),
        )
        .and_broker("fine", "{}")
        .trigger(
            &Trigger::new("fine", &fine.url("/fine"))
                .on("fine")
                .delivery(STUBBORN),
        );
    Setup::new(documents.text())?
        .data(&volume.path().join("data"))
        .start()
        .await
}

/// Sends until an event is refused; returns what was accepted.
async fn until_refused(mesh: &Mesh, broker: &str, prefix: &str) -> anyhow::Result<(Vec<String>, Answered)> {
    let mut client = Client::new(mesh.listen());
    let mut accepted = Vec::new();
    for number in 0..4_000 {
        let id = format!("{prefix}{number}");
        let answer = client
            .post(&format!("/shop/{broker}"), &event(&id).binary())
            .await?;
        if answer.status != 202 {
            return Ok((accepted, answer));
        }
        accepted.push(id);
    }
    anyhow::bail!("everything was accepted")
}

#[tokio::test]
async fn a_dead_subscriber_on_one_broker_lets_the_producers_of_another_go_on() -> anyhow::Result<()> {
    beside_a_dead_subscriber("10", ", the oldest for shop/dead").await
}

#[tokio::test]
async fn so_does_one_whose_events_all_wait_for_retries() -> anyhow::Result<()> {
    beside_a_dead_subscriber("10000", "kept for this broker's triggers").await
}

async fn beside_a_dead_subscriber(deferred: &str, whose: &str) -> anyhow::Result<()> {
    let Some(volume) = Volume::mount(64)? else {
        return Ok(());
    };
    let (dead, fine) = (Sink::start().await?, Sink::start().await?);
    dead.down();
    let mut mesh = two_brokers(&volume, &dead, &fine, deferred).await?;
    let (owed, refused) = until_refused(&mesh, "default", "owed-").await?;
    assert_eq!((refused.status, refused.code()?.as_str()), (503, "disk-full"));
    let detail = refused.json()?["detail"].to_string();
    assert!(detail.contains(whose), "{detail}");

    // Honest traffic, more than the volume could hold: not one event is refused.
    let mut client = Client::new(mesh.listen());
    let mut sent = Vec::new();
    for number in 0..2_000 {
        let id = format!("fine-{number}");
        let answer = client.post("/shop/fine", &event(&id).binary()).await?;
        assert_eq!(answer.status, 202, "{id}: {:?}", answer.body);
        sent.push(id);
        if number % 20 == 0 {
            sink_has(&fine, sent.len()).await?;
        }
    }
    fine.until_all("/fine", &sent.iter().cloned().collect()).await?;
    let again = mesh.post("shop/default", &event("again").binary()).await?;
    assert_eq!(again.status, 503, "the one that filled it stays out");
    assert_eq!(mesh.admin().get("parked").await?, serde_json::json!([]));

    // After a crash, and once its subscriber is back, every accepted event comes.
    mesh.kill().await?;
    mesh.restart().await?;
    dead.up().await?;
    dead.until_all("/dead", &owed.iter().cloned().collect()).await?;
    wait_until("the Broker to take events again", || async {
        let answer = mesh.post("shop/default", &event("late").binary()).await?;
        anyhow::ensure!(answer.status == 202, "{:?}", answer.body);
        Ok(Some(()))
    })
    .await?;
    mesh.until_settled().await
}

/// Waits until the subscriber has received so many, so that the Broker has no backlog.
async fn sink_has(sink: &Sink, count: usize) -> anyhow::Result<()> {
    sink.wait_for("/fine", count).await.map(drop)
}

#[tokio::test]
async fn a_small_backlog_on_a_short_volume_outlives_it() -> anyhow::Result<()> {
    let Some(volume) = Volume::mount(64)? else {
        return Ok(());
    };
    let (dead, fine) = (Sink::start().await?, Sink::start().await?);
    dead.down();
    let mesh = two_brokers(&volume, &dead, &fine, "10").await?;
    let (owed, _) = until_refused(&mesh, "default", "owed-").await?;
    // The healthy Broker's subscriber fails too: what the Broker may still accept is bounded, and what it
    // accepted is kept.
    fine.down();
    let (more, refused) = until_refused(&mesh, "fine", "more-").await?;
    assert_eq!(refused.code()?, "disk-full");
    assert!(more.len() > 20, "{} events found room", more.len());
    assert!(volume.free()? > 2 << 20, "{} bytes are free", volume.free()?);
    fine.up().await?;
    fine.until_all("/fine", &more.iter().cloned().collect()).await?;
    let producers = Producers::start(mesh.listen(), "/shop/fine", [1], Duration::from_millis(4), event);
    wait_until("traffic", || async {
        Ok(Some(()).filter(|()| producers.count() > 50))
    })
    .await?;
    let accepted = producers.stop().await?;
    fine.until_all("/fine", &accepted.iter().cloned().collect())
        .await?;
    dead.up().await?;
    dead.until_all("/dead", &owed.iter().cloned().collect()).await?;
    mesh.until_settled().await
}

#[tokio::test]
async fn a_trigger_that_is_gone_gives_its_room_on_a_full_volume_to_those_who_are_there() -> anyhow::Result<()>
{
    let Some(volume) = Volume::mount(64)? else {
        return Ok(());
    };
    let (dead, fine) = (Sink::start().await?, Sink::start().await?);
    dead.down();
    let mut mesh = two_brokers(&volume, &dead, &fine, "10").await?;
    until_refused(&mesh, "default", "owed-").await?;
    let left = Documents::broker().and_broker("fine", "{}").trigger(
        &Trigger::new("fine", &fine.url("/fine"))
            .on("fine")
            .delivery(STUBBORN),
    );
    mesh.reload(left.text()).await?;
    mesh.admin()
        .until_trigger("shop/dead", "to be gone", |trigger| {
            trigger["state"] == "orphaned"
        })
        .await?;
    // What the state has given back meanwhile may still hold some events.
    let dropped = async || {
        mesh.admin()
            .metric("millrace_channel_dropped_orphans_total")
            .await
    };
    for number in 0..500 {
        let id = format!("next-{number}");
        let answer = mesh.post("shop/default", &event(&id).binary()).await?;
        assert_eq!(answer.status, 202, "{id}: {:?}", answer.body);
        if dropped().await? > 0.0 {
            break;
        }
    }
    assert_eq!(dropped().await?, 1.0, "room was made");
    assert!(
        mesh.admin().trigger("shop/dead").await.is_err(),
        "it is forgotten"
    );
    let words = mesh.process().stderr();
    assert!(
        words.contains("was given up before the end of its grace period"),
        "{words}"
    );
    let brokers = mesh.admin().get("brokers").await?;
    assert_eq!(brokers[0]["forgotten"], 1, "{brokers}");
    Ok(())
}
