//! The address of a Service: which of its ports takes events.
//!
//! As in Knative, a Service is addressed by its name and without a port where it has port 80, and nobody asks
//! whether anything stands behind it. Where it has no port 80, ours is the more generous rule: the port that
//! says it is HTTP, or the only one.

use http::Uri;
use millrace_model::{ObjectName, Unresolved};
use serde_json::Value;

/// What says of a port that it speaks HTTP.
const HTTP: [&str; 2] = ["http", "kubernetes.io/h2c"];

/// The address of a Service in that domain.
pub(crate) fn address(name: &ObjectName, service: &Value, domain: &str) -> Result<Uri, Unresolved> {
    let host = format!("{}.{}.svc.{domain}", name.name(), name.namespace());
    let authority = match port(service)? {
        80 => host,
        port => format!("{host}:{port}"),
    };
    format!("http://{authority}/")
        .parse()
        .map_err(|_| Unresolved::NotAddressable)
}

fn port(service: &Value) -> Result<u16, Unresolved> {
    let ports: Vec<&Value> = service
        .pointer("/spec/ports")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|port| matches!(port["protocol"].as_str(), None | Some("TCP")))
        .collect();
    let number = |port: &Value| port["port"].as_u64().and_then(|port| u16::try_from(port).ok());
    let says_http = |port: &&&Value| {
        port["name"] == "http"
            || port["appProtocol"]
                .as_str()
                .is_some_and(|says| HTTP.contains(&says))
    };
    let numbers: Vec<u16> = ports.iter().filter_map(|port| number(port)).collect();
    if numbers.contains(&80) {
        return Ok(80);
    }
    if let Some(port) = ports.iter().find(says_http).and_then(|port| number(port)) {
        return Ok(port);
    }
    match numbers.as_slice() {
        // One without ports has the name of another host, or none of its own.
        [] => Ok(80),
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
            let found = address(&name, &service, "cluster.local").expect("an address");
            assert_eq!(found.to_string(), expected, "{service}");
        }
        let service = json!({"spec": {"ports": [named(8080, "a"), named(9090, "b")]}});
        assert_eq!(
            address(&name, &service, "cluster.local"),
            Err(Unresolved::Ambiguous {
                ports: vec![8080, 9090]
            })
        );
    }
}
