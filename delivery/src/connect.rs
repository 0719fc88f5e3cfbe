//! Making a connection: ask the guard about each address of the place, connect, speak TLS.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::guard::Guard;
use crate::no_answer::NoAnswer;
use crate::place::Place;
use crate::resolve::Resolver;
use crate::stream::Wire;
use crate::tls::Tls;

/// Addresses of one name that are tried at most; a name with more is not a target but a flood.
const ADDRESSES_TRIED: usize = 16;

/// A connection to `place`, ready for HTTP. Where a name has several addresses none may use up the whole `timeout`.
pub(crate) async fn connect(
    place: &Place,
    guard: &Guard,
    resolver: &Resolver,
    tls: &Tls,
    timeout: Duration,
) -> Result<Wire, NoAnswer> {
    let addresses = resolver.addresses(place).await?;
    let tcp = first_reachable(&addresses, guard, timeout).await?;
    if place.tls {
        Ok(Wire::Tls(Box::new(tls.handshake(&place.host, tcp).await?)))
    } else {
        Ok(Wire::Plain(tcp))
    }
}

/// Tries the allowed addresses in order. When all fail, the last failure is told; that of the guard only when it
/// allowed none.
async fn first_reachable(
    addresses: &[SocketAddr],
    guard: &Guard,
    timeout: Duration,
) -> Result<TcpStream, NoAnswer> {
    let mut refused = None;
    let mut allowed = Vec::with_capacity(addresses.len().min(ADDRESSES_TRIED));
    for &address in addresses {
        match guard.check(address) {
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
            Ok(Err(error)) => failed = Some(error),
            Err(_) => failed = Some(NoAnswer::NotConnected(share)),
        }
    }
    Err(failed
        .or(refused.map(NoAnswer::Refused))
        .unwrap_or_else(|| NoAnswer::Connect(io::Error::from(io::ErrorKind::AddrNotAvailable))))
}

async fn open(address: SocketAddr, guard: &Guard) -> Result<TcpStream, NoAnswer> {
    let tcp = TcpStream::connect(address).await.map_err(NoAnswer::Connect)?;
    let (local, peer) = tcp
        .local_addr()
        .and_then(|local| Ok((local, tcp.peer_addr()?)))
        .map_err(NoAnswer::Connect)?;
    guard.check_connected(local, peer)?;
    // A delivery is one write; waiting to fill a segment would only delay it.
    tcp.set_nodelay(true).map_err(NoAnswer::Connect)?;
    Ok(tcp)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn refused_addresses_are_skipped_and_unreachable_ones_passed_over() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let good = listener.local_addr().expect("an address");
        let gone = {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
            listener.local_addr().expect("an address")
        };
        let metadata: SocketAddr = "169.254.169.254:80".parse().expect("an address");

        let tcp = first_reachable(&[metadata, gone, good], &Guard::default(), SOON)
            .await
            .expect("connects");
        assert_eq!(tcp.peer_addr().expect("an address"), good);

        let only_gone = first_reachable(&[metadata, gone], &Guard::default(), SOON)
            .await
            .expect_err("fails");
        assert!(matches!(only_gone, NoAnswer::Connect(_)), "{only_gone}");

        let none = first_reachable(&[metadata], &Guard::default(), SOON)
            .await
            .expect_err("fails");
        assert!(matches!(none, NoAnswer::Refused(_)), "{none}");
    }
}
