//! How long the whole budget of a Trigger takes on this machine, for several questions and kinds of data:
//! `cargo run -p millrace-filter --release --example whole_budget`.
//!
//! Each row needs more than [`MAX_STEPS`]: hundreds of questions that never hold. Reading the data is not
//! measured. Processor time is measured, so that other work on the machine counts less.

#![expect(clippy::print_stdout, reason = "what it measured is shown")]

use std::time::Duration;

use millrace_event::{DataForm, Event, SpecVersion};
use millrace_filter::{Allowance, Compiled, Decision, Filter, MAX_STEPS, Scalar, Subject};
use rustix::time::{ClockId, clock_gettime};

/// Questions of one Trigger.
const CLAUSES: usize = 450;
/// How often each row is measured; the shortest time is shown.
const ROUNDS: usize = 10;

fn main() {
    println!("{MAX_STEPS} steps take");
    let deep = format!("{}{{\"b\":1}}{}", "[".repeat(40), "]".repeat(40));
    let long = "7.5".to_owned() + &"0".repeat(1_000) + "1";
    let beyond = format!("7{}", "0".repeat(2_000));
    let text = format!("\"{}\"", "x".repeat(2_000));
    for (what, path, item) in [
        ("values anywhere below", "$..[?@.b == NUMBER]", &*deep),
        ("whole numbers, all different", "$[?@ == NUMBER]", "1"),
        ("fractions, all different", "$[?@ == NUMBER.5]", "1.5"),
        ("fractions, all alike", "$[?@ != 7.5 && @ == NUMBER]", "7.50"),
        (
            "whole numbers and fractions alike",
            "$[?@ != 7 && @ == NUMBER]",
            "7.0",
        ),
        ("long fractions", "$[?@ == 7.5 && @ == NUMBER]", &*long),
        ("numbers beyond 64 bits", "$[?@ == NUMBER]", &*beyond),
        (
            "numbers beyond 64 bits, with each other",
            "$[?@ != $[0] && @ == NUMBER]",
            &*beyond,
        ),
        ("long texts, all alike", "$[?@ != $[0] && @ == NUMBER]", &*text),
        ("texts, all different", "$[?@ == 'NUMBER']", "\"xyz\""),
        (
            "lists of fractions, all alike",
            "$[?@ != $[0] && @ == NUMBER]",
            "[7.50,7.5,7.50,7.5]",
        ),
    ] {
        show(what, item, |n| {
            Filter::JsonPath(path.replace("NUMBER", &n.to_string()))
        });
    }
    for (what, number, item) in [
        ("map form: fractions, all different", ".5", "1.5"),
        ("map form: numbers beyond 64 bits", "e1999", &*beyond),
        ("map form: whole numbers", "", "1"),
    ] {
        show(what, item, |n| {
            let number = Scalar::Number(format!("{n}{number}"));
            Filter::JsonPathEquals(vec![("$[*]".to_owned(), number)])
        });
    }
}

/// Prints a row: the time of the whole budget on about a mebibyte of these items.
fn show(what: &str, item: &str, question: impl Fn(usize) -> Filter) {
    let items = vec![item; (1 << 20) / (item.len() + 1)].join(",");
    let event = Event::builder(SpecVersion::V10)
        .attribute("id", "1")
        .attribute("source", "/s")
        .attribute("type", "t")
        .attribute("datacontenttype", "application/json")
        .data(DataForm::Bytes, format!("[{items}]").as_bytes())
        .build()
        .expect("a valid event");
    let filters = (100..100 + CLAUSES).map(question).collect();
    let compiled = Compiled::new(&[Filter::Any(filters)]).expect("valid filters");
    let subject = Subject::new(&event);
    let (mut best, mut ended) = (Duration::MAX, Decision::Later);
    // The first round reads the data.
    for round in 0..=ROUNDS {
        let begun = processor_time();
        ended = compiled.decide(&subject, &Allowance::unlimited());
        if round > 0 {
            best = best.min(processor_time().saturating_sub(begun));
        }
    }
    println!("{:8.1} ms  {what} ({ended:?})", best.as_secs_f64() * 1e3);
}

/// Processor time of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("invariant: it is not negative")
}
