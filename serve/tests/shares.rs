//! How peers share one listener's connections: a share is a guarantee and no ceiling, idle connections make
//! room, and a request in hand is never given up for another peer.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use millrace_serve::{Listener, ServeMetrics, ServeOptions, serve};
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

struct Served {
    address: SocketAddr,
    registry: Registry,
    /// Requests to `/wait` are answered as permits are added.
    gate: Arc<Semaphore>,
    /// Gets a permit when a request to `/wait` has arrived.
    arrived: Arc<Semaphore>,
}

async fn answer(
    request: Request<Incoming>,
    gate: Arc<Semaphore>,
    arrived: Arc<Semaphore>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/wait" {
        arrived.add_permits(1);
        gate.acquire().await.unwrap().forget();
    }
    Ok(Response::new(Full::from("done.")))
}

/// A listener that has room for so many connections.
fn start(max_connections: usize) -> Served {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address();
    let (gate, arrived) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let service = service_fn({
        let (gate, arrived) = (gate.clone(), arrived.clone());
        move |request| answer(request, gate.clone(), arrived.clone())
    });
    let mut registry = Registry::default();
    let metrics = ServeMetrics::new(&mut registry).listener("ingress");
    let options = ServeOptions {
        max_connections,
        ..ServeOptions::default()
    };
    tokio::spawn(serve(
        listener,
        options,
        metrics,
        service,
        CancellationToken::new(),
    ));
    Served {
        address,
        registry,
        gate,
        arrived,
    }
}

impl Served {
    /// A connection of the peer 127.0.0.`peer`.
    async fn connect(&self, peer: u8) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 0, 0, peer), 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    fn metric(&self, name: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
        line.and_then(|line| line.rsplit(' ').next())
            .unwrap()
            .parse()
            .unwrap()
    }

    async fn until(&self, name: &str, value: u64) {
        while self.metric(name) != value {
            tokio::task::yield_now().await;
        }
    }
}

async fn ask(stream: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
}

/// Reads one answer; `None` when the connection was closed before it.
async fn answered(stream: &mut TcpStream) -> Option<String> {
    let mut answer = Vec::new();
    while !answer.ends_with(b"done.") {
        answer.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(answer).unwrap())
}

async fn get(stream: &mut TcpStream) -> Option<String> {
    ask(stream, "/").await;
    answered(stream).await
}

#[tokio::test]
async fn idle_connections_of_the_peer_that_has_the_most_make_room_for_others() {
    let served = start(4);
    let mut crowd = Vec::new();
    for _ in 0..3 {
        let mut stream = served.connect(2).await;
        assert!(get(&mut stream).await.is_some());
        crowd.push(stream);
    }
    let mut quiet = served.connect(3).await;
    assert!(get(&mut quiet).await.is_some());
    for _ in 0..2 {
        let mut other = served.connect(4).await;
        assert!(get(&mut other).await.is_some());
        // Everyone who has a connection so far keeps it: only the crowd makes room.
        assert!(get(&mut quiet).await.is_some());
        drop(other);
    }
    assert!(served.metric("millrace_http_connections_made_room_total") >= 1);
    let mut closed = 0;
    for mut stream in crowd {
        closed += u8::from(get(&mut stream).await.is_none());
    }
    assert!((1..=2).contains(&closed), "{closed}");
}

#[tokio::test]
async fn silent_connections_without_number_keep_nobody_out() {
    let served = start(8);
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(served.connect(2).await);
    }
    for peer in 3..8 {
        assert!(get(&mut served.connect(peer).await).await.is_some(), "{peer}");
    }
}

#[tokio::test]
async fn a_request_in_hand_is_answered_before_its_connection_makes_room() {
    let served = start(2);
    let mut busy = [served.connect(2).await, served.connect(2).await];
    for stream in &mut busy {
        ask(stream, "/wait").await;
        served.arrived.acquire().await.unwrap().forget();
    }
    let mut other = served.connect(3).await;
    ask(&mut other, "/").await;
    served.until("millrace_http_connections_waiting", 1).await;
    served.gate.add_permits(2);
    let mut ended = 0;
    for stream in &mut busy {
        let answer = answered(stream).await.unwrap();
        ended += usize::from(answer.contains("connection: close"));
    }
    assert!(answered(&mut other).await.is_some());
    assert!(ended <= 1, "one place was wanted");
    assert_eq!(served.metric("millrace_http_connections_turned_away_total"), 0);
}

#[tokio::test]
async fn who_is_alone_has_all_connections_and_loses_none_at_work() {
    let served = start(16);
    let mut mesh = Vec::new();
    for _ in 0..16 {
        let mut stream = served.connect(2).await;
        assert!(get(&mut stream).await.is_some());
        mesh.push(stream);
    }
    assert_eq!(served.metric("millrace_http_connections"), 16);
    for _ in 0..3 {
        for stream in &mut mesh {
            assert!(get(stream).await.is_some());
        }
    }
    assert_eq!(served.metric("millrace_http_connections_made_room_total"), 0);
}

#[tokio::test]
async fn beyond_the_waiting_room_a_crowd_is_turned_away_in_words() {
    let served = start(1);
    let mut busy = served.connect(2).await;
    ask(&mut busy, "/wait").await;
    served.arrived.acquire().await.unwrap().forget();
    // It waits, and after a second it is turned away: nobody behind it could be seen.
    let mut waiting = served.connect(2).await;
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 1"), "{answer}");
    served.gate.add_permits(1);
    assert!(answered(&mut busy).await.is_some());
}
