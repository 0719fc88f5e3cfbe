//! Making a connection: ask the guard about each address of the endpoint, connect, speak TLS.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::endpoint::Endpoint;
use crate::guard::Guard;
use crate::no_answer::{NoAnswer, Unmade};
use crate::shortage;
use crate::stream::Wire;
use crate::tls::{Terms, Tls};

/// The most time for connecting, TLS included: much less than a subscriber may take for its answer.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// Addresses of one name that are tried at most; a name with more is not a target but a flood.
const ADDRESSES_TRIED: usize = 16;

/// How long a peer may leave data unacknowledged, or probes unanswered, before it counts as gone.
const VANISHED_AFTER: Duration = Duration::from_secs(30);

/// How long a connection is silent before its first probe, and the time between probes.
const PROBES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// Connects to `endpoint` at one of these addresses, ready for HTTP, within `limit`. Of several addresses
/// none may use up all of that time.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    addresses: &[SocketAddr],
    guard: &Guard,
    (tls, terms): (&Tls, Terms<'_>),
    limit: Duration,
) -> Result<Wire, Unmade> {
    let connecting = async {
        let tcp = first_reachable(&endpoint.host, addresses, guard, limit).await?;
        if endpoint.tls {
            let shaken = tls.handshake(&endpoint.host, tcp, terms).await?;
            Ok(Wire::Tls(Box::new(shaken)))
        } else {
            Ok(Wire::Plain(tcp))
        }
    };
    match tokio::time::timeout(limit, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(NoAnswer::NotConnected(limit).into()),
    }
}

/// Tries the allowed addresses in order. When all fail, the last failure is reported; the guard's refusal
/// only when it allowed none. A shortage of our own ends the search, as it tells nothing about the address.
async fn first_reachable(
    host: &str,
    addresses: &[SocketAddr],
    guard: &Guard,
    timeout: Duration,
) -> Result<TcpStream, Unmade> {
    let mut refused = None;
    let mut allowed = Vec::with_capacity(addresses.len().min(ADDRESSES_TRIED));
    for &address in addresses {
        match guard.check_host(host, address) {
            Ok(()) if allowed.len() < ADDRESSES_TRIED => allowed.push(address),
            Ok(()) => break,
            Err(error) => refused = Some(error),
        }
    }
    let share = timeout / u32::try_from(allowed.len().max(1)).unwrap_or(u32::MAX);
    let mut failed = None;
    for &address in &allowed {
        match tokio::time::timeout(share, open(address, guard)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(Unmade::Failed(error))) => failed = Some(error),
            Ok(Err(short @ Unmade::Short(_))) => return Err(short),
            Err(_) => failed = Some(NoAnswer::NotConnected(share)),
        }
    }
    Err(failed
        .or(refused.map(NoAnswer::Refused))
        .unwrap_or_else(|| NoAnswer::Connect(io::Error::from(io::ErrorKind::AddrNotAvailable)))
        .into())
}

async fn open(address: SocketAddr, guard: &Guard) -> Result<TcpStream, Unmade> {
    let failed = |error: io::Error| match shortage::while_connecting(&error, address) {
        Some(shortage) => Unmade::Short(shortage),
        None => NoAnswer::Connect(error).into(),
    };
    let tcp = TcpStream::connect(address).await.map_err(failed)?;
    let (local, peer) = tcp
        .local_addr()
        .and_then(|local| Ok((local, tcp.peer_addr()?)))
        .map_err(failed)?;
    guard.check_connected(local, peer)?;
    set_options(&tcp).map_err(failed)?;
    Ok(tcp)
}

/// # Guarantees
/// A peer that has vanished without a word is noticed within 30 s, although an answer may take much longer.
///
/// # Caveats
/// A subscriber that reads nothing of a request for that long, while the buffers on the way are full, counts
/// as gone too: the kernel does not distinguish the two. The buffers hold some hundred kilobytes, so this
/// concerns large events only.
fn set_options(tcp: &TcpStream) -> io::Result<()> {
    // A delivery is one write; waiting to fill a segment would only delay it.
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    let (first, every) = PROBES;
    let keepalive = TcpKeepalive::new().with_time(first).with_interval(every);
    socket.set_tcp_keepalive(&keepalive.with_retries(4))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(VANISHED_AFTER))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[track_caller]
    fn failed(result: Result<TcpStream, Unmade>) -> NoAnswer {
        match result {
            Err(Unmade::Failed(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn refused_addresses_are_skipped_and_unreachable_ones_passed_over() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let good = listener.local_addr().expect("an address");
        let gone = {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
            listener.local_addr().expect("an address")
        };
        let metadata: SocketAddr = "169.254.169.254:80".parse().expect("an address");

        let tcp = first_reachable("a.example", &[metadata, gone, good], &Guard::default(), SOON)
            .await
            .expect("connects");
        assert_eq!(tcp.peer_addr().expect("an address"), good);

        let only_gone =
            failed(first_reachable("a.example", &[metadata, gone], &Guard::default(), SOON).await);
        assert!(matches!(only_gone, NoAnswer::Connect(_)), "{only_gone}");

        let none = failed(first_reachable("a.example", &[metadata], &Guard::default(), SOON).await);
        assert!(matches!(none, NoAnswer::Refused(_)), "{none}");
    }

    #[tokio::test]
    async fn a_vanished_peer_is_noticed_within_30_seconds() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("an address");
        let tcp = open(address, &Guard::default()).await.expect("connects");
        let socket = SockRef::from(&tcp);
        assert!(socket.keepalive().expect("a socket"));
        let silence = socket.tcp_keepalive_time().expect("a time")
            + socket.tcp_keepalive_interval().expect("a time")
                * socket.tcp_keepalive_retries().expect("a number");
        assert!(silence <= VANISHED_AFTER, "{silence:?}");
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().expect("a time"), Some(VANISHED_AFTER));
    }
}
