//! What is answered, and what is no request: framing, refusals, and clients that end early.

use millrace_serve::{Listener, ListenerMetrics, ServeOptions, serve};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::{exchange, post, rest, start, until};

#[tokio::test]
async fn a_connection_serves_request_after_request_also_pipelined() {
    let served = start(ServeOptions::default());
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream
        .write_all(post("/echo", "", "one").as_bytes())
        .await
        .unwrap();
    until(&mut stream, "\r\n\r\none").await;
    let both = post("/echo", "", "two") + &post("/echo", "connection: close\r\n", "three");
    stream.write_all(both.as_bytes()).await.unwrap();
    let answers = rest(&mut stream).await;
    let two = answers.find("\r\n\r\ntwo").unwrap();
    assert!(answers[two..].ends_with("\r\n\r\nthree"), "{answers}");
}

#[tokio::test]
async fn what_is_no_http_or_too_much_of_it_is_answered_by_its_status() {
    let served = start(ServeOptions::default());
    let headers = |count: usize| (0..count).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    let large = format!("x: {}\r\n", "y".repeat(64 * 1024));
    let cases = [
        ("no HTTP", "hello\r\n\r\n".to_owned(), "400"),
        ("no version", "GET /\r\n\r\n".to_owned(), "400"),
        (
            "a bad header",
            "GET / HTTP/1.1\r\nb@d header: x\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "257 headers",
            format!("GET / HTTP/1.1\r\n{}\r\n", headers(257)),
            "431",
        ),
        (
            "256 headers",
            format!("GET / HTTP/1.1\r\nconnection: close\r\n{}\r\n", headers(255)),
            "404",
        ),
        (
            "64 KiB of headers",
            format!("GET / HTTP/1.1\r\n{large}\r\n"),
            "431",
        ),
        (
            "two lengths",
            "POST /echo HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd".to_owned(),
            "400",
        ),
        (
            "a list of lengths",
            "POST /echo HTTP/1.1\r\ncontent-length: 3, 3\r\n\r\nabc".to_owned(),
            "400",
        ),
        (
            "a signed length",
            "POST /echo HTTP/1.1\r\ncontent-length: +3\r\n\r\nabc".to_owned(),
            "400",
        ),
        (
            "an unknown transfer coding",
            "POST /echo HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\nabc".to_owned(),
            "400",
        ),
        (
            "chunked within HTTP/1.0",
            "POST /echo HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "a chunk without a size",
            "POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n".to_owned(),
            "400",
        ),
    ];
    for (name, request, status) in cases {
        let answer = exchange(served.address, request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{name}: {answer}"
        );
    }
}

#[tokio::test]
async fn what_follows_a_body_framed_in_two_ways_is_not_taken_for_a_request() {
    let served = start(ServeOptions::default());
    let smuggled = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 40\r\ntransfer-encoding: chunked\r\n\r\n\
                    0\r\n\r\nGET /echo HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = exchange(served.address, smuggled.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

#[tokio::test]
async fn a_client_that_has_closed_its_half_still_gets_the_answer() {
    let served = start(ServeOptions::default());
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream
        .write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    served.arrived.acquire().await.unwrap().forget();
    served.gate.add_permits(1);
    assert!(rest(&mut stream).await.ends_with("waited"));
}

#[tokio::test]
async fn a_client_that_ends_within_its_body_is_told_so() {
    let served = start(ServeOptions::default());
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream
        .write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("\"body-broken\""),
        "{answer}"
    );
}

#[tokio::test]
async fn a_client_still_sending_a_refused_body_sees_the_answer() {
    let served = start(ServeOptions::default());
    let known = format!("content-length: {}", 8 << 20);
    for (name, framing, chunk) in [
        ("known length", known.as_str(), "x".repeat(1 << 16)),
        (
            "chunked",
            "transfer-encoding: chunked",
            format!("10000\r\n{}\r\n", "x".repeat(1 << 16)),
        ),
    ] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let head = format!("POST /echo HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..64 {
            stream
                .write_all(chunk.as_bytes())
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{name}: {answer}");
        assert!(answer.contains("connection: close"), "{name}: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on_or_refused_at_once() {
    let served = start(ServeOptions::default());
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let head = "POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 100 "));
    stream.write_all(b"abc").await.unwrap();
    assert!(until(&mut stream, "abc").await.starts_with("HTTP/1.1 200 "));
    let head = "POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_only() {
    let served = start(ServeOptions::default());
    assert_eq!(
        exchange(served.address, b"GET /panic HTTP/1.1\r\nhost: x\r\n\r\n").await,
        ""
    );
    let answer = exchange(
        served.address,
        post("/echo", "connection: close\r\n", "on").as_bytes(),
    )
    .await;
    assert!(answer.ends_with("on"));
}

#[tokio::test]
async fn an_axum_router_is_served_by_the_same_loop() {
    let router = axum::Router::new().route("/", axum::routing::get(async || "hello"));
    let service = hyper_util::service::TowerToHyperService::new(router);
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address();
    let shutdown = CancellationToken::new();
    let metrics = ListenerMetrics::default();
    tokio::spawn(serve(
        listener,
        ServeOptions::default(),
        metrics,
        service,
        shutdown,
    ));
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert!(exchange(address, request).await.ends_with("hello"));
}
