//! What the HTTP ingress promises about connections: pipelined requests, bodies and headers that come slowly,
//! break off or never come, short memory, and a shutdown in good order.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    dead_code,
    reason = "the suites share their support and use different parts of it"
)]

mod support;

use std::time::Duration;

use support::{BATCH, BINARY, Memory, POST, answer, problem, request, start, start_with, structured};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn chunked_bodies_and_pipelined_requests_are_taken_in_order() {
    let served = start(Memory::new());
    let mut all = Vec::new();
    for id in 1..=5 {
        let head =
            format!("{POST} HTTP/1.1\r\nhost: x\r\nce-specversion: 1.0\r\nce-id: {id}\r\nce-source: /s");
        let chunks =
            "ce-type: t\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nt: t\r\n\r\n";
        all.extend_from_slice(format!("{head}\r\n{chunks}").as_bytes());
    }
    let mut stream = served.connect().await;
    stream.write_all(&all).await.unwrap();
    for _ in 1..=5 {
        assert_eq!(answer(&mut stream).await.status, 202);
    }
    let events = served.memory.events();
    let ids: Vec<_> = events.iter().map(|event| event.id().to_owned()).collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5"]);
    assert!(events.iter().all(|event| event.data().unwrap() == "abcde"));
}

#[tokio::test]
async fn a_connection_lives_on_after_refusals_whose_body_is_short() {
    let served = start(Memory::new());
    let mut stream = served.connect().await;
    for (line, headers, status) in [
        ("POST /shop/other", &BINARY[..], 404),
        (POST, &BINARY[1..], 400),
        ("GET /shop/default", &[][..], 405),
        (POST, &[][..], 400),
        (POST, &BINARY[..], 202),
    ] {
        stream.write_all(&request(line, headers, "short")).await.unwrap();
        let told = answer(&mut stream).await;
        assert_eq!(told.status, status);
        assert!(!told.head.contains("connection: close"), "{told:?}");
    }
}

#[tokio::test]
async fn a_refused_body_that_is_long_or_not_sent_yet_ends_the_connection() {
    let served = start(Memory::new());
    let long = served
        .exchange(request("POST /shop/other", &BINARY, vec![0; 200_000]))
        .await;
    assert!(
        long.status == 404 && long.head.contains("\r\nconnection: close\r\n"),
        "{long:?}"
    );
    let asks = format!(
        "POST /shop/other HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n{}\r\n",
        BINARY.join("\r\n")
    );
    let told = served.exchange(asks + "content-length: 5\r\n\r\n").await;
    assert!(
        told.status == 404 && told.head.contains("\r\nconnection: close\r\n"),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_producer_that_asks_first_is_told_to_go_on() {
    let served = start(Memory::new());
    let mut stream = served.connect().await;
    let asks = format!(
        "{POST} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n{}\r\n",
        BINARY.join("\r\n")
    );
    stream
        .write_all((asks + "content-length: 5\r\n\r\n").as_bytes())
        .await
        .unwrap();
    assert_eq!(answer(&mut stream).await.status, 100);
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(answer(&mut stream).await.status, 202);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408_and_one_that_breaks_off_400() {
    let served = start_with(Memory::new(), |config| {
        config.body_timeout = Duration::from_millis(50)
    });
    let head = format!(
        "{POST} HTTP/1.1\r\nhost: x\r\n{}\r\ncontent-length: 5\r\n\r\nhel",
        BINARY.join("\r\n")
    );
    problem(&served.exchange(&head).await, 408, "body-timeout");
    assert!(served.memory.events().is_empty());
    // With the usual timeout: the end is seen first, however slow the machine is.
    let served = start(Memory::new());
    let mut stream = served.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    problem(&answer(&mut stream).await, 400, "body-broken");
    assert!(served.memory.events().is_empty());
}

#[tokio::test]
async fn slow_and_hostile_headers_are_answered_and_stored_nowhere() {
    let served = start_with(Memory::new(), |config| {
        config.serve.header_read_timeout = Duration::from_millis(50);
    });
    assert_eq!(
        served
            .exchange(format!("{POST} HTTP/1.1\r\nce-id: 1\r\n"))
            .await
            .status,
        408
    );
    assert!(served.memory.events().is_empty());
    // With the usual timeout: each header is read, however slow the machine is.
    let served = start(Memory::new());
    let many: Vec<_> = (0..300).map(|n| format!("ce-x{n}: y")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(served.exchange(request(POST, &many, "")).await.status, 431);
    let long = format!("ce-x: {}", "y".repeat(70_000));
    assert_eq!(served.exchange(request(POST, &[&long], "")).await.status, 431);
    let twice = format!(
        "{POST} HTTP/1.1\r\n{}\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        BINARY.join("\r\n")
    );
    assert_eq!(served.exchange(twice).await.status, 400);
    assert!(served.memory.events().is_empty());
}

#[tokio::test]
async fn a_body_waits_for_memory_that_others_hold_and_is_503_if_it_waits_in_vain() {
    let memory = Memory::gated();
    let served = start_with(memory.clone(), |config| {
        config.body_timeout = Duration::from_secs(1)
    });
    let batch = |id| format!("[{}{}]", structured(id, ""), " ".repeat(8_000_000));
    let mut held = Vec::new();
    for id in ["1", "2"] {
        let mut stream = served.connect().await;
        stream
            .write_all(&request(POST, &[BATCH], batch(id)))
            .await
            .unwrap();
        memory.begun.acquire().await.unwrap().forget();
        held.push(stream);
    }
    let told = served.exchange(request(POST, &BINARY, vec![0; 1 << 20])).await;
    problem(&told, 503, "memory-full");
    assert!(told.head.contains("\r\nretry-after: 1\r\n"), "{told:?}");
    // Small bodies have room of their own.
    let mut small = served.connect().await;
    small
        .write_all(&request(POST, &BINARY, vec![0; 50_000]))
        .await
        .unwrap();
    memory.begun.acquire().await.unwrap().forget();
    memory.gate.add_permits(4);
    for mut stream in held {
        assert_eq!(answer(&mut stream).await.status, 202);
    }
    assert_eq!(answer(&mut small).await.status, 202);
    let again = served.exchange(request(POST, &BINARY, vec![0; 1 << 20])).await;
    assert_eq!(again.status, 202);
}

#[tokio::test]
async fn a_request_in_hand_at_shutdown_is_finished() {
    let memory = Memory::gated();
    let served = start(memory.clone());
    let mut stream = served.connect().await;
    stream.write_all(&request(POST, &BINARY, "x")).await.unwrap();
    memory.begun.acquire().await.unwrap().forget();
    served.shutdown.cancel();
    memory.gate.add_permits(1);
    let told = answer(&mut stream).await;
    assert!(
        told.status == 202 && told.head.contains("\r\nconnection: close\r\n"),
        "{told:?}"
    );
    let drained = served.task.await.unwrap();
    assert_eq!((drained.finished, drained.aborted), (1, 0));
    assert_eq!(memory.events().len(), 1);
}
