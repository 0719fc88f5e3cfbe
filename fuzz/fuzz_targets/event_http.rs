//! Any headers and any body: the HTTP binding answers or refuses, never panics, and what it takes it can
//! write and take again.
#![no_main]

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use millrace_event::http::{Limits, Outgoing, decode, write_binary};

const LIMITS: Limits = Limits {
    event_bytes: 4096,
    batch_events: 8,
    json_depth: 32,
};

fuzz_target!(|input: &[u8]| {
    let (headers, body) = split(input);
    let Ok(events) = decode(&headers, &body, &LIMITS) else {
        return;
    };
    for event in events {
        let mut written = HeaderMap::new();
        let body = write_binary(&event, &Outgoing::default(), &mut written);
        // Data that is an event leaves in structured mode, nested one level deeper.
        let limits = Limits {
            json_depth: usize::MAX,
            ..LIMITS
        };
        let again = decode(&written, &body, &limits);
        let again = again.expect("what was written is taken");
        assert_eq!(again.len(), 1);
        assert_eq!(
            again[0].data().unwrap_or_default(),
            event.data().unwrap_or_default()
        );
    }
});

/// Lines `name: value` up to an empty one, then the body; lines that can be no header are left out.
fn split(input: &[u8]) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    let mut rest = input;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(&line[colon + 1..]);
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    (headers, Bytes::copy_from_slice(rest))
}
