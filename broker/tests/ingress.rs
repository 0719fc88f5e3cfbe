//! What the HTTP ingress promises producers about events: every status of the contract, and bodies byte for
//! byte. Nothing that is refused is stored.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    dead_code,
    reason = "the suites share their support and use different parts of it"
)]

mod support;

use std::time::Duration;

use millrace_channel::AppendError;
use millrace_event::Kind;
use support::{BATCH, BINARY, Memory, POST, STRUCTURED, problem, request, start, structured};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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
