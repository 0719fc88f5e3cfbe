//! The hosts under which a listener may be called, and the one reader of `Host`.
//!
//! A web page in the user's own browser can point its name at this machine (DNS rebinding) and then call us
//! as its own origin. Only the host that it names tells such a call from an honest one.

use std::net::{IpAddr, Ipv6Addr};

use http::header::HOST;
use http::{Request, StatusCode, Version};

use crate::{Address, Problem};

/// The hosts under which a listener may be called.
///
/// # Guarantees
/// A request with more than one Host, or with an invalid one, is refused with 400 `bad-host`, whatever is
/// allowed. So is an HTTP/1.1 request without one. A foreign host is refused with 403 `foreign-host`, whether
/// it stands in Host or in an absolute URL. The check allocates nothing unless it refuses.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    rule: Option<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    own: Vec<Address>,
    allowed: Vec<String>,
    /// Also allow names that only this machine can have given.
    local_names: bool,
    /// Allow the own address only with the own port, and no request without a host.
    is_strict: bool,
}

/// A host as it stands in `Host`: a name or an IP literal, perhaps with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Host<'a> {
    whole: &'a str,
    name: &'a str,
    port: Option<u16>,
}

/// The ports of `http` and `https`, if none is named.
const PORTS: (u16, u16) = (80, 443);

// === impl Hosts ===

impl Hosts {
    /// Allows any valid host.
    pub fn any() -> Self {
        Self::default()
    }

    /// Allows the listener's own addresses, `localhost`, and these: `name` for any port, or `name:port`.
    pub fn own(own: &[Address], allowed: &[String]) -> Self {
        Self {
            rule: Some(Rule {
                own: own.to_vec(),
                allowed: allowed.iter().map(|host| host.to_ascii_lowercase()).collect(),
                local_names: false,
                is_strict: false,
            }),
        }
    }

    /// Also allows `*.localhost`, which browsers never look up in DNS, and `host.docker.internal`, by which a
    /// container calls the machine that it runs on.
    #[must_use]
    pub fn with_local_names(mut self) -> Self {
        if let Some(rule) = &mut self.rule {
            rule.local_names = true;
        }
        self
    }

    /// Allows the own address only with the own port, and no request without a host, even with HTTP/1.0.
    #[must_use]
    pub fn strict(mut self) -> Self {
        if let Some(rule) = &mut self.rule {
            rule.is_strict = true;
        }
        self
    }

    /// Checks whether a request may be served, by the host that it names.
    ///
    /// # Errors
    /// The refusal.
    pub fn check<B>(&self, request: &Request<B>) -> Result<(), Problem> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => Some(Host::read(host.as_bytes()).ok_or_else(invalid)?),
            (None, None) => None,
            (_, Some(_)) => return Err(bad("a request may have one Host header")),
        };
        // HTTP/1.0 may leave it out. HTTP/2 has `:authority` instead, which is in the URL here.
        let may_lack_it = match request.version() {
            Version::HTTP_2 => request.uri().authority().is_some(),
            version => version < Version::HTTP_11 && !self.is_strict(),
        };
        if host.is_none() && !may_lack_it {
            return Err(bad("a request needs a Host header"));
        }
        let absolute = match request.uri().authority() {
            Some(authority) => Some(Host::read(authority.as_str().as_bytes()).ok_or_else(invalid)?),
            None => None,
        };
        let Some(rule) = &self.rule else { return Ok(()) };
        if host.into_iter().chain(absolute).all(|host| rule.allows(host)) {
            return Ok(());
        }
        let detail = "this listener is not called by that name; call it by its address, or allow the name";
        Err(Problem::new(StatusCode::FORBIDDEN, "foreign-host", detail).field("Host"))
    }
}

impl Hosts {
    fn is_strict(&self) -> bool {
        self.rule.as_ref().is_some_and(|rule| rule.is_strict)
    }
}

fn invalid() -> Problem {
    bad("the host of the request is no host name or IP address with perhaps a port")
}

fn bad(detail: &'static str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-host", detail).field("Host")
}

// === impl Rule ===

impl Rule {
    fn allows(&self, host: Host<'_>) -> bool {
        let listed = |allowed: &String| {
            allowed.eq_ignore_ascii_case(host.name) || allowed.eq_ignore_ascii_case(host.whole)
        };
        if self.allowed.iter().any(listed) {
            return true;
        }
        self.own.iter().any(|own| {
            let usual = if own.is_tls { PORTS.1 } else { PORTS.0 };
            let port = host.port.unwrap_or(usual);
            (!self.is_strict || port == own.socket.port()) && self.is_own(host.name, own.socket.ip())
        })
    }

    /// A foreign DNS server cannot produce an IP literal, so a listener on all addresses accepts any.
    fn is_own(&self, name: &str, own: IpAddr) -> bool {
        if let Some(ip) = literal(name) {
            return ip == own || ip.is_loopback() || own.is_unspecified();
        }
        name.eq_ignore_ascii_case("localhost") || (self.local_names && is_local(name))
    }
}

/// `something.localhost`, or the name that Docker gives the machine.
fn is_local(name: &str) -> bool {
    const LOCALHOST: &str = ".localhost";
    let below = name
        .len()
        .checked_sub(LOCALHOST.len())
        .and_then(|at| name.split_at_checked(at));
    let is_below = below.is_some_and(|(label, end)| !label.is_empty() && end.eq_ignore_ascii_case(LOCALHOST));
    is_below || name.eq_ignore_ascii_case("host.docker.internal")
}

/// An IPv4 address, or an IPv6 address in brackets.
fn literal(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => name.parse().ok().filter(IpAddr::is_ipv4),
    }
}

// === impl Host ===

impl<'a> Host<'a> {
    /// Reads `uri-host [":" port]` (RFC 9110 §7.2); `None` if it is invalid. A dot at the end of a name
    /// belongs to DNS and is left out.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let whole = std::str::from_utf8(bytes).ok()?;
        let end = match bytes.first()? {
            b'[' => whole.find(']')? + 1,
            _ => whole.find(':').unwrap_or(whole.len()),
        };
        let (name, rest) = whole.split_at(end);
        let port = match rest.strip_prefix(':') {
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            Some(_) => return None,
            None if rest.is_empty() => None,
            None => return None,
        };
        let is_host = if name.starts_with('[') {
            literal(name).is_some()
        } else {
            is_name(name)
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        (is_host && !name.is_empty()).then_some(Self { whole, name, port })
    }
}

/// The bytes that may stand in a `reg-name` as they are: `unreserved` and `sub-delims` of RFC 3986. A table,
/// because each byte of each request's host is looked up.
const IN_NAMES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte.is_ascii() {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut others: &[u8] = b"-._~!$&'()*+,;=";
    while let [byte, rest @ ..] = others {
        table[*byte as usize] = true;
        others = rest;
    }
    table
};

/// Whether this is a non-empty `reg-name` of RFC 3986. IPv4 addresses are among them.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'%' => {
                let mut hex = || bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit());
                hex() && hex()
            }
            _ => IN_NAMES[usize::from(byte)],
        };
        if !fits {
            return false;
        }
    }
    !name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, uri: &str, hosts: &[&[u8]]) -> Request<()> {
        let mut request = Request::builder().version(version).uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap()
    }

    fn status(hosts: &Hosts, host: &str) -> u16 {
        code(hosts, &request(Version::HTTP_11, "/", &[host.as_bytes()]))
    }

    fn code(hosts: &Hosts, request: &Request<()>) -> u16 {
        match hosts.check(request) {
            Ok(()) => 200,
            Err(problem) => problem.status().as_u16(),
        }
    }

    fn at(address: &str, is_tls: bool) -> Address {
        Address {
            socket: address.parse().unwrap(),
            is_tls,
        }
    }

    fn own(address: &str, allowed: &[&str]) -> Hosts {
        let allowed: Vec<String> = allowed.iter().map(|host| (*host).to_owned()).collect();
        Hosts::own(&[at(address, false)], &allowed)
    }

    #[test]
    fn what_is_a_host_is_taken_where_any_is() {
        for (host, expected) in [
            ("example.com", 200),
            ("example.com.", 200),
            ("Example.Com:8080", 200),
            ("a_b.internal:", 200),
            ("b%C3%BCcher.example", 200),
            ("127.0.0.1", 200),
            ("[::1]:80", 200),
            ("xn--bcher-kva.example:65535", 200),
            ("", 400),
            (".", 400),
            (":80", 400),
            ("a b", 400),
            ("a/b", 400),
            ("a:b", 400),
            ("a:+80", 400),
            ("a:65536", 400),
            ("a:80:80", 400),
            ("user@example.com", 400),
            ("::1", 400),
            ("[::1", 400),
            ("[]", 400),
            ("[::1]x", 400),
            ("[v1.a]", 400),
            ("[fe80::1%25eth0]", 400),
            ("a%4", 400),
            ("a, b:1", 400),
            ("http://a", 400),
        ] {
            assert_eq!(status(&Hosts::any(), host), expected, "{host}");
        }
        let bytes = request(Version::HTTP_11, "/", &[b"caf\xe9"]);
        assert_eq!(code(&Hosts::any(), &bytes), 400);
    }

    #[test]
    fn one_host_is_needed_but_by_http_1_0_which_may_have_none() {
        let any = Hosts::any();
        for hosts in [any.clone(), own("127.0.0.1:8080", &[])] {
            assert_eq!(code(&hosts, &request(Version::HTTP_11, "/", &[])), 400);
            assert_eq!(code(&hosts, &request(Version::HTTP_10, "/", &[])), 200);
            let two: [&[u8]; 2] = [b"localhost", b"localhost"];
            assert_eq!(code(&hosts, &request(Version::HTTP_11, "/", &two)), 400);
            assert_eq!(code(&hosts, &request(Version::HTTP_10, "/", &two)), 400);
        }
        let strict = own("127.0.0.1:8080", &[]).strict();
        assert_eq!(code(&strict, &request(Version::HTTP_10, "/", &[])), 400);
    }

    #[test]
    fn http_2_names_its_host_in_the_url() {
        let any = Hosts::any();
        assert_eq!(code(&any, &request(Version::HTTP_2, "https://a/", &[])), 200);
        assert_eq!(code(&any, &request(Version::HTTP_2, "/", &[])), 400);
        let strict = own("127.0.0.1:9090", &[]).strict();
        let ask = |uri: &str, hosts: &[&[u8]]| code(&strict, &request(Version::HTTP_2, uri, hosts));
        assert_eq!(ask("https://localhost:9090/", &[]), 200);
        assert_eq!(ask("https://evil.example:9090/", &[]), 403);
        assert_eq!(ask("https://localhost:9090/", &[b"evil.example:9090"]), 403);
    }

    #[test]
    fn each_address_has_its_own_port_and_the_usual_one_of_its_protocol() {
        let both = [
            at("127.0.0.1:80", false),
            at("127.0.0.1:443", true),
            at("127.0.0.1:9443", true),
        ];
        let strict = |own: &[Address]| Hosts::own(own, &[]).strict();
        assert_eq!(status(&strict(&both), "localhost"), 200);
        assert_eq!(status(&strict(&both), "localhost:9443"), 200);
        assert_eq!(status(&strict(&both[1..2]), "localhost"), 200);
        assert_eq!(status(&strict(&both[1..2]), "localhost:80"), 403);
        assert_eq!(status(&strict(&both[2..]), "localhost"), 403);
    }

    #[test]
    fn only_its_own_hosts_are_served() {
        let loopback = own("127.0.0.1:9090", &["Millrace.example", "tunnel:1234"]).strict();
        let all = own("0.0.0.0:9090", &[]).strict();
        let cases = [
            (&loopback, "127.0.0.1:9090", 200),
            (&loopback, "localhost:9090", 200),
            (&loopback, "LOCALHOST:9090", 200),
            (&loopback, "[::1]:9090", 200),
            (&loopback, "localhost:9091", 403),
            (&loopback, "localhost", 403),
            (&loopback, "10.1.2.3:9090", 403),
            (&loopback, "evil.example:9090", 403),
            (&loopback, "localhost.evil.example:9090", 403),
            (&loopback, "localhost:9090@evil.example", 400),
            (&loopback, "localhost@127.0.0.1:9090", 400),
            (&loopback, "millrace.example", 200),
            (&loopback, "millrace.example:443", 200),
            (&loopback, "tunnel:1234", 200),
            (&loopback, "tunnel:1235", 403),
            (&all, "10.1.2.3:9090", 200),
            (&all, "[fd00::1]:9090", 200),
            (&all, "evil.example:9090", 403),
            (&own("127.0.0.1:80", &[]).strict(), "localhost", 200),
        ];
        for (hosts, host, expected) in cases {
            assert_eq!(status(hosts, host), expected, "{host} at {hosts:?}");
        }
    }

    #[test]
    fn a_laptop_takes_the_names_that_only_it_can_have_given() {
        let laptop = own("127.0.0.1:8080", &["tunnel.example"]).with_local_names();
        for (host, expected) in [
            ("localhost", 200),
            ("localhost.:8080", 200),
            ("localhost:3000", 200),
            ("mesh.localhost:8080", 200),
            ("a.b.LOCALHOST", 200),
            ("host.docker.internal:8080", 200),
            ("127.0.0.1:8080", 200),
            ("127.1.2.3", 200),
            ("tunnel.example", 200),
            (".localhost", 403),
            ("notlocalhost", 403),
            ("localhost.example", 403),
            ("docker.internal", 403),
            ("rebound.example:8080", 403),
            ("192.168.0.7:8080", 403),
            ("2130706433", 403),
        ] {
            assert_eq!(status(&laptop, host), expected, "{host}");
        }
    }

    #[test]
    fn an_absolute_url_is_judged_as_the_host_is() {
        let laptop = own("127.0.0.1:8080", &[]).with_local_names();
        let absolute = |uri| code(&laptop, &request(Version::HTTP_11, uri, &[b"localhost:8080"]));
        assert_eq!(absolute("http://localhost:8080/shop/default"), 200);
        assert_eq!(absolute("http://rebound.example/shop/default"), 403);
        assert_eq!(absolute("http://localhost@rebound.example/"), 400);
        let old = request(Version::HTTP_10, "http://rebound.example/", &[]);
        assert_eq!(code(&laptop, &old), 403);
    }
}
