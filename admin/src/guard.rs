//! Whom this listener serves. It has no passwords, so what protects it from web pages in the user's own browser
//! stands here (design §6): a name that was pointed at this address (DNS rebinding) fails on `Host`, and a form or a
//! script of another origin fails on the header it cannot send without a CORS preflight, which is never granted.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, HOST};
use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode};

use crate::refused::{Refused, explained};

/// The header without which nothing is changed.
const CHANGE_HEADER: &str = "millrace-request";
/// The longest path and query, in bytes. Names of resources are up to 253 bytes each.
const MAX_URL_BYTES: usize = 2_048;
/// The largest body, in bytes. No endpoint reads one today.
const MAX_BODY_BYTES: u64 = 64 * 1024;

/// The hosts by which this listener may be called.
#[derive(Debug)]
pub(crate) struct Guard {
    address: SocketAddr,
    allowed: Vec<String>,
}

/// Lets a request through to its endpoint, or refuses it.
pub(crate) async fn admit(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.check(&request) {
        Ok(()) => explained(next.run(request).await),
        Err(refused) => refused.into_response(),
    }
}

// === impl Guard ===

impl Guard {
    pub(crate) fn new(address: SocketAddr, allowed: &[String]) -> Self {
        Self {
            address,
            allowed: allowed.iter().map(|host| host.to_ascii_lowercase()).collect(),
        }
    }

    fn check<B>(&self, request: &http::Request<B>) -> Result<(), Refused> {
        self.check_host(request)?;
        if request
            .uri()
            .path_and_query()
            .is_some_and(|target| target.as_str().len() > MAX_URL_BYTES)
        {
            let detail = format!("path and query may have {MAX_URL_BYTES} bytes together");
            return Err(Refused::new(StatusCode::URI_TOO_LONG, "url-too-long", detail));
        }
        if declared_length(request.headers()) > MAX_BODY_BYTES {
            let detail = format!("a body here may have {MAX_BODY_BYTES} bytes");
            return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail).closing());
        }
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if !reads
            && request
                .headers()
                .get(CHANGE_HEADER)
                .is_none_or(|value| value != "1")
        {
            let detail = "every request that is not a GET needs the header `Millrace-Request: 1`, so that no web page can make it";
            return Err(
                Refused::new(StatusCode::FORBIDDEN, "missing-header", detail).field("Millrace-Request")
            );
        }
        Ok(())
    }

    /// The host of the Host header and, where the request names one, of its absolute URL.
    fn check_host<B>(&self, request: &http::Request<B>) -> Result<(), Refused> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            let detail = "a request needs exactly one Host header";
            return Err(Refused::new(StatusCode::BAD_REQUEST, "bad-host", detail).field("Host"));
        };
        let named = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        let absolute = request.uri().authority();
        if named.is_some_and(|host| self.is_own(&host)) && absolute.is_none_or(|host| self.is_own(host)) {
            return Ok(());
        }
        let detail = "this listener is not called by that name; call it by its address, or allow the name";
        Err(Refused::new(StatusCode::FORBIDDEN, "foreign-host", detail).field("Host"))
    }

    fn is_own(&self, host: &Authority) -> bool {
        // `Authority` keeps credentials that stand before the host.
        if host.as_str().contains('@') {
            return false;
        }
        let name = host.host().to_ascii_lowercase();
        let whole = host.as_str().to_ascii_lowercase();
        if self
            .allowed
            .iter()
            .any(|allowed| *allowed == name || *allowed == whole)
        {
            return true;
        }
        let port = if host.as_str().len() == host.host().len() {
            Some(80)
        } else {
            host.port_u16()
        };
        port == Some(self.address.port()) && self.is_own_name(&name)
    }

    /// A name or an IP literal without its port. An IP literal is never the doing of somebody else's DNS, so a
    /// listener on all addresses takes any.
    fn is_own_name(&self, name: &str) -> bool {
        if name == "localhost" {
            return true;
        }
        let Some(ip) = literal(name) else { return false };
        ip == self.address.ip() || ip.is_loopback() || self.address.ip().is_unspecified()
    }
}

/// An IPv4 address, or an IPv6 address in brackets.
fn literal(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => name.parse().ok().filter(IpAddr::is_ipv4),
    }
}

/// The length a request says its body has. What says nothing is not read by anybody.
fn declared_length(headers: &HeaderMap) -> u64 {
    headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(guard: &Guard, method: Method, uri: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match guard.check(&request.body(()).unwrap()) {
            Ok(()) => 200,
            Err(refused) => refused.status().as_u16(),
        }
    }

    fn guard(address: &str, allowed: &[&str]) -> Guard {
        let allowed: Vec<String> = allowed.iter().map(|host| (*host).to_owned()).collect();
        Guard::new(address.parse().unwrap(), &allowed)
    }

    #[test]
    fn only_its_own_hosts_are_served() {
        let loopback = guard("127.0.0.1:9090", &["Millrace.example", "tunnel:1234"]);
        let all = guard("0.0.0.0:9090", &[]);
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
            (&loopback, "localhost:9090@evil.example", 403),
            (&loopback, "localhost@127.0.0.1:9090", 403),
            (&loopback, "", 403),
            (&loopback, "millrace.example", 200),
            (&loopback, "millrace.example:443", 200),
            (&loopback, "tunnel:1234", 200),
            (&loopback, "tunnel:1235", 403),
            (&all, "10.1.2.3:9090", 200),
            (&all, "[fd00::1]:9090", 200),
            (&all, "fd00::1", 403),
            (&all, "evil.example:9090", 403),
            (&guard("127.0.0.1:80", &[]), "localhost", 200),
        ];
        for (guard, host, expected) in cases {
            assert_eq!(
                status(guard, Method::GET, "/", &[("host", host)]),
                expected,
                "{host} at {guard:?}"
            );
        }
        let get = |uri, headers| status(&loopback, Method::GET, uri, headers);
        assert_eq!(get("/", &[]), 400);
        assert_eq!(
            get("/", &[("host", "localhost:9090"), ("host", "localhost:9090")]),
            400
        );
        assert_eq!(get("http://evil.example/", &[("host", "localhost:9090")]), 403);
        assert_eq!(get("http://localhost:9090/", &[("host", "localhost:9090")]), 200);
    }

    #[test]
    fn changes_need_the_header_and_sizes_are_bounded() {
        let guard = guard("127.0.0.1:9090", &[]);
        let own = ("host", "127.0.0.1:9090");
        for method in [
            Method::POST,
            Method::DELETE,
            Method::PUT,
            Method::OPTIONS,
            Method::TRACE,
        ] {
            assert_eq!(status(&guard, method.clone(), "/", &[own]), 403, "{method}");
            assert_eq!(
                status(&guard, method.clone(), "/", &[own, ("millrace-request", "0")]),
                403,
                "{method}"
            );
            assert_eq!(
                status(&guard, method.clone(), "/", &[own, ("millrace-request", "1")]),
                200,
                "{method}"
            );
        }
        assert_eq!(status(&guard, Method::HEAD, "/", &[own]), 200);
        let long = format!("/{}", "a".repeat(MAX_URL_BYTES));
        assert_eq!(status(&guard, Method::GET, &long, &[own]), 414);
        assert_eq!(
            status(&guard, Method::GET, "/", &[own, ("content-length", "65537")]),
            413
        );
        assert_eq!(
            status(&guard, Method::GET, "/", &[own, ("content-length", "65536")]),
            200
        );
    }
}
