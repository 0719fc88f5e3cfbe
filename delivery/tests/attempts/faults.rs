//! Answers that never come, come half or are no HTTP.

use std::time::Duration;

use millrace_delivery::{Connector, ConnectorOptions, Outcome, Request, Verdict};
use tokio::net::TcpListener;

use crate::server::{Server, Step, answer, done, event, failure, outcome_of, request, slot};

/// For targets that never say a word.
const TINY: Duration = Duration::from_millis(50);

/// For targets that fall silent: long enough for their first words to arrive on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn nobody_listening_is_connection_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let uri = format!("http://{}/", listener.local_addr().expect("an address"))
        .parse()
        .expect("a URL");
    drop(listener);
    let failure = failure(slot().attempt(&uri, &request(&event())).await);
    assert_eq!((failure.verdict, failure.status), (Verdict::Again, None));
    assert_eq!(failure.reason, "connection refused");
}

#[tokio::test]
async fn an_unknown_name_is_worth_another_attempt() {
    let uri = "http://nowhere.invalid/".parse().expect("a URL");
    let failure = failure(slot().attempt(&uri, &request(&event())).await);
    assert_eq!((failure.verdict, failure.status), (Verdict::Again, None));
    assert!(failure.reason.starts_with("name not found"), "{}", failure.reason);
}

#[tokio::test]
async fn a_url_that_is_none_is_final() {
    for url in ["/relative", "ftp://a.example/", "http://127.0.0.1:99999/"] {
        let failure = failure(slot().attempt(&url.parse().expect(url), &request(&event())).await);
        assert_eq!((failure.verdict, failure.status), (Verdict::Final, None), "{url}");
    }
}

#[tokio::test]
async fn silence_ends_with_the_timeout() {
    let server = Server::start(vec![vec![Step::Request, Step::Hold]]).await;
    let (uri, event) = (server.url("/"), event());
    let mut slot = slot();
    let failure = failure(
        slot.attempt(
            &uri,
            &Request {
                timeout: TINY,
                ..request(&event)
            },
        )
        .await,
    );
    assert_eq!((failure.verdict, failure.status), (Verdict::Again, None));
    assert_eq!(failure.reason, "no answer within 50 ms");
    assert!(!slot.is_open());
}

#[tokio::test]
async fn half_a_head_and_then_silence_ends_with_the_timeout() {
    let server = Server::start(vec![
        [answer("HTTP/1.1 200 OK\r\ncontent-"), vec![Step::Hold]].concat(),
    ])
    .await;
    let (uri, event) = (server.url("/"), event());
    let failure = failure(
        slot()
            .attempt(
                &uri,
                &Request {
                    timeout: TINY,
                    ..request(&event)
                },
            )
            .await,
    );
    assert_eq!(
        (failure.status, failure.reason.as_str()),
        (None, "no answer within 50 ms")
    );
}

#[tokio::test]
async fn answers_that_break_off_are_no_answers() {
    for (bytes, reason) in [
        ("", "the connection was closed before an answer came"),
        (
            "HTTP/1.1 2",
            "the connection was closed in the middle of the answer",
        ),
        (
            "HTTP/1.1 202 Accepted\r\ncontent-le",
            "the connection was closed in the middle of the answer",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\n",
            "the connection was closed in the middle of the answer",
        ),
    ] {
        let failure = failure(outcome_of(bytes).await);
        assert_eq!(
            (failure.verdict, failure.status),
            (Verdict::Again, None),
            "{bytes:?}"
        );
        assert_eq!(failure.reason, reason, "{bytes:?}");
    }
}

#[tokio::test]
async fn garbage_is_no_answer() {
    let many_lines = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(500));
    let long_line = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(200_000));
    for bytes in [
        "SSH-2.0-OpenSSH_9.9\r\n",
        "<html>hello</html>\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 99999 Many\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "\0\0\0\0\0\0\0\0\r\n\r\n",
        &many_lines,
        &long_line,
    ] {
        let failure = failure(outcome_of(bytes).await);
        let shown = &bytes[..bytes.len().min(60)];
        assert_eq!(
            (failure.verdict, failure.status),
            (Verdict::Again, None),
            "{shown:?}"
        );
        let words = ["not valid HTTP", "too large", "the connection"];
        assert!(
            words.iter().any(|word| failure.reason.contains(word)),
            "{shown:?}: {}",
            failure.reason
        );
    }
}

#[tokio::test]
async fn a_success_stays_one_when_its_idle_words_break_off() {
    for bytes in [
        "HTTP/1.1 202 Accepted\r\ncontent-length: 100\r\n\r\nthan",
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nthan",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nthan\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nthan\r\nzz\r\n",
    ] {
        let (_, odd, body) = done(outcome_of(bytes).await);
        assert_eq!((odd, body.as_str()), (true, "than"), "{bytes:?}");
    }
}

#[tokio::test]
async fn a_success_stays_one_when_its_idle_words_never_end() {
    let script = [
        answer("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nthan"),
        vec![Step::Hold],
    ]
    .concat();
    let server = Server::start(vec![script]).await;
    let (uri, event) = (server.url("/"), event());
    let mut slot = slot();
    let outcome = slot
        .attempt(
            &uri,
            &Request {
                timeout: SHORT,
                ..request(&event)
            },
        )
        .await;
    assert_eq!(done(outcome), (200, true, "than".to_owned()));
    assert!(!slot.is_open());
}

#[tokio::test]
async fn a_failure_keeps_its_status_when_its_body_breaks_off() {
    let failure = failure(outcome_of("HTTP/1.1 410 Gone\r\ncontent-length: 100\r\n\r\nmoved").await);
    assert_eq!((failure.verdict, failure.status), (Verdict::Final, Some(410)));
    assert_eq!(failure.body, &b"moved"[..]);
}

#[tokio::test]
async fn an_announced_reply_that_breaks_off_is_a_failed_attempt() {
    let head = "HTTP/1.1 200 OK\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /x\r\nce-type: t\r\n";
    let broken = failure(outcome_of(format!("{head}content-length: 100\r\n\r\nhalf")).await);
    assert_eq!((broken.verdict, broken.status), (Verdict::Again, None));
    assert_eq!(
        broken.reason,
        "the connection was closed in the middle of the answer"
    );

    let script = [
        answer(format!("{head}content-length: 100\r\n\r\nhalf")),
        vec![Step::Hold],
    ]
    .concat();
    let server = Server::start(vec![script]).await;
    let (uri, event) = (server.url("/"), event());
    let late = failure(
        slot()
            .attempt(
                &uri,
                &Request {
                    timeout: SHORT,
                    ..request(&event)
                },
            )
            .await,
    );
    assert_eq!(late.reason, "the answer was not complete within 2 s");
}

#[tokio::test]
async fn an_endless_body_is_read_up_to_the_limit() {
    let connector = Connector::new(ConnectorOptions {
        max_answer_bytes: 10_000,
        ..ConnectorOptions::default()
    });
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n",
    ] {
        let server = Server::start(vec![[answer(head), vec![Step::Flood]].concat()]).await;
        let mut slot = connector.slot();
        let (status, odd, body) = done(slot.attempt(&server.url("/"), &request(&event())).await);
        assert_eq!((status, odd, body), (200, true, "0".repeat(1_024)));
        assert!(
            !slot.is_open(),
            "a connection with a rest on it is not used again"
        );
    }
}

#[tokio::test]
async fn a_failed_attempt_leaves_a_slot_that_works() {
    let server = Server::start(vec![
        answer("nonsense\r\n\r\n"),
        vec![],
        answer(crate::server::OK),
    ])
    .await;
    let (uri, event, mut slot) = (server.url("/"), event(), slot());
    for delivered in [false, false, true] {
        let outcome = slot.attempt(&uri, &request(&event)).await;
        assert_eq!(matches!(outcome, Outcome::Done { .. }), delivered, "{outcome:?}");
    }
}
