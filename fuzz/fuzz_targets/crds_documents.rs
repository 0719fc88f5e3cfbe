//! Any text as documents: loaded, or refused with problems, in bounded time and without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let _ = millrace_crds::load_text(input);
});
