//! Promise: memory for events on their way is bounded by `--memory-budget`, in parts. A part that is full to the brim holds up
//! nobody who does not need it, and drains.

use std::fs;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::sink::{Answer, Gate};
use millrace_tests::{Event, Mesh, Sink, wait_until};

/// The least that is useful with events of 1 MiB: 8 MiB in flight, 4 MiB queued.
const BUDGET: usize = 32 << 20;
const MIB: usize = 1 << 20;

async fn start(documents: &Documents) -> anyhow::Result<Mesh> {
    let budget = BUDGET.to_string();
    let setup = Setup::new(documents.text())?.args(&["--memory-budget", &budget]);
    setup.start().await
}

/// Bytes of memory that the process has.
fn resident(mesh: &mut Mesh) -> anyhow::Result<usize> {
    let status = fs::read_to_string(format!("/proc/{}/status", mesh.process().id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib.unwrap_or_default().trim().parse::<usize>()? * 1024)
}

async fn used(mesh: &Mesh, part: &str) -> anyhow::Result<usize> {
    let name = format!("millrace_memory_used_bytes{{part=\"{part}\"}}");
    // The harness sums the series of a name; a name with its label is one of them.
    let answer = mesh.admin().ask(&http::Method::GET, "/metrics").await?;
    let text = String::from_utf8(answer.body.to_vec())?;
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    Ok(line.unwrap_or_default().trim().parse()?)
}

/// Waits until nothing of a part is used any more.
async fn empty(mesh: &Mesh, part: &str) -> anyhow::Result<()> {
    wait_until("the part to be empty", || async {
        let used = used(mesh, part).await?;
        anyhow::ensure!(used == 0, "{used}");
        Ok(Some(()))
    })
    .await
}

fn large(nth: usize) -> Event {
    let data = vec![b'x'; MIB - 1024];
    Event::new(&format!("large-{nth}"), "large").data("application/octet-stream", data)
}

#[tokio::test]
async fn hung_subscribers_of_large_events_fill_their_part_and_drain() -> anyhow::Result<()> {
    const LANES: usize = 4;
    const EVENTS: usize = 16;
    let sink = Sink::start().await?;
    let gate = Gate::closed();
    let mut documents = Documents::broker();
    for lane in 0..LANES {
        let path = format!("/hung-{lane}");
        sink.answer(&path, [Answer::ok().after(&gate)]);
        let trigger = Trigger::new(&format!("hung-{lane}"), &sink.url(&path)).attributes("{type: large}");
        documents = documents.trigger(&trigger);
    }
    let good = Trigger::new("good", &sink.url("/good")).attributes("{type: small}");
    let mut mesh = start(&documents.trigger(&good)).await?;
    mesh.send("shop/default", &[Event::new("first", "small")]).await?;
    sink.wait_for("/good", 1).await?;
    let quiet = resident(&mut mesh)?;

    let events: Vec<_> = (0..EVENTS).map(large).collect();
    mesh.send("shop/default", &events).await?;
    // To the brim: no lane begins another attempt.
    wait_until("the part to be full", || async {
        let used = used(&mesh, "in-flight").await?;
        anyhow::ensure!(used > BUDGET / 4 - 2 * MIB, "{used}");
        Ok(Some(()))
    })
    .await?;
    let trigger = mesh.admin().trigger("shop/hung-0").await?;
    assert!(
        trigger["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("memory")),
        "{trigger}"
    );
    let small: Vec<_> = (0..100)
        .map(|nth| Event::new(&format!("small-{nth}"), "small"))
        .collect();
    mesh.send("shop/default", &small).await?;
    sink.wait_for("/good", 101).await?;
    // One attempt of each lane may be under way beyond the part.
    let held = used(&mesh, "in-flight").await?;
    assert!(held <= BUDGET / 4 + LANES * MIB, "{held}");
    let grown = resident(&mut mesh)?.saturating_sub(quiet);
    assert!(grown <= BUDGET + 64 * MIB, "{grown}");

    gate.open();
    for lane in 0..LANES {
        let path = format!("/hung-{lane}");
        sink.wait_for(&path, EVENTS).await?;
        let mut ids = sink.ids(&path);
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), EVENTS, "{path}");
        sink.take(&path);
    }
    empty(&mesh, "in-flight").await?;
    mesh.admin().until_parked(0).await?;
    Ok(())
}
