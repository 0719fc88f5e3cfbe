//! Promise: a client that is slow, silent, greedy or gone costs the others nothing; a bounded time and
//! nobody's events.

use anyhow::Context as _;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::raw::{Socket, exchange};
use millrace_tests::{Client, Event, Mesh, Sink};

async fn watched() -> anyhow::Result<(Mesh, Sink)> {
    let sink = Sink::start().await?;
    let documents = Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")));
    Ok((Mesh::start(documents.text()).await?, sink))
}

const HEAD: &str =
    "POST /shop/default HTTP/1.1\r\nhost: x\r\nce-specversion: 1.0\r\nce-source: /s\r\nce-type: t\r\n";

#[tokio::test]
async fn a_header_that_never_ends_is_ended() -> anyhow::Result<()> {
    let (mesh, _sink) = watched().await?;
    let mut slow = Socket::connect(mesh.listen()).await?;
    slow.write(HEAD.as_bytes()).await?;
    // Others are served meanwhile.
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    // And at last the slow one is told or cut off; the deadline of the harness is the bound here.
    let answer = slow.answer().await?;
    assert!(answer.is_none_or(|answer| answer.status == 408));
    Ok(())
}

#[tokio::test]
async fn silent_connections_do_not_keep_others_out() -> anyhow::Result<()> {
    let (mesh, sink) = watched().await?;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(Socket::connect(mesh.listen()).await?);
    }
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.wait_for("/all", 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_of_its_body_stores_nothing() -> anyhow::Result<()> {
    let (mesh, sink) = watched().await?;
    for n in 0..20 {
        let mut socket = Socket::connect(mesh.listen()).await?;
        socket
            .write(format!("{HEAD}ce-id: gone-{n}\r\ncontent-length: 100\r\n\r\nhalf").as_bytes())
            .await?;
        if n % 2 == 0 {
            // The end of what it says, but it stays to hear the answer.
            socket.finish().await?;
            let answer = socket.answer().await?;
            assert!(answer.is_none_or(|answer| answer.status == 400));
        }
    }
    mesh.send("shop/default", &[Event::new("whole", "x")]).await?;
    sink.wait_for("/all", 1).await?;
    assert_eq!(sink.ids("/all"), ["whole"]);
    Ok(())
}

#[tokio::test]
async fn a_body_without_an_end_is_refused_at_the_limit() -> anyhow::Result<()> {
    let (mesh, _sink) = watched().await?;
    let mut greedy = Socket::connect(mesh.listen()).await?;
    greedy
        .write(format!("{HEAD}ce-id: 1\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes())
        .await?;
    let chunk = format!("{:x}\r\n{}\r\n", 64 * 1024, "a".repeat(64 * 1024));
    // Far beyond every limit; the server may stop reading at any time.
    for _ in 0..400 {
        if greedy.write(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let answer = greedy.answer().await?;
    assert!(answer.is_none_or(|answer| answer.status == 413));
    mesh.send("shop/default", &[Event::new("1", "x")]).await
}

#[tokio::test]
async fn two_lengths_or_a_length_and_chunks_are_not_smuggled() -> anyhow::Result<()> {
    let (mesh, sink) = watched().await?;
    let inner = format!("{HEAD}ce-id: smuggled\r\ncontent-length: 0\r\n\r\n");
    let cases = [
        format!(
            "{HEAD}ce-id: outer\r\ncontent-length: 0\r\ncontent-length: {}\r\n\r\n{inner}",
            inner.len()
        ),
        format!(
            "{HEAD}ce-id: outer\r\ncontent-length: {}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
            inner.len()
        ),
    ];
    for case in cases {
        if let Some(answer) = exchange(mesh.listen(), case.as_bytes()).await? {
            assert!(answer.status == 400 || answer.status == 202, "{answer:?}");
        }
    }
    mesh.send("shop/default", &[Event::new("honest", "x")]).await?;
    millrace_tests::wait_until("the honest one", || async {
        Ok(Some(()).filter(|()| sink.ids("/all").iter().any(|id| id == "honest")))
    })
    .await?;
    let ids = sink.ids("/all");
    assert!(
        !(ids.contains(&"outer".to_owned()) && ids.contains(&"smuggled".to_owned())),
        "{ids:?}"
    );
    Ok(())
}

#[tokio::test]
async fn requests_in_a_row_on_one_connection_are_answered_in_order() -> anyhow::Result<()> {
    let (mesh, sink) = watched().await?;
    let mut socket = Socket::connect(mesh.listen()).await?;
    let mut pipelined = String::new();
    for n in 0..50 {
        pipelined.push_str(&format!("{HEAD}ce-id: {n}\r\ncontent-length: 0\r\n\r\n"));
    }
    socket.write(pipelined.as_bytes()).await?;
    for n in 0..50 {
        let answer = socket
            .answer()
            .await?
            .with_context(|| format!("no answer to {n}"))?;
        assert_eq!(answer.status, 202, "{n}: {answer:?}");
    }
    sink.wait_for("/all", 50).await?;
    Ok(())
}

#[tokio::test]
async fn expect_100_continue_is_answered_before_the_body() -> anyhow::Result<()> {
    let (mesh, sink) = watched().await?;
    let mut socket = Socket::connect(mesh.listen()).await?;
    let head = format!("{HEAD}ce-id: patient\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    socket.write(head.as_bytes()).await?;
    let first = socket.answer().await?.context("no 100")?;
    assert_eq!(first.status, 100);
    socket.write(b"data").await?;
    assert_eq!(socket.answer().await?.context("no answer")?.status, 202);
    assert_eq!(sink.wait_for("/all", 1).await?[0].body, "data");
    Ok(())
}

#[tokio::test]
async fn sigterm_finishes_what_is_in_hand_and_ends_with_0() -> anyhow::Result<()> {
    let (mut mesh, _sink) = watched().await?;
    let mut socket = Socket::connect(mesh.listen()).await?;
    // In hand: the header is there, the body is not.
    socket
        .write(format!("{HEAD}ce-id: last\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n").as_bytes())
        .await?;
    assert_eq!(socket.answer().await?.context("no 100")?.status, 100);
    mesh.process().signal(rustix::process::Signal::TERM)?;
    // No new connection is served from here on; the one in hand is.
    millrace_tests::wait_until("the listener to close", || async {
        let answer = Client::new(mesh.listen())
            .post("/shop/default", &Event::new("late", "x").binary())
            .await;
        Ok(Some(()).filter(|()| answer.is_err()))
    })
    .await?;
    socket.write(b"data").await?;
    assert_eq!(socket.answer().await?.context("no answer")?.status, 202);
    assert!(mesh.process().ended().await?.success());
    Ok(())
}
