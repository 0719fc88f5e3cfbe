//! Any text as documents, and any JSON as an object of a cluster: read, or refused with problems, in bounded
//! time and without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let _ = millrace_crds::load_text(input);
    if let Ok(object) = serde_json::from_str(input) {
        let _ = millrace_crds::Document::of_object(&object);
    }
});
