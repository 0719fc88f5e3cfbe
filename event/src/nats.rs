//! The NATS protocol binding (CloudEvents NATS 1.0.2): an event as headers and payload of a message in binary
//! mode, and a message in binary or structured mode as an event.
//!
//! It knows headers as text and octets, and nothing of any client. Values of headers are spelled with percent
//! signs, as over HTTP. Unlike there, `datacontenttype` is a header like any other attribute.
//!
//! What a message cannot say (the order and types of attributes, whether the data was JSON in a JSON event,
//! headers to pass on) stands in headers of our own, so that an event comes back byte for byte. Whoever else
//! reads the message does not need them, and whoever else writes one does not have them.

use bytes::Bytes;

use crate::attribute::{Kind, SpecVersion, Value};
use crate::builder::{EventBuilder, missing};
use crate::event::{DataForm, Event};
use crate::exact::{Order, form, form_of};
use crate::hops::TTL;
use crate::http::{Limits, Outgoing, percent};
use crate::invalid::{Fault, Invalid, excerpt};
use crate::json;
use crate::rules::media;

/// What marks the header of an attribute.
const PREFIX: &str = "ce-";
/// The header of the media type of a message in structured mode.
const CONTENT_TYPE: &str = "content-type";
/// The attributes in their order.
const ATTRIBUTES: &str = "Millrace-Attributes";
/// What the data is.
const DATA: &str = "Millrace-Data";
/// A header to pass on: its name, and its value with percent signs.
const PASSED: &str = "Millrace-Passed";
/// An event whose headers would be longer goes in structured mode: servers take 64 KiB of headers.
const LONGEST_HEADERS: usize = 48 * 1024;

/// A message that carries an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Name and value of each header.
    pub headers: Vec<(String, String)>,
    /// The payload.
    pub payload: Bytes,
}

/// The message of an event: in binary mode, unless its attributes are too long for headers.
pub fn encode(event: &Event) -> Message {
    let mut headers = vec![(
        format!("{PREFIX}specversion"),
        event.specversion().as_str().to_owned(),
    )];
    let mut order = Order::default();
    for (name, value) in event.attributes().filter(|(name, _)| *name != "specversion") {
        let spelled = match value.kind {
            Kind::RawHeader => percent::encode_beyond_ascii(value.text),
            Kind::String | Kind::Boolean | Kind::Integer => percent::encode(value.text),
        };
        headers.push((format!("{PREFIX}{name}"), spelled));
        order.add(name, value.kind);
    }
    headers.push((ATTRIBUTES.to_owned(), order.0));
    let form = event.data_ref().map_or("none", |_| form(event.data_form()));
    headers.push((DATA.to_owned(), form.to_owned()));
    for (name, value) in event.headers() {
        let text: String = value.iter().copied().map(char::from).collect();
        headers.push((PASSED.to_owned(), format!("{name} {}", percent::encode(&text))));
    }
    let length: usize = headers
        .iter()
        .map(|(name, value)| name.len() + value.len() + 4)
        .sum();
    if length > LONGEST_HEADERS {
        let media = "application/cloudevents+json".to_owned();
        // Without its hops an event that goes round would never be ended.
        let outgoing = Outgoing {
            ttl: event.get(TTL).map(|ttl| ttl.text),
            ..Outgoing::default()
        };
        return Message {
            headers: vec![(CONTENT_TYPE.to_owned(), media)],
            payload: json::encode(event, &outgoing),
        };
    }
    Message {
        headers,
        payload: event.data().unwrap_or_default(),
    }
}

/// The event of a message; `None` when it bears no mark of a CloudEvent (a CloudEvents media type, or a `ce-`
/// header). Names of headers are taken in any case.
///
/// [`Invalid`] with the header or JSON member at fault: the message claims to be a CloudEvent, but cannot be
/// taken as one. Never panics, whatever the octets.
pub fn decode(headers: &[(&str, &[u8])], payload: &Bytes, limits: &Limits) -> Result<Option<Event>, Invalid> {
    if let Some(text) = one(headers, CONTENT_TYPE)?
        && media::is_cloudevents(&text)
    {
        return structured(&text, payload, limits).map(Some);
    }
    if !headers.iter().any(|(name, _)| attribute(name).is_some()) {
        return Ok(None);
    }
    json::check_data_size(payload.len(), limits)?;
    if let Some(event) = our_own(headers, payload) {
        return Ok(Some(event));
    }
    let Some(version) = one(headers, "ce-specversion")? else {
        return Err(missing("specversion").within(PREFIX));
    };
    let mut builder = EventBuilder::new(SpecVersion::from_wire(&version)?);
    // A client's map of headers has no order; an event has.
    let mut attributes: Vec<_> = headers
        .iter()
        .filter_map(|(name, octets)| Some((attribute(name)?, *octets)))
        .filter(|(name, _)| name != "specversion")
        .collect();
    attributes.sort_unstable();
    for (name, octets) in attributes {
        if builder.get(&name).is_some() {
            let message = format!("the header `{PREFIX}{}` is there more than once", excerpt(&name));
            return Err(Invalid::of(Fault::DuplicateAttribute, &name, message));
        }
        // Unlike over HTTP no client has ever sent anything else.
        str::from_utf8(octets).map_err(|_| not_utf8(&name))?;
        let (kind, text) = percent::decode(octets).map_err(|_| not_utf8(&name))?;
        builder.add(&name, Value { kind, text: &text })?;
    }
    if !payload.is_empty() {
        builder.set_data(DataForm::Bytes, payload.clone());
    }
    builder.build_decoded().map(Some)
}

/// The event as it was encoded here; `None` when the message is another's, or was changed.
fn our_own(headers: &[(&str, &[u8])], payload: &Bytes) -> Option<Event> {
    let find = |wanted: &str| {
        let mut found = headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let first = found.next()?;
        found.next().is_none().then_some(first.1)
    };
    let text = |wanted: &str| str::from_utf8(find(wanted)?).ok();
    let mut builder = EventBuilder::new(SpecVersion::from_wire(text("ce-specversion")?).ok()?);
    let mut known = 1;
    for named in Order::read(text(ATTRIBUTES)?) {
        let (name, kind) = named?;
        let octets = find(&format!("{PREFIX}{name}"))?;
        let (_, text) = percent::decode(octets).ok()?;
        if builder.get(name).is_some() {
            return None;
        }
        builder.add(name, Value { kind, text: &text }).ok()?;
        known += 1;
    }
    let all = headers
        .iter()
        .filter(|(name, _)| attribute(name).is_some())
        .count();
    if all != known {
        return None;
    }
    for (_, passed) in headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(PASSED))
    {
        let (name, value) = str::from_utf8(passed).ok()?.split_once(' ')?;
        let (_, value) = percent::decode(value.as_bytes()).ok()?;
        let octets: Result<Vec<u8>, _> = value.chars().map(u8::try_from).collect();
        builder.add_header(name, &octets.ok()?);
    }
    let builder = match text(DATA)? {
        "none" if payload.is_empty() => builder,
        "none" => return None,
        text => builder.data(form_of(text)?, payload),
    };
    builder.build().ok()
}

fn structured(content_type: &str, payload: &Bytes, limits: &Limits) -> Result<Event, Invalid> {
    let format = media::behind_cloudevents(media::essence(content_type)).unwrap_or_default();
    if !format.eq_ignore_ascii_case("+json") {
        let message =
            "of the CloudEvents formats only application/cloudevents+json is understood in a message";
        return Err(Invalid::of(Fault::UnsupportedFormat, CONTENT_TYPE, message));
    }
    json::decode(payload, limits)
}

/// The one header of that name as text, if there is one.
fn one(headers: &[(&str, &[u8])], wanted: &str) -> Result<Option<String>, Invalid> {
    let mut found = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
    let Some((_, octets)) = found.next() else {
        return Ok(None);
    };
    if found.next().is_some() {
        let message = format!("the header `{wanted}` is there more than once");
        return Err(Invalid::of(Fault::DuplicateAttribute, wanted, message));
    }
    let text = str::from_utf8(octets.trim_ascii()).map_err(|_| not_utf8(wanted))?;
    Ok(Some(text.to_owned()))
}

fn not_utf8(header: &str) -> Invalid {
    Invalid::of(Fault::NotUtf8, header, "the value of the header is not UTF-8")
}

/// The attribute that a header of this name holds, in lower case.
fn attribute(header: &str) -> Option<String> {
    let (prefix, name) = header.split_at_checked(PREFIX.len())?;
    prefix
        .eq_ignore_ascii_case(PREFIX)
        .then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::exact::testing;

    fn read(message: &Message) -> Result<Option<Event>, Invalid> {
        let headers = message.headers.iter().rev();
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        decode(&headers, &message.payload, &Limits::default())
    }

    fn foreign(more: &[(&str, &[u8])], payload: &'static [u8]) -> Result<Option<Event>, Invalid> {
        let minimal: [(&str, &[u8]); 4] = [
            ("ce-specversion", b"1.0"),
            ("CE-Id", b"1"),
            ("ce-source", b"/s"),
            ("ce-type", b"t"),
        ];
        decode(
            &[&minimal, more].concat(),
            &Bytes::from_static(payload),
            &Limits::default(),
        )
    }

    proptest! {
        #[test]
        fn an_event_comes_back_byte_for_byte(event in testing::events()) {
            prop_assert_eq!(read(&encode(&event)), Ok(Some(event)));
        }

        #[test]
        fn any_message_is_read_without_panic(
            headers in prop::collection::vec(("(?i)(ce-[a-z]{0,3}|content-type|millrace-(attributes|data|passed))", prop::collection::vec(any::<u8>(), 0..20)), 0..6),
            payload in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
            let _ = foreign(&headers, b"x");
            let _ = decode(&headers, &Bytes::from(payload), &Limits::default());
        }
    }

    #[test]
    fn json_data_and_text_stay_what_they_were() {
        for event in testing::of_json() {
            assert_eq!(read(&encode(&event)).unwrap(), Some(event));
        }
    }

    #[test]
    fn an_event_with_long_attributes_goes_in_structured_mode() {
        let event = Event::builder(SpecVersion::V10)
            .attribute("id", "1")
            .attribute("source", "/s");
        let event = event
            .attribute("type", "t")
            .attribute("long", &"x".repeat(50_000))
            .attribute(TTL, "7");
        let event = event.data(DataForm::Bytes, b"\x00d").build().unwrap();
        let message = encode(&event);
        assert_eq!(message.headers.len(), 1);
        let back = read(&message).unwrap().unwrap();
        assert_eq!((back.get("long"), back.data()), (event.get("long"), event.data()));
        let hops = back.get(TTL).map(|value| value.text);
        assert_eq!(hops, Some("7"), "the guard against loops goes on counting");
    }

    #[test]
    fn what_others_write_is_an_event() {
        let more: &[(&str, &[u8])] = &[
            ("Ce-Subject", b"50%25 caf%C3%A9"),
            ("ce-datacontenttype", b"application/json"),
            ("Nats-Msg-Id", b"7"),
        ];
        let event = foreign(more, b"{}").unwrap().unwrap();
        let value = |name| event.get(name).map(|value| value.text);
        assert_eq!(value("subject"), Some("50% café"));
        assert_eq!(value("datacontenttype"), Some("application/json"));
        assert_eq!(event.data().unwrap().as_ref(), b"{}");
        let names: Vec<_> = event.attributes().map(|(name, _)| name.to_owned()).collect();
        assert!(!names.iter().any(|name| name.contains("nats")), "{names:?}");
        let body = Bytes::from_static(br#"{"specversion":"1.0","id":"9","source":"/j","type":"u"}"#);
        let headers: [(&str, &[u8]); 1] = [("Content-Type", b"application/cloudevents+json")];
        let event = decode(&headers, &body, &Limits::default()).unwrap().unwrap();
        assert_eq!(event.id(), "9");
    }

    #[test]
    fn what_is_no_event_is_told_from_what_claims_to_be_one() {
        assert_eq!(
            decode(&[("other", b"x")], &Bytes::new(), &Limits::default()),
            Ok(None)
        );
        for (more, fault) in [
            (("ce-id", &b"2"[..]), Fault::DuplicateAttribute),
            (("ce-time", b"now"), Fault::BadAttributeValue),
            (("ce-a", b"%FF"), Fault::NotUtf8),
            (("ce-a", b"\xff"), Fault::NotUtf8),
            (
                ("content-type", b"application/cloudevents+avro"),
                Fault::UnsupportedFormat,
            ),
        ] {
            assert_eq!(foreign(&[more], b"").unwrap_err().fault, fault, "{more:?}");
        }
        let missing = decode(&[("ce-id", b"1")], &Bytes::new(), &Limits::default());
        assert_eq!(missing.unwrap_err().fault, Fault::MissingAttribute);
    }
}
