//! A message in binary mode becomes an event: the hot path of intake, one pass over the headers and one buffer.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

use super::{Limits, mode, passed, percent};
use crate::attribute::{Kind, SpecVersion, Value};
use crate::builder::{EventBuilder, missing};
use crate::event::{DataForm, Event};
use crate::invalid::{Fault, Invalid};
use crate::rules;

static SPECVERSION: HeaderName = HeaderName::from_static("ce-specversion");

/// The event of a message in binary mode.
pub(super) fn binary(headers: &HeaderMap, body: &Bytes, limits: &Limits) -> Result<Event, Invalid> {
    crate::json::check_data_size(body.len(), limits)?;
    let mut builder = EventBuilder::with_room(version(headers)?);
    for (name, value) in headers {
        let name = name.as_str();
        if let Some(attribute) = name.strip_prefix("ce-") {
            read_attribute(&mut builder, attribute, value.as_bytes()).map_err(|fault| named(fault, name))?;
        } else if passed::is_passed(name) {
            builder.add_header(name, value.as_bytes());
        }
    }
    if let Some(text) = mode::content_type(headers)? {
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

/// The `ce-specversion`, which decides by which rules the others are read.
fn version(headers: &HeaderMap) -> Result<SpecVersion, Invalid> {
    let mut values = headers.get_all(&SPECVERSION).iter();
    let Some(first) = values.next() else {
        return Err(missing("specversion").within("ce-"));
    };
    if values.next().is_some() {
        let message = "the header `ce-specversion` is there more than once";
        return Err(Invalid::of(Fault::DuplicateAttribute, "ce-specversion", message));
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
    percent::decode(octets).map_err(|fault| match fault {
        percent::Fault::Raw => Invalid::of(Fault::NotUtf8, name, "the value of the header is not UTF-8"),
        percent::Fault::Decoded => {
            let message = "what the percent signs in the value of the header spell is not UTF-8";
            Invalid::of(Fault::BadPercentEncoding, name, message)
        }
    })
}

/// Most clients put a URI into a header as it is, though its percent signs should be encoded again. Decoding then gives
/// what is no URI any more (`/a b` of `/a%20b`). No client that encodes by the rule can have meant such a value, so the
/// octets as they came are the URI.
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
