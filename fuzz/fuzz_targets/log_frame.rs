//! Any bytes as a frame of the log: parsed or refused, and the events of what is parsed lie within it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_channel::embedded::log::frame::parse;

fuzz_target!(|input: &[u8]| {
    for marker in [None, Some(0)] {
        if let Ok(frame) = parse(input, marker) {
            for range in frame.events(input) {
                assert!(range.start <= range.end && range.end <= input.len());
            }
        }
    }
});
