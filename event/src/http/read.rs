//! A message in binary mode becomes an event: the hot path of intake, one pass over the headers and one
//! buffer.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

use super::{Limits, passed, percent};
use crate::attribute::{Kind, SpecVersion, Value};
use crate::builder::{EventBuilder, missing};
use crate::event::{DataForm, Event};
use crate::invalid::{Fault, Invalid, excerpt};
use crate::rules;

static SPECVERSION: HeaderName = HeaderName::from_static("ce-specversion");

/// The event of a message in binary mode.
pub(super) fn binary(
    headers: &HeaderMap,
    content_type: Option<&str>,
    body: &Bytes,
    limits: &Limits,
) -> Result<Event, Invalid> {
    crate::json::check_data_size(body.len(), limits)?;
    let mut builder = EventBuilder::with_room(version(headers)?);
    // A repeated header is rare, and the map knows at once whether it has any.
    let repeats = headers.len() != headers.keys_len();
    for (name, value) in headers {
        let name = name.as_str();
        if let Some(attribute) = name.strip_prefix("ce-") {
            if repeats && builder.get(attribute).is_some() {
                return Err(repeated(name));
            }
            read_attribute(&mut builder, attribute, value.as_bytes()).map_err(|fault| named(fault, name))?;
        } else if passed::is_passed(name) {
            builder.add_header(name, value.as_bytes());
        }
    }
    if let Some(text) = content_type {
        let value = Value {
            kind: Kind::RawHeader,
            text,
        };
        builder
            .add("datacontenttype", value)
            .map_err(|fault| named(fault, "content-type"))?;
    }
    if !body.is_empty() {
        builder.set_data(DataForm::Bytes, body.clone());
    }
    builder.build_decoded().map_err(|fault| match fault.fault {
        Fault::MissingAttribute => fault.within("ce-"),
        _ => fault,
    })
}

fn repeated(header: &str) -> Invalid {
    let message = format!("the header `{}` is there more than once", excerpt(header));
    Invalid::of(Fault::DuplicateAttribute, header, message)
}

/// The `ce-specversion`, which decides by which rules the others are read.
fn version(headers: &HeaderMap) -> Result<SpecVersion, Invalid> {
    let mut values = headers.get_all(&SPECVERSION).iter();
    let Some(first) = values.next() else {
        return Err(missing("specversion").within("ce-"));
    };
    if values.next().is_some() {
        return Err(repeated("ce-specversion"));
    }
    let (_, text) = spelled(first.as_bytes(), "ce-specversion")?;
    SpecVersion::from_wire(&text).map_err(|fault| named(fault, "ce-specversion"))
}

fn read_attribute(builder: &mut EventBuilder, name: &str, octets: &[u8]) -> Result<(), Invalid> {
    if name == "specversion" {
        return Ok(());
    }
    if name == "datacontenttype" {
        let message = "in binary mode the datacontenttype is the Content-Type header; `ce-datacontenttype` is forbidden";
        return Err(Invalid::of(Fault::DatacontenttypeHeader, name, message));
    }
    let (kind, text) = spelled(octets, name)?;
    let (kind, text) = undo_needless(builder.version(), name, octets, kind, text);
    builder.add(name, Value { kind, text: &text })
}

/// What the header's value spells.
fn spelled<'a>(octets: &'a [u8], name: &str) -> Result<(Kind, Cow<'a, str>), Invalid> {
    percent::decode(octets).map_err(|percent::NotUtf8| {
        let message = "what the percent signs in the value of the header spell is not UTF-8";
        Invalid::of(Fault::BadPercentEncoding, name, message)
    })
}

/// Most clients put a URI into a header as it is, though its percent signs should be encoded again. Decoding
/// then gives what is no URI any more (`/a b` of `/a%20b`). No client that encodes by the rule can have meant
/// such a value, so the octets as they came are the URI.
fn undo_needless<'a>(
    version: SpecVersion,
    name: &str,
    octets: &'a [u8],
    kind: Kind,
    text: Cow<'a, str>,
) -> (Kind, Cow<'a, str>) {
    let decoded = kind == Kind::String && matches!(name, "source" | "dataschema" | "schemaurl");
    let valid = |kind, text| rules::check_value(version, name, Value { kind, text }).is_ok();
    if !decoded || valid(kind, &text) {
        return (kind, text);
    }
    match str::from_utf8(octets.trim_ascii()) {
        Ok(raw) if valid(Kind::RawHeader, raw) => (Kind::RawHeader, Cow::Borrowed(raw)),
        _ => (kind, text),
    }
}

/// The fault as one of a header.
fn named(fault: Invalid, header: &str) -> Invalid {
    Invalid::of(fault.fault, header, fault.message)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::super::decode;
    use super::*;

    const MINIMAL: [(&str, &str); 4] = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
    ];

    /// Decodes the minimal event with more headers; one given again with `=` before its name is replaced, not
    /// repeated.
    fn read(more: &[(&str, &[u8])], body: &'static [u8]) -> Result<Event, Invalid> {
        let mut headers = HeaderMap::new();
        for (name, value) in MINIMAL {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        for (name, value) in more {
            let value = HeaderValue::from_bytes(value).unwrap();
            match name.strip_prefix('=') {
                Some(name) => drop(headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value)),
                None => drop(headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value)),
            }
        }
        let mut events = decode(&headers, &Bytes::from_static(body), &Limits::default())?;
        assert_eq!(events.len(), 1);
        Ok(events.remove(0))
    }

    fn fault(more: &[(&str, &[u8])]) -> (Fault, String) {
        let invalid = read(more, b"").unwrap_err();
        (invalid.fault, invalid.field.unwrap_or_default())
    }

    #[test]
    fn an_event_is_read_with_all_that_came() {
        let more: &[(&str, &[u8])] = &[
            ("ce-time", b"2018-04-05T17:31:00.100+02:00"),
            ("ce-comexampleextension1", b"a b"),
            ("ce-encoded", b"Euro%20%E2%82%AC"),
            ("content-type", b"Application/JSON ; charset=\"UTF-8\""),
            ("x-request-id", b"7"),
            ("authorization", b"secret"),
            ("baggage", b"a=1"),
            ("baggage", b"b=2"),
        ];
        let event = read(more, b"{ \"a\" : 1.10 }\n").unwrap();
        let value = |name: &str| event.get(name).map(|value| (value.kind, value.text));
        assert_eq!(
            value("time"),
            Some((Kind::RawHeader, "2018-04-05T17:31:00.100+02:00"))
        );
        assert_eq!(value("comexampleextension1"), Some((Kind::RawHeader, "a b")));
        assert_eq!(value("encoded"), Some((Kind::String, "Euro €")));
        assert_eq!(
            value("datacontenttype"),
            Some((Kind::RawHeader, "Application/JSON ; charset=\"UTF-8\""))
        );
        assert_eq!(
            (event.data_form(), event.data().unwrap().as_ref()),
            (DataForm::Bytes, b"{ \"a\" : 1.10 }\n".as_slice())
        );
        let headers: Vec<_> = event.headers().collect();
        assert_eq!(
            headers,
            [
                ("x-request-id", b"7".as_slice()),
                ("baggage", b"a=1"),
                ("baggage", b"b=2")
            ]
        );
    }

    #[test]
    fn an_empty_body_is_no_data_whatever_its_media_type() {
        let event = read(&[("content-type", b"text/plain")], b"").unwrap();
        assert_eq!(event.data(), None);
        assert_eq!(event.get("datacontenttype").unwrap().text, "text/plain");
    }

    #[test]
    fn version_0_3_is_kept() {
        let event = read(&[("=ce-specversion", b"0.3"), ("ce-schemaurl", b"/schema")], b"x").unwrap();
        assert_eq!(event.specversion(), SpecVersion::V03);
    }

    #[test]
    fn each_required_header_that_is_missing_is_named() {
        for (missing, _) in MINIMAL {
            let mut headers = HeaderMap::new();
            for (name, value) in MINIMAL.iter().filter(|(name, _)| *name != missing) {
                headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let invalid = decode(&headers, &Bytes::new(), &Limits::default()).unwrap_err();
            assert_eq!(
                (invalid.fault, invalid.field.as_deref()),
                (Fault::MissingAttribute, Some(missing))
            );
        }
        let invalid = decode(&HeaderMap::new(), &Bytes::from_static(b"{}"), &Limits::default()).unwrap_err();
        assert_eq!((invalid.fault, invalid.status()), (Fault::NotAnEvent, 400));
    }

    #[test]
    fn every_broken_header_is_refused_and_named() {
        let table: &[(&str, &[u8], Fault)] = &[
            ("=ce-specversion", b"1.1", Fault::UnsupportedSpecversion),
            ("=ce-specversion", b"", Fault::UnsupportedSpecversion),
            ("=ce-specversion", b"1.0.2", Fault::UnsupportedSpecversion),
            ("=ce-specversion", b"\xff", Fault::UnsupportedSpecversion),
            ("ce-specversion", b"1.0", Fault::DuplicateAttribute),
            ("=ce-id", b"", Fault::BadAttributeValue),
            ("=ce-id", b"%00", Fault::BadAttributeValue),
            ("=ce-id", b"a\tb", Fault::BadAttributeValue),
            ("=ce-id", b"\xc2\x85", Fault::BadAttributeValue),
            ("=ce-id", b"\"\"", Fault::BadAttributeValue),
            ("ce-id", b"2", Fault::DuplicateAttribute),
            ("=ce-type", b"", Fault::BadAttributeValue),
            ("=ce-source", b"", Fault::BadAttributeValue),
            ("=ce-source", b"a b", Fault::BadAttributeValue),
            ("=ce-source", b"http://[::1", Fault::BadAttributeValue),
            ("ce-subject", b"", Fault::BadAttributeValue),
            ("ce-time", b"yesterday", Fault::BadAttributeValue),
            ("ce-dataschema", b"/relative", Fault::BadAttributeValue),
            ("ce-foo_bar", b"x", Fault::BadAttributeName),
            ("ce-foo-bar", b"x", Fault::BadAttributeName),
            ("ce-data", b"x", Fault::BadAttributeName),
            ("ce-", b"x", Fault::BadAttributeName),
            ("=ce-id", b"\x85", Fault::BadAttributeValue),
            ("=ce-source", b"/caf\xe9", Fault::BadAttributeValue),
            ("ce-a", b"%C0%A0", Fault::BadPercentEncoding),
            ("ce-a", b"%ff", Fault::BadPercentEncoding),
            ("ce-datacontenttype", b"text/plain", Fault::DatacontenttypeHeader),
            ("content-type", b"json", Fault::BadAttributeValue),
            ("content-type", b"", Fault::BadAttributeValue),
            ("content-type", b"text/\xff", Fault::BadAttributeValue),
            ("content-encoding", b"gzip", Fault::UnsupportedEncoding),
            ("transfer-encoding", b"gzip, chunked", Fault::UnsupportedEncoding),
            ("transfer-encoding", b"gzip", Fault::UnsupportedEncoding),
        ];
        for (name, value, expected) in table {
            let field = name.trim_start_matches('=').to_owned();
            assert_eq!(
                fault(&[(name, value)]),
                (*expected, field),
                "{name}: {}",
                value.escape_ascii()
            );
        }
        let twice: &[(&str, &[u8])] = &[("content-type", b"text/plain"), ("content-type", b"text/plain")];
        assert_eq!(fault(twice).0, Fault::ContentTypeRepeated);
        let twice: &[(&str, &[u8])] = &[("ce-a", b"1"), ("CE-A", b"1")];
        assert_eq!(fault(twice), (Fault::DuplicateAttribute, "ce-a".to_owned()));
    }

    #[test]
    fn a_uri_of_a_client_that_does_not_encode_is_taken_as_it_came() {
        let table: &[(&[u8], Kind, &str)] = &[
            (b"/a%20b", Kind::RawHeader, "/a%20b"),
            (b"/a%2520b", Kind::String, "/a%20b"),
            (b"/caf%C3%A9", Kind::RawHeader, "/caf%C3%A9"),
            (b"/a%2Fb", Kind::String, "/a/b"),
        ];
        for (octets, kind, text) in table {
            let event = read(&[("=ce-source", octets)], b"").unwrap();
            let value = event.get("source").unwrap();
            assert_eq!((value.kind, value.text), (*kind, *text));
        }
        assert_eq!(fault(&[("=ce-source", b"/%C0%A0")]).0, Fault::BadPercentEncoding);
        assert_eq!(fault(&[("=ce-source", b"/%20 x")]).0, Fault::BadAttributeValue);
    }

    #[test]
    fn data_over_the_limit_is_refused() {
        let mut headers = HeaderMap::new();
        for (name, value) in MINIMAL {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let limits = Limits {
            event_bytes: 3,
            ..Limits::default()
        };
        assert!(decode(&headers, &Bytes::from_static(b"abc"), &limits).is_ok());
        let invalid = decode(&headers, &Bytes::from_static(b"abcd"), &limits).unwrap_err();
        assert_eq!((invalid.fault, invalid.status()), (Fault::EventTooLarge, 413));
    }

    #[test]
    fn attributes_over_the_bounds_are_refused() {
        let names: Vec<_> = (0..254).map(|n| format!("ce-a{n}")).collect();
        let more: Vec<(&str, &[u8])> = names
            .iter()
            .map(|name| (name.as_str(), b"x".as_slice()))
            .collect();
        assert!(read(&more[..253], b"").is_ok());
        assert_eq!(fault(&more).0, Fault::AttributesTooLarge);
        let large = [b'x'; 64 * 1024];
        assert_eq!(fault(&[("ce-a", &large)]).0, Fault::AttributesTooLarge);
        let name = format!("ce-{}", "a".repeat(256));
        assert_eq!(fault(&[(&name, b"x")]).0, Fault::BadAttributeName);
    }
}
