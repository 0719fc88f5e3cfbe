//! Any bytes as the stored form of an event, as damage on the disk may leave them: read or refused, and never
//! a panic later.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use millrace_event::Event;
use millrace_event::http::Outgoing;

fuzz_target!(|input: &[u8]| {
    let Ok(event) = Event::from_stored(Bytes::copy_from_slice(input)) else {
        return;
    };
    // Whatever was let in must be able to go through everything that a stored event goes through.
    let mut headers = http::HeaderMap::new();
    millrace_event::http::write_binary(&event, &Outgoing::default(), &mut headers);
    let _ = millrace_event::json::encode(&event, &Outgoing::default());
});
