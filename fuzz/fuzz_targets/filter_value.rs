//! Any text as JSON: accepted exactly where serde_json accepts it, and printed so that reading it again gives
//! the same value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_filter::value::{MAX_DEPTH, read};
use serde::de::IgnoredAny;

fuzz_target!(|text: &str| {
    let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
    match read(text.as_bytes()) {
        Ok(value) => {
            assert!(is_json);
            let shown = value.to_string();
            // A name with half of a surrogate pair is printed as its escape, which is another name.
            if !text.contains('\\') {
                assert_eq!(read(shown.as_bytes()).as_ref(), Ok(&value));
            }
        }
        Err(_) => assert!(!is_json || text.matches(['[', '{']).count() > MAX_DEPTH),
    }
});
