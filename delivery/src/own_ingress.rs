//! URLs that lead back into this process.
//!
//! Such a URL counts as the Broker that it names, so that its events keep their count of hops and a circle
//! ends.

use std::net::SocketAddr;

use http::Uri;
use millrace_event::ObjectName;
use millrace_model::Target;

/// The target; where it is a URL of the ingress at this address, the Broker that the URL names.
pub fn own_broker(target: Target, own_ingress: Option<SocketAddr>) -> Target {
    let (Target::Http(uri), Some(own)) = (&target, own_ingress) else {
        return target;
    };
    match broker_of(uri) {
        Some(broker) if is_own(uri, own) => Target::Broker(broker),
        _ => target,
    }
}

fn broker_of(uri: &Uri) -> Option<ObjectName> {
    let path = uri.path().strip_prefix('/')?;
    path.strip_suffix('/').unwrap_or(path).parse().ok()
}

fn is_own(uri: &Uri, own: SocketAddr) -> bool {
    let default_port = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    if uri.port_u16().unwrap_or(default_port) != own.port() {
        return false;
    }
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let local = own.ip().is_loopback() || own.ip().is_unspecified();
    match host.parse::<std::net::IpAddr>() {
        Ok(ip) => ip == own.ip() || (own.ip().is_unspecified() && ip.is_loopback()),
        Err(_) => local && host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_our_own_ingress_is_the_broker_it_names() {
        let own = Some("127.0.0.1:8080".parse().expect("an address"));
        let cases = [
            ("http://127.0.0.1:8080/shop/default", true),
            ("http://localhost:8080/shop/default/", true),
            ("http://127.0.0.1:8081/shop/default", false),
            ("http://127.0.0.1:8080/shop", false),
            ("http://127.0.0.1:8080/a/b/c", false),
            ("http://10.0.0.1:8080/shop/default", false),
        ];
        for (uri, is_broker) in cases {
            let target = own_broker(Target::Http(uri.parse().expect("a uri")), own);
            assert_eq!(matches!(target, Target::Broker(_)), is_broker, "{uri}");
        }
    }
}
