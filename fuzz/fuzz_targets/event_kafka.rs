//! Any headers and any value: the Kafka binding gives an event, none, or refuses; and what it takes can be
//! written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_event::http::{Limits, Outgoing};
use millrace_event::kafka::{Decoder, Header};

const LIMITS: Limits = Limits {
    event_bytes: 4096,
    batch_events: 8,
    json_depth: 32,
};

const GOOD: [Header<'static>; 4] = [
    ("ce_specversion", Some(b"1.0")),
    ("ce_id", Some(b"1")),
    ("ce_source", Some(b"/s")),
    ("ce_type", Some(b"t")),
];

fuzz_target!(|input: &[u8]| {
    let (headers, value) = split(input);
    let added = [("knativekafkapartition", "7")];
    let mut decoder = Decoder::new(LIMITS);
    let decoded = decoder.decode(&headers, value, &added);
    // Whatever came of it, nothing of it is left for the next one.
    let next = decoder.decode(&GOOD, Some(b"x"), &added);
    assert_eq!(next, Decoder::new(LIMITS).decode(&GOOD, Some(b"x"), &added));
    // Nor of one that looked like it: the same names, and the values of their neighbours.
    let mut others = headers.clone();
    for index in 1..others.len() {
        others[index].1 = headers[index - 1].1;
    }
    // Or values as long, one octet of each another.
    let changed: Vec<Vec<u8>> = headers
        .iter()
        .map(|(_, value)| changed(value.unwrap_or_default()))
        .collect();
    let as_long: Vec<Header<'_>> = headers
        .iter()
        .zip(&changed)
        .map(|((name, value), changed)| match *name {
            "ce_specversion" => (*name, *value),
            _ => (*name, value.map(|_| &changed[..])),
        })
        .collect();
    let mut decoder = Decoder::new(LIMITS);
    let records = [&headers, &as_long, &headers, &others, &headers]
        .into_iter()
        .zip(["7", "8", "9", "10", "7"]);
    for (headers, partition) in records {
        let added = [("knativekafkapartition", partition)];
        let decoded = decoder.decode(headers, value, &added);
        assert_eq!(decoded, Decoder::new(LIMITS).decode(headers, value, &added));
    }
    let Ok(Some(event)) = decoded else {
        return;
    };
    assert_eq!(
        event.get("knativekafkapartition").map(|value| value.text),
        Some("7")
    );
    let written = millrace_event::json::encode(&event, &Outgoing::default());
    let headers = [("content-type", Some(b"application/cloudevents+json".as_slice()))];
    let again = decoder
        .decode(&headers, Some(&written), &[])
        .expect("what was written is taken");
    // Blanks around JSON data are not told apart from those of the JSON around it, so the data is not
    // compared.
    assert_eq!(again.expect("an event").id(), event.id());
});

/// The value with its middle octet the next one.
fn changed(value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    let middle = value.len() / 2;
    if let Some(octet) = value.get_mut(middle) {
        *octet = octet.wrapping_add(1);
    }
    value
}

/// Lines `name: value` (or `name`, whose value is null) up to an empty one, then the value; without that one
/// the value is null.
fn split(input: &[u8]) -> (Vec<Header<'_>>, Option<&[u8]>) {
    let mut headers = Vec::new();
    let mut rest = input;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        if line.is_empty() {
            return (headers, Some(rest));
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = match colon {
            Some(colon) => (&line[..colon], Some(&line[colon + 1..])),
            None => (line, None),
        };
        if let Ok(name) = str::from_utf8(name) {
            headers.push((name, value));
        }
    }
    (headers, None)
}
