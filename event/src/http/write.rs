//! An event is written as a message: headers of binary mode, or the body of structured mode.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Outgoing, names, passed, percent};
use crate::attribute::{Kind, SpecVersion};
use crate::event::{DataForm, Event, JSON};
use crate::json;
use crate::rules::media;
use crate::stored::Row;

/// The Content-Type of a message in structured mode.
const STRUCTURED: HeaderValue = HeaderValue::from_static("application/cloudevents+json; charset=utf-8");

/// Writes a message in binary mode: the `ce-` headers, Content-Type and passed-on headers into `headers`,
/// which is empty. Returns the body.
///
/// A value that came in a header without quotes or percent signs leaves as it came, except that characters
/// beyond printable ASCII are encoded. Every other value is encoded (§3.1.3.2). JSON data of an event without
/// `datacontenttype` leaves as `application/json`, as the JSON format implies.
///
/// **Data whose media type is one of CloudEvents' own leaves in structured mode.** Receivers tell the mode by
/// the beginning of Content-Type alone. In binary mode they would read the event in the data instead of this
/// one: an event that no filter has seen.
///
/// `headers` must be empty.
pub fn write_binary(event: &Event, outgoing: &Outgoing<'_>, headers: &mut HeaderMap) -> Bytes {
    headers.reserve(event.layout().attributes() + outgoing.extra.len() + 2);
    let version = HeaderValue::from_static(event.specversion().as_str());
    insert(headers, names::of_attribute("specversion"), Some(version));
    let (mut media_type, mut content_type) = (None, None);
    for row in outgoing.own(event) {
        match event.text(row.name.clone()) {
            "datacontenttype" => {
                media_type = Some(event.text(row.value.clone()));
                content_type = plain(event, row.value);
            }
            "datacontentencoding" if json_spelled_base64(event, &row) => {}
            name => {
                let name = names::of_attribute(name);
                insert(headers, name, value(event, row.kind, row.value));
            }
        }
    }
    for (name, text) in outgoing.added() {
        match name {
            "datacontenttype" => {
                media_type = Some(text);
                content_type = HeaderValue::from_str(text).ok();
            }
            name => insert(headers, names::of_attribute(name), encoded(text)),
        }
    }
    if media_type.is_some_and(media::is_cloudevents) {
        headers.clear();
        return write_structured(event, outgoing, headers);
    }
    if content_type.is_none() && event.data_form() == DataForm::Json {
        content_type = Some(HeaderValue::from_static(JSON));
    }
    insert(headers, Some(CONTENT_TYPE), content_type);
    pass_headers(event, headers);
    event.data().unwrap_or_default()
}

/// Writes a message in structured mode: Content-Type and passed-on headers into `headers`, which is empty.
/// Returns the body.
pub fn write_structured(event: &Event, outgoing: &Outgoing<'_>, headers: &mut HeaderMap) -> Bytes {
    headers.insert(CONTENT_TYPE, STRUCTURED);
    pass_headers(event, headers);
    json::encode(event, outgoing)
}

/// Writes the headers that came with the event and are passed on.
fn pass_headers(event: &Event, headers: &mut HeaderMap) {
    for (name, value) in event.layout().header_rows(event.stored()) {
        if let Some(value) = plain(event, value) {
            passed::write(event.text(name), value, headers);
        }
    }
}

/// Whether `datacontentencoding` (0.3) told how a JSON string spelled the data. The body is the data itself,
/// so there the attribute would be wrong. One that came as a header describes the body and stays.
pub(crate) fn json_spelled_base64(event: &Event, row: &Row) -> bool {
    event.specversion() == SpecVersion::V03
        && row.kind != Kind::RawHeader
        && event.text(row.value.clone()).eq_ignore_ascii_case("base64")
}

fn insert(headers: &mut HeaderMap, name: Option<HeaderName>, value: Option<HeaderValue>) {
    if let (Some(name), Some(value)) = (name, value) {
        headers.insert(name, value);
    }
}

/// The value of an attribute as it is spelled in a header.
fn value(event: &Event, kind: Kind, range: std::ops::Range<usize>) -> Option<HeaderValue> {
    let text = event.text(range.clone());
    match kind {
        Kind::RawHeader if text.is_ascii() => plain(event, range).or_else(|| encoded(text)),
        Kind::RawHeader => HeaderValue::try_from(percent::encode_beyond_ascii(text)).ok(),
        Kind::String | Kind::Boolean | Kind::Integer if percent::needs_encoding(text) => encoded(text),
        Kind::String | Kind::Boolean | Kind::Integer => plain(event, range),
    }
}

fn encoded(text: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(percent::encode(text)).ok()
}

/// A part of the event's buffer as a header's value, without a copy.
fn plain(event: &Event, range: std::ops::Range<usize>) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(event.stored().slice(range)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::Value;
    use crate::hops::TTL;
    use crate::{Event, EventBuilder};

    fn minimal(version: SpecVersion) -> EventBuilder {
        Event::builder(version)
            .attribute("id", "1")
            .attribute("source", "/s")
            .attribute("type", "t")
    }

    /// The headers of binary mode without those of the minimal event.
    fn written(builder: EventBuilder, outgoing: &Outgoing<'_>) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        write_binary(&builder.build().unwrap(), outgoing, &mut headers);
        let mut list: Vec<_> = headers
            .iter()
            .filter(|(name, _)| {
                !matches!(
                    name.as_str(),
                    "ce-specversion" | "ce-id" | "ce-source" | "ce-type"
                )
            })
            .map(|(name, value)| {
                (
                    name.as_str().to_owned(),
                    String::from_utf8(value.as_bytes().to_vec()).unwrap(),
                )
            })
            .collect();
        list.sort();
        list
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn a_minimal_event_is_four_headers() {
        let mut headers = HeaderMap::new();
        write_binary(
            &minimal(SpecVersion::V10).build().unwrap(),
            &Outgoing::default(),
            &mut headers,
        );
        let get = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert_eq!(headers.len(), 4);
        assert_eq!(
            [
                get("ce-specversion"),
                get("ce-id"),
                get("ce-source"),
                get("ce-type")
            ],
            ["1.0", "1", "/s", "t"]
        );
    }

    #[test]
    fn values_leave_as_they_came_or_encoded() {
        let raw = |text| Value {
            kind: Kind::RawHeader,
            text,
        };
        let builder = minimal(SpecVersion::V10)
            .value("araw", raw("a b é"))
            .attribute("btext", "a b \"é\" 100%")
            .value(
                "ctrue",
                Value {
                    kind: Kind::Boolean,
                    text: "true",
                },
            )
            .value(
                "dnumber",
                Value {
                    kind: Kind::Integer,
                    text: "-5",
                },
            )
            .attribute("eempty", "")
            .value("datacontenttype", raw("text/plain; charset=\"utf-8\""));
        let expected = pairs(&[
            ("ce-araw", "a b %C3%A9"),
            ("ce-btext", "a%20b%20%22%C3%A9%22%20100%25"),
            ("ce-ctrue", "true"),
            ("ce-dnumber", "-5"),
            ("ce-eempty", ""),
            ("content-type", "text/plain; charset=\"utf-8\""),
        ]);
        assert_eq!(written(builder, &Outgoing::default()), expected);
    }

    #[test]
    fn the_count_of_hops_is_never_written() {
        let builder = || minimal(SpecVersion::V10).attribute(TTL, "9");
        assert_eq!(written(builder(), &Outgoing::default()), []);
        let outgoing = Outgoing {
            extra: &[(TTL, "3")],
            ttl: None,
        };
        assert_eq!(written(builder(), &outgoing), []);
    }

    #[test]
    fn extra_attributes_replace_those_of_the_same_name() {
        let builder = minimal(SpecVersion::V10).attribute("a", "1").attribute("b", "2");
        let outgoing = Outgoing {
            extra: &[("a", "x y"), ("c", "1"), ("c", "2"), ("B", "no"), ("", "no")],
            ttl: None,
        };
        assert_eq!(
            written(builder, &outgoing),
            pairs(&[("ce-a", "x%20y"), ("ce-b", "2"), ("ce-c", "2")])
        );
    }

    #[test]
    fn json_data_without_a_media_type_leaves_as_json() {
        let outgoing = Outgoing::default();
        let json = minimal(SpecVersion::V10).data(DataForm::Json, b"1");
        assert_eq!(
            written(json, &outgoing),
            pairs(&[("content-type", "application/json")])
        );
        let bytes = minimal(SpecVersion::V10).data(DataForm::Bytes, b"1");
        assert_eq!(written(bytes, &outgoing), []);
    }

    /// In every requested mode: a receiver that reads it as binary would see the inner event.
    #[test]
    fn data_that_is_an_event_leaves_in_structured_mode() {
        let inner = br#"{"specversion":"1.0","id":"inner","source":"/i","type":"secret"}"#;
        let cases: [(&str, DataForm, &[u8], &str); 6] = [
            ("application/cloudevents+json", DataForm::Json, inner, "data"),
            (
                "Application/CloudEvents+JSON; charset=utf-8",
                DataForm::Bytes,
                inner,
                "data",
            ),
            (
                "application/cloudevents-batch+json",
                DataForm::Bytes,
                b"[]",
                "data",
            ),
            (
                "application/cloudevents+json",
                DataForm::Bytes,
                b"{broken",
                "data_base64",
            ),
            (
                "application/cloudevents+xml",
                DataForm::Text,
                b"<event/>",
                "data_base64",
            ),
            ("APPLICATION/cloudevents", DataForm::Bytes, b"\xff", "data_base64"),
        ];
        for (media_type, form, data, member) in cases {
            let event = minimal(SpecVersion::V10)
                .attribute("datacontenttype", media_type)
                .data(form, data)
                .header("traceparent", b"t")
                .build()
                .unwrap();
            let mut headers = HeaderMap::new();
            let body = write_binary(&event, &Outgoing::default(), &mut headers);
            assert_eq!(headers[CONTENT_TYPE], STRUCTURED, "{media_type}");
            assert_eq!(
                (headers.len(), &headers["traceparent"]),
                (2, &HeaderValue::from_static("t"))
            );
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert!(json.get(member).is_some(), "{media_type}: {json}");
            let limits = crate::http::Limits::default();
            let back = crate::http::decode(&headers, &body, &limits).unwrap().remove(0);
            assert_eq!((back.id(), back.data_ref()), ("1", Some(data)), "{media_type}");
        }
        let replaced = minimal(SpecVersion::V10)
            .attribute("datacontenttype", "text/plain")
            .data(DataForm::Bytes, b"x");
        let outgoing = Outgoing {
            extra: &[("datacontenttype", "application/cloudevents")],
            ttl: None,
        };
        let written = written(replaced, &outgoing);
        assert_eq!(written[0].1, "application/cloudevents+json; charset=utf-8");
    }

    #[test]
    fn passed_on_headers_leave_in_their_order() {
        let builder = minimal(SpecVersion::V10)
            .header("tracestate", b"a=1")
            .header("knative-x", b"1")
            .header("tracestate", b"b=2");
        let mut headers = HeaderMap::new();
        write_binary(&builder.build().unwrap(), &Outgoing::default(), &mut headers);
        assert_eq!(
            headers.get_all("tracestate").iter().collect::<Vec<_>>(),
            ["a=1", "b=2"]
        );
        assert_eq!(headers["knative-x"], "1");
    }

    #[test]
    fn base64_of_version_0_3_is_not_told_of_a_body_that_is_decoded() {
        let outgoing = Outgoing::default();
        let spelled = minimal(SpecVersion::V03).attribute("datacontentencoding", "base64");
        assert_eq!(written(spelled, &outgoing), []);
        let raw = Value {
            kind: Kind::RawHeader,
            text: "base64",
        };
        let came = minimal(SpecVersion::V03).value("datacontentencoding", raw);
        assert_eq!(
            written(came, &outgoing),
            pairs(&[("ce-datacontentencoding", "base64")])
        );
        let later = minimal(SpecVersion::V10).attribute("datacontentencoding", "base64");
        assert_eq!(
            written(later, &outgoing),
            pairs(&[("ce-datacontentencoding", "base64")])
        );
    }
}
