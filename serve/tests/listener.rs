//! What a listener promises its clients, seen from raw sockets: a slow, hostile or unlucky client gets an
//! answer where there is one, costs a bounded amount, and affects no other client.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use millrace_serve::{Drained, Listener, ListenerMetrics, ServeOptions, empty, read_body, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What the test service reads of a body.
const LIMIT: usize = 1000;

struct Served {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<Drained>,
    /// Requests to `/wait` are answered as permits are added.
    gate: Arc<Semaphore>,
    /// Gets a permit when a request to `/wait` has arrived.
    arrived: Arc<Semaphore>,
}

/// More than the buffers of two sockets take.
const LARGE: usize = 64 << 20;

/// A large answer that gives a permit when nobody holds it any more.
struct Large(Vec<u8>, Arc<Semaphore>);

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        self.1.add_permits(1);
    }
}

async fn answer(
    request: Request<Incoming>,
    gate: Arc<Semaphore>,
    arrived: Arc<Semaphore>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(match request.uri().path() {
        "/echo" => match read_body(request.into_body(), LIMIT, Duration::from_secs(30)).await {
            Ok(body) => Response::new(Full::new(body)),
            Err(error) => error.problem().into_response(),
        },
        "/slow-body" => match read_body(request.into_body(), LIMIT, Duration::from_millis(20)).await {
            Ok(body) => Response::new(Full::new(body)),
            Err(error) => error.problem().into_response(),
        },
        "/wait" => {
            arrived.add_permits(1);
            gate.acquire().await.unwrap().forget();
            Response::new(Full::from("waited"))
        }
        "/large" => Response::new(Full::new(Bytes::from_owner(Large(vec![0; LARGE], arrived)))),
        "/panic" => panic!("asked to"),
        _ => empty(StatusCode::NOT_FOUND),
    })
}

fn start(options: ServeOptions) -> Served {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address();
    let shutdown = CancellationToken::new();
    let (gate, arrived) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let service = service_fn({
        let (gate, arrived) = (gate.clone(), arrived.clone());
        move |request| answer(request, gate.clone(), arrived.clone())
    });
    let task = tokio::spawn(serve(
        listener,
        options,
        ListenerMetrics::default(),
        service,
        shutdown.clone(),
    ));
    Served {
        address,
        shutdown,
        task,
        gate,
        arrived,
    }
}

/// Sends and reads until the listener closes.
async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    rest(&mut stream).await
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Reads until what was read ends with `end`.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(end.as_bytes()) {
        let byte = stream.read_u8().await;
        answer.push(byte.unwrap_or_else(|_| panic!("closed after {:?}", String::from_utf8_lossy(&answer))));
    }
    String::from_utf8(answer).unwrap()
}

fn post(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

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
async fn a_header_that_does_not_end_gets_408_and_silence_gets_nothing() {
    let options = ServeOptions {
        header_read_timeout: Duration::from_millis(50),
        ..ServeOptions::default()
    };
    let served = start(options);
    let answer = exchange(served.address, b"POST /echo HTTP/1.1\r\nhost: x\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(exchange(served.address, b"").await, "");
    // Also the second header of a connection, whose idle timeout is far away.
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(post("/echo", "", "x").as_bytes()).await.unwrap();
    until(&mut stream, "\r\n\r\nx").await;
    stream.write_all(b"POST").await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 408 "));
}

#[tokio::test]
async fn a_service_may_take_longer_than_the_header_timeout() {
    let options = ServeOptions {
        header_read_timeout: Duration::from_millis(20),
        idle_timeout: Duration::from_millis(20),
        ..ServeOptions::default()
    };
    let served = start(options);
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream
        .write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    served.arrived.acquire().await.unwrap().forget();
    // Connections that say nothing show that the time has passed.
    for _ in 0..3 {
        assert_eq!(exchange(served.address, b"").await, "");
    }
    served.gate.add_permits(1);
    assert!(rest(&mut stream).await.ends_with("waited"));
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let options = ServeOptions {
        idle_timeout: Duration::from_millis(30),
        ..ServeOptions::default()
    };
    let served = start(options);
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(post("/echo", "", "x").as_bytes()).await.unwrap();
    until(&mut stream, "\r\n\r\nx").await;
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_let_go() {
    let served = start(ServeOptions {
        write_timeout: Duration::from_millis(30),
        ..ServeOptions::default()
    });
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream
        .write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    // The large answer tells when it is dropped.
    served.arrived.acquire().await.unwrap().forget();
    let mut taken = Vec::new();
    let _ = stream.read_to_end(&mut taken).await;
    assert!(taken.len() < LARGE, "the whole answer came");
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
async fn a_body_that_does_not_come_gets_408() {
    let served = start(ServeOptions::default());
    let request = "POST /slow-body HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab";
    let answer = exchange(served.address, request.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"body-timeout\""),
        "{answer}"
    );
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
async fn beyond_the_limit_connections_wait_until_one_ends() {
    let served = start(ServeOptions {
        max_connections: 1,
        ..ServeOptions::default()
    });
    let mut first = TcpStream::connect(served.address).await.unwrap();
    first
        .write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    served.arrived.acquire().await.unwrap().forget();
    let request = post("/echo", "connection: close\r\n", "second");
    let second = tokio::spawn({
        let address = served.address;
        async move { exchange(address, request.as_bytes()).await }
    });
    served.gate.add_permits(1);
    until(&mut first, "waited").await;
    drop(first);
    assert!(second.await.unwrap().ends_with("second"));
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
async fn shutdown_ends_idle_connections_and_finishes_requests_in_hand() {
    let served = start(ServeOptions::default());
    let mut idle = TcpStream::connect(served.address).await.unwrap();
    idle.write_all(post("/echo", "", "x").as_bytes()).await.unwrap();
    until(&mut idle, "\r\n\r\nx").await;
    let mut busy = TcpStream::connect(served.address).await.unwrap();
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    served.arrived.acquire().await.unwrap().forget();
    served.shutdown.cancel();
    assert_eq!(rest(&mut idle).await, "");
    assert!(
        TcpStream::connect(served.address).await.is_err(),
        "nobody listens any more"
    );
    served.gate.add_permits(1);
    let answer = rest(&mut busy).await;
    assert!(
        answer.ends_with("waited") && answer.contains("connection: close"),
        "{answer}"
    );
    assert_eq!(served.task.await.unwrap().aborted, 0);
}

#[tokio::test]
async fn requests_that_do_not_finish_are_cut_off_and_counted() {
    let served = start(ServeOptions {
        drain_timeout: Duration::from_millis(20),
        ..ServeOptions::default()
    });
    let mut busy = TcpStream::connect(served.address).await.unwrap();
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    served.arrived.acquire().await.unwrap().forget();
    served.shutdown.cancel();
    assert_eq!(
        served.task.await.unwrap(),
        Drained {
            finished: 0,
            aborted: 1
        }
    );
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
