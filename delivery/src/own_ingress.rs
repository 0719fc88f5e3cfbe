//! URLs that lead back into this process.
//!
//! Such a URL counts as the Broker that it names, so that its events keep their count of hops and a circle
//! ends.

use std::net::SocketAddr;

use http::Uri;
use millrace_event::ObjectName;
use millrace_model::Target;

/// Where the ingress of this process can be called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnIngress {
    /// By `http`.
    pub plain: Option<SocketAddr>,
    /// By `https`.
    pub secured: Option<SocketAddr>,
}

/// The target; where it is a URL of our own ingress, the Broker that the URL names.
pub fn own_broker(target: Target, own: OwnIngress) -> Target {
    let Target::Http { uri, .. } = &target else {
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

fn is_own(uri: &Uri, own: OwnIngress) -> bool {
    let (own, default_port) = if uri.scheme_str() == Some("https") {
        (own.secured, 443)
    } else {
        (own.plain, 80)
    };
    let Some(own) = own.filter(|own| own.port() == uri.port_u16().unwrap_or(default_port)) else {
        return false;
    };
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
        let address = |text: &str| Some(text.parse().expect("an address"));
        let own = OwnIngress {
            plain: address("127.0.0.1:8080"),
            secured: address("0.0.0.0:443"),
        };
        let cases = [
            ("http://127.0.0.1:8080/shop/default", true),
            ("http://localhost:8080/shop/default/", true),
            ("https://localhost/shop/default", true),
            ("https://127.0.0.1:443/shop/default", true),
            ("https://127.0.0.1:8080/shop/default", false),
            ("http://127.0.0.1:443/shop/default", false),
            ("http://127.0.0.1:8081/shop/default", false),
            ("http://127.0.0.1:8080/shop", false),
            ("http://127.0.0.1:8080/a/b/c", false),
            ("http://10.0.0.1:8080/shop/default", false),
        ];
        for (uri, is_broker) in cases {
            let target = Target::http(uri.parse().expect("a uri"));
            assert_eq!(
                matches!(own_broker(target.clone(), own), Target::Broker(_)),
                is_broker,
                "{uri}"
            );
            let none = own_broker(target, OwnIngress::default());
            assert!(matches!(none, Target::Http { .. }), "{uri}");
        }
    }
}
