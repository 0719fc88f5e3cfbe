//! The owner of a share: a peer, which is an IPv4 address or an IPv6 network of 64 bits.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A client, as far as addresses distinguish clients. A holder of one IPv6 address usually has the whole /64,
/// which therefore counts as one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer(u64);

/// Keeps the numbers of the two families apart: no routed /64 begins so.
const V4: u64 = 0xffff_ffff_0000_0000;

// === impl Peer ===

impl Peer {
    /// The peer at this address. An IPv4 address in IPv6 form is that IPv4 address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(V4 | u64::from(u32::from(address))),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments().map(u64::from);
                Self(a << 48 | b << 32 | c << 16 | d)
            }
        }
    }

    /// The peer as a number, for code that knows askers but no addresses.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Peer {
    /// `10.0.0.1`, `2001:db8:1:2::/64`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 & V4 == V4 {
            let [.., a, b, c, d] = self.0.to_be_bytes();
            return Ipv4Addr::new(a, b, c, d).fmt(f);
        }
        write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(self.0) << 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::of(address.parse().unwrap())
    }

    #[test]
    fn a_peer_is_an_ipv4_address_or_an_ipv6_network() {
        assert_eq!(peer("2001:db8:1:2::1"), peer("2001:db8:1:2:ffff::9"));
        assert_eq!(peer("::ffff:10.0.0.1"), peer("10.0.0.1"));
        assert_ne!(peer("2001:db8:1:2::1"), peer("2001:db8:1:3::1"));
        assert_ne!(peer("10.0.0.1"), peer("10.0.0.2"));
        assert_ne!(peer("::1"), peer("127.0.0.1"));
    }

    #[test]
    fn a_peer_is_named_by_what_its_address_has_in_common() {
        for (address, name) in [
            ("10.0.0.1", "10.0.0.1"),
            ("255.255.255.255", "255.255.255.255"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
        ] {
            assert_eq!(peer(address).to_string(), name);
        }
    }
}
