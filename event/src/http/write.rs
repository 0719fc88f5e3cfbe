//! An event is written as a message: headers of binary mode, or the body of structured mode.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Outgoing, TTL, names, passed, percent};
use crate::attribute::{Kind, SpecVersion};
use crate::event::{DataForm, Event};
use crate::json;
use crate::stored::Row;

/// Adds the `ce-` headers, Content-Type and passed-on headers of binary mode; the body is `event.data()`.
///
/// A value that came in a header without quotes or percent signs leaves as it came; every other one is encoded (§3.1.3.2).
/// JSON data of an event without `datacontenttype` leaves as `application/json`, which its format had implied.
pub fn write_binary(event: &Event, outgoing: &Outgoing<'_>, headers: &mut HeaderMap) {
    headers.reserve(event.layout().attributes() + outgoing.extra.len() + 2);
    let version = HeaderValue::from_static(event.specversion().as_str());
    insert(headers, names::of_attribute("specversion"), Some(version));
    let mut content_type = None;
    for row in outgoing.own(event) {
        match event.text(row.name.clone()) {
            "datacontenttype" => content_type = plain(event, row.value),
            "datacontentencoding" if json_spelled_base64(event, &row) => {}
            name => {
                let name = names::of_attribute(name);
                insert(headers, name, value(event, row.kind, row.value));
            }
        }
    }
    for (name, text) in outgoing.added() {
        match name {
            "datacontenttype" => content_type = HeaderValue::from_str(text).ok(),
            name => insert(headers, names::of_attribute(name), encoded(text)),
        }
    }
    if let Some(ttl) = outgoing.ttl {
        insert(headers, names::of_attribute(TTL), Some(HeaderValue::from(ttl)));
    }
    if content_type.is_none() && event.data_form() == DataForm::Json {
        content_type = Some(HeaderValue::from_static("application/json"));
    }
    insert(headers, Some(CONTENT_TYPE), content_type);
    for (name, value) in event.layout().header_rows(event.stored()) {
        if let Some(value) = plain(event, value) {
            passed::write(event.text(name), value, headers);
        }
    }
}

/// The body of structured mode; Content-Type is `application/cloudevents+json; charset=utf-8`.
pub fn write_structured(event: &Event, outgoing: &Outgoing<'_>) -> Bytes {
    json::encode(event, outgoing)
}

/// Whether `datacontentencoding` (0.3) told how a JSON string spelled the data. The body is the data itself, so there the
/// attribute would be wrong. One that came as a header describes the body and stays.
fn json_spelled_base64(event: &Event, row: &Row) -> bool {
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
        Kind::RawHeader => plain(event, range).or_else(|| encoded(text)),
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
