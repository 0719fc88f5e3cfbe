//! Promise: memory for events on their way is bounded by `--memory-budget`, in parts. A part that is
//! completely full holds up only those who need it, and drains.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use millrace_tests::documents::{Documents, STUBBORN, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::sink::{Answer, Gate};
use millrace_tests::{Event, Mesh, Sink, wait_until};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The least budget that is useful with events of 1 MiB: 8 MiB in flight, 4 MiB queued.
const BUDGET: usize = 32 << 20;
const MIB: usize = 1 << 20;
/// Memory that the process may ever take beside its budget and what it holds when it is quiet, in MiB.
const ROOM_MIB: u64 = 64;

async fn start(documents: &Documents) -> anyhow::Result<Mesh> {
    let budget = BUDGET.to_string();
    let setup = Setup::new(documents.text())?.args(&["--memory-budget", &budget]);
    setup.start().await
}

async fn used(mesh: &Mesh, part: &str) -> anyhow::Result<usize> {
    Ok(usize::try_from(mesh.admin().memory(part).await?)?)
}

/// Checks that the process never took more than its budget allows. When it was quiet it held `quiet` MiB.
fn assert_bounded(mesh: &Mesh, quiet: u64) -> anyhow::Result<()> {
    let most = mesh.running().most_resident()?;
    let bound = quiet + (BUDGET / MIB) as u64 + ROOM_MIB;
    anyhow::ensure!(most <= bound, "{most} MiB, {quiet} when quiet");
    Ok(())
}

/// Waits until more than so many bytes of a part are in use.
async fn until_used(mesh: &Mesh, part: &str, bytes: usize) -> anyhow::Result<()> {
    wait_until(&format!("more than {bytes} bytes of {part} in use"), || async {
        let used = used(mesh, part).await?;
        anyhow::ensure!(used > bytes, "{used}");
        Ok(Some(()))
    })
    .await
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

fn large(kind: &str, nth: usize) -> Event {
    let data = vec![b'x'; MIB - 1024];
    Event::new(&format!("{kind}-{nth}"), kind).data("application/octet-stream", data)
}

/// A subscriber of the test's own, on a free port.
async fn subscriber<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> anyhow::Result<SocketAddr>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    Ok(address)
}

/// Reads one request, and begins an answer that is a reply with so many bytes of data.
async fn begin_reply(stream: &mut BufReader<TcpStream>, bytes: usize) -> anyhow::Result<()> {
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
    let head = format!(
        "HTTP/1.1 200 OK\r\nce-specversion: 1.0\r\nce-id: reply-{id}\r\nce-source: /r\r\nce-type: reply\r\n\
         content-type: text/plain\r\ncontent-length: {bytes}\r\n\r\n"
    );
    Ok(stream.write_all(head.as_bytes()).await?)
}

/// Replies with almost a mebibyte, and holds half of it back until the test releases all replies.
async fn stall(stream: TcpStream, mut released: watch::Receiver<bool>) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    let body = vec![b'r'; MIB - 1024];
    let (first, rest) = body.split_at(body.len() / 2);
    loop {
        begin_reply(&mut stream, body.len()).await?;
        stream.write_all(first).await?;
        released.wait_for(|released| *released).await?;
        stream.write_all(rest).await?;
    }
}

/// Replies with almost a mebibyte, slowly, but not so slowly that it counts as stalling and loses its memory.
async fn dawdle(stream: TcpStream) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    let body = vec![b'r'; MIB - 1024];
    loop {
        begin_reply(&mut stream, body.len()).await?;
        for piece in body.chunks(64 << 10) {
            stream.write_all(piece).await?;
            // The pace is the test's choice: 430 KiB a second. Nothing is waited for.
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }
}

#[tokio::test]
async fn stalled_replies_fill_their_part_and_drain() -> anyhow::Result<()> {
    /// Each has all of its events under way at once: together far more than the process may take.
    const STALLING: usize = 8;
    const EVENTS: usize = 20;
    let sink = Sink::start().await?;
    let released = Arc::new(watch::Sender::new(false));
    let letting_go = released.clone();
    let stalling = subscriber(move |stream| stall(stream, letting_go.subscribe())).await?;
    sink.decide("/good", |received, _| {
        Answer::reply(&Event::new(&format!("reply-{}", received.event().id()), "reply"))
    });
    let mut documents = Documents::broker()
        .trigger(&Trigger::new("good", &sink.url("/good")).attributes("{type: good}"))
        .trigger(&Trigger::new("replies", &sink.url("/replies")).attributes("{type: reply}"));
    for nth in 0..STALLING {
        let stalls = Trigger::new(&format!("stalls-{nth}"), &format!("http://{stalling}/"));
        documents = documents.trigger(&stalls.attributes("{type: stall}").delivery(STUBBORN));
    }
    let mesh = start(&documents).await?;
    mesh.send("shop/default", &[Event::new("first", "good")]).await?;
    sink.wait_for("/replies", 1).await?;
    let quiet = mesh.running().resident()?;

    let stalls: Vec<_> = (0..EVENTS)
        .map(|nth| Event::new(&format!("stall-{nth}"), "stall"))
        .collect();
    mesh.send("shop/default", &stalls).await?;
    until_used(&mesh, "replies", 3 * MIB).await?;
    let good: Vec<_> = (0..100)
        .map(|nth| Event::new(&format!("good-{nth}"), "good"))
        .collect();
    mesh.send("shop/default", &good).await?;
    let mut wanted: BTreeSet<_> = good.iter().map(|event| format!("reply-{}", event.id())).collect();
    sink.until_all("/replies", &wanted).await?;
    // Two of the largest answer beside the room for small ones: the least size of the part.
    let held = used(&mesh, "replies").await?;
    assert!(held <= 8 * MIB, "{held}");

    released.send_replace(true);
    wanted.extend(stalls.iter().map(|event| format!("reply-{}", event.id())));
    sink.until_all("/replies", &wanted).await?;
    mesh.until_settled().await?;
    empty(&mesh, "replies").await?;
    mesh.admin().until_parked(0).await?;
    assert_bounded(&mesh, quiet)
}

#[tokio::test]
async fn hung_subscribers_of_large_events_fill_their_part_and_drain() -> anyhow::Result<()> {
    /// Together far more than the process may take. No two lanes want the same event: it would be held only
    /// once.
    const LANES: usize = 12;
    const EVENTS: usize = 12;
    let sink = Sink::start().await?;
    let gate = Gate::closed();
    let mut documents = Documents::broker();
    for lane in 0..LANES {
        let path = format!("/hung-{lane}");
        sink.answer(&path, [Answer::ok().after(&gate)]);
        let trigger = Trigger::new(&path[1..], &sink.url(&path));
        let wanted = format!("{{type: hung-{lane}}}");
        documents = documents.trigger(&trigger.attributes(&wanted).delivery(STUBBORN));
    }
    let good = Trigger::new("good", &sink.url("/good")).attributes("{type: small}");
    let mesh = start(&documents.trigger(&good)).await?;
    mesh.send("shop/default", &[Event::new("first", "small")]).await?;
    sink.wait_for("/good", 1).await?;
    let quiet = mesh.running().resident()?;

    for nth in 0..EVENTS {
        let events: Vec<_> = (0..LANES)
            .map(|lane| large(&format!("hung-{lane}"), nth))
            .collect();
        mesh.send("shop/default", &events).await?;
    }
    // Completely full: no lane begins another attempt.
    until_used(&mesh, "in-flight", BUDGET / 4 - 2 * MIB).await?;
    let waits = |trigger: &Value| {
        let reason = trigger["reason"].as_str();
        reason.is_some_and(|reason| reason.contains("memory"))
    };
    mesh.admin()
        .until_trigger("shop/hung-0", "waits for memory", waits)
        .await?;
    let small: Vec<_> = (0..100)
        .map(|nth| Event::new(&format!("small-{nth}"), "small"))
        .collect();
    mesh.send("shop/default", &small).await?;
    sink.wait_for("/good", 101).await?;
    // One attempt of each lane may be under way beyond the part.
    let held = used(&mesh, "in-flight").await?;
    assert!(held <= BUDGET / 4 + LANES * MIB, "{held}");

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
    assert_bounded(&mesh, quiet)
}

#[tokio::test]
async fn a_reply_that_waits_for_memory_uses_up_nothing_of_its_timeout() -> anyhow::Result<()> {
    const TIMEOUT: Duration = Duration::from_millis(1_500);
    /// Attempts to make a reply wait for longer than that. On a busy machine others may count as stalling.
    const ROUNDS: usize = 10;
    let sink = Sink::start().await?;
    sink.decide("/patient", |received, _| {
        let reply = Event::new(&format!("reply-{}", received.event().id()), "awaited");
        Answer::reply(&reply.data("application/octet-stream", vec![b'x'; MIB - 1024]))
    });
    let dawdling = subscriber(dawdle).await?;
    let patient = Trigger::new("patient", &sink.url("/patient"))
        .attributes("{type: patient}")
        .delivery("{retry: 0, timeout: PT1.5S}");
    let dawdles = Trigger::new("dawdles", &format!("http://{dawdling}/")).attributes("{type: dawdle}");
    let awaited = Trigger::new("awaited", &sink.url("/awaited")).attributes("{type: awaited}");
    let documents = Documents::broker().trigger(&patient).trigger(&awaited);
    let mesh = start(&documents.trigger(&dawdles.delivery(STUBBORN))).await?;
    let mut waited = Vec::new();
    for round in 0..ROUNDS {
        let ids = (0..8).map(|nth| format!("dawdle-{round}-{nth}"));
        let events: Vec<_> = ids.map(|id| Event::new(&id, "dawdle")).collect();
        mesh.send("shop/default", &events).await?;
        until_used(&mesh, "replies", 3 * MIB).await?;
        mesh.send("shop/default", &[Event::new(&round.to_string(), "patient")])
            .await?;
        let came = sink.wait_for("/awaited", round + 1).await?[round].at;
        waited.push(came.duration_since(sink.received("/patient")[round].at));
        if waited[round] > TIMEOUT {
            break;
        }
    }
    assert!(
        waited.iter().any(|waited| *waited > TIMEOUT),
        "none had to wait: {waited:?}"
    );
    mesh.until_settled().await?;
    let state = mesh.admin().trigger("shop/patient").await?;
    assert_eq!(
        (&state["failedAttempts"], &state["delivered"]),
        (&0.into(), &waited.len().into()),
        "{state}"
    );
    Ok(())
}

/// The most that is seen in use of a part until this is done.
async fn most_used(
    mesh: &Mesh,
    part: &str,
    done: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<usize> {
    let (mut done, mut most) = (pin!(done), 0);
    loop {
        tokio::select! {
            ended = &mut done => return ended.map(|()| most),
            used = used(mesh, part) => most = most.max(used?),
        }
    }
}

/// At the limit means that one more Broker has to wait. With this budget the part has room for one.
#[tokio::test]
async fn brokers_whose_triggers_lag_take_turns_at_the_log() -> anyhow::Result<()> {
    const BROKERS: usize = 5;
    const EVENTS: usize = 10;
    /// Attempts to look at the part while a Broker reads.
    const ROUNDS: usize = 10;
    let sink = Sink::start().await?;
    let mut documents = Documents::broker();
    let paths: Vec<_> = (0..BROKERS).map(|nth| format!("/lags-{nth}")).collect();
    for (nth, path) in paths.iter().enumerate() {
        let (broker, trigger) = (format!("broker-{nth}"), format!("lags-{nth}"));
        documents = documents
            .and_broker(&broker, "{}")
            .trigger(&Trigger::new(&trigger, &sink.url(path)).on(&broker));
    }
    let mesh = start(&documents).await?;
    let limit = "millrace_memory_limit_bytes{part=\"readers\"}";
    let limit = mesh.admin().metric(limit).await? as usize;
    let (mut most, mut wanted) = (0, BTreeSet::new());
    for round in 0..ROUNDS {
        let gate = Gate::closed();
        for path in &paths {
            sink.answer(path, [Answer::ok().after(&gate)]);
        }
        // More than all queues may hold together: the rest stays in the logs.
        let events: Vec<_> = (0..EVENTS)
            .map(|nth| large(&format!("large-{round}"), nth))
            .collect();
        wanted.extend(events.iter().map(|event| event.id().to_owned()));
        let arrived = async {
            for nth in 0..BROKERS {
                mesh.send(&format!("shop/broker-{nth}"), &events).await?;
            }
            until_used(&mesh, "queued", 2 * MIB).await?;
            gate.open();
            for path in &paths {
                sink.until_all(path, &wanted).await?;
            }
            Ok(())
        };
        most = most.max(most_used(&mesh, "readers", arrived).await?);
        empty(&mesh, "readers").await?;
        if most >= limit {
            break;
        }
    }
    assert_eq!(most, limit, "the part was full, and never more than that");
    mesh.admin().until_parked(0).await?;
    Ok(())
}
