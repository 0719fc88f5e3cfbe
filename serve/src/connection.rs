//! One connection from its accept to its end: hyper drives HTTP, this file drives hyper, watches the clock
//! and closes so that the client sees the last answer.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::ServeOptions;
use crate::body;
use crate::metrics::ListenerMetrics;
use crate::peer::Peer;
use crate::progress::{Answer, Expired, Progress, Socket};

/// What all connections of a listener share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: ServeOptions,
    pub(crate) protocol: http1::Builder,
    pub(crate) metrics: ListenerMetrics,
    pub(crate) drain: Drain,
}

/// The listener's wish that connections end. The flag is what a connection looks at in every step (one load),
/// the token is what wakes it; the flag is set first.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    begun: AtomicBool,
    token: CancellationToken,
}

/// How driving a connection ended.
enum End {
    Finished(hyper::Result<()>),
    Expired(Expired),
    /// It was idle, and another connection gets its place.
    Left,
}

/// Far enough for "no deadline": a timer that fires for nothing costs one look.
const FAR: Duration = Duration::from_secs(600);

/// What a client gets that did not finish its header in time; hyper says nothing in that case.
const SLOW_HEADER: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

// === impl Drain ===

impl Drain {
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.token.cancel();
    }

    fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }
}

/// Serves one connection until it ends. Never fails: what goes wrong with one client is its own affair.
pub(crate) async fn run<S, B>(
    stream: TcpStream,
    peer: Peer,
    progress: Arc<Progress>,
    service: S,
    shared: Arc<Shared>,
) where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let io = TokioIo::new(Socket::new(stream, progress.clone()));
    let seen = progress.clone();
    let watched = service_fn(move |mut request: Request<Incoming>| {
        seen.busy();
        // Small bodies need no share, and most are small: the map of extensions costs an allocation.
        if body::is_large(request.body()) {
            request.extensions_mut().insert(peer);
        }
        let answer = service.call(request);
        let progress = seen.clone();
        async move { Ok::<_, S::Error>(answer.await?.map(|body| Answer::new(body, progress))) }
    });
    let mut connection = shared.protocol.serve_connection(io, watched);
    let end = drive(&mut connection, &progress, &shared).await;
    let stream = connection.into_parts().io.into_inner().into_inner();
    close(stream, end, &progress, &shared).await;
}

/// Polls hyper until it is done, a deadline passes or, once the listener drains, its request in hand is
/// answered.
async fn drive<C>(connection: &mut C, progress: &Progress, shared: &Shared) -> End
where
    C: Drainable + Future<Output = hyper::Result<()>> + Unpin,
{
    let mut woken_to_drain = pin!(shared.drain.token.cancelled());
    let mut woken_to_leave = pin!(progress.asked());
    let mut watchdog = pin!(tokio::time::sleep(shared.options.header_read_timeout));
    let mut told = false;
    let mut listening = false;
    poll_fn(|cx| {
        if !told && shared.drain.has_begun() {
            told = true;
            connection.drain();
        }
        if let Poll::Ready(outcome) = Pin::new(&mut *connection).poll(cx) {
            return Poll::Ready(End::Finished(outcome));
        }
        // Polled once, to leave the waker there: polling it again takes a lock that all connections share.
        if !listening {
            listening = true;
            let drains = woken_to_drain.as_mut().poll(cx).is_ready();
            if woken_to_leave.as_mut().poll(cx).is_ready() || drains {
                cx.waker().wake_by_ref();
            }
        }
        if progress.is_leaving() && !told {
            if !progress.is_busy() {
                return Poll::Ready(End::Left);
            }
            told = true;
            connection.drain();
        }
        let deadline = progress.deadline(&shared.options);
        // Only ever moved nearer here; one that turns out too near is moved when it fires, so that a busy
        // connection touches its timer about once in an idle timeout and not with each request.
        if let Some(nearer) = deadline.filter(|at| *at < watchdog.deadline()) {
            watchdog.as_mut().reset(nearer);
        }
        while watchdog.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            match deadline {
                Some(at) if at <= now => return Poll::Ready(End::Expired(progress.expired())),
                Some(at) => watchdog.as_mut().reset(at),
                None => watchdog.as_mut().reset(now + FAR),
            }
        }
        Poll::Pending
    })
    .await
}

/// Closes so that what was answered arrives: a socket closed with unread bytes in it resets the connection,
/// and a reset takes the answer away from a client that is still sending. So what still comes is read for a
/// moment.
async fn close(mut stream: TcpStream, end: End, progress: &Progress, shared: &Shared) {
    match end {
        End::Finished(Ok(())) => {}
        // It was idle: its last answer has long arrived.
        End::Left => return,
        End::Finished(Err(error)) => debug!(%error, "connection ended with an error"),
        End::Expired(expired) => {
            shared.metrics.expired(expired);
            debug!(?expired, "connection ended by its deadline");
            if expired != Expired::Header {
                return;
            }
            // What does not fit into the empty send buffer of a client that sends slowly is not worth waiting
            // for.
            let _ = stream.try_write(SLOW_HEADER);
            let _ = stream.shutdown().await;
        }
    }
    if progress.ended() || shared.drain.has_begun() {
        return;
    }
    let _ = tokio::time::timeout(shared.options.linger, async {
        let mut waste = vec![0; 16 * 1024];
        while matches!(stream.read(&mut waste).await, Ok(read) if read > 0) {}
    })
    .await;
}

/// hyper's connection as far as [`drive`] needs it, without its type parameters.
trait Drainable {
    fn drain(&mut self);
}

impl<I, B, S> Drainable for http1::Connection<I, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn drain(&mut self) {
        Pin::new(self).graceful_shutdown();
    }
}
