//! What stands on the wire.

use std::collections::BTreeMap;

use millrace_delivery::{Request, dead_letter};
use millrace_event::http::Outgoing;
use millrace_event::{DataForm, Event, SpecVersion};
use millrace_model::Format;

use crate::server::{OK, Server, answers, done, event, request, slot};

struct Sent {
    line: String,
    headers: BTreeMap<String, String>,
    body: String,
}

/// Delivers once and gives what the server read; `change` alters the request that a dispatcher would make.
async fn sent(path: &str, event: &Event, change: impl FnOnce(&mut Request<'_>)) -> Sent {
    let mut server = Server::start(vec![answers(&[OK])]).await;
    let uri = server.url(path);
    let mut made = request(event);
    change(&mut made);
    assert_eq!(done(slot().attempt(&uri, &made).await).0, 202);
    let text = server.request().await;
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let (line, lines) = head.split_once("\r\n").expect("headers");
    let mut headers = BTreeMap::new();
    for (name, value) in lines.split("\r\n").filter_map(|line| line.split_once(": ")) {
        assert_eq!(
            headers.insert(name.to_owned(), value.to_owned()),
            None,
            "{name} is there twice"
        );
    }
    if let Some(host) = headers.get_mut("host") {
        *host = host.replace(&server.address.to_string(), "HOST");
    }
    Sent {
        line: line.to_owned(),
        headers,
        body: body.to_owned(),
    }
}

fn headers(expected: &[(&str, &str)]) -> BTreeMap<String, String> {
    expected
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

const AGENT: &str = concat!("millrace/", env!("CARGO_PKG_VERSION"));

#[tokio::test]
async fn a_binary_delivery_carries_exactly_these_headers() {
    let sent = sent("/ship?express=1", &event(), |_| {}).await;
    assert_eq!(sent.line, "POST /ship?express=1 HTTP/1.1");
    let expected = [
        ("accept-encoding", "identity"),
        ("ce-id", "a-1"),
        ("ce-source", "/shop/orders"),
        ("ce-specversion", "1.0"),
        ("ce-type", "order.paid"),
        ("content-length", "11"),
        ("content-type", "application/json"),
        ("host", "HOST"),
        ("kn-namespace", "shop"),
        ("prefer", "reply"),
        ("user-agent", AGENT),
    ];
    assert_eq!(sent.headers, headers(&expected));
    assert_eq!(sent.body, r#"{"total":7}"#);
}

#[tokio::test]
async fn a_structured_delivery_carries_everything_in_its_body() {
    let sent = sent("", &event(), |request| request.format = Format::Json).await;
    assert_eq!(sent.line, "POST / HTTP/1.1");
    let length = sent.body.len().to_string();
    let expected = [
        ("accept-encoding", "identity"),
        ("content-length", length.as_str()),
        ("content-type", "application/cloudevents+json; charset=utf-8"),
        ("host", "HOST"),
        ("kn-namespace", "shop"),
        ("prefer", "reply"),
        ("user-agent", AGENT),
    ];
    assert_eq!(sent.headers, headers(&expected));
    assert!(
        sent.body.contains(r#""id":"A-1""#) && sent.body.contains(r#""data""#),
        "{}",
        sent.body
    );
}

#[tokio::test]
async fn a_reply_is_asked_for_only_where_it_is_wanted() {
    let sent = sent("/dead", &event(), |request| request.wants_reply = false).await;
    assert_eq!(sent.headers.get("prefer"), None);
}

#[tokio::test]
async fn an_event_without_data_goes_out_binary_with_an_empty_body() {
    let bare = Event::builder(SpecVersion::V10)
        .attribute("id", "1")
        .attribute("source", "/s")
        .attribute("type", "t")
        .build()
        .expect("a valid event");
    let without = sent("/", &bare, |_| {}).await;
    assert_eq!(
        (
            without.headers.get("content-type"),
            without.headers["content-length"].as_str()
        ),
        (None, "0")
    );
    let typed = bare
        .edit()
        .attribute("datacontenttype", "text/plain")
        .build()
        .expect("a valid event");
    let with = sent("/", &typed, |_| {}).await;
    assert_eq!(
        (
            with.headers["content-type"].as_str(),
            with.headers["content-length"].as_str()
        ),
        ("text/plain", "0")
    );
}

#[tokio::test]
async fn headers_that_came_with_the_event_are_passed_on_in_both_modes() {
    let traced = event()
        .edit()
        .header("traceparent", b"00-1-2-01")
        .header("tracestate", b"a=b")
        .build()
        .expect("valid");
    for format in [Format::Binary, Format::Json] {
        let sent = sent("/", &traced, |request| request.format = format).await;
        assert_eq!(sent.headers["traceparent"], "00-1-2-01", "{format:?}");
        assert_eq!(sent.headers["tracestate"], "a=b", "{format:?}");
    }
}

#[tokio::test]
async fn no_header_of_an_event_stands_in_for_ours() {
    let spoofed = event()
        .edit()
        .header("kn-namespace", b"other")
        .header("host", b"other")
        .build()
        .expect("valid");
    for format in [Format::Binary, Format::Json] {
        let sent = sent("/", &spoofed, |request| request.format = format).await;
        assert_eq!(
            (
                sent.headers["kn-namespace"].as_str(),
                sent.headers["host"].as_str()
            ),
            ("shop", "HOST")
        );
    }
}

#[tokio::test]
async fn a_dead_letter_carries_its_three_attributes() {
    let attributes = dead_letter::attributes("http://127.0.0.1:9001/ship", Some(503), b"full");
    let extra = attributes.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut server = Server::start(vec![answers(&[OK])]).await;
    let (uri, event) = (server.url("/dead"), event());
    let outgoing = Outgoing {
        extra: &extra,
        ttl: None,
    };
    let outcome = slot()
        .attempt(
            &uri,
            &Request {
                outgoing,
                wants_reply: false,
                ..request(&event)
            },
        )
        .await;
    assert_eq!(done(outcome).0, 202);
    let text = server.request().await;
    for line in [
        "ce-knativeerrordest: http://127.0.0.1:9001/ship\r\n",
        "ce-knativeerrorcode: 503\r\n",
        "ce-knativeerrordata: znvsba==\r\n",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
}

#[tokio::test]
async fn a_megabyte_goes_out_whole() {
    let body = vec![b'm'; 1 << 20];
    let large = Event::builder(SpecVersion::V10)
        .attribute("id", "1")
        .attribute("source", "/s")
        .attribute("type", "t")
        .data(DataForm::Bytes, &body)
        .build()
        .expect("a valid event");
    let sent = sent("/", &large, |_| {}).await;
    assert!(sent.body.as_bytes() == body, "{} bytes", sent.body.len());
}

#[tokio::test]
async fn the_second_request_on_a_connection_carries_nothing_of_the_first() {
    let mut server = Server::start(vec![answers(&[
        "HTTP/1.1 200 OK\r\nx-left: over\r\ncontent-length: 0\r\n\r\n",
        OK,
    ])])
    .await;
    let uri = server.url("/");
    let first = event().edit().attribute("extension", "1").build().expect("valid");
    let (second, mut slot) = (event(), slot());
    slot.attempt(&uri, &request(&first)).await;
    slot.attempt(
        &uri,
        &Request {
            wants_reply: false,
            ..request(&second)
        },
    )
    .await;
    assert!(server.request().await.contains("ce-extension: 1"));
    let text = server.request().await;
    for name in ["ce-extension", "x-left", "prefer"] {
        assert!(!text.contains(name), "{name} in {text}");
    }
}
