//! Promise: memory for events on their way is bounded by `--memory-budget`, in parts. A part that is
//! completely full holds up only those who need it, and drains.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::sink::{Answer, Gate};
use millrace_tests::{Event, Mesh, Sink, wait_until};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The least budget that is useful with events of 1 MiB: 8 MiB in flight, 4 MiB queued.
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

/// Waits until nothing of a part is in use.
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

/// A subscriber that replies with almost a mebibyte, and sends only half of it until it is released.
async fn stalling(released: Arc<watch::Sender<bool>>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(stall(stream, released.subscribe()));
        }
    });
    Ok(address)
}

/// Answers one request after another, and ignores their first lines.
async fn stall(stream: TcpStream, mut released: watch::Receiver<bool>) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut id, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            anyhow::ensure!(stream.read_line(&mut line).await? > 0, "closed");
            match line.trim_end().split_once(": ") {
                Some(("ce-id", value)) => value.clone_into(&mut id),
                Some(("content-length", value)) => length = value.parse()?,
                None if line.trim().is_empty() => break,
                _ => {}
            }
        }
        stream.read_exact(&mut vec![0; length]).await?;
        let body = vec![b'r'; MIB - 1024];
        let head = format!(
            "HTTP/1.1 200 OK\r\nce-specversion: 1.0\r\nce-id: reply-{id}\r\nce-source: /r\r\nce-type: reply\r\n\
             content-type: text/plain\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body[..body.len() / 2]).await?;
        released.wait_for(|released| *released).await?;
        stream.write_all(&body[body.len() / 2..]).await?;
    }
}

#[tokio::test]
async fn stalled_replies_fill_their_part_and_drain() -> anyhow::Result<()> {
    const EVENTS: usize = 30;
    let sink = Sink::start().await?;
    let released = Arc::new(watch::Sender::new(false));
    let stalling = stalling(released.clone()).await?;
    sink.decide("/good", |received, _| {
        Answer::reply(&Event::new(&format!("reply-{}", received.event().id()), "reply"))
    });
    let documents = Documents::broker()
        .trigger(&Trigger::new("stalls", &format!("http://{stalling}/")).attributes("{type: stall}"))
        .trigger(&Trigger::new("good", &sink.url("/good")).attributes("{type: good}"))
        .trigger(&Trigger::new("replies", &sink.url("/replies")).attributes("{type: reply}"));
    let mut mesh = start(&documents).await?;
    mesh.send("shop/default", &[Event::new("first", "good")]).await?;
    sink.wait_for("/replies", 1).await?;
    let quiet = resident(&mut mesh)?;

    let stalls: Vec<_> = (0..EVENTS)
        .map(|nth| Event::new(&format!("stall-{nth}"), "stall"))
        .collect();
    mesh.send("shop/default", &stalls).await?;
    wait_until("the part to be full", || async {
        let used = used(&mesh, "replies").await?;
        anyhow::ensure!(used > 3 * MIB, "{used}");
        Ok(Some(()))
    })
    .await?;
    let good: Vec<_> = (0..100)
        .map(|nth| Event::new(&format!("good-{nth}"), "good"))
        .collect();
    mesh.send("shop/default", &good).await?;
    let mut wanted: BTreeSet<_> = good.iter().map(|event| format!("reply-{}", event.id())).collect();
    sink.until_all("/replies", &wanted).await?;
    // Two of the largest answer beside the room for small ones: the least size of the part.
    let held = used(&mesh, "replies").await?;
    assert!(held <= 8 * MIB, "{held}");
    let grown = resident(&mut mesh)?.saturating_sub(quiet);
    assert!(grown <= BUDGET + 64 * MIB, "{grown}");

    released.send_replace(true);
    wanted.extend(stalls.iter().map(|event| format!("reply-{}", event.id())));
    sink.until_all("/replies", &wanted).await?;
    empty(&mesh, "replies").await?;
    mesh.admin().until_parked(0).await?;
    Ok(())
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
    // Completely full: no lane begins another attempt.
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

#[tokio::test]
async fn brokers_whose_triggers_lag_take_turns_at_the_log() -> anyhow::Result<()> {
    const BROKERS: usize = 5;
    const EVENTS: usize = 10;
    let sink = Sink::start().await?;
    let gate = Gate::closed();
    let mut documents = Documents::broker();
    let paths: Vec<_> = (0..BROKERS).map(|nth| format!("/lags-{nth}")).collect();
    for (nth, path) in paths.iter().enumerate() {
        sink.answer(path, [Answer::ok().after(&gate)]);
        let (broker, trigger) = (format!("broker-{nth}"), format!("lags-{nth}"));
        documents = documents
            .and_broker(&broker, "{}")
            .trigger(&Trigger::new(&trigger, &sink.url(path)).on(&broker));
    }
    let mesh = start(&documents).await?;
    // More than all queues may hold together: the rest stays in the logs.
    let events: Vec<_> = (0..EVENTS).map(large).collect();
    for nth in 0..BROKERS {
        mesh.send(&format!("shop/broker-{nth}"), &events).await?;
    }
    wait_until("the queues to be full", || async {
        let used = used(&mesh, "queued").await?;
        anyhow::ensure!(used > 2 * MIB, "{used}");
        Ok(Some(()))
    })
    .await?;
    gate.open();
    let wanted: BTreeSet<_> = events.iter().map(|event| event.id().to_owned()).collect();
    for path in &paths {
        sink.until_all(path, &wanted).await?;
    }
    empty(&mesh, "readers").await?;
    mesh.admin().until_parked(0).await?;
    Ok(())
}
