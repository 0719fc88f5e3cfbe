//! The yardstick: a server that answers 202 at once and forwards what came through 64 workers. It keeps
//! nothing, checks nothing and filters nothing, so no broker that does can be expected to be faster.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use crate::options::Forward;
use crate::queue::Queue;

/// Workers, and so deliveries in flight.
const WORKERS: usize = 64;

/// What may wait between server and workers.
const WAITING: usize = 1024;

struct Job {
    headers: HeaderMap,
    body: Bytes,
}

/// Serves until it is killed. The first line on stdout says where.
pub(crate) fn run(forward: &Forward) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(forward.target, forward.pooled))
}

async fn serve(target: SocketAddr, pooled: bool) -> anyhow::Result<()> {
    let queue = Arc::new(Queue::new(WAITING));
    let pool = Client::builder(TokioExecutor::new()).build_http();
    for _ in 0..WORKERS {
        if pooled {
            tokio::spawn(work_pooled(queue.clone(), pool.clone(), target));
        } else {
            tokio::spawn(work_own(queue.clone(), target));
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!(
        "{}",
        serde_json::json!({ "ready": true, "listen": listener.local_addr()?.to_string() })
    );
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let queue = queue.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| accept(queue.clone(), request));
            // A client that goes away is no failure.
            let _ = server::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Takes a request in, and answers before anything is forwarded.
async fn accept(
    queue: Arc<Queue<Job>>,
    request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::ACCEPTED;
    match body.collect().await {
        Ok(body) => {
            queue
                .push(Job {
                    headers: head.headers,
                    body: body.to_bytes(),
                })
                .await
        }
        Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    Ok(response)
}

async fn work_pooled(queue: Arc<Queue<Job>>, pool: Client<HttpConnector, Full<Bytes>>, target: SocketAddr) {
    loop {
        let job = queue.pop().await;
        let uri = format!("http://{target}/0");
        let answer = request(job, &uri, None).map(|request| pool.request(request));
        match answer {
            Ok(answer) => match answer.await {
                // Read to its end, so that the connection goes back to the pool.
                Ok(answer) => drop(answer.into_body().collect().await),
                Err(error) => eprintln!("forwarder: {error}"),
            },
            Err(error) => eprintln!("forwarder: {error:#}"),
        }
    }
}

async fn work_own(queue: Arc<Queue<Job>>, target: SocketAddr) {
    let host = HeaderValue::from_str(&target.to_string()).expect("invariant: an address is a header value");
    let mut connection = None;
    loop {
        let job = queue.pop().await;
        if let Err(error) = send(&mut connection, job, target, &host).await {
            eprintln!("forwarder: {error:#}");
            connection = None;
        }
    }
}

async fn send(
    connection: &mut Option<client::SendRequest<Full<Bytes>>>,
    job: Job,
    target: SocketAddr,
    host: &HeaderValue,
) -> anyhow::Result<()> {
    if connection.is_none() {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = client::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        *connection = Some(sender);
    }
    let sender = connection.as_mut().context("invariant: just connected")?;
    sender.ready().await?;
    let answer = sender.send_request(request(job, "/0", Some(host))?).await?;
    answer.into_body().collect().await?;
    Ok(())
}

/// What is forwarded: the event's headers and its body, as they came.
fn request(job: Job, uri: &str, host: Option<&HeaderValue>) -> anyhow::Result<Request<Full<Bytes>>> {
    let mut request = Request::post(uri).body(Full::new(job.body))?;
    for (name, value) in &job.headers {
        if name == CONTENT_TYPE || name.as_str().starts_with("ce-") {
            request.headers_mut().insert(name, value.clone());
        }
    }
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host.clone());
    }
    Ok(request)
}
