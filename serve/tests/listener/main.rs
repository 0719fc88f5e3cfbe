//! What a listener promises its clients, seen from raw sockets: a slow, hostile or unlucky client gets an
//! answer where there is one, costs a bounded amount, and affects no other client.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod shutdown;
mod slow_clients;

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
