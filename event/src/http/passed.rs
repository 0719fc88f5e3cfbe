//! Which transport headers go along with an event to its subscribers: Knative's list, without `retry-after`.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Names and values of headers that go along with an event.
pub(crate) type Passed<'a> = Vec<(&'a str, &'a [u8])>;

/// Whether the header goes along.
pub(super) fn is_passed(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b't') => matches!(name, "traceparent" | "tracestate"),
        Some(b'b') => name == "baggage",
        Some(b'x') => name == "x-request-id" || name.starts_with("x-b3-"),
        Some(b'k') => name.starts_with("knative-"),
        _ => false,
    }
}

/// The headers that go along, in the order they came.
pub(super) fn list(headers: &HeaderMap) -> Passed<'_> {
    let passed = headers.iter().filter(|(name, _)| is_passed(name.as_str()));
    passed
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect()
}

/// Puts a kept header into the headers of a delivery; one that cannot be a header is left out.
pub(super) fn write(name: &str, value: HeaderValue, headers: &mut HeaderMap) {
    static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
    static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
    let name = match name {
        "traceparent" => TRACEPARENT.clone(),
        "tracestate" => TRACESTATE.clone(),
        other => match HeaderName::from_bytes(other.as_bytes()) {
            Ok(name) => name,
            Err(_) => return,
        },
    };
    headers.append(name, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_listed_headers_go_along() {
        for name in [
            "x-request-id",
            "knative-a",
            "x-b3-traceid",
            "traceparent",
            "tracestate",
            "baggage",
        ] {
            assert!(is_passed(name), "{name}");
        }
        for name in [
            "retry-after",
            "authorization",
            "cookie",
            "x-b3",
            "xb3-a",
            "b3",
            "host",
            "ce-id",
            "x-request-id2",
            "knative",
            "",
        ] {
            assert!(!is_passed(name), "{name}");
        }
    }
}
