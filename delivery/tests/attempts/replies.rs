//! Which answers are replies.

use millrace_budget::Part;
use millrace_delivery::reply::BadReply;
use millrace_delivery::{Connector, ConnectorOptions, Outcome, Request};
use millrace_event::Event;

use crate::server::{Server, answers, done, event, failure, outcome_of, request, slot};

const BINARY: &str = "ce-specversion: 1.0\r\nce-id: R-1\r\nce-source: /ship\r\nce-type: order.shipped\r\n";
const JSON: &str =
    r#"{"specversion":"1.0","id":"R-1","source":"/ship","type":"order.shipped","data":{"n":1}}"#;

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn structured(status: &str, media_type: &str, body: &str) -> String {
    answer(status, &format!("content-type: {media_type}\r\n"), body)
}

#[track_caller]
fn reply(outcome: Outcome) -> Event {
    match outcome {
        Outcome::Reply(mut reply) if reply.events.len() == 1 => reply.events.remove(0),
        outcome => panic!("no single reply: {outcome:?}"),
    }
}

#[track_caller]
fn bad(outcome: Outcome) -> BadReply {
    match outcome {
        Outcome::BadReply(bad) => *bad,
        outcome => panic!("no broken reply: {outcome:?}"),
    }
}

#[tokio::test]
async fn a_200_with_an_event_is_a_reply_in_both_modes() {
    let binary = reply(outcome_of(answer("200 OK", BINARY, "shipped")).await);
    assert_eq!(
        (binary.id(), binary.source(), binary.ty()),
        ("R-1", "/ship", "order.shipped")
    );
    assert_eq!(binary.data().expect("data"), &b"shipped"[..]);

    for media_type in [
        "application/cloudevents+json",
        "Application/CloudEvents+JSON; charset=utf-8",
    ] {
        let json = reply(outcome_of(structured("200 OK", media_type, JSON)).await);
        assert_eq!((json.id(), json.ty()), ("R-1", "order.shipped"));
        assert_eq!(json.data().expect("data"), &br#"{"n":1}"#[..]);
    }
}

#[tokio::test]
async fn a_reply_needs_no_data() {
    let event = reply(outcome_of(answer("200 OK", BINARY, "")).await);
    assert_eq!((event.id(), event.data()), ("R-1", None));
}

#[tokio::test]
async fn a_reply_in_many_chunks_is_put_together() {
    let chunks: String = JSON
        .as_bytes()
        .iter()
        .map(|byte| format!("1\r\n{}\r\n", char::from(*byte)))
        .collect();
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/cloudevents+json\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(
        reply(outcome_of(format!("{head}{chunks}0\r\n\r\n")).await).id(),
        "R-1"
    );
}

#[tokio::test]
async fn a_large_reply_arrives_whole() {
    let body = "b".repeat(700_000);
    assert_eq!(
        reply(outcome_of(answer("200 OK", BINARY, &body)).await)
            .data()
            .expect("data"),
        body.as_bytes()
    );
}

/// The outcome of an attempt with this answer, which has to wait for memory for longer than the attempt's
/// timeout.
async fn after_a_long_wait_for_memory(answer: &str) -> Outcome {
    let largest = 1 << 20;
    let replies = Part::new(0, largest);
    let full = [replies.enter(1, largest).await, replies.enter(1, largest).await];
    let connector = Connector::new(ConnectorOptions {
        replies,
        ..ConnectorOptions::default()
    });
    let (server, event) = (Server::once(answer).await, event());
    let uri = server.url("/");
    let request = request(&event);
    let mut slot = connector.slot();
    let room = async {
        while !full[0].is_waited_for() {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
        for _ in 0..3 {
            tokio::time::advance(request.timeout).await;
        }
        tokio::time::resume();
        drop(full);
    };
    tokio::join!(slot.attempt(&uri, &request), room).0
}

#[tokio::test]
async fn to_wait_for_memory_takes_nothing_of_the_time_of_an_attempt() {
    let body = "b".repeat(700_000);
    let outcome = after_a_long_wait_for_memory(&answer("200 OK", BINARY, &body)).await;
    assert_eq!(reply(outcome).data_len(), body.len());
}

#[tokio::test]
async fn who_closes_while_its_reply_waits_for_memory_is_told_that_it_waited() {
    let whole = answer("200 OK", BINARY, &"b".repeat(700_000));
    let failure = failure(after_a_long_wait_for_memory(&whole[..300_000]).await);
    let (cause, waited) = failure.reason.split_once(", after ").expect("two parts");
    assert_eq!(cause, "the connection was closed in the middle of the answer");
    assert!(waited.starts_with("the reply had waited 180"), "{waited}");
    assert!(waited.ends_with(" s for memory (--memory-budget)"), "{waited}");
}

#[tokio::test]
async fn the_connection_is_kept_after_a_reply() {
    let one = structured("200 OK", "application/cloudevents+json", JSON);
    let server = Server::start(vec![answers(&[&one, &one])]).await;
    let (uri, event, mut slot) = (server.url("/"), event(), slot());
    for _ in 0..2 {
        assert_eq!(reply(slot.attempt(&uri, &request(&event)).await).id(), "R-1");
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn no_other_status_carries_a_reply() {
    for status in ["201 Created", "202 Accepted", "203 X", "299 X"] {
        let (_, odd, _) = done(outcome_of(answer(status, BINARY, "x")).await);
        assert!(odd, "{status}: somebody will look for that reply");
    }
    let failed = outcome_of(answer("500 Internal Server Error", BINARY, "x")).await;
    assert!(matches!(failed, Outcome::Failed(_)));
}

#[tokio::test]
async fn a_200_that_says_it_is_an_event_and_is_none_is_told_with_code_and_field() {
    let media_type = "application/cloudevents+json";
    let gzip = format!("{BINARY}content-encoding: gzip\r\n");
    let cases = [
        (
            answer("200 OK", "ce-specversion: 1.0\r\nce-id: R-1\r\n", "x"),
            "missing-attribute",
            Some("ce-source"),
        ),
        (
            answer("200 OK", "ce-id: R-1\r\n", "x"),
            "missing-attribute",
            Some("ce-specversion"),
        ),
        (
            answer("200 OK", &BINARY.replace("1.0", "9.9"), "x"),
            "unsupported-specversion",
            Some("ce-specversion"),
        ),
        (
            answer("200 OK", &BINARY.replace("R-1", "%C0%A0"), ""),
            "bad-percent-encoding",
            Some("ce-id"),
        ),
        (
            answer("200 OK", &format!("{BINARY}ce-time: soon\r\n"), ""),
            "bad-attribute-value",
            Some("ce-time"),
        ),
        (
            answer("200 OK", &format!("{BINARY}ce-my-name: x\r\n"), ""),
            "bad-attribute-name",
            Some("ce-my-name"),
        ),
        (
            answer("200 OK", &gzip, "x"),
            "unsupported-encoding",
            Some("content-encoding"),
        ),
        (structured("200 OK", media_type, "{"), "bad-json", None),
        (structured("200 OK", media_type, ""), "bad-json", None),
        (
            structured("200 OK", media_type, r#"{"specversion":"1.0"}"#),
            "missing-attribute",
            Some("id"),
        ),
        (
            structured("200 OK", "application/cloudevents+xml", "<event/>"),
            "unsupported-format",
            Some("content-type"),
        ),
        (
            structured(
                "200 OK",
                "application/cloudevents-batch+json",
                &format!("[{JSON},1]"),
            ),
            "bad-json",
            Some("[1]"),
        ),
    ];
    for (bytes, code, field) in cases {
        let bad = bad(outcome_of(&bytes).await);
        assert_eq!(
            (bad.invalid.code(), bad.invalid.field.as_deref()),
            (code, field),
            "{bytes}"
        );
        let body = bytes.split_once("\r\n\r\n").expect("a body").1;
        assert_eq!(bad.came.body, body, "{bytes}");
    }
    let bad = bad(outcome_of(answer(
        "200 OK",
        "content-type: text/plain\r\nce-id: R-1\r\nce-x: \u{e9}\r\n",
        "x",
    ))
    .await);
    assert_eq!(bad.came.media_type.as_deref(), Some("text/plain"));
    assert_eq!(bad.came.attributes, [("id".to_owned(), "R-1".to_owned())]);
}

/// Of such a body only the chunks are undone: what was compressed would be stored as data.
#[tokio::test]
async fn a_reply_in_another_transfer_encoding_is_refused() {
    let encoded =
        |coding| format!("HTTP/1.1 200 OK\r\n{BINARY}transfer-encoding: {coding}\r\n\r\n1\r\nx\r\n0\r\n\r\n");
    for coding in ["gzip, chunked", "deflate, chunked", "chunked, chunked"] {
        let bad = bad(outcome_of(encoded(coding)).await);
        assert_eq!(
            (bad.invalid.code(), bad.invalid.field.as_deref()),
            ("unsupported-encoding", Some("transfer-encoding")),
            "{coding}"
        );
        assert_eq!(bad.came.body, "x", "{coding}");
    }
    let good = reply(outcome_of(encoded("Chunked")).await);
    assert_eq!(good.data().expect("data"), &b"x"[..]);
}

#[tokio::test]
async fn a_batch_is_as_many_replies() {
    let batch = |body: &str| structured("200 OK", "application/cloudevents-batch+json", body);
    for (body, count) in [(format!("[{JSON}]"), 1), (format!("[{JSON},{JSON}]"), 2)] {
        match outcome_of(batch(&body)).await {
            Outcome::Reply(reply) => {
                assert_eq!((reply.events.len(), reply.events[0].id()), (count, "R-1"));
                // A single event says it all; of several the answer is kept.
                assert_eq!(
                    reply.came.map(|came| came.body),
                    (count > 1).then(|| body.clone().into())
                );
            }
            outcome => panic!("{body}: {outcome:?}"),
        }
    }
    assert_eq!(done(outcome_of(batch("[]")).await), (200, false, "[]".to_owned()));
}

#[tokio::test]
async fn octets_beyond_ascii_in_the_headers_of_a_reply_are_read_as_node_writes_them() {
    let mut bytes = answer("200 OK", &format!("{BINARY}ce-subject: caf?\r\n"), "x").into_bytes();
    let at = bytes.iter().position(|byte| *byte == b'?').expect("a place");
    bytes[at] = 0xe9;
    let event = reply(outcome_of(bytes).await);
    assert_eq!(event.get("subject").map(|value| value.text), Some("café"));
}

#[tokio::test]
async fn where_none_is_asked_for_nothing_is_a_reply() {
    let server = Server::once(answer("200 OK", BINARY, "x")).await;
    let (uri, event) = (server.url("/"), event());
    let outcome = slot()
        .attempt(
            &uri,
            &Request {
                wants_reply: false,
                ..request(&event)
            },
        )
        .await;
    assert_eq!(done(outcome), (200, false, "x".to_owned()));
}

#[tokio::test]
async fn a_reply_beyond_the_limit_is_told_as_too_large() {
    let connector = Connector::new(ConnectorOptions {
        max_answer_bytes: 100,
        ..ConnectorOptions::default()
    });
    for (length, is_reply) in [(100, true), (101, false)] {
        let server = Server::once(answer("200 OK", BINARY, &"x".repeat(length))).await;
        let outcome = connector
            .slot()
            .attempt(&server.url("/"), &request(&event()))
            .await;
        if is_reply {
            assert_eq!(reply(outcome).data_len(), length);
        } else {
            let bad = bad(outcome);
            assert_eq!(
                (bad.invalid.code(), bad.came.body.len()),
                ("event-too-large", 100)
            );
        }
    }
}
