//! The members of a JSON object become an event.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::members::Members;
use super::{Passed, check_data_size};
use crate::attribute::{Kind, SpecVersion, Value};
use crate::builder::{EventBuilder, missing};
use crate::event::{DataForm, Event};
use crate::http::Limits;
use crate::invalid::{Fault, Invalid, excerpt};
use crate::rules::{self, media};

/// The event that `text` is. It lies within `body`, so that data needs no copy of its own.
pub(super) fn event(
    text: &str,
    body: &Bytes,
    limits: &Limits,
    passed: &Passed<'_>,
) -> Result<Event, Invalid> {
    let members = Members::of(text)?;
    let version = version(&members)?;
    let mut builder = EventBuilder::with_room(version);
    for (name, value) in members.iter() {
        if is_attribute(name, version) && value != "null" {
            attribute(&mut builder, name, value)?;
        }
    }
    if let Some((form, data)) = data(&members, &builder, body, limits)? {
        builder.set_data(form, data);
    }
    for (name, value) in passed {
        builder.add_header(name, value);
    }
    builder.build_decoded()
}

/// Whether the member is an attribute; `specversion` is read before. Version 0.3 knows no `data_base64`.
fn is_attribute(name: &str, version: SpecVersion) -> bool {
    !matches!(
        (name, version),
        ("specversion" | "data", _) | ("data_base64", SpecVersion::V10)
    )
}

fn version(members: &Members<'_>) -> Result<SpecVersion, Invalid> {
    match members.get("specversion") {
        None | Some("null") => Err(missing("specversion")),
        Some(value) => SpecVersion::from_wire(&string("specversion", value)?),
    }
}

/// Adds an attribute by the type that JSON gives its value.
fn attribute(builder: &mut EventBuilder, name: &str, value: &str) -> Result<(), Invalid> {
    match value.as_bytes() {
        [b'"', ..] => {
            rules::check_name(name)?;
            builder.add(
                name,
                Value {
                    kind: Kind::String,
                    text: &string(name, value)?,
                },
            )
        }
        b"true" | b"false" => builder.add(
            name,
            Value {
                kind: Kind::Boolean,
                text: value,
            },
        ),
        [b'-' | b'0'..=b'9', ..] => match value.parse::<i32>() {
            Ok(number) => builder.add(
                name,
                Value {
                    kind: Kind::Integer,
                    text: &number.to_string(),
                },
            ),
            Err(_) => Err(bad_value(name, "is a number but not a 32-bit signed integer")),
        },
        _ => Err(bad_value(
            name,
            "is an object or an array, which no attribute can be",
        )),
    }
}

/// What a JSON string spells.
fn string<'a>(name: &str, value: &'a str) -> Result<Cow<'a, str>, Invalid> {
    if !value.starts_with('"') {
        return Err(bad_value(name, "is not a string"));
    }
    unescape(value).ok_or_else(|| bad_value(name, "holds half of a surrogate pair"))
}

/// What a JSON string spells, if it spells Unicode; the syntax was checked before.
fn unescape(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(value).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

fn bad_value(name: &str, reason: &str) -> Invalid {
    let message = format!("the attribute `{}` {reason}", excerpt(name));
    Invalid::of(Fault::BadAttributeValue, name, message)
}

/// The data and its form, if there is any. `null` is data, unlike no `data` at all.
fn data(
    members: &Members<'_>,
    builder: &EventBuilder,
    body: &Bytes,
    limits: &Limits,
) -> Result<Option<(DataForm, Bytes)>, Invalid> {
    let base64 = match builder.version() {
        SpecVersion::V10 => members.get("data_base64").filter(|&value| value != "null"),
        SpecVersion::V03 => None,
    };
    let Some(data) = members.get("data") else {
        return match base64 {
            Some(value) => octets("data_base64", value, limits).map(|data| Some((DataForm::Bytes, data))),
            None => Ok(None),
        };
    };
    if base64.is_some() {
        let message = "the event has both `data` and `data_base64`";
        return Err(Invalid::of(Fault::BothDataMembers, "data_base64", message));
    }
    if is_spelled_base64(builder) {
        return octets("data", data, limits).map(|data| Some((DataForm::Bytes, data)));
    }
    let json = builder.get("datacontenttype").is_none_or(media::is_json);
    if json || !data.starts_with('"') {
        check_data_size(data.len(), limits)?;
        return Ok(Some((DataForm::Json, body.slice_ref(data.as_bytes()))));
    }
    let text = unescape(data).ok_or_else(|| bad_data("data", "holds half of a surrogate pair"))?;
    check_data_size(text.len(), limits)?;
    let text = match text {
        Cow::Borrowed(text) => body.slice_ref(text.as_bytes()),
        Cow::Owned(text) => Bytes::from(text),
    };
    Ok(Some((DataForm::Text, text)))
}

/// Whether `data` is Base64 by the `datacontentencoding` of version 0.3.
fn is_spelled_base64(builder: &EventBuilder) -> bool {
    let encoding = builder.get("datacontentencoding");
    builder.version() == SpecVersion::V03
        && encoding.is_some_and(|encoding| encoding.eq_ignore_ascii_case("base64"))
}

/// What a JSON string of Base64 spells.
fn octets(name: &str, value: &str, limits: &Limits) -> Result<Bytes, Invalid> {
    // Four letters are three octets: what is too large is told before it is decoded.
    check_data_size((value.len().saturating_sub(6) / 4).saturating_mul(3), limits)?;
    let text = if value.starts_with('"') {
        unescape(value)
    } else {
        None
    };
    let text = text.ok_or_else(|| bad_data(name, "is not a string"))?;
    let data = STANDARD
        .decode(text.as_bytes())
        .map_err(|_| bad_data(name, "is not Base64 (RFC 4648 section 4)"))?;
    check_data_size(data.len(), limits)?;
    Ok(Bytes::from(data))
}

fn bad_data(name: &str, reason: &str) -> Invalid {
    Invalid::of(Fault::BadData, name, format!("the member `{name}` {reason}"))
}
