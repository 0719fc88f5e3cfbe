//! Values of flags as people write them: durations, sizes, addresses, names of brokers.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use millrace_crds::duration;
use millrace_event::ObjectName;
use millrace_model::quantity;

/// The broker where `--broker` is not given: that of `millrace dev`.
pub(crate) fn default_broker() -> ObjectName {
    ObjectName::new("default", "default")
}

/// A duration: `500ms`, `30s`, `1h30m`, `2d`, or ISO 8601.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    duration::parse_short(text).map_err(|error| error.to_string())
}

/// The largest `--max-event-bytes`: what the log keeps in one frame, with room for attributes and a base64
/// copy.
const MAX_EVENT_BYTES: u64 = 32 << 20;

/// A size: `1048576`, `512Ki`, `1MiB`, `0`.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    quantity::parse(text).map_err(|error| error.to_string())
}

/// A size of an event.
pub(crate) fn parse_event_bytes(text: &str) -> Result<usize, String> {
    let bytes = parse_bytes(text)?;
    if !(1..=MAX_EVENT_BYTES).contains(&bytes) {
        return Err(format!("from 1 byte to {} MiB", MAX_EVENT_BYTES >> 20));
    }
    usize::try_from(bytes).map_err(|error| error.to_string())
}

/// A count of at least one.
pub(crate) fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number from 1 on is expected".to_owned()),
        Ok(count) => Ok(count),
    }
}

/// An address with a port; `localhost` is 127.0.0.1.
pub(crate) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| {
        "an IP address and a port are expected, for example 127.0.0.1:8080 or [::1]:8080".to_owned()
    })
}

/// An address, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MaybeAddress(pub(crate) Option<SocketAddr>);

/// An address, or `off`.
pub(crate) fn parse_address_or_off(text: &str) -> Result<MaybeAddress, String> {
    match text {
        "off" => Ok(MaybeAddress(None)),
        _ => parse_address(text).map(|address| MaybeAddress(Some(address))),
    }
}

/// A host as in a URL, with or without a port: `millrace.example`, `millrace.example:9090`, `[::1]:9090`.
pub(crate) fn parse_host(text: &str) -> Result<String, String> {
    // `Authority` keeps credentials that stand before the host, and takes any text for a port. A name is
    // compared as it is, so a pattern would allow nothing.
    let plain = text
        .bytes()
        .all(|c| c.is_ascii_alphanumeric() || b"-._:[]".contains(&c));
    match text.parse::<http::uri::Authority>() {
        Ok(host) if plain && (host.port_u16().is_some() || host.host() == text) => Ok(text.to_owned()),
        _ => Err("a host name is expected, with or without a port: millrace.example:9090".to_owned()),
    }
}

/// The name of a broker or trigger: `namespace/name`, or a name in the namespace `default`.
pub(crate) fn parse_name(text: &str) -> Result<ObjectName, String> {
    let full = if text.contains('/') {
        text.to_owned()
    } else {
        format!("default/{text}")
    };
    let plain = full
        .bytes()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-./".contains(&c));
    match full.parse() {
        Ok(name) if plain => Ok(name),
        _ => Err("a name of the form namespace/name is expected".to_owned()),
    }
}

/// A namespace of Kubernetes.
pub(crate) fn parse_namespace(text: &str) -> Result<String, String> {
    match parse_name(&format!("{text}/name")) {
        Ok(_) if !text.contains(['/', '.']) && text.len() <= 63 => Ok(text.to_owned()),
        _ => Err("the name of a namespace is expected".to_owned()),
    }
}

/// An absolute URL with `http` or `https`.
pub(crate) fn parse_url(text: &str) -> Result<http::Uri, String> {
    millrace_crds::url(text).map_err(str::to_owned)
}

/// An attribute of an event: `name=value`.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write name=value".to_owned()),
    }
}

/// A filter: `name=value` with perhaps a `*` at one end of the value, or one in the form of a Trigger's
/// `filters`.
pub(crate) fn parse_filter(text: &str) -> Result<String, String> {
    let is_short = !text.trim_start().starts_with(['{', '[']);
    let filter = match text.split_once('=') {
        Some((name, value)) if is_short && !name.contains(':') => {
            let (dialect, value) = match (value.strip_suffix('*'), value.strip_prefix('*')) {
                (Some(rest), _) => ("prefix", rest),
                (None, Some(rest)) => ("suffix", rest),
                (None, None) => ("exact", value),
            };
            serde_json::json!({ dialect: { name: value } }).to_string()
        }
        _ if is_short => {
            return Err(
                "write name=value, or a filter as in a Trigger: {exact: {type: order.paid}}".to_owned(),
            );
        }
        _ => text.to_owned(),
    };
    millrace_crds::read_filter(&filter)?;
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_short_or_as_in_a_trigger() {
        for (text, filter) in [
            ("type=order.paid", r#"{"exact":{"type":"order.paid"}}"#),
            ("type=order.*", r#"{"prefix":{"type":"order."}}"#),
            ("subject=*.png", r#"{"suffix":{"subject":".png"}}"#),
            ("{exact: {type: a=b}}", "{exact: {type: a=b}}"),
        ] {
            assert_eq!(parse_filter(text), Ok(filter.to_owned()), "{text}");
        }
        for text in [
            "",
            "type",
            "type=",
            "=a",
            "Type=a",
            "{exakt: {type: a}}",
            "type=*",
        ] {
            assert!(parse_filter(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_addresses_and_names_are_checked() {
        for (text, bytes) in [
            ("1", 1),
            ("1048576", 1 << 20),
            ("1Mi", 1 << 20),
            ("1MiB", 1 << 20),
            ("64k", 64_000),
        ] {
            assert_eq!(parse_event_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["0", "33Mi", "B", "iB", "1B", "-1", "1e6"] {
            assert!(parse_event_bytes(text).is_err(), "{text}");
        }
        assert_eq!(
            parse_address("localhost:0").map(|a| a.to_string()),
            Ok("127.0.0.1:0".to_owned())
        );
        assert!(parse_address("8080").is_err() && parse_address("example.com:80").is_err());
        assert_eq!(
            parse_name("shop/default").map(|n| n.to_string()),
            Ok("shop/default".to_owned())
        );
        assert_eq!(parse_name("b").map(|n| n.to_string()), Ok("default/b".to_owned()));
        for text in ["", "/", "a/", "a/b/c", "A/b", "a/b?x", "a b"] {
            assert!(parse_name(text).is_err(), "{text}");
        }
        for text in [
            "millrace.example",
            "millrace.example:9090",
            "[::1]:9090",
            "10.0.0.1",
        ] {
            assert_eq!(parse_host(text), Ok(text.to_owned()));
        }
        for text in ["", "a b", "me@a", "http://a", "a/b", "a:b", "a:", "a:99999", "*"] {
            assert!(parse_host(text).is_err(), "{text}");
        }
        assert_eq!(parse_namespace("shop"), Ok("shop".to_owned()));
        for text in ["", "a/b", "a.b", "A", " "] {
            assert!(parse_namespace(text).is_err(), "{text}");
        }
        assert!(parse_url("https://in.example/a").is_ok() && parse_url("in.example").is_err());
        assert!(parse_pair("a=b=c").is_ok_and(|pair| pair.1 == "b=c"));
        assert!(parse_pair("=b").is_err() && parse_pair("a").is_err());
    }
}
