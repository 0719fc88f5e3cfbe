//! One connection from its accept to its end: hyper drives HTTP, this folder drives hyper, watches the clock
//! and closes so that the client sees the last answer.
//!
//! The files follow a connection: its TLS handshake, if the address asks for one ([`handshake`]), which
//! protocol it speaks (here; [`streams`] keeps those of HTTP/2 within bounds), and its end ([`close`]).

mod close;
mod handshake;
mod streams;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::header::{AUTHORIZATION, Entry, HeaderName};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ServeOptions;
use crate::body;
use crate::certificate::ClientCertificate;
use crate::metrics::ListenerMetrics;
use crate::peer::Peer;
use crate::progress::{Answer, Expired, Progress, Socket};
use crate::table::Arrived;
use handshake::Secured;
pub(crate) use streams::{Extra, TaskStarter};
use streams::{Streams, Tasks};

/// What all connections of a listener share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: ServeOptions,
    pub(crate) protocol: http1::Builder,
    pub(crate) metrics: ListenerMetrics,
    pub(crate) drain: Drain,
    /// Requests in hand beyond one of each HTTP/2 connection.
    pub(crate) extra: Extra,
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
    /// Its client cancels nearly everything that it asks for.
    Abused,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
struct Client {
    peer: Peer,
    /// Whether each of its requests has to tell that.
    is_named: bool,
    certificate: Option<ClientCertificate>,
}

/// Headers by which clients prove who they are. `Debug` does not show what is marked so.
static SHOWN: [HeaderName; 2] = [AUTHORIZATION, HeaderName::from_static("x-gitlab-token")];

/// Far enough for "no deadline": a timer that fires for nothing costs one look.
const FAR: Duration = Duration::from_secs(600);

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

// === impl Client ===

impl Client {
    /// Tells the service who calls, as far as it needs to know. The map of extensions costs an allocation, so
    /// that most requests get none: small bodies need no share, and most are small.
    fn introduce(&self, request: &mut Request<Incoming>) {
        for name in &SHOWN {
            if let Entry::Occupied(mut shown) = request.headers_mut().entry(name) {
                shown.iter_mut().for_each(|value| value.set_sensitive(true));
            }
        }
        if self.is_named || body::is_large(request.body()) {
            request.extensions_mut().insert(self.peer);
        }
        if let Some(certificate) = &self.certificate {
            request.extensions_mut().insert(certificate.clone());
        }
    }
}

/// Serves one connection until it ends. Never fails: what goes wrong with one client is its own affair.
pub(crate) async fn run<S, B>(arrived: Arrived, progress: Arc<Progress>, service: S, shared: Arc<Shared>)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (peer, is_named) = (arrived.peer, shared.options.names_peers);
    let socket = Socket::new(arrived.stream, progress.clone());
    let Some(tls) = arrived.tls else {
        let client = Client {
            peer,
            is_named,
            certificate: None,
        };
        let (socket, end) = http1(socket, client, &progress, service, &shared).await;
        return close::close(socket.into_inner(), end, &progress, &shared).await;
    };
    // Boxed, so that plain connections do not carry the room for it.
    Box::pin(async move {
        let Some(secured) = handshake::shake(&tls, socket, &progress, &shared).await else {
            return;
        };
        let Secured {
            stream,
            certificate,
            is_http2,
        } = secured;
        let client = Client {
            peer,
            is_named,
            certificate,
        };
        if is_http2 {
            return http2(stream, client, progress, service, shared).await;
        }
        let (stream, end) = http1(stream, client, &progress, service, &shared).await;
        close::close(stream, end, &progress, &shared).await;
    })
    .await;
}

/// Serves HTTP/1.1: one request after the other.
async fn http1<T, S, B>(
    io: T,
    client: Client,
    progress: &Arc<Progress>,
    service: S,
    shared: &Shared,
) -> (T, End)
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let seen = progress.clone();
    let watched = service_fn(move |mut request: Request<Incoming>| {
        seen.busy();
        client.introduce(&mut request);
        let answer = service.call(request);
        let progress = seen.clone();
        async move { Ok::<_, S::Error>(answer.await?.map(|body| Answer::new(body, progress))) }
    });
    let mut connection = shared.protocol.serve_connection(TokioIo::new(io), watched);
    let end = drive(&mut connection, progress, shared).await;
    (connection.into_parts().io.into_inner(), end)
}

/// Serves HTTP/2: several requests at a time, within the bounds of [`Streams`].
async fn http2<T, S, B>(io: T, client: Client, progress: Arc<Progress>, service: S, shared: Arc<Shared>)
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let streams = Streams::begin(progress.clone(), shared.clone());
    let watched = service_fn(move |mut request: Request<Incoming>| {
        let taken = streams.take(&request);
        let called = taken.map(|stream| {
            client.introduce(&mut request);
            (stream, service.call(request))
        });
        async move {
            match called {
                Ok((stream, answer)) => Ok::<_, S::Error>(stream.answer(answer.await?)),
                Err(status) => Ok(streams::refusal(status)),
            }
        }
    });
    let tasks = Tasks::default();
    let protocol = shared.options.http2(tasks.starter());
    let mut connection = protocol.serve_connection(TokioIo::new(io), watched);
    let end = drive(&mut connection, &progress, &shared).await;
    close::note(&end, &shared);
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
        if progress.is_abused() {
            return Poll::Ready(End::Abused);
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

impl<I, B, S> Drainable for http2::Connection<I, S, TaskStarter>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    TaskStarter: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn drain(&mut self) {
        Pin::new(self).graceful_shutdown();
    }
}
