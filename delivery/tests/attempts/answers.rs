//! What each kind of answer means.

use std::time::Duration;

use millrace_delivery::{BODY_KEPT, Connector, ConnectorOptions, Verdict};
use millrace_event::{Clock, Timestamp};

use crate::server::{Server, done, event, failure, outcome_of, request};

fn plain(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn every_2xx_is_delivered() {
    for status in [
        "200 OK",
        "201 Created",
        "202 Accepted",
        "203 X",
        "206 Partial",
        "226 IM Used",
        "299 Odd",
    ] {
        let (code, odd, body) = done(outcome_of(plain(status, "")).await);
        assert_eq!(
            (code.to_string().as_str(), odd, body.as_str()),
            (&status[..3], false, ""),
            "{status}"
        );
    }
    assert_eq!(
        done(outcome_of("HTTP/1.1 204 No Content\r\n\r\n").await),
        (204, false, String::new())
    );
}

#[tokio::test]
async fn a_2xx_with_a_body_that_is_no_event_is_delivered_and_remarked_on() {
    for status in ["200 OK", "201 Created", "202 Accepted"] {
        let (_, odd, body) = done(outcome_of(plain(status, "thanks")).await);
        assert_eq!((odd, body.as_str()), (true, "thanks"), "{status}");
    }
}

#[tokio::test]
async fn the_table_of_statuses_decides_whether_to_try_again() {
    for (status, verdict) in [
        ("404 Not Found", Verdict::Again),
        ("408 Request Timeout", Verdict::Again),
        ("409 Conflict", Verdict::Again),
        ("429 Too Many Requests", Verdict::Again),
        ("500 Internal Server Error", Verdict::Again),
        ("503 Service Unavailable", Verdict::Again),
        ("599", Verdict::Again),
        ("799", Verdict::Again),
        ("300 Multiple Choices", Verdict::Final),
        ("304 Not Modified", Verdict::Final),
        ("400 Bad Request", Verdict::Final),
        ("401 Unauthorized", Verdict::Final),
        ("403 Forbidden", Verdict::Final),
        ("410 Gone", Verdict::Final),
        ("415 Unsupported Media Type", Verdict::Final),
        ("418 I'm a teapot", Verdict::Final),
        ("422 Unprocessable Entity", Verdict::Final),
        ("499", Verdict::Final),
    ] {
        let answer = if status.starts_with("304") {
            format!("HTTP/1.1 {status}\r\n\r\n")
        } else {
            plain(status, "")
        };
        let failure = failure(outcome_of(answer).await);
        assert_eq!(failure.verdict, verdict, "{status}");
        assert_eq!(
            failure.status.map(|code| code.to_string()),
            Some(status[..3].to_owned())
        );
        assert_eq!(failure.reason, status);
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Server::once("").await;
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let location = elsewhere.url("/");
        let answer = format!("HTTP/1.1 {status}\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let failure = failure(outcome_of(answer).await);
        assert_eq!(
            (failure.verdict, failure.reason.as_str()),
            (Verdict::Final, status)
        );
    }
    assert_eq!(elsewhere.accepted(), 0);
}

#[tokio::test]
async fn switching_protocols_is_final() {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
    let failure = failure(outcome_of(answer).await);
    assert_eq!((failure.verdict, failure.status), (Verdict::Final, Some(101)));
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    for interim in ["100 Continue", "102 Processing", "103 Early Hints"] {
        let answer = format!("HTTP/1.1 {interim}\r\n\r\nHTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(done(outcome_of(answer).await).0, 202, "{interim}");
    }
}

#[tokio::test]
async fn a_failures_body_is_kept_up_to_a_kilobyte() {
    let long = "x".repeat(3_000);
    for (body, kept) in [
        ("", ""),
        ("no such order", "no such order"),
        (&long, &long[..BODY_KEPT]),
    ] {
        let failure = failure(outcome_of(plain("422 Unprocessable Entity", body)).await);
        assert_eq!(failure.body, kept.as_bytes());
    }
}

#[tokio::test]
async fn retry_after_is_heard_on_429_and_503_only_in_every_form() {
    let clock = Clock::manual(Timestamp(784_111_777_000));
    let connector = Connector::new(ConnectorOptions::default()).with_clock(clock);
    let seconds = Duration::from_secs;
    for (status, value, expected) in [
        ("429 Too Many Requests", "7", Some(seconds(7))),
        ("503 Service Unavailable", "0", Some(seconds(0))),
        (
            "503 Service Unavailable",
            "Sun, 06 Nov 1994 08:50:37 GMT",
            Some(seconds(60)),
        ),
        (
            "503 Service Unavailable",
            "Sunday, 06-Nov-94 08:50:37 GMT",
            Some(seconds(60)),
        ),
        (
            "503 Service Unavailable",
            "Sun Nov  6 08:50:37 1994",
            Some(seconds(60)),
        ),
        (
            "503 Service Unavailable",
            "Sun, 06 Nov 1994 08:48:37 GMT",
            Some(seconds(0)),
        ),
        ("503 Service Unavailable", "after lunch", None),
        ("503 Service Unavailable", "-1", None),
        ("500 Internal Server Error", "7", None),
        ("404 Not Found", "7", None),
    ] {
        let server = Server::once(format!(
            "HTTP/1.1 {status}\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n"
        ))
        .await;
        let outcome = connector
            .slot()
            .attempt(&server.url("/"), &request(&event()))
            .await;
        assert_eq!(failure(outcome).retry_after, expected, "{status}: {value}");
    }
}
