//! What the operator says about where connections may lead (`--egress-allow`, `--egress-deny`): networks,
//! hosts and ports, and the profile `public`.
//!
//! # Contract
//! A denial beats every allowance. Where something is allowed, only that is. [`crate::guard`] comes before
//! both: what it always refuses, nothing here allows.
//!
//! The profile `public` is what Svix and Stripe (with its proxy Smokescreen) recommend to those who let
//! strangers choose URLs: publicly routable addresses, judged after each name lookup, and nothing that is
//! one's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::guard::{embedded_v4, plain};

/// What the operator allows and denies.
#[derive(Clone, Debug, Default)]
pub struct Egress {
    /// Where connections may lead; empty: everywhere.
    pub allow: Vec<Rule>,
    /// Where they may not lead, whatever is allowed.
    pub deny: Vec<Rule>,
}

/// One place, with its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    place: Place,
    ports: RangeInclusive<u16>,
}

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Anywhere (`*`).
    Anywhere,
    /// An address that is publicly routable (`public`).
    Public,
    /// The addresses whose first so many bits are these.
    Network(IpAddr, u8),
    /// The host of the URL, in lower case.
    Host(String),
    /// Every host that ends in this, which begins with a dot.
    Below(String),
}

const DENIED: &str = "--egress-deny names where it leads";
const NOT_ALLOWED: &str = "it leads to no place that --egress-allow names";

// === impl Egress ===

impl Egress {
    /// Why a connection may not be made; `host` is the host of the URL, where there is one.
    pub(crate) fn judge(&self, host: Option<&str>, address: SocketAddr) -> Option<&'static str> {
        if self.allow.is_empty() && self.deny.is_empty() {
            return None;
        }
        let host = host.map(|host| host.trim_end_matches('.').to_ascii_lowercase());
        let names = |rule: &Rule, even_inside: bool| rule.names(host.as_deref(), address, even_inside);
        if self.deny.iter().any(|rule| names(rule, true)) {
            Some(DENIED)
        } else if self.allow.is_empty() || self.allow.iter().any(|rule| names(rule, false)) {
            None
        } else {
            Some(NOT_ALLOWED)
        }
    }
}

// === impl Rule ===

impl Rule {
    /// Whether a connection leads there. With `even_inside`, also where an IPv6 address carries an IPv4
    /// address that a translator or tunnel sends on to.
    fn names(&self, host: Option<&str>, address: SocketAddr, even_inside: bool) -> bool {
        let ip = plain(address.ip());
        let inside = match ip {
            IpAddr::V6(ip) if even_inside => embedded_v4(ip),
            IpAddr::V6(_) | IpAddr::V4(_) => Vec::new(),
        };
        let leads_there = match &self.place {
            Place::Anywhere => true,
            Place::Public => is_public(ip),
            Place::Network(network, bits) => std::iter::once(ip)
                .chain(inside.into_iter().map(IpAddr::V4))
                .any(|ip| is_in(ip, *network, *bits)),
            Place::Host(name) => host == Some(name),
            Place::Below(suffix) => host.is_some_and(|host| host.ends_with(suffix.as_str())),
        };
        leads_there && self.ports.contains(&address.port())
    }
}

impl FromStr for Rule {
    type Err = String;

    /// `PLACE`, `PLACE:PORT` or `PLACE:FROM-TO`, where the place is `*`, `public`, an address, a network such
    /// as `10.0.0.0/8` or `[fd00::]/8`, a host, or `*.` with the end of hosts.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || {
            format!(
                "`{text}` is no place: *, public, a network such as 10.0.0.0/8 or [fd00::]/8, a host or *.example.com \
                 is expected, and perhaps :443 or :8000-8999 behind it"
            )
        };
        let (place, ports) = split(text);
        let ports = ports
            .map_or(Some(0..=u16::MAX), parse_ports)
            .ok_or_else(expected)?;
        let place = parse_place(&place.to_ascii_lowercase()).ok_or_else(expected)?;
        Ok(Self { place, ports })
    }
}

/// The place, and the ports behind it. An IPv6 address with ports needs brackets.
fn split(text: &str) -> (&str, Option<&str>) {
    let (behind_brackets, colons) = (text.rfind(']').unwrap_or(0), text.matches(':').count());
    match text.rfind(':') {
        Some(at) if at > behind_brackets && (behind_brackets > 0 || colons == 1) => {
            (&text[..at], Some(&text[at + 1..]))
        }
        _ => (text, None),
    }
}

fn parse_ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..=last)
}

fn parse_place(text: &str) -> Option<Place> {
    match text {
        "*" => return Some(Place::Anywhere),
        "public" => return Some(Place::Public),
        _ => {}
    }
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        None => (text, None),
    };
    if let Ok(ip) = address.trim_matches(['[', ']']).parse::<IpAddr>() {
        let whole = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(whole);
        if bits > whole {
            return None;
        }
        return Some(match (ip, plain(ip)) {
            // Written as an IPv4-mapped network: addresses are compared without that dress.
            (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if bits >= 96 => Place::Network(v4, bits - 96),
            (ip, _) => Place::Network(ip, bits),
        });
    }
    if bits.is_some() {
        return None;
    }
    let (name, is_end) = match text.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (text, false),
    };
    let is_label = |label: &str| {
        let inner = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        !label.is_empty() && label.bytes().all(inner)
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return None;
    }
    Some(if is_end {
        Place::Below(format!(".{name}"))
    } else {
        Place::Host(name.to_owned())
    })
}

fn is_in(ip: IpAddr, network: IpAddr, bits: u8) -> bool {
    let same = |one: u128, other: u128, width: u32| {
        let rest = width - u32::from(bits).min(width);
        rest == 128 || one >> rest == other >> rest
    };
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => same(ip.to_bits().into(), network.to_bits().into(), 32),
        (IpAddr::V6(ip), IpAddr::V6(network)) => same(ip.to_bits(), network.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// Whether an address is publicly routable, by IANA's registries of special addresses.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_special = match a {
        // This network, loopback, multicast and what is reserved.
        0 | 127 | 224.. => true,
        10 => true,
        // Addresses that carriers share among their customers.
        100 => (64..128).contains(&b),
        169 => b == 254,
        172 => (16..32).contains(&b),
        192 => matches!((b, c), (0, 0 | 2) | (88, 99) | (168, _)),
        // Benchmarks, and documentation.
        198 => matches!((b, c), (18 | 19, _) | (51, 100)),
        203 => (b, c) == (0, 113),
        _ => false,
    };
    !is_special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        // A translator sends it on to the IPv4 address in it.
        [0x0064, 0xff9b, 0, 0, 0, 0, ..] => embedded_v4(ip).into_iter().all(is_public_v4),
        // Protocol assignments with Teredo, documentation, 6to4.
        [0x2001, 0..0x0200 | 0x0db8, ..] | [0x2002, ..] => false,
        [0x3fff, 0..0x1000, ..] => false,
        [0x2000..0x4000, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<Rule> {
        text.split(' ')
            .filter(|rule| !rule.is_empty())
            .map(|rule| rule.parse().unwrap_or_else(|error| panic!("{error}")))
            .collect()
    }

    fn verdict(allow: &str, deny: &str, host: &str, address: &str) -> Option<&'static str> {
        let egress = Egress {
            allow: rules(allow),
            deny: rules(deny),
        };
        egress.judge(Some(host), address.parse().expect(address))
    }

    #[test]
    fn a_denial_beats_an_allowance_and_what_is_allowed_is_all() {
        for (allow, deny, host, address, expected) in [
            ("", "", "a.example", "10.0.0.1:80", None),
            ("10.0.0.0/8", "", "a.example", "10.255.0.1:80", None),
            ("10.0.0.0/8", "", "a.example", "11.0.0.1:80", Some(NOT_ALLOWED)),
            (
                "10.0.0.0/8",
                "10.1.0.0/16",
                "a.example",
                "10.1.2.3:80",
                Some(DENIED),
            ),
            ("10.1.2.3", "10.0.0.0/8", "a.example", "10.1.2.3:80", Some(DENIED)),
            ("", "10.0.0.0/8", "a.example", "11.0.0.1:80", None),
            ("*.example", "", "a.example", "10.0.0.1:80", None),
            ("*.example", "", "A.B.Example.", "10.0.0.1:80", None),
            ("*.example", "", "example", "10.0.0.1:80", Some(NOT_ALLOWED)),
            ("*.example", "", "badexample", "10.0.0.1:80", Some(NOT_ALLOWED)),
            (
                "*.example",
                "",
                "a.example.evil",
                "10.0.0.1:80",
                Some(NOT_ALLOWED),
            ),
            ("example", "", "example", "10.0.0.1:80", None),
            ("example", "", "a.example", "10.0.0.1:80", Some(NOT_ALLOWED)),
            ("*", "*.evil", "x.evil", "10.0.0.1:80", Some(DENIED)),
            ("*:443", "", "a", "10.0.0.1:443", None),
            ("*:443", "", "a", "10.0.0.1:80", Some(NOT_ALLOWED)),
            ("*", "*:1-1023", "a", "10.0.0.1:22", Some(DENIED)),
            ("*", "*:1-1023", "a", "10.0.0.1:1024", None),
            ("[fd00::]/8:8080", "", "a", "[fd12::1]:8080", None),
            ("[fd00::]/8:8080", "", "a", "[fd12::1]:80", Some(NOT_ALLOWED)),
            ("fd00::/8", "", "a", "[fe12::1]:80", Some(NOT_ALLOWED)),
            ("10.0.0.0/8", "", "a", "[::ffff:10.0.0.1]:80", None),
            ("", "10.0.0.0/8", "a", "[::ffff:10.0.0.1]:80", Some(DENIED)),
            // A translator leads there, which is denied but not for that allowed.
            ("", "10.0.0.0/8", "a", "[64:ff9b::a00:1]:80", Some(DENIED)),
            ("10.0.0.0/8", "", "a", "[64:ff9b::a00:1]:80", Some(NOT_ALLOWED)),
            ("", "::ffff:10.0.0.0/104", "a", "10.1.2.3:80", Some(DENIED)),
            ("", "::ffff:10.0.0.0/104", "a", "11.1.2.3:80", None),
            ("", "[::ffff:10.0.0.5]:80", "a", "10.0.0.5:80", Some(DENIED)),
            ("", "10.0.0.0/8", "a", "[64:ff9b:1:a00:0:100::]:80", Some(DENIED)),
            ("0.0.0.0/0", "", "a", "1.2.3.4:80", None),
            ("::/0", "", "a", "1.2.3.4:80", Some(NOT_ALLOWED)),
            ("public 10.1.0.0/16", "", "a", "10.1.0.1:80", None),
            ("public", "8.8.8.8", "a", "8.8.8.8:53", Some(DENIED)),
        ] {
            let found = verdict(allow, deny, host, address);
            assert_eq!(found, expected, "allow {allow}, deny {deny}: {host} at {address}");
        }
    }

    #[test]
    fn a_rule_about_hosts_names_no_connection_without_one() {
        let egress = Egress {
            allow: rules("*.example"),
            deny: Vec::new(),
        };
        let address = "10.0.0.1:80".parse().expect("an address");
        assert_eq!(egress.judge(None, address), Some(NOT_ALLOWED));
    }

    #[test]
    fn public_is_what_anybody_can_reach() {
        for (address, expected) in [
            ("8.8.8.8", true),
            ("1.1.1.1", true),
            ("100.63.255.255", true),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("0.1.2.3", false),
            ("10.0.0.1", false),
            ("127.0.0.1", false),
            ("127.255.0.1", false),
            ("169.254.169.254", false),
            ("172.15.0.1", true),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("172.32.0.1", true),
            ("192.0.0.8", false),
            ("192.0.2.1", false),
            ("192.0.3.1", true),
            ("192.88.99.1", false),
            ("192.168.1.1", false),
            ("198.18.0.1", false),
            ("198.19.255.255", false),
            ("198.20.0.1", true),
            ("198.51.100.7", false),
            ("203.0.113.7", false),
            ("224.0.0.1", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:4700:4700::1111", true),
            ("2001:4860:4860::8888", true),
            ("::1", false),
            ("::", false),
            ("::ffff:8.8.8.8", true),
            ("::ffff:10.0.0.1", false),
            ("::8.8.8.8", false),
            ("64:ff9b::8.8.8.8", true),
            ("64:ff9b::10.0.0.1", false),
            ("64:ff9b:1::8.8.8.8", false),
            ("fd00::1", false),
            ("fe80::1", false),
            ("ff02::1", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("2002:808:808::1", false),
            ("3fff:0:1::1", false),
            ("4000::1", false),
        ] {
            let ip: IpAddr = address.parse().expect(address);
            assert_eq!(is_public(plain(ip)), expected, "{address}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "fd00::/129",
            "10.0.0.0/x",
            "10.0.0.0/-1",
            "example/8",
            "a..b",
            ".example",
            "*example",
            "*.",
            "a b",
            "a:70000",
            "a:2-1",
            "a:",
            "http://a",
            "a/b",
            "[fd00::]/8:x",
            "*:*",
        ] {
            let error = text.parse::<Rule>().expect_err(text);
            assert!(error.contains("is expected"), "{text}: {error}");
        }
        for text in [
            "::1",
            "[::1]",
            "[::1]:80",
            "a_b.example:1-2",
            "PUBLIC:443",
            "*.a-b.example",
            "10.0.0.1",
        ] {
            assert!(text.parse::<Rule>().is_ok(), "{text}");
        }
    }
}
