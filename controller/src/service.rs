//! The address of a Service: which of its ports takes events.
//!
//! As in Knative, a Service is addressed by its name and without a port where it has port 80, and nobody asks
//! whether anything stands behind it. Where it has no port 80, ours is the more generous rule: the port that
//! says it is HTTP, or the only one. By `https` it is the same with port 443.

use http::Uri;
use millrace_model::{ObjectName, Unresolved};
use serde_json::Value;

/// How a Service is called.
struct Scheme {
    name: &'static str,
    /// The port that the scheme implies.
    port: u16,
    /// What says of a port that it speaks this.
    protocols: &'static [&'static str],
}

const HTTP: Scheme = Scheme {
    name: "http",
    port: 80,
    protocols: &["http", "kubernetes.io/h2c"],
};
const HTTPS: Scheme = Scheme {
    name: "https",
    port: 443,
    protocols: &["https"],
};

/// The address of a Service in that domain, by `https` or by `http`.
pub(crate) fn address(
    name: &ObjectName,
    service: &Value,
    domain: &str,
    tls: bool,
) -> Result<Uri, Unresolved> {
    let host = format!("{}.{}.svc.{domain}", name.name(), name.namespace());
    let scheme = if tls { HTTPS } else { HTTP };
    let authority = match port(service, &scheme)? {
        port if port == scheme.port => host,
        port => format!("{host}:{port}"),
    };
    format!("{}://{authority}/", scheme.name)
        .parse()
        .map_err(|_| Unresolved::NotAddressable)
}

fn port(service: &Value, scheme: &Scheme) -> Result<u16, Unresolved> {
    let ports: Vec<&Value> = service
        .pointer("/spec/ports")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|port| matches!(port["protocol"].as_str(), None | Some("TCP")))
        .collect();
    let number = |port: &Value| port["port"].as_u64().and_then(|port| u16::try_from(port).ok());
    let says_so = |port: &&&Value| {
        port["name"] == scheme.name
            || port["appProtocol"]
                .as_str()
                .is_some_and(|says| scheme.protocols.contains(&says))
    };
    let numbers: Vec<u16> = ports.iter().filter_map(|port| number(port)).collect();
    if numbers.contains(&scheme.port) {
        return Ok(scheme.port);
    }
    if let Some(port) = ports.iter().find(says_so).and_then(|port| number(port)) {
        return Ok(port);
    }
    match numbers.as_slice() {
        // One without ports has the name of another host, or none of its own.
        [] => Ok(scheme.port),
        [only] => Ok(*only),
        _ => Err(Unresolved::Ambiguous { ports: numbers }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_port_that_takes_events_is_80_else_the_one_that_says_http_else_the_only_one() {
        let name = ObjectName::new("shop", "ship");
        let port = |port: u16| json!({"port": port});
        let named = |port: u16, name: &str| json!({"port": port, "name": name});
        for (ports, expected) in [
            (json!([port(80)]), "http://ship.shop.svc.cluster.local/"),
            (
                json!([named(8080, "http"), named(80, "x")]),
                "http://ship.shop.svc.cluster.local/",
            ),
            (
                json!([named(9000, "grpc"), named(8080, "http")]),
                "http://ship.shop.svc.cluster.local:8080/",
            ),
            (
                json!([named(9000, "a"), {"port": 8081, "name": "b", "appProtocol": "kubernetes.io/h2c"}]),
                "http://ship.shop.svc.cluster.local:8081/",
            ),
            (json!([port(8080)]), "http://ship.shop.svc.cluster.local:8080/"),
            (
                json!([{"port": 53, "protocol": "UDP"}, {"port": 8080, "protocol": "TCP"}]),
                "http://ship.shop.svc.cluster.local:8080/",
            ),
            (json!([]), "http://ship.shop.svc.cluster.local/"),
        ] {
            let service = json!({"spec": {"ports": ports}});
            let found = address(&name, &service, "cluster.local", false).expect("an address");
            assert_eq!(found.to_string(), expected, "{service}");
        }
        let service = json!({"spec": {"ports": [named(8080, "a"), named(9090, "b")]}});
        assert_eq!(
            address(&name, &service, "cluster.local", false),
            Err(Unresolved::Ambiguous {
                ports: vec![8080, 9090]
            })
        );
    }

    #[test]
    fn by_https_it_is_443_else_the_port_that_says_https_else_the_only_one() {
        let name = ObjectName::new("shop", "ship");
        for (ports, expected) in [
            (
                json!([{"port": 80}, {"port": 443}]),
                "https://ship.shop.svc.cluster.local/",
            ),
            (
                json!([{"port": 80, "name": "http"}, {"port": 8443, "name": "https"}]),
                "https://ship.shop.svc.cluster.local:8443/",
            ),
            (
                json!([{"port": 80, "name": "a"}, {"port": 8443, "name": "b", "appProtocol": "https"}]),
                "https://ship.shop.svc.cluster.local:8443/",
            ),
            (
                json!([{"port": 8443}]),
                "https://ship.shop.svc.cluster.local:8443/",
            ),
            (json!([]), "https://ship.shop.svc.cluster.local/"),
        ] {
            let service = json!({"spec": {"ports": ports}});
            let found = address(&name, &service, "cluster.local", true).expect("an address");
            assert_eq!(found.to_string(), expected, "{service}");
        }
        let service = json!({"spec": {"ports": [{"port": 80}, {"port": 8080}]}});
        let found = address(&name, &service, "cluster.local", true);
        assert_eq!(
            found,
            Err(Unresolved::Ambiguous {
                ports: vec![80, 8080]
            })
        );
    }
}
