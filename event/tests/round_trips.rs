//! An event that goes through any form and back is the same event: attributes with their text, data octet for
//! octet. And whatever comes in is an event or refused, but never a panic.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use millrace_event::http::{Limits, Outgoing, decode, write_binary, write_structured};
use millrace_event::{DataForm, Event, Kind, SpecVersion, Value, json, kafka};
use proptest::collection::vec;
use proptest::prelude::*;

const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";
const BATCH: &str = "application/cloudevents-batch+json";

/// Text that the specification's String type allows.
fn text() -> impl Strategy<Value = String> {
    let any_text = any::<String>().prop_map(|text| {
        let noncharacter =
            |c: char| (0xfdd0..=0xfdef).contains(&u32::from(c)) || u32::from(c) & 0xfffe == 0xfffe;
        text.chars()
            .filter(|&c| !c.is_control() && !noncharacter(c))
            .collect()
    });
    prop_oneof!["[ -~]{0,20}", "[a%0-9A-F\" ]{0,12}", any_text]
}

fn nonempty() -> impl Strategy<Value = String> {
    text().prop_filter("empty", |text| !text.is_empty())
}

fn source() -> impl Strategy<Value = String> {
    "(https?://[a-z]{1,8}(:[0-9]{1,4})?)?/[a-zA-Z0-9._~!$&'()*+,;=:@/-]{0,16}(%[0-9A-F]{2}){0,2}(#[a-z]{0,3})?"
        .prop_filter("an authority begins with two slashes", |source| !source.starts_with("//"))
}

fn media_type() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("application/json".to_owned()),
        Just("Application/Vnd.X+JSON; charset=\"utf-8\"".to_owned()),
        Just("text/plain".to_owned()),
        Just("text/plain; charset=iso-8859-1".to_owned()),
        Just("application/octet-stream".to_owned()),
        "[a-z]{1,6}/[a-z+.-]{1,9}(; ?[a-z]{1,4}=[a-z0-9]{1,4})?",
    ]
}

/// The text of a JSON value, with blanks and escapes in it but none around it.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1.10".to_owned()),
        Just("123456789012345678901234567890".to_owned()),
        Just("-1e+2".to_owned()),
        Just(r#""\u00e9\n\ud800""#.to_owned()),
        "\"[ !#-\\[\\]-~é]{0,10}\"",
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|list| format!("[ {}]", list.join(" ,"))),
            vec(("[a-z]{0,4}", inner), 0..4).prop_map(|list| {
                let members: Vec<_> = list
                    .iter()
                    .map(|(name, value)| format!("\"{name}\": {value}"))
                    .collect();
                format!("{{{}}}", members.join(",\n"))
            }),
        ]
    })
}

fn data() -> impl Strategy<Value = Option<(DataForm, Vec<u8>)>> {
    prop_oneof![
        Just(None),
        vec(any::<u8>(), 1..60).prop_map(|octets| Some((DataForm::Bytes, octets))),
        json_text().prop_map(|text| Some((DataForm::Bytes, text.into_bytes()))),
        json_text().prop_map(|text| Some((DataForm::Json, text.into_bytes()))),
        any::<String>().prop_map(|text| Some((DataForm::Text, text.into_bytes()))),
    ]
}

fn extension() -> impl Strategy<Value = (String, Kind, String)> {
    let name = "x[a-z0-9]{0,18}";
    prop_oneof![
        (name, text()).prop_map(|(name, text)| (name, Kind::String, text)),
        (name, any::<bool>()).prop_map(|(name, yes)| (name, Kind::Boolean, yes.to_string())),
        (name, any::<i32>()).prop_map(|(name, number)| (name, Kind::Integer, number.to_string())),
        (name, "[!#$&-~][a-zé !#]{0,9}[a-z]").prop_map(|(name, text)| (name, Kind::RawHeader, text)),
    ]
}

prop_compose! {
    fn event()(
        version in prop_oneof![Just(SpecVersion::V10), Just(SpecVersion::V03)],
        id in nonempty(), source in source(), ty in nonempty(),
        media_type in prop::option::of(media_type()),
        subject in prop::option::of(nonempty()),
        time in prop::option::of("20[0-9]{2}-0[1-9]-1[0-9]T[01][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,12})?(Z|\\+02:00)"),
        extensions in vec(extension(), 0..6),
        data in data(),
        headers in vec(("knative-[a-z]{1,5}", vec(0x20_u8..0x7f, 0..10)), 0..3),
    ) -> Event {
        let mut builder = Event::builder(version)
            .attribute("id", &id).attribute("source", &source).attribute("type", &ty);
        let optional = [("datacontenttype", media_type), ("subject", subject), ("time", time)];
        for (name, value) in optional {
            if let Some(value) = value {
                builder = builder.attribute(name, &value);
            }
        }
        for (name, kind, text) in &extensions {
            builder = builder.value(name, Value { kind: *kind, text });
        }
        if let Some((form, data)) = data {
            builder = builder.data(form, &data);
        }
        for (name, value) in headers {
            builder = builder.header(&name, &value);
        }
        builder.build().expect("the strategy makes valid events")
    }
}

/// The attributes as name and canonical text, without order and without those that a form adds by the
/// specification.
fn attributes<'a>(event: &'a Event, without: &[&str]) -> Vec<(&'a str, &'a str)> {
    let mut list: Vec<_> = event
        .attributes()
        .map(|(name, value)| (name, value.text))
        .collect();
    list.retain(|(name, _)| !without.contains(name));
    list.sort_unstable();
    list
}

fn one(headers: &HeaderMap, body: &Bytes) -> Event {
    let mut events = decode(headers, body, &Limits::default()).expect("what was written can be read");
    assert_eq!(events.len(), 1);
    events.remove(0)
}

fn through_binary(event: &Event) -> (HeaderMap, Event) {
    let mut headers = HeaderMap::new();
    let body = write_binary(event, &Outgoing::default(), &mut headers);
    let back = one(&headers, &body);
    (headers, back)
}

fn through_structured(event: &Event) -> Event {
    let mut headers = HeaderMap::new();
    let body = write_structured(event, &Outgoing::default(), &mut headers);
    one(&headers, &body)
}

/// The record of an event in binary mode, as any other program would write it.
fn record(event: &Event) -> Vec<(String, Option<Vec<u8>>)> {
    let header = |(name, value): (&str, Value<'_>)| {
        let header = match name {
            "datacontenttype" => "content-type".to_owned(),
            name => format!("ce_{name}"),
        };
        (header, Some(value.text.as_bytes().to_owned()))
    };
    event.attributes().map(header).collect()
}

fn from_record(
    headers: &[(String, Option<Vec<u8>>)],
    value: Option<&[u8]>,
) -> Result<Option<Event>, millrace_event::Invalid> {
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_deref()))
        .collect();
    kafka::Decoder::new(Limits::default()).decode(&headers, value, &[("knativekafkapartition", "7")])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_stored_form_keeps_everything(event in event()) {
        let back = Event::from_stored(Bytes::copy_from_slice(event.stored())).unwrap();
        prop_assert_eq!(&back, &event);
        prop_assert!(back.attributes().eq(event.attributes()));
        prop_assert!(back.headers().eq(event.headers()));
        prop_assert_eq!(back.edit().build().unwrap(), event);
    }

    #[test]
    fn binary_mode_keeps_attributes_data_and_headers(event in event()) {
        let (_, back) = through_binary(&event);
        // JSON data had implied its media type; on HTTP it is told.
        let implied = event.data_form() == DataForm::Json && event.get("datacontenttype").is_none();
        let without: &[&str] = if implied { &["datacontenttype"] } else { &[] };
        prop_assert_eq!(attributes(&back, without), attributes(&event, without));
        prop_assert_eq!(back.data().unwrap_or_default(), event.data().unwrap_or_default());
        let trimmed = |(name, value): (&str, &[u8])| (name.to_owned(), value.trim_ascii().to_owned());
        let (mut came, mut went): (Vec<_>, Vec<_>) = (back.headers().map(trimmed).collect(), event.headers().map(trimmed).collect());
        came.sort();
        went.sort();
        prop_assert_eq!(came, went);
    }

    #[test]
    fn what_came_in_binary_mode_leaves_in_the_same_octets(event in event()) {
        let (first, back) = through_binary(&event);
        let (second, again) = through_binary(&back);
        // With characters beyond ASCII, a blank leaves as it came the first time, and encoded from then on.
        if event.attributes().all(|(_, value)| value.text.is_ascii()) {
            prop_assert_eq!(&first, &second);
            prop_assert_eq!(&back, &again);
        }
        prop_assert_eq!(attributes(&back, &[]), attributes(&again, &[]));
        prop_assert_eq!(through_binary(&again).0, second);
    }

    #[test]
    fn structured_mode_keeps_attributes_kinds_and_data(event in event()) {
        let back = through_structured(&event);
        let told = event.specversion() == SpecVersion::V03;
        let without: &[&str] = if told { &["datacontentencoding"] } else { &[] };
        prop_assert_eq!(attributes(&back, without), attributes(&event, without));
        prop_assert_eq!(back.data(), event.data());
        for (name, value) in event.attributes() {
            let expected = if value.kind == Kind::RawHeader { Kind::String } else { value.kind };
            prop_assert_eq!(back.get(name).unwrap().kind, expected);
        }
        prop_assert_eq!(through_structured(&back), back);
    }

    #[test]
    fn any_way_between_the_forms_keeps_the_data(event in event()) {
        let data = event.data().unwrap_or_default();
        let (_, binary) = through_binary(&through_structured(&event));
        prop_assert_eq!(binary.data().unwrap_or_default(), data.clone());
        let structured = through_structured(&through_binary(&event).1);
        prop_assert_eq!(structured.data().unwrap_or_default(), data);
    }

    #[test]
    fn a_batch_keeps_its_events(events in vec(event(), 0..4)) {
        let events: Vec<_> = events.into_iter().filter(|event| event.specversion() == SpecVersion::V10).collect();
        let bodies: Vec<_> = events.iter().map(|event| String::from_utf8(json::encode(event, &Outgoing::default()).to_vec()).unwrap()).collect();
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(BATCH));
        let body = Bytes::from(format!("[{}]", bodies.join(",")));
        let back = decode(&headers, &body, &Limits::default()).unwrap();
        prop_assert_eq!(back.len(), events.len());
        for (back, event) in back.iter().zip(&events) {
            let alone = json::decode(&json::encode(event, &Outgoing::default()), &Limits::default()).unwrap();
            prop_assert_eq!(back, &alone.edit().build().unwrap());
        }
    }

    #[test]
    fn any_body_is_read_or_refused(body in vec(any::<u8>(), 0..200)) {
        let body = Bytes::from(body);
        let _ = json::decode(&body, &Limits::default());
        let _ = json::decode_batch(&body, &Limits::default());
    }

    #[test]
    fn any_damaged_json_event_is_read_or_refused(
        event in event(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut body = json::encode(&event, &Outgoing::default()).to_vec();
        for (at, octet) in changes {
            let at = at.index(body.len());
            body[at] = octet;
        }
        if let Ok(event) = json::decode(&Bytes::from(body), &Limits::default()) {
            through_binary(&event);
            through_structured(&event);
        }
    }

    #[test]
    fn any_headers_are_read_or_refused(
        values in vec((prop_oneof![Just("ce-source".to_owned()), Just("ce-time".to_owned()), "ce-[a-z0-9_-]{0,6}", Just("content-type".to_owned())],
            vec(any::<u8>(), 0..20)), 0..8),
        body in vec(any::<u8>(), 0..20),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-type", "t"), ("ce-source", "/s")] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        for (name, value) in values {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(&value)) {
                headers.insert(name, value);
            }
        }
        if let Ok(events) = decode(&headers, &Bytes::from(body), &Limits::default()) {
            for event in events {
                through_binary(&event);
                through_structured(&event);
            }
        }
    }

    #[test]
    fn a_kafka_record_gives_the_event_that_was_written(event in event()) {
        let (data, structured) = (event.data(), millrace_event::json::encode(&event, &Outgoing::default()));
        let binary = from_record(&record(&event), data.as_deref()).unwrap().expect("an event");
        let without = ["knativekafkapartition"];
        prop_assert_eq!(attributes(&binary, &without), attributes(&event, &without));
        prop_assert_eq!(binary.data().unwrap_or_default(), event.data().unwrap_or_default());
        let headers = [("Content-Type".to_owned(), Some(STRUCTURED.as_bytes().to_owned()))];
        let back = from_record(&headers, Some(&structured)).unwrap().expect("an event");
        prop_assert_eq!(back.data(), event.data());
        prop_assert_eq!(back.get("knativekafkapartition").map(|value| value.text), Some("7"));
    }

    #[test]
    fn any_kafka_record_is_read_or_refused(
        more in vec((prop_oneof![Just("ce_id".to_owned()), Just("ce_time".to_owned()), "(ce|CE)_[a-zA-Z0-9_-]{0,6}",
            Just("content-type".to_owned()), any::<String>()], prop::option::of(vec(any::<u8>(), 0..20))), 0..8),
        minimal in any::<bool>(),
        value in prop::option::of(vec(any::<u8>(), 0..20)),
    ) {
        let fixed = [("ce_specversion", "1.0"), ("ce_id", "1"), ("ce_type", "t"), ("ce_source", "/s")];
        let fixed = fixed.iter().filter(|_| minimal).map(|(name, text)| ((*name).to_owned(), Some(text.as_bytes().to_owned())));
        let headers: Vec<_> = fixed.chain(more).collect();
        if let Ok(Some(event)) = from_record(&headers, value.as_deref()) {
            through_binary(&event);
            through_structured(&event);
        }
    }
}
