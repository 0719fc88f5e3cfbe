//! Hostile subscribers: some never answer, some never finish their answer, and some never accept a
//! connection.

use std::net::{SocketAddr, TcpListener as Listener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The largest data of an answer.
const LARGEST: usize = 1 << 20;

/// How a subscriber behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Takes every event.
    Takes,
    /// Reads every event and never answers.
    Hangs,
    /// Answers with an event of the largest size and holds the last byte back.
    Stalls,
    /// Never accepts the connections that the system completes for it.
    Silent,
}

/// A subscriber of the hostile tenant. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Subscriber {
    address: SocketAddr,
    received: Arc<AtomicU64>,
    _kept: Kept,
}

/// What lives as long as the subscriber does.
#[derive(Debug)]
#[expect(dead_code, reason = "held, and ended by being dropped")]
enum Kept {
    Listener(Listener),
    Serving(JoinSet<()>),
}

// === impl Subscriber ===

impl Subscriber {
    /// A subscriber on a free port of this machine.
    pub(super) fn start(manner: Manner) -> anyhow::Result<Self> {
        let listener = Listener::bind("127.0.0.1:0")?;
        let (address, received) = (listener.local_addr()?, Arc::new(AtomicU64::new(0)));
        let kept = if manner == Manner::Silent {
            Kept::Listener(listener)
        } else {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            let mut serving = JoinSet::new();
            serving.spawn(accept(listener, manner, received.clone()));
            Kept::Serving(serving)
        };
        Ok(Self {
            address,
            received,
            _kept: kept,
        })
    }

    /// Its URL.
    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// How many complete events have come.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, manner: Manner, received: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        while connections.try_join_next().is_some() {}
        let received = received.clone();
        connections.spawn(async move {
            let service = service_fn(|request| answer(request, manner, &received));
            // A sender that goes away is not a failure of the subscriber.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    manner: Manner,
    received: &AtomicU64,
) -> anyhow::Result<Response<UnsyncBoxBody<Bytes, std::io::Error>>> {
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    received.fetch_add(1, Ordering::Relaxed);
    match manner {
        Manner::Takes => Ok(Response::builder().status(202).body(nothing())?),
        Manner::Hangs | Manner::Silent => std::future::pending().await,
        Manner::Stalls => Ok(Response::builder()
            .header("ce-specversion", "1.0")
            .header("ce-id", "stalled")
            .header("ce-source", "/hostile")
            .header("ce-type", "stalled")
            .header("content-type", "text/plain")
            .header("content-length", LARGEST)
            .body(all_but_one())?),
    }
}

fn nothing() -> UnsyncBoxBody<Bytes, std::io::Error> {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// One byte less than announced, without an end.
fn all_but_one() -> UnsyncBoxBody<Bytes, std::io::Error> {
    let most = Bytes::from(vec![b'.'; LARGEST - 1]);
    let frames = stream::iter([Ok(Frame::data(most))]).chain(stream::pending());
    StreamBody::new(frames).boxed_unsync()
}
