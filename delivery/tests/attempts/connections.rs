//! When connections are kept, replaced and closed.

use std::time::Duration;

use millrace_delivery::{Connector, ConnectorOptions, Metrics, Outcome, Request};
use prometheus_client::registry::Registry;

use crate::server::{OK, Server, Step, answer, answers, done, event, failure, request, slot};

#[tokio::test]
async fn one_connection_carries_many_deliveries() {
    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n3\r\n yo\r\n0\r\nx: trailer\r\n\r\n";
    let long = format!(
        "HTTP/1.1 500 X\r\ncontent-length: 300000\r\n\r\n{}",
        "e".repeat(300_000)
    );
    let all = [
        OK,
        chunked,
        "HTTP/1.1 204 No Content\r\n\r\n",
        &long,
        "HTTP/1.1 404 X\r\ncontent-length: 2\r\n\r\nno",
        OK,
    ];
    let server = Server::start(vec![answers(&all)]).await;
    let (uri, event, mut slot) = (server.url("/"), event(), slot());
    let mut statuses = Vec::new();
    for _ in all {
        statuses.push(match slot.attempt(&uri, &request(&event)).await {
            Outcome::Done { status, .. } => status.expect("an answer"),
            Outcome::Failed(failure) => failure.status.expect("an answer"),
            Outcome::Reply(_) | Outcome::BadReply(_) | Outcome::Refused(_) => 0,
        });
        assert!(slot.is_open(), "{statuses:?}");
    }
    assert_eq!(statuses, [202, 200, 204, 500, 404, 202]);
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced() {
    let server = Server::start(vec![answer(OK), answer(OK), answers(&[OK])]).await;
    let (uri, event, mut slot) = (server.url("/"), event(), slot());
    for _ in 0..3 {
        assert_eq!(done(slot.attempt(&uri, &request(&event)).await).0, 202);
    }
    assert_eq!(server.accepted(), 3);
}

#[tokio::test]
async fn a_reused_connection_that_closes_before_the_first_byte_is_replaced_once_within_the_attempt() {
    let goes_stale = [answer(OK), vec![Step::Request]].concat();
    let mut server = Server::start(vec![goes_stale, answers(&[OK])]).await;
    let mut registry = Registry::default();
    let connector =
        Connector::new(ConnectorOptions::default()).with_metrics(Metrics::register(&mut registry));
    let (uri, event, mut slot) = (server.url("/"), event(), connector.slot());
    for _ in 0..2 {
        assert_eq!(done(slot.attempt(&uri, &request(&event)).await).0, 202);
    }
    assert_eq!(server.accepted(), 2);
    let sent = [
        server.request().await,
        server.request().await,
        server.request().await,
    ];
    assert!(
        sent[0] == sent[1] && sent[1] == sent[2],
        "the repeat is the same request: {sent:?}"
    );

    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
    for line in [
        "millrace_delivery_attempts_total{outcome=\"delivered\"} 2",
        "millrace_delivery_connections_total 2",
        "millrace_delivery_stale_connections_total 1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[tokio::test]
async fn the_replacement_of_a_stale_connection_is_a_fresh_one_and_may_fail() {
    let goes_stale = [answer(OK), vec![Step::Request]].concat();
    let server = Server::start(vec![goes_stale, vec![Step::Request], answers(&[OK])]).await;
    let (uri, event, mut slot) = (server.url("/"), event(), slot());
    assert_eq!(done(slot.attempt(&uri, &request(&event)).await).0, 202);
    let failed = failure(slot.attempt(&uri, &request(&event)).await);
    assert_eq!(failed.reason, "the connection was closed before an answer came");
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn a_reused_connection_that_closes_after_the_first_byte_is_a_failed_attempt() {
    for beginning in ["H", "HTTP/1.1 202 Accepted\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let script = [answer(OK), answer(beginning)].concat();
        let server = Server::start(vec![script, answers(&[OK])]).await;
        let (uri, event, mut slot) = (server.url("/"), event(), slot());
        assert_eq!(done(slot.attempt(&uri, &request(&event)).await).0, 202);
        let failed = failure(slot.attempt(&uri, &request(&event)).await);
        assert_eq!(
            failed.reason, "the connection was closed in the middle of the answer",
            "{beginning:?}"
        );
        assert_eq!(server.accepted(), 1);
    }
}

#[tokio::test]
async fn what_the_target_ends_is_not_used_again() {
    for last in [
        "HTTP/1.1 202 Accepted\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.0 202 Accepted\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    ] {
        let server = Server::start(vec![answer(last), answers(&[OK])]).await;
        let (uri, event, mut slot) = (server.url("/"), event(), slot());
        slot.attempt(&uri, &request(&event)).await;
        assert!(!slot.is_open(), "{last:?}");
        assert_eq!(
            done(slot.attempt(&uri, &request(&event)).await).0,
            202,
            "{last:?}"
        );
    }
}

#[tokio::test]
async fn http_1_0_with_keep_alive_is_kept() {
    let answer = "HTTP/1.0 202 Accepted\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n";
    let server = Server::start(vec![answers(&[answer, answer])]).await;
    let (uri, event, mut slot) = (server.url("/"), event(), slot());
    for _ in 0..2 {
        assert_eq!(done(slot.attempt(&uri, &request(&event)).await).0, 202);
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_are_not_taken_for_the_next_answer() {
    let eager = format!("{OK}HTTP/1.1 299 Unasked\r\ncontent-length: 0\r\n\r\n");
    let script = [answer(eager), vec![Step::Hold]].concat();
    let server = Server::start(vec![script, answers(&[OK])]).await;
    let (uri, event, mut slot) = (server.url("/"), event(), slot());
    for _ in 0..2 {
        assert_eq!(done(slot.attempt(&uri, &request(&event)).await).0, 202);
    }
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn another_authority_replaces_the_connection_and_another_path_does_not() {
    let first = Server::start(vec![answers(&[OK, OK]), answers(&[OK])]).await;
    let second = Server::start(vec![answers(&[OK])]).await;
    let (event, mut slot) = (event(), slot());
    for (uri, so_far) in [
        (first.url("/a"), (1, 0)),
        (first.url("/b?c"), (1, 0)),
        (second.url("/a"), (1, 1)),
        (first.url("/a"), (2, 1)),
    ] {
        assert_eq!(done(slot.attempt(&uri, &request(&event)).await).0, 202);
        assert_eq!((first.accepted(), second.accepted()), so_far, "{uri}");
    }
}

#[tokio::test]
async fn an_attempt_given_up_on_closes_its_connection() {
    let goes_silent = [answer(OK), vec![Step::Request, Step::Hold]].concat();
    let mut server = Server::start(vec![goes_silent, answers(&[OK])]).await;
    let (uri, event, mut slot) = (server.url("/"), event(), slot());
    assert_eq!(done(slot.attempt(&uri, &request(&event)).await).0, 202);
    server.request().await;
    {
        let pending = request(&event);
        tokio::select! {
            outcome = slot.attempt(&uri, &pending) => panic!("answered: {outcome:?}"),
            _ = server.request() => {}
        }
    }
    assert!(!slot.is_open());
    assert_eq!(done(slot.attempt(&uri, &request(&event)).await).0, 202);
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn an_answer_before_the_request_was_read_counts() {
    let early = [
        Step::Write(b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 0\r\n\r\n".to_vec()),
        Step::Hold,
    ];
    let server = Server::start(vec![early.to_vec()]).await;
    let (uri, event) = (server.url("/"), event());
    let outcome = slot()
        .attempt(
            &uri,
            &Request {
                timeout: Duration::from_secs(60),
                ..request(&event)
            },
        )
        .await;
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_slot_can_be_closed_and_used_again() {
    let server = Server::start(vec![answers(&[OK]), answers(&[OK])]).await;
    let (uri, event, mut slot) = (server.url("/"), event(), slot());
    for accepted in 1..=2 {
        assert_eq!(done(slot.attempt(&uri, &request(&event)).await).0, 202);
        assert_eq!(server.accepted(), accepted);
        slot.close();
        assert!(!slot.is_open());
    }
}
