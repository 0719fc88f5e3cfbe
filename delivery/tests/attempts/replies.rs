//! Which answers are replies.

use millrace_delivery::{Connector, ConnectorOptions, Outcome, Request};
use millrace_event::Event;

use crate::server::{Server, answers, done, event, outcome_of, request, slot};

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
        Outcome::Reply { event } => *event,
        Outcome::Done { .. } | Outcome::Failed(_) => panic!("no reply: {outcome:?}"),
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

#[tokio::test]
async fn the_connection_is_kept_after_a_reply() {
    let one = structured("200 OK", "application/cloudevents+json", JSON);
    let server = Server::start(vec![answers(&[&one, &one])]).await;
    let (uri, event, mut slot) = (server.url("/"), event(), slot());
    for _ in 0..2 {
        assert_eq!(reply(slot.attempt(&request(&uri, &event)).await).id(), "R-1");
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
async fn a_broken_event_in_a_200_is_a_success_that_is_remarked_on() {
    let media_type = "application/cloudevents+json";
    for bytes in [
        answer("200 OK", "ce-specversion: 1.0\r\nce-id: R-1\r\n", "x"),
        answer("200 OK", &BINARY.replace("1.0", "9.9"), "x"),
        answer("200 OK", &BINARY.replace("R-1", "%C0%A0"), ""),
        structured("200 OK", media_type, "{"),
        structured("200 OK", media_type, ""),
        structured("200 OK", media_type, r#"{"specversion":"1.0"}"#),
        structured("200 OK", "application/cloudevents+xml", "<event/>"),
    ] {
        let (status, odd, _) = done(outcome_of(&bytes).await);
        assert_eq!((status, odd), (200, true), "{bytes}");
    }
}

#[tokio::test]
async fn a_batch_is_no_reply() {
    for body in ["[]".to_owned(), format!("[{JSON}]"), format!("[{JSON},{JSON}]")] {
        let (status, odd, _) =
            done(outcome_of(structured("200 OK", "application/cloudevents-batch+json", &body)).await);
        assert_eq!((status, odd), (200, true), "{body}");
    }
}

#[tokio::test]
async fn where_none_is_asked_for_nothing_is_a_reply() {
    let server = Server::once(answer("200 OK", BINARY, "x")).await;
    let (uri, event) = (server.url("/"), event());
    let outcome = slot()
        .attempt(&Request {
            wants_reply: false,
            ..request(&uri, &event)
        })
        .await;
    assert_eq!(done(outcome), (200, false, "x".to_owned()));
}

#[tokio::test]
async fn a_reply_beyond_the_limit_is_a_success_that_is_remarked_on() {
    let connector = Connector::new(ConnectorOptions {
        max_answer_bytes: 100,
        ..ConnectorOptions::default()
    });
    for (length, is_reply) in [(100, true), (101, false)] {
        let server = Server::once(answer("200 OK", BINARY, &"x".repeat(length))).await;
        let outcome = connector
            .slot()
            .attempt(&request(&server.url("/"), &event()))
            .await;
        match outcome {
            Outcome::Reply { .. } => assert!(is_reply, "{length}"),
            Outcome::Done { odd_body, .. } => assert!(!is_reply && odd_body, "{length}"),
            Outcome::Failed(failure) => panic!("{length}: {failure:?}"),
        }
    }
}
