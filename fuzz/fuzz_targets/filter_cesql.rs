//! Any text as a CESQL expression: refused, or evaluated in bounded time, and explained as it decides.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_event::{Event, Kind, SpecVersion, Value};
use millrace_filter::cesql::Expression;
use millrace_filter::{Compiled, Filter};

fuzz_target!(|input: &str| {
    let Ok(expression) = Expression::new(input) else {
        return;
    };
    let integer = Value {
        kind: Kind::Integer,
        text: "42",
    };
    let event = Event::builder(SpecVersion::V10)
        .attribute("id", "1")
        .attribute("source", "/s")
        .attribute("subject", "é")
        .attribute("type", "a.b")
        .value("n", integer)
        .build()
        .expect("a valid event");
    let _ = expression.evaluate(&event);
    if let Ok(compiled) = Compiled::new(&[Filter::Cesql(input.to_owned())]) {
        assert_eq!(compiled.matches(&event), compiled.explain(&event).matched);
        let _ = compiled.warnings();
    }
});
