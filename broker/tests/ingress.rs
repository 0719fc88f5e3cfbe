//! What the HTTP ingress promises producers: every status of the contract, bodies byte for byte, and that a broken or
//! hostile request costs little and stores nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    dead_code,
    reason = "the suites share their support and use different parts of it"
)]

mod support;

use std::time::Duration;

use millrace_channel::AppendError;
use millrace_event::Kind;
use support::{Answer, BINARY, Memory, answer, request, start, start_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const POST: &str = "POST /shop/default";
const STRUCTURED: &str = "content-type: application/cloudevents+json; charset=utf-8";
const BATCH: &str = "content-type: application/cloudevents-batch+json";

/// Asserts that it is a complete problem with that code.
fn problem(answer: &Answer, status: u16, code: &str) -> serde_json::Value {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(
        answer
            .head
            .contains("\r\ncontent-type: application/problem+json\r\n"),
        "{answer:?}"
    );
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["code"], code, "{body}");
    assert_eq!(body["status"], status, "{body}");
    assert_eq!(
        body["type"],
        format!("https://millrace.dev/errors/{code}"),
        "{body}"
    );
    assert!(
        body["title"].is_string() && !body["detail"].as_str().unwrap().is_empty(),
        "{body}"
    );
    body
}

fn structured(id: &str, rest: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t"{rest}}}"#)
}

#[tokio::test]
async fn a_binary_event_is_kept_byte_for_byte() {
    let served = start(Memory::new());
    let data: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let mut headers = BINARY.to_vec();
    headers.extend([
        "ce-time: 2020-01-01t00:00:00.10z",
        "ce-word: \"a%20b\"",
        "ce-comacme: x",
    ]);
    for path in [
        "POST /shop/default",
        "POST /shop/default/",
        "POST http://x/shop/default?x=y",
    ] {
        let taken = served.exchange(request(path, &headers, &data)).await;
        assert_eq!((taken.status, taken.body.as_str()), (202, ""), "{path}");
    }
    for event in served.memory.events() {
        assert_eq!(event.data().unwrap(), data);
        assert_eq!(event.get("time").unwrap().text, "2020-01-01t00:00:00.10z");
        assert_eq!(event.get("word").unwrap().text, "a b");
        assert_eq!(event.get("comacme").unwrap().kind, Kind::RawHeader);
        assert_eq!(
            event.get("datacontenttype").unwrap().text,
            "application/octet-stream"
        );
        assert!(event.get("knativearrivaltime").is_none() && event.get("knativebrokerttl").is_none());
    }
    assert_eq!(served.memory.events().len(), 3);
}

#[tokio::test]
async fn structured_and_batched_events_are_taken_with_their_data_as_written() {
    let served = start(Memory::new());
    let event = structured("1", r#","data":{ "a" : 1.0 }"#);
    assert_eq!(
        served.exchange(request(POST, &[STRUCTURED], &event)).await.status,
        202
    );
    let batch = format!(
        "[{},{}]",
        structured("2", r#","data_base64":"AAH/""#),
        structured("3", "")
    );
    assert_eq!(served.exchange(request(POST, &[BATCH], &batch)).await.status, 202);
    assert_eq!(served.exchange(request(POST, &[BATCH], "[]")).await.status, 202);
    let events = served.memory.events();
    let ids: Vec<_> = events.iter().map(|event| event.id().to_owned()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    assert_eq!(events[0].data().unwrap(), r#"{ "a" : 1.0 }"#);
    assert_eq!(events[1].data().unwrap(), &[0_u8, 1, 255][..]);
    assert_eq!(
        *served.memory.appends.lock(),
        2,
        "a batch is one append, an empty one none"
    );
}

#[tokio::test]
async fn refusals_before_the_body_have_their_status_and_code() {
    let served = start(Memory::new());
    let table: [(&str, &[&str], u16, &str); 16] = [
        ("GET /shop/default", &BINARY, 405, "method-not-allowed"),
        ("PUT /shop/default", &BINARY, 405, "method-not-allowed"),
        ("DELETE /nowhere", &BINARY, 405, "method-not-allowed"),
        ("POST /", &BINARY, 404, "not-found"),
        ("POST /shop", &BINARY, 404, "not-found"),
        ("POST /shop/default/more", &BINARY, 404, "not-found"),
        ("POST /sources/shop/push", &BINARY, 404, "not-found"),
        ("POST //shop/default", &BINARY, 404, "not-found"),
        ("POST /shop/other", &BINARY, 404, "unknown-broker"),
        ("POST /sh%6fp/default", &BINARY, 404, "unknown-broker"),
        ("POST /shop/../default", &BINARY, 404, "not-found"),
        ("OPTIONS /shop/other", &[], 404, "unknown-broker"),
        ("POST /shop/unready", &BINARY, 503, "broker-not-ready"),
        (
            POST,
            &["content-type: application/cloudevents+avro"],
            415,
            "unsupported-format",
        ),
        (POST, &["content-type: application/json"], 400, "not-an-event"),
        (POST, &[], 400, "not-an-event"),
    ];
    for (line, headers, status, code) in table {
        problem(&served.exchange(request(line, headers, "{}")).await, status, code);
    }
    assert!(served.memory.events().is_empty());
}

#[tokio::test]
async fn a_refused_method_is_told_the_allowed_ones_and_head_gets_no_body() {
    let served = start(Memory::new());
    let refused = served.exchange(request("GET /shop/default", &[], "")).await;
    assert!(
        refused.head.contains("\r\nallow: post, options\r\n"),
        "{refused:?}"
    );
    let mut stream = served.connect().await;
    let head = request("HEAD /shop/default", &["connection: close"], "");
    stream.write_all(&head).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(
        text.starts_with("HTTP/1.1 405 ") && text.ends_with("\r\n\r\n"),
        "{text}"
    );
}

#[tokio::test]
async fn malformed_events_are_told_what_is_wrong_with_which_field() {
    let served = start(Memory::new());
    let without = |name: &str| -> Vec<&str> {
        BINARY
            .into_iter()
            .filter(|header| !header.starts_with(name))
            .collect()
    };
    let with = |header| -> Vec<&str> { BINARY.into_iter().chain([header]).collect() };
    let table: [(Vec<&str>, u16, &str, &str); 9] = [
        (without("ce-id"), 400, "missing-attribute", "ce-id"),
        (without("ce-source"), 400, "missing-attribute", "ce-source"),
        (without("ce-type"), 400, "missing-attribute", "ce-type"),
        (with("ce-id: 2"), 400, "duplicate-attribute", "ce-id"),
        (with("ce-time: yesterday"), 400, "bad-attribute-value", "ce-time"),
        (
            with("ce-datacontenttype: text/plain"),
            400,
            "datacontenttype-header",
            "ce-datacontenttype",
        ),
        (
            with("content-type: text/plain"),
            400,
            "content-type-repeated",
            "content-type",
        ),
        (
            with("content-encoding: gzip"),
            415,
            "unsupported-encoding",
            "content-encoding",
        ),
        (with("ce-knativebrokerttl: 1"), 400, "looping", "knativebrokerttl"),
    ];
    for (headers, status, code, field) in table {
        let told = problem(&served.exchange(request(POST, &headers, "x")).await, status, code);
        assert_eq!(told["field"], field, "{told}");
    }
    let body = r#"[{"specversion":"1.0","id":"1","source":"/s","type":"t"},{"specversion":"1.0"}]"#;
    let told = served.exchange(request(POST, &[BATCH], body)).await;
    assert_eq!(told.status, 400, "{told:?}");
    assert!(served.memory.events().is_empty(), "a batch is all or nothing");
}

#[tokio::test]
async fn what_is_too_large_is_413_in_each_mode_also_when_it_hides_its_length() {
    let served = start(Memory::new());
    let data = vec![b'x'; 1024 * 1024 + 1];
    problem(
        &served.exchange(request(POST, &BINARY, &data)).await,
        413,
        "event-too-large",
    );
    let text = format!(r#","data":"{}""#, "x".repeat(1024 * 1024 + 1));
    let told = served
        .exchange(request(POST, &[STRUCTURED], structured("1", &text)))
        .await;
    problem(&told, 413, "event-too-large");
    let told = served
        .exchange(request(POST, &[STRUCTURED], vec![b' '; 2 << 20]))
        .await;
    problem(&told, 413, "event-too-large");
    let many = vec![structured("1", ""); 1001].join(",");
    problem(
        &served
            .exchange(request(POST, &[BATCH], format!("[{many}]")))
            .await,
        413,
        "batch-too-large",
    );
    let told = served
        .exchange(request(POST, &[BATCH], vec![b' '; (8 << 20) + 1]))
        .await;
    problem(&told, 413, "batch-too-large");
    let mut chunked = format!(
        "{POST} HTTP/1.1\r\nhost: x\r\n{}\r\ntransfer-encoding: chunked\r\n\r\n",
        BINARY.join("\r\n")
    );
    chunked.push_str(&format!("200000\r\n{}\r\n0\r\n\r\n", "x".repeat(2 << 20)));
    problem(&served.exchange(chunked).await, 413, "event-too-large");
    assert!(served.memory.events().is_empty());
}

#[tokio::test]
async fn the_largest_event_is_taken_in_each_mode() {
    let served = start(Memory::new());
    let data = vec![b'x'; 1024 * 1024];
    assert_eq!(served.exchange(request(POST, &BINARY, &data)).await.status, 202);
    // "AAAA" spells three bytes; 1 MiB is one byte more than a multiple of three.
    let base64 = format!(r#","data_base64":"{}AA==""#, "AAAA".repeat(1024 * 1024 / 3));
    let event = structured("1", &base64);
    assert_eq!(
        served.exchange(request(POST, &[STRUCTURED], event)).await.status,
        202
    );
    assert!(
        served
            .memory
            .events()
            .iter()
            .all(|event| event.data().unwrap().len() == 1024 * 1024)
    );
}

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
async fn options_tells_the_methods_and_consents_to_webhooks() {
    let served = start(Memory::new());
    let told = served.exchange(request("OPTIONS /shop/default", &[], "")).await;
    assert_eq!((told.status, told.body.as_str()), (200, ""));
    assert!(told.head.contains("\r\nallow: post, options\r\n"), "{told:?}");
    assert!(!told.head.contains("webhook"), "{told:?}");
    let asked = [
        "WebHook-Request-Origin: eventemitter.example.com",
        "WebHook-Request-Rate: 120",
    ];
    let told = served
        .exchange(request("OPTIONS /shop/default/", &asked, ""))
        .await;
    assert!(
        told.head
            .contains("\r\nwebhook-allowed-origin: eventemitter.example.com\r\n"),
        "{told:?}"
    );
    assert!(told.head.contains("\r\nwebhook-allowed-rate: *\r\n"), "{told:?}");
}

#[tokio::test]
async fn a_full_or_failing_store_is_503_with_the_time_to_come_back() {
    let served = start(Memory::new());
    let full = |code| AppendError::Full {
        code,
        reason: "there is no room".to_owned(),
        retry_after: Duration::from_millis(4200),
    };
    for (error, code, retry_after) in [
        (full("disk-full"), "disk-full", "5"),
        (full("backlog-full"), "backlog-full", "5"),
        (
            AppendError::Storage("sync failed".to_owned()),
            "storage-failed",
            "1",
        ),
        (AppendError::Closed, "shutting-down", "1"),
    ] {
        *served.memory.failing.lock() = Some(error);
        let told = served.exchange(request(POST, &BINARY, "x")).await;
        problem(&told, 503, code);
        assert!(
            told.head.contains(&format!("\r\nretry-after: {retry_after}\r\n")),
            "{told:?}"
        );
    }
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

#[tokio::test]
async fn what_is_taken_and_what_is_refused_is_counted_by_broker() {
    let served = start(Memory::new());
    served.exchange(request(POST, &BINARY, "12345")).await;
    served.exchange(request(POST, &BINARY[1..], "x")).await;
    served.exchange(request("POST /made/up", &BINARY, "x")).await;
    let shown = served.metrics();
    let of = "namespace=\"shop\",broker=\"default\"";
    for line in [
        format!("millrace_broker_events_accepted_total{{{of}}} 1"),
        format!("millrace_broker_bytes_accepted_total{{{of}}} 5"),
        format!("millrace_broker_requests_refused_total{{{of},code=\"missing-attribute\"}} 1"),
    ] {
        assert!(shown.contains(&line), "{line} in {shown}");
    }
    assert!(
        shown.contains("code=\"unknown-broker\"} 1") && !shown.contains("\"made\""),
        "{shown}"
    );
}
