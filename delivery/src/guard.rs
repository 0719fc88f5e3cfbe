//! The guard on outgoing connections: checked after DNS, on each connection.
//!
//! A trigger's URL is chosen by somebody who may write documents but should not thereby read the credentials
//! that a cloud hands out on link-local addresses, or operate Millrace's own admin listener. So the addresses
//! themselves are judged, never names, and each time again: a name may resolve to something else tomorrow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::egress::Egress;

/// Which addresses deliveries may go to.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Refuse loopback (role `dispatcher`).
    pub refuse_loopback: bool,
    /// Addresses never to connect to, beside link-local and metadata addresses: Millrace's own admin
    /// listener. An unspecified address means this port on every address of this machine.
    pub refuse: Vec<SocketAddr>,
    /// What the operator allows and denies beyond that.
    pub egress: Egress,
}

/// Why a connection was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connections to {address} are refused: {reason}")]
pub struct Refused {
    /// The address.
    pub address: IpAddr,
    /// A sentence for people.
    pub reason: &'static str,
}

const METADATA: &str = "it is the address of a cloud's metadata service";
const OWN_LISTENER: &str = "it is Millrace's own admin listener";

/// Metadata and platform services outside the link-local ranges, which are refused as a whole: Alibaba Cloud,
/// Azure's wire server, Oracle Cloud Classic.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// The same for IPv6, where clouds use unique local addresses: AWS, Google Cloud, Oracle Cloud, Scaleway.
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd00, 0x00c1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    Ipv6Addr::new(0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042),
];

// === impl Guard ===

impl Guard {
    /// Whether a connection to `address` may be tried, which no name leads to.
    pub fn check(&self, address: SocketAddr) -> Result<(), Refused> {
        self.judge(None, address)
    }

    /// Whether a connection to `address` may be tried, of the host with that name. Asked for each address
    /// that the name resolves to.
    pub fn check_host(&self, host: &str, address: SocketAddr) -> Result<(), Refused> {
        self.judge(Some(host), address)
    }

    fn judge(&self, host: Option<&str>, address: SocketAddr) -> Result<(), Refused> {
        let reason = match plain(address.ip()) {
            IpAddr::V4(ip) => self.judge_v4(ip),
            IpAddr::V6(ip) => self.judge_v6(ip),
        };
        let reason = reason.or_else(|| self.judge_listener(address));
        match reason.or_else(|| self.egress.judge(host, address)) {
            Some(reason) => Err(Refused {
                address: address.ip(),
                reason,
            }),
            None => Ok(()),
        }
    }

    /// Whether an established connection may be used, asked before the first byte is sent. A connection whose
    /// two ends have the same address stayed on this machine: this finds a listener on all addresses by
    /// whichever it was reached.
    pub fn check_connected(&self, local: SocketAddr, peer: SocketAddr) -> Result<(), Refused> {
        let stayed_here = plain(local.ip()) == plain(peer.ip());
        let everywhere = |own: &SocketAddr| own.port() == peer.port() && own.ip().is_unspecified();
        if stayed_here && self.refuse.iter().any(everywhere) {
            return Err(Refused {
                address: peer.ip(),
                reason: OWN_LISTENER,
            });
        }
        Ok(())
    }

    fn judge_v4(&self, ip: Ipv4Addr) -> Option<&'static str> {
        if ip == Ipv4Addr::new(169, 254, 169, 254) || METADATA_V4.contains(&ip) {
            Some(METADATA)
        } else if ip.is_link_local() {
            Some("it is link-local")
        } else if ip.is_multicast() {
            Some("it is a multicast address")
        } else if ip.is_broadcast() {
            Some("it is the broadcast address")
        } else if ip.octets()[0] == 0 {
            Some("it names no machine, and would reach this one")
        } else if self.refuse_loopback && ip.is_loopback() {
            Some("it is loopback, which this role does not deliver to")
        } else {
            None
        }
    }

    fn judge_v6(&self, ip: Ipv6Addr) -> Option<&'static str> {
        if METADATA_V6.contains(&ip) {
            Some(METADATA)
        } else if ip.is_unicast_link_local() {
            Some("it is link-local")
        } else if ip.is_multicast() {
            Some("it is a multicast address")
        } else if ip.is_unspecified() {
            Some("it names no machine, and would reach this one")
        } else if ip.is_loopback() {
            self.refuse_loopback
                .then_some("it is loopback, which this role does not deliver to")
        } else {
            embedded_v4(ip).into_iter().find_map(|inner| self.judge_v4(inner))
        }
    }

    fn judge_listener(&self, address: SocketAddr) -> Option<&'static str> {
        let ip = plain(address.ip());
        let own = self.refuse.iter().any(|own| {
            let own_ip = plain(own.ip());
            own.port() == address.port()
                && (own_ip == ip || (ip.is_loopback() && (own_ip.is_loopback() || own_ip.is_unspecified())))
        });
        own.then_some(OWN_LISTENER)
    }
}

/// The address without its IPv4-mapped dress: `::ffff:127.0.0.1` connects to 127.0.0.1.
pub(crate) fn plain(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// The IPv4 addresses that a translator or tunnel may take out of an IPv6 address: NAT64 (RFC 6052, and the
/// local-use prefix of RFC 8215), 6to4 (RFC 3056), and the old IPv4-compatible form. Which part a translator
/// takes out of the local-use prefix depends on the length that it was set up with.
pub(crate) fn embedded_v4(ip: Ipv6Addr) -> Vec<Ipv4Addr> {
    const LAST: [usize; 4] = [12, 13, 14, 15];
    let places: &[[usize; 4]] = match ip.segments() {
        [0x0064, 0xff9b, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0, 0, ..] => &[LAST],
        // Prefixes of 48, 56, 64 and 96 bits. The octet 8 is none of the address.
        [0x0064, 0xff9b, 1, ..] => &[[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], LAST],
        [0x2002, ..] => &[[2, 3, 4, 5]],
        _ => &[],
    };
    let octets = ip.octets();
    let taken = places.iter().map(|place| place.map(|at| octets[at]));
    // What begins with 0 leads nowhere: it is the empty part of another prefix.
    taken
        .filter(|inner| inner[0] != 0 || places.len() == 1)
        .map(Ipv4Addr::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect(text)
    }

    fn refused(guard: &Guard, text: &str) -> bool {
        guard.check(address(text)).is_err()
    }

    #[test]
    fn what_is_nobodys_service_is_always_refused() {
        let guard = Guard::default();
        for text in [
            "169.254.169.254:80",
            "169.254.0.1:80",
            "169.254.170.2:80",
            "100.100.100.200:80",
            "168.63.129.16:80",
            "192.0.0.192:80",
            "0.0.0.0:80",
            "0.1.2.3:80",
            "224.0.0.1:80",
            "239.255.255.255:80",
            "255.255.255.255:80",
            "[::]:80",
            "[fe80::1]:80",
            "[febf::1]:80",
            "[ff02::1]:80",
            "[fd00:ec2::254]:80",
            "[fd20:ce::254]:80",
            "[fd00:c1::a9fe:a9fe]:80",
            "[fd00:42::42]:80",
            "[::ffff:169.254.169.254]:80",
            "[::ffff:0.0.0.0]:80",
            "[::ffff:100.100.100.200]:80",
            "[::169.254.169.254]:80",
            "[64:ff9b::a9fe:a9fe]:80",
            "[64:ff9b::168.63.129.16]:80",
            "[64:ff9b:1::a9fe:a9fe]:80",
            "[64:ff9b:1:2:3:4:a9fe:a9fe]:80",
            "[64:ff9b:1:a9fe:fe:a900::]:80",
            "[64:ff9b:1:a9:fe:a9fe::]:80",
            "[64:ff9b:1:0:a9:fea9:fe00:0]:80",
            "[2002:a9fe:a9fe::1]:80",
        ] {
            assert!(refused(&guard, text), "{text}");
        }
    }

    #[test]
    fn private_loopback_and_public_addresses_are_allowed() {
        let guard = Guard::default();
        for text in [
            "127.0.0.1:80",
            "[::1]:80",
            "10.0.0.1:80",
            "192.168.1.1:80",
            "172.16.0.1:80",
            "100.64.0.1:80",
            "192.0.2.1:80",
            "169.253.255.255:80",
            "169.255.0.0:80",
            "223.255.255.255:80",
            "[fd12:3456::1]:80",
            "[2001:db8::1]:80",
            "[::ffff:10.0.0.1]:80",
            "[64:ff9b::10.0.0.1]:80",
            "[fec0::1]:80",
        ] {
            assert_eq!(guard.check(address(text)), Ok(()), "{text}");
        }
    }

    #[test]
    fn loopback_is_refused_on_request_in_every_dress() {
        let guard = Guard {
            refuse_loopback: true,
            refuse: vec![],
            ..Guard::default()
        };
        for text in [
            "127.0.0.1:80",
            "127.8.9.1:80",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
            "[64:ff9b::127.0.0.1]:80",
        ] {
            assert!(refused(&guard, text), "{text}");
        }
        assert!(!refused(&guard, "10.0.0.1:80"));
    }

    #[test]
    fn the_own_listener_is_refused_under_all_its_addresses() {
        let cases: [(&str, &str, bool); 12] = [
            ("127.0.0.1:9090", "127.0.0.1:9090", true),
            ("127.0.0.1:9090", "[::ffff:127.0.0.1]:9090", true),
            ("127.0.0.1:9090", "127.0.0.2:9090", true),
            ("127.0.0.1:9090", "[::1]:9090", true),
            ("127.0.0.1:9090", "127.0.0.1:9091", false),
            ("127.0.0.1:9090", "10.0.0.1:9090", false),
            ("0.0.0.0:9090", "127.0.0.1:9090", true),
            ("0.0.0.0:9090", "10.0.0.1:9090", false),
            ("[::]:9090", "[::1]:9090", true),
            ("[::]:9090", "127.0.0.1:9090", true),
            ("10.0.0.1:9090", "10.0.0.1:9090", true),
            ("10.0.0.1:9090", "127.0.0.1:9090", false),
        ];
        for (own, target, expected) in cases {
            let guard = Guard {
                refuse_loopback: false,
                refuse: vec![address(own)],
                ..Guard::default()
            };
            assert_eq!(
                refused(&guard, target),
                expected,
                "{own} listens, {target} is asked for"
            );
        }
    }

    #[test]
    fn a_connection_that_stayed_on_this_machine_does_not_reach_a_listener_on_all_addresses() {
        let cases: [(&str, &str, &str, bool); 5] = [
            ("0.0.0.0:9090", "10.0.0.1:40000", "10.0.0.1:9090", true),
            ("[::]:9090", "[::ffff:10.0.0.1]:40000", "10.0.0.1:9090", true),
            ("0.0.0.0:9090", "10.0.0.1:40000", "10.0.0.1:9091", false),
            ("0.0.0.0:9090", "10.0.0.1:40000", "10.0.0.2:9090", false),
            ("127.0.0.1:9090", "10.0.0.1:40000", "10.0.0.1:9090", false),
        ];
        for (own, local, peer, expected) in cases {
            let guard = Guard {
                refuse_loopback: false,
                refuse: vec![address(own)],
                ..Guard::default()
            };
            let verdict = guard.check_connected(address(local), address(peer));
            assert_eq!(
                verdict.is_err(),
                expected,
                "{own} listens, connected {local} to {peer}"
            );
        }
    }

    #[test]
    fn the_reason_names_the_address() {
        let refused = Guard::default()
            .check(address("169.254.169.254:80"))
            .expect_err("refused");
        assert_eq!(
            refused.to_string(),
            "connections to 169.254.169.254 are refused: it is the address of a cloud's metadata service"
        );
    }
}
