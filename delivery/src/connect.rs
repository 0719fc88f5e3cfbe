//! Making a connection: resolve the name, ask the guard about each address, connect, speak TLS.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::guard::Guard;
use crate::no_answer::NoAnswer;
use crate::place::Place;
use crate::stream::Wire;
use crate::tls::Tls;

/// Addresses of one name that are tried at most; a name with more is not a target but a flood.
const ADDRESSES_TRIED: usize = 16;

/// Names resolved at the same time at most. A lookup holds a thread for as long as the resolver likes, also when the
/// attempt that wanted it has long timed out.
const LOOKUPS: usize = 64;

/// What resolving needs beside the name. Clones share the bound.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    permits: Arc<Semaphore>,
}

// === impl Resolver ===

impl Default for Resolver {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(LOOKUPS)),
        }
    }
}

impl Resolver {
    /// The addresses of a place, in the resolver's order.
    async fn addresses(&self, place: &Place) -> Result<Vec<SocketAddr>, NoAnswer> {
        if let Ok(ip) = place.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, place.port)]);
        }
        let not_found = |cause: String| NoAnswer::Name {
            name: place.host.clone(),
            cause,
        };
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|e| not_found(e.to_string()))?;
        let name = (place.host.clone(), place.port);
        // Not `lookup_host`: there a lookup given up on no longer counts, though its thread is still taken.
        let looked_up = tokio::task::spawn_blocking(move || {
            let addresses = name.to_socket_addrs().map(Iterator::collect::<Vec<_>>);
            drop(permit);
            addresses
        });
        let addresses = looked_up
            .await
            .map_err(io::Error::other)
            .and_then(|result| result);
        match addresses {
            Ok(addresses) if addresses.is_empty() => Err(not_found("it has no address".to_owned())),
            Ok(addresses) => Ok(addresses),
            Err(error) => Err(not_found(error.to_string())),
        }
    }
}

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

    #[tokio::test]
    async fn literal_addresses_need_no_resolver() {
        let resolver = Resolver {
            permits: Arc::new(Semaphore::new(0)),
        };
        for (url, expected) in [
            ("http://[::1]:7/", "[::1]:7"),
            ("http://127.0.0.1/", "127.0.0.1:80"),
        ] {
            let place = Place::of(&url.parse().expect(url)).expect(url);
            let addresses = resolver.addresses(&place).await.expect("addresses");
            assert_eq!(addresses, [expected.parse().expect("an address")]);
        }
    }

    #[tokio::test]
    async fn a_name_without_address_is_worth_another_attempt() {
        let place = Place::of(&"http://nowhere.invalid/".parse().expect("a URL")).expect("a place");
        let error = Resolver::default()
            .addresses(&place)
            .await
            .expect_err("not found");
        assert!(
            error.to_string().starts_with("name not found: nowhere.invalid"),
            "{error}"
        );
    }
}
