//! The accept loop: takes connections within a bound, and lets those in hand finish when the process is to
//! end.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::connection::{self, Drain, Extra, Shared};
use crate::metrics::ListenerMetrics;
use crate::options::ServeOptions;
use crate::peer::Peer;
use crate::progress::Progress;
use crate::table::{LOOK_AGAIN, Table};
use crate::tls::Tls;

/// The bound addresses of one listener: plain, with TLS, or both. They share its bounds. Clients may connect
/// from now on; they are served once [`serve`] runs.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<Bound>,
}

/// One bound address.
#[derive(Debug)]
struct Bound {
    inner: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
}

/// Where a listener can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address with the port that was given.
    pub socket: SocketAddr,
    /// Whether it speaks TLS.
    pub is_tls: bool,
}

/// The address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// The address that was asked for.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

/// How the end of a listener went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were open when shutdown began and ended by themselves.
    pub finished: usize,
    /// Connections that were cut off after [`ServeOptions::drain_timeout`].
    pub aborted: usize,
}

/// Connections that the kernel completes and keeps for us while we are busy.
const BACKLOG: u32 = 4096;
/// How long to wait after an error that the next accept would only repeat (no file descriptors, no memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The answer to a client that does not even have room to wait.
const TURNED_AWAY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
content-length: 0\r\n\r\n";
/// At most one log line in that time about accept errors or the connection limit.
const LOG_EVERY: Duration = Duration::from_secs(60);

// === impl Listener ===

impl Listener {
    /// Binds and listens. Port 0 gives a free one, see [`Listener::address`]. Needs a running tokio.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        Self::open(address, None)
    }

    /// Binds both addresses, as far as they are given. `tls` secures the second.
    ///
    /// # Errors
    /// One of them cannot be listened on.
    pub fn bind_all(
        plain: Option<SocketAddr>,
        secured: Option<(SocketAddr, Arc<Tls>)>,
    ) -> Result<Self, BindError> {
        let mut all = Self { sockets: Vec::new() };
        if let Some(address) = plain {
            all.sockets.append(&mut Self::bind(address)?.sockets);
        }
        if let Some((address, tls)) = secured {
            all.sockets.append(&mut Self::open(address, Some(tls))?.sockets);
        }
        Ok(all)
    }

    fn open(address: SocketAddr, tls: Option<Arc<Tls>>) -> Result<Self, BindError> {
        let inner = listen(address).and_then(|inner| Ok((inner.local_addr()?, inner)));
        let (address, inner) = inner.map_err(|source| BindError { address, source })?;
        Ok(Self {
            sockets: vec![Bound { inner, address, tls }],
        })
    }

    /// The same listener, moved to the runtime of the caller: its threads then notice connections.
    ///
    /// # Errors
    /// The system cannot register the listener.
    pub fn moved_here(self) -> io::Result<Self> {
        let moved = self.sockets.into_iter().map(|bound| {
            let inner = TcpListener::from_std(bound.inner.into_std()?)?;
            Ok(Bound { inner, ..bound })
        });
        Ok(Self {
            sockets: moved.collect::<io::Result<_>>()?,
        })
    }

    /// Its first address, which is the plain one if it has both. One without addresses has none.
    pub fn address(&self) -> SocketAddr {
        let first = self.sockets.first();
        first.map_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)), |bound| bound.address)
    }

    /// Its addresses, the plain one first.
    pub fn addresses(&self) -> Vec<Address> {
        let sockets = self.sockets.iter();
        sockets
            .map(|bound| Address {
                socket: bound.address,
                is_tls: bound.tls.is_some(),
            })
            .collect()
    }

    /// The plain address, if it has one.
    pub fn plain(&self) -> Option<SocketAddr> {
        let mut sockets = self.sockets.iter();
        sockets
            .find(|bound| bound.tls.is_none())
            .map(|bound| bound.address)
    }

    /// The address with TLS, if it has one.
    pub fn secured(&self) -> Option<SocketAddr> {
        let mut sockets = self.sockets.iter();
        sockets
            .find(|bound| bound.tls.is_some())
            .map(|bound| bound.address)
    }

    /// The next connection. No address keeps another from being looked at: they take turns at being first.
    async fn accept(&self, turn: &mut usize) -> io::Result<(TcpStream, SocketAddr, Option<Arc<Tls>>)> {
        *turn = turn.wrapping_add(1);
        let first = *turn;
        poll_fn(|cx| {
            for nth in 0..self.sockets.len() {
                let bound = &self.sockets[first.wrapping_add(nth) % self.sockets.len()];
                if let Poll::Ready(accepted) = bound.inner.poll_accept(cx) {
                    return Poll::Ready(
                        accepted.map(|(stream, address)| (stream, address, bound.tls.clone())),
                    );
                }
            }
            Poll::Pending
        })
        .await
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // So that a restart does not wait for the connections of the process before it.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves `listener` until `shutdown`, then lets what is in hand finish.
///
/// # Flow
/// Each connection is one task; requests on it run in that task, one after the other. Those of HTTP/2,
/// which a client may choose behind TLS, run beside each other in tasks that end with the connection. On
/// shutdown the listener is closed, idle connections end, requests in hand are finished and answered with
/// `Connection: close`.
///
/// Once [`ServeOptions::max_connections`] are open, a few more connections are accepted to learn their
/// [`Peer`], and wait. Each free place goes to the peer that has the fewest. The peer that has the most
/// makes room for others: its idle connections are closed, the longest idle first. If too few are idle, one
/// of them for each waiting connection of another peer ends after its request in hand; a waiting one may
/// have to wait a second for that. A request in hand is never given up. When no more connections can wait,
/// those of the peer that has the most are turned away with 503: at once while that peer keeps idle
/// connections, otherwise after a second.
///
/// # Guarantees
/// Returns at most [`ServeOptions::drain_timeout`] after `shutdown`. A service is dropped in the middle of
/// a request only then, or when an HTTP/2 client resets the request or its connection. An error or a panic
/// in one connection touches no other.
///
/// # Caveats
/// A request that arrives on an idle connection at the moment of shutdown is not read; clients see the
/// connection closed without an answer and may repeat. hyper itself answers broken requests, with an empty
/// body: 400, 414, 431.
pub async fn serve<S, B>(
    listener: Listener,
    options: ServeOptions,
    metrics: ListenerMetrics,
    service: S,
    shutdown: CancellationToken,
) -> Drained
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let shared = Arc::new(Shared {
        options,
        protocol: options.http1(),
        metrics,
        drain: Drain::default(),
        extra: Extra::default(),
    });
    shared.metrics.limit.set(gauge(options.max_connections));
    let mut connections = JoinSet::new();
    let mut table = Table::new(options.max_connections);
    let mut said = LastLogged::default();
    let mut turn = 0;
    loop {
        while let Some(next) = table.next() {
            let progress = Arc::new(Progress::new());
            let peer = next.peer;
            let connection = connection::run(next, progress.clone(), service.clone(), shared.clone());
            shared.metrics.connections.inc();
            table.opened(connections.spawn(connection).id(), peer, progress);
        }
        if table.waiting() > 0 {
            make_room(&mut table, &shared.metrics);
            if said.may() {
                let limit = options.max_connections;
                warn!(
                    limit,
                    "there are as many connections as there may be; more wait until one ends"
                );
            }
        }
        shared.metrics.waiting.set(gauge(table.waiting()));
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = connections.join_next_with_id() => note(ended, &mut table, &shared.metrics),
            accepted = listener.accept(&mut turn), if table.has_room_to_wait() => match accepted {
                Ok((stream, address, tls)) => {
                    prepare(&stream, &shared.metrics);
                    table.wait(stream, Peer::of(address.ip()), tls);
                }
                Err(error) => {
                    shared.metrics.accept_errors.inc();
                    pause_after(&error, &mut said, &shutdown).await;
                }
            },
            () = tokio::time::sleep(LOOK_AGAIN), if table.waiting() > 0 => {}
        }
    }
    drop(listener);
    drain(connections, table, &shared).await
}

/// Asks connections to leave for those that wait, and turns away clients for which there is no room to wait.
fn make_room(table: &mut Table, metrics: &ListenerMetrics) {
    metrics.made_room.inc_by(table.make_room() as u64);
    for waiting in table.turned_away() {
        metrics.turned_away.inc();
        // An answer that does not fit into an empty send buffer is not worth waiting for. With TLS there is
        // none before the handshake.
        if waiting.tls.is_none() {
            let _ = waiting.stream.try_write(TURNED_AWAY);
        }
    }
}

fn gauge(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn prepare(stream: &TcpStream, metrics: &ListenerMetrics) {
    // Answers are small and complete when written: waiting for more would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY was not set");
    }
    metrics.accepted.inc();
}

fn note(ended: Result<(task::Id, ()), JoinError>, table: &mut Table, metrics: &ListenerMetrics) {
    metrics.connections.dec();
    match ended {
        Ok((id, ())) => table.ended(id),
        Err(error) => {
            table.ended(error.id());
            if error.is_panic() {
                error!(%error, "a connection's task panicked");
            }
        }
    }
}

/// Errors of one connection (it was reset before we took it) are passed over; others would come again at
/// once.
async fn pause_after(error: &io::Error, said: &mut LastLogged, shutdown: &CancellationToken) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    ) {
        debug!(%error, "a connection ended before it was accepted");
        return;
    }
    if said.may() {
        warn!(%error, "connections cannot be accepted now; trying on");
    }
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(ACCEPT_PAUSE) => {}
    }
}

async fn drain(mut connections: JoinSet<()>, mut table: Table, shared: &Shared) -> Drained {
    let open = connections.len();
    shared.drain.begin();
    let finish = async {
        while let Some(ended) = connections.join_next_with_id().await {
            note(ended, &mut table, &shared.metrics);
        }
    };
    let _ = tokio::time::timeout(shared.options.drain_timeout, finish).await;
    let aborted = connections.len();
    if aborted > 0 {
        warn!(
            aborted,
            "connections were cut off: they did not finish within the drain timeout"
        );
        connections.abort_all();
        while let Some(ended) = connections.join_next_with_id().await {
            note(ended, &mut table, &shared.metrics);
        }
    }
    let drained = Drained {
        finished: open - aborted,
        aborted,
    };
    info!(finished = drained.finished, aborted, "listener closed");
    drained
}

/// When something was last said, so that a lasting trouble does not fill the log.
#[derive(Debug, Default)]
struct LastLogged(Option<Instant>);

// === impl LastLogged ===

impl LastLogged {
    fn may(&mut self) -> bool {
        let now = Instant::now();
        let may = self.0.is_none_or(|last| now.duration_since(last) >= LOG_EVERY);
        if may {
            self.0 = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_in_use_is_named_in_the_error() {
        let first = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = Listener::bind(first.address()).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("cannot listen on {}: ", first.address())),
            "{error}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_trouble_is_said_once_a_minute() {
        let mut said = LastLogged::default();
        assert!(said.may());
        assert!(!said.may());
        tokio::time::advance(LOG_EVERY).await;
        assert!(said.may());
    }
}
