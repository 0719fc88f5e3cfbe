//! Any text as a path (the first line) into any data (the rest): refused, or evaluated in bounded time, and
//! explained as it decides.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_event::{DataForm, Event, SpecVersion};
use millrace_filter::{Compiled, Filter};

fuzz_target!(|input: &str| {
    let (path, data) = input
        .split_once('\n')
        .unwrap_or((input, "{\"a\": [1, {\"b\": \"c\"}]}"));
    let Ok(compiled) = Compiled::new(&[Filter::JsonPath(path.to_owned())]) else {
        return;
    };
    let event = Event::builder(SpecVersion::V10)
        .attribute("id", "1")
        .attribute("source", "/")
        .attribute("type", "a")
        .attribute("datacontenttype", "application/json")
        .data(DataForm::Bytes, data.as_bytes())
        .build()
        .expect("a valid event");
    assert_eq!(compiled.matches(&event), compiled.explain(&event).matched);
});
