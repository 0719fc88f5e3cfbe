//! Promise: producers are turned away before the disk or the broker's backlog is full, nothing that was
//! accepted is lost, and a full disk drains by itself.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use millrace_tests::documents::{Documents, STUBBORN, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::{Answer, Answered, Client, Event, Gate, Mesh, Sink, Volume, wait_until};

const MIB: u64 = 1 << 20;

fn event(id: usize, bytes: usize) -> Event {
    Event::new(&id.to_string(), "x").data("text/plain", vec![b'.'; bytes])
}

/// Sends events of so many bytes until one is refused; gives the ids that were accepted, and the refusal.
async fn until_refused(
    mesh: &Mesh,
    first: usize,
    bytes: usize,
    at_most: usize,
) -> anyhow::Result<(Vec<String>, Answered)> {
    let mut client = Client::new(mesh.listen());
    let mut accepted = Vec::new();
    for id in first..first + at_most {
        let event = event(id, bytes);
        let answer = client.post("/shop/default", &event.binary()).await?;
        if answer.status != 202 {
            return Ok((accepted, answer));
        }
        accepted.push(event.id().to_owned());
    }
    anyhow::bail!("{at_most} events of {bytes} bytes were all accepted")
}

/// A refusal for want of room: 503, its code, and when to come back.
fn assert_turned_away(answer: &Answered, code: &str) -> anyhow::Result<()> {
    assert_eq!(answer.status, 503);
    assert_eq!(answer.code()?, code);
    let after = answer.header("retry-after").unwrap_or_default();
    assert!(after.parse::<u32>().is_ok_and(|seconds| seconds > 0), "{after:?}");
    Ok(())
}

/// Waits until an event is accepted again.
async fn until_accepted(mesh: &Mesh, event: &Event) -> anyhow::Result<()> {
    wait_until("an event to be accepted", || async {
        let answer = mesh.post("shop/default", &event.binary()).await?;
        anyhow::ensure!(answer.status == 202, "{}: {:?}", answer.status, answer.body);
        Ok(Some(()))
    })
    .await
}

/// Fills a small volume while the subscriber is away, and lets it drain. What the lane owes lies in the log
/// (`max_deferred` small) or among the rows of work.
async fn fills_and_drains(max_deferred: &str, crash: bool) -> anyhow::Result<()> {
    let Some(volume) = Volume::mount(64)? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    sink.down();
    let trigger = Trigger::new("ship", &sink.url("/ship"))
        .delivery(STUBBORN)
        .annotation("millrace.dev/max-deferred", max_deferred);
    let documents = Documents::broker().trigger(&trigger);
    let mut mesh = Setup::new(documents.text())?
        .data(&volume.path().join("data"))
        .start()
        .await?;
    let (mut accepted, refused) = until_refused(&mesh, 0, 32 << 10, 64 << 5).await?;
    assert_turned_away(&refused, "disk-full")?;
    assert!(
        volume.free()? > 2 * MIB,
        "{} bytes are free when producers are turned away",
        volume.free()?
    );
    let state = mesh.admin().get("brokers").await?;
    assert!(state[0]["refusing"].is_string(), "{state}");
    // It stays so, and goes on serving, however often producers try.
    for id in 0..200 {
        let answer = mesh
            .post("shop/default", &event(100_000 + id, 32 << 10).binary())
            .await?;
        if answer.status == 202 {
            accepted.push((100_000 + id).to_string());
        }
    }
    assert!(volume.free()? > MIB, "{} bytes are free", volume.free()?);
    if crash {
        mesh.kill().await?;
        mesh.restart().await?;
    }
    sink.up().await?;
    sink.until_all("/ship", &accepted.iter().cloned().collect())
        .await?;
    until_accepted(&mesh, &event(200_000, 32 << 10)).await?;
    accepted.push("200000".to_owned());
    sink.until_all("/ship", &accepted.iter().cloned().collect())
        .await?;
    mesh.until_settled().await?;
    // And it can be filled again: what was delivered makes room.
    for id in 300_000..301_000 {
        until_accepted(&mesh, &event(id, 32 << 10)).await?;
        accepted.push(id.to_string());
    }
    sink.until_all("/ship", &accepted.iter().cloned().collect())
        .await?;
    assert_eq!(mesh.admin().get("parked").await?, serde_json::json!([]));
    Ok(())
}

#[tokio::test]
async fn a_disk_filled_with_unread_events_drains_by_itself() -> anyhow::Result<()> {
    fills_and_drains("10", false).await
}

#[tokio::test]
async fn a_disk_filled_with_events_that_were_attempted_drains_by_itself() -> anyhow::Result<()> {
    fills_and_drains("10000", false).await
}

#[tokio::test]
async fn a_full_disk_drains_also_after_a_crash() -> anyhow::Result<()> {
    fills_and_drains("10", true).await
}

#[tokio::test]
async fn a_reply_that_is_refused_for_now_is_offered_again() -> anyhow::Result<()> {
    let Some(volume) = Volume::mount(64)? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let gate = Gate::closed();
    let reply = Event::new("r", "answer").data("text/plain", vec![b'.'; 512 << 10]);
    sink.answer("/ask", [Answer::reply(&reply).after(&gate)]);
    let documents = Documents::broker()
        .trigger(&Trigger::new("ask", &sink.url("/ask")).attributes("{type: question}"))
        .trigger(&Trigger::new("hear", &sink.url("/hear")).attributes("{type: answer}"));
    let mut mesh = Setup::new(documents.text())?
        .data(&volume.path().join("data"))
        .start()
        .await?;
    mesh.send("shop/default", &[Event::new("q", "question")]).await?;
    sink.wait_for("/ask", 1).await?;
    // Another process takes the whole volume: the reserve, and the ballast too. Otherwise the ballast would
    // be released for the state that is written meanwhile, and then the reply would find room.
    fs::remove_file(volume.path().join("data/ballast"))?;
    volume.fill("filler")?;
    gate.open();
    wait_until("the reply to be refused", || async {
        let count = mesh
            .admin()
            .metric("millrace_broker_requests_refused_total")
            .await?;
        anyhow::ensure!(count > 0.0, "{count}");
        Ok(Some(()))
    })
    .await?;
    fs::remove_file(volume.path().join("filler"))?;
    let heard = sink.wait_for("/hear", 1).await?;
    assert_eq!(heard[0].event(), reply.sorted());
    mesh.until_settled().await?;
    // State is well again too: what it could not write down at first is not repeated by the next run.
    mesh.stop().await?;
    mesh.restart().await?;
    mesh.until_settled().await?;
    assert_eq!((sink.count("/ask"), sink.count("/hear")), (1, 1));
    Ok(())
}

#[tokio::test]
async fn a_brokers_own_limit_turns_producers_away_until_its_triggers_have_caught_up() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.down();
    let trigger = Trigger::new("ship", &sink.url("/ship"))
        .delivery(STUBBORN)
        .annotation("millrace.dev/max-deferred", "1");
    let documents = Documents::broker_annotated(&[("millrace.dev/backlog-bytes", "1Mi")]).trigger(&trigger);
    let mesh = Mesh::start(documents.text()).await?;
    // One event waits for its retry before the others come: written down later, it would give room back.
    mesh.send("shop/default", &[event(1001, 16 << 10)]).await?;
    let waits = |trigger: &serde_json::Value| trigger["deferred"] == 1;
    mesh.admin()
        .until_trigger("shop/ship", "one event waits for its retry", waits)
        .await?;
    let (mut accepted, refused) = until_refused(&mesh, 0, 16 << 10, 500).await?;
    assert_turned_away(&refused, "backlog-full")?;
    assert!(
        (48..=80).contains(&accepted.len()),
        "about 64 events of 16 KiB are 1 MiB: {}",
        accepted.len()
    );
    let state = mesh.admin().get("brokers").await?;
    assert!(state[0]["refusing"].is_string(), "{state}");
    sink.up().await?;
    until_accepted(&mesh, &event(1000, 16 << 10)).await?;
    accepted.extend(["1000".to_owned(), "1001".to_owned()]);
    sink.until_all("/ship", &accepted.iter().cloned().collect())
        .await?;
    wait_until("the broker to refuse nothing", || async {
        let state = mesh.admin().get("brokers").await?;
        Ok(Some(()).filter(|()| state[0]["refusing"].is_null()))
    })
    .await
}

#[tokio::test]
async fn drop_oldest_takes_every_event_and_lets_the_hindmost_skip_and_counts_them() -> anyhow::Result<()> {
    // More than the log keeps in memory, from where it could still be read.
    const EVENTS: usize = 600;
    const BYTES: usize = 64 << 10;
    let sink = Sink::start().await?;
    let gate = Gate::closed();
    sink.answer("/stuck", [Answer::ok().after(&gate)]);
    let stuck = Trigger::new("stuck", &sink.url("/stuck"))
        .delivery("{timeout: PT10M}")
        .annotation("millrace.dev/parallelism", "1")
        .annotation("millrace.dev/max-deferred", "1");
    let documents = Documents::broker_annotated(&[
        ("millrace.dev/backlog-bytes", "2Mi"),
        ("millrace.dev/on-full", "drop-oldest"),
    ])
    .trigger(&stuck)
    .trigger(&Trigger::new("fine", &sink.url("/fine")));
    let mut mesh = Mesh::start(documents.text()).await?;
    for id in 0..EVENTS {
        mesh.send("shop/default", &[event(id, BYTES)]).await?;
        // In step, so that the hindmost is the stuck one alone.
        sink.wait_for("/fine", id + 1).await?;
    }
    let dropped = mesh
        .admin()
        .metric("millrace_channel_dropped_events_total")
        .await?;
    assert!(dropped > 0.0, "events are dropped and counted");
    let broker = mesh.admin().get("brokers").await?[0].clone();
    assert_eq!(broker["dropped"].as_f64(), Some(dropped), "{broker}");
    let words = mesh.process().stderr();
    assert!(words.contains("drop-oldest"), "{words}");
    gate.open();
    mesh.until_settled().await?;
    let ids: BTreeSet<usize> = sink
        .ids("/stuck")
        .iter()
        .filter_map(|id| id.parse().ok())
        .collect();
    assert!(ids.contains(&(EVENTS - 1)), "the newest are kept");
    assert!(ids.len() < EVENTS, "the oldest are skipped");
    let missing = EVENTS - ids.len();
    assert!(
        missing as f64 <= dropped,
        "{missing} never came, {dropped} are counted as dropped"
    );
    assert_eq!(
        sink.ids("/fine").into_iter().collect::<BTreeSet<_>>().len(),
        EVENTS
    );
    Ok(())
}

/// Fills a small volume, then lets a filler take it to the last block, and kills the process. It starts again
/// and drains in the room of its ballast. Something is done to the data folder before that start.
async fn starts_without_a_block(
    before_start: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Some(volume) = Volume::mount(64)? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    sink.down();
    let trigger = |name: &str, broker: &str| {
        Trigger::new(name, &sink.url(&format!("/{name}")))
            .on(broker)
            .delivery(STUBBORN)
    };
    let documents = Documents::broker()
        .trigger(&trigger("a", "default"))
        .and_broker("two", "{}")
        .trigger(&trigger("b", "two"));
    // It remembers its place in `sources.db`, which is opened at the start too.
    let tick = "---\napiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\nmetadata: {name: tick, namespace: shop}\n\
                spec: {schedule: '0 0 1 1 *', sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: two}}}\n";
    let data = volume.path().join("data");
    let mut mesh = Setup::new(&format!("{}{tick}", documents.text()))?
        .data(&data)
        .start()
        .await?;
    wait_until("the source to remember its place", || async {
        Ok(Some(()).filter(|()| data.join("sources.db").exists()))
    })
    .await?;
    let others: Vec<_> = (0..50).map(|id| event(id, 1 << 10)).collect();
    mesh.send("shop/two", &others).await?;
    let (accepted, _) = until_refused(&mesh, 0, 32 << 10, 4_000).await?;
    volume.fill("filler")?;
    mesh.kill().await?;
    // What the end of the process gave free.
    volume.fill("rest")?;
    before_start(&data)?;
    assert_eq!(volume.free()?, 0);
    mesh.restart().await?;
    sink.up().await?;
    sink.until_all("/a", &accepted.into_iter().collect()).await?;
    let others = others.iter().map(|event| event.id().to_owned()).collect();
    sink.until_all("/b", &others).await?;
    for name in ["filler", "rest"] {
        fs::remove_file(volume.path().join(name))?;
    }
    mesh.until_settled().await?;
    until_accepted(&mesh, &event(100_000, 32 << 10)).await
}

#[tokio::test]
async fn a_kill_on_a_volume_without_a_block_starts_and_drains() -> anyhow::Result<()> {
    starts_without_a_block(|_| Ok(())).await
}

#[tokio::test]
async fn a_torn_header_on_a_volume_without_a_block_starts_and_drains() -> anyhow::Result<()> {
    starts_without_a_block(|data| {
        let log = data.join("brokers/shop/default/log");
        let files = fs::read_dir(log)?.map(|entry| Ok(entry?.path()));
        let files = files.collect::<std::io::Result<Vec<_>>>()?;
        let segments = files
            .iter()
            .filter(|file| file.extension().is_some_and(|suffix| suffix == "log"));
        let newest = segments.max().context("a segment")?;
        // Both copies: the segment is not written on, so that a new one must be begun.
        let mut segment = fs::OpenOptions::new().write(true).open(newest)?;
        Ok(segment.write_all(&[0; 128])?)
    })
    .await
}
