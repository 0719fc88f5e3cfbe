//! Any bytes as the JSON event format, one event or a batch: taken or refused, and what is taken can be
//! written and taken again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use millrace_event::http::{Limits, Outgoing};
use millrace_event::json::{decode, decode_batch, encode};

const LIMITS: Limits = Limits {
    event_bytes: 4096,
    batch_events: 8,
    json_depth: 32,
};

fuzz_target!(|input: &[u8]| {
    let body = Bytes::copy_from_slice(input);
    let _ = decode_batch(&body, &LIMITS);
    let Ok(event) = decode(&body, &LIMITS) else { return };
    let written = encode(&event, &Outgoing::default());
    let again = decode(&written, &LIMITS).expect("what was written is taken");
    assert_eq!(again.data(), event.data());
});
