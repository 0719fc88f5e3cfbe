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
use crate::rules::media;

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
        [b'"', ..] => builder.add(
            name,
            Value {
                kind: Kind::String,
                text: &string(name, value)?,
            },
        ),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::decode;

    const MINIMAL: &str = r#""specversion":"1.0","id":"1","source":"/s","type":"t""#;

    fn read(members: &str) -> Result<Event, Invalid> {
        decode(&Bytes::from(format!("{{{members}}}")), &Limits::default())
    }

    fn with(members: &str) -> Result<Event, Invalid> {
        read(&format!("{MINIMAL},{members}"))
    }

    #[test]
    fn attributes_keep_their_text_and_type() {
        let event = with(r#""text":"a \"b\" \u00e9","yes":true,"number":-7,"zero":-0,"none":null"#).unwrap();
        let value = |name: &str| event.get(name).map(|value| (value.kind, value.text.to_owned()));
        assert_eq!(value("text"), Some((Kind::String, "a \"b\" é".to_owned())));
        assert_eq!(value("yes"), Some((Kind::Boolean, "true".to_owned())));
        assert_eq!(value("number"), Some((Kind::Integer, "-7".to_owned())));
        assert_eq!(value("zero"), Some((Kind::Integer, "0".to_owned())));
        assert_eq!(value("none"), None);
        assert_eq!(event.data(), None);
    }

    #[test]
    fn data_keeps_its_octets_in_the_form_its_media_type_gives_it() {
        use DataForm::{Bytes as Octets, Json, Text};
        let table: [(&str, DataForm, &[u8]); 13] = [
            (
                r#""data":{"b": 1.10,"a":1e2,"a":123456789012345678901234567890}"#,
                Json,
                br#"{"b": 1.10,"a":1e2,"a":123456789012345678901234567890}"#,
            ),
            (r#""data":"x\u00e9""#, Json, br#""x\u00e9""#),
            (r#""data":null"#, Json, b"null"),
            (r#""data":"\ud800""#, Json, br#""\ud800""#),
            (
                r#""datacontenttype":"Application/Vnd.X+JSON;v=1","data":[ 1 ]"#,
                Json,
                b"[ 1 ]",
            ),
            (
                r#""data":"<a/>","datacontenttype":"application/xml""#,
                Text,
                b"<a/>",
            ),
            (
                r#""data":"a\n\u00e9","datacontenttype":"text/plain""#,
                Text,
                "a\né".as_bytes(),
            ),
            (r#""data":"","datacontenttype":"text/plain""#, Text, b""),
            (
                r#""data":{"a":1},"datacontenttype":"text/plain""#,
                Json,
                br#"{"a":1}"#,
            ),
            (r#""data_base64":"AAH/""#, Octets, b"\x00\x01\xff"),
            (
                r#""data_base64":"e30=","datacontenttype":"application/json""#,
                Octets,
                b"{}",
            ),
            (r#""data_base64":"""#, Octets, b""),
            (r#""data":1,"data_base64":null"#, Json, b"1"),
        ];
        for (members, form, data) in table {
            let event = with(members).unwrap();
            assert_eq!(
                (event.data_form(), event.data_ref()),
                (form, Some(data)),
                "{members}"
            );
        }
        assert_eq!(with(r#""data_base64":null"#).unwrap().data(), None);
    }

    #[test]
    fn every_broken_member_is_refused_and_named() {
        let table = [
            (r#""time":"yesterday""#, Fault::BadAttributeValue, "time"),
            (r#""subject":"""#, Fault::BadAttributeValue, "subject"),
            (r#""a":1.0"#, Fault::BadAttributeValue, "a"),
            (r#""a":1e2"#, Fault::BadAttributeValue, "a"),
            (r#""a":2147483648"#, Fault::BadAttributeValue, "a"),
            (r#""a":{}"#, Fault::BadAttributeValue, "a"),
            (r#""a":[1]"#, Fault::BadAttributeValue, "a"),
            (r#""a":"\u0000""#, Fault::BadAttributeValue, "a"),
            (r#""a":"\ud800""#, Fault::BadAttributeValue, "a"),
            (r#""subject":5"#, Fault::BadAttributeValue, "subject"),
            (
                r#""datacontenttype":true"#,
                Fault::BadAttributeValue,
                "datacontenttype",
            ),
            (r#""A":"x""#, Fault::BadAttributeName, "A"),
            (r#""foo_bar":"x""#, Fault::BadAttributeName, "foo_bar"),
            (r#""":"x""#, Fault::BadAttributeName, ""),
            (r#""id":"2""#, Fault::DuplicateAttribute, "id"),
            (r#""specversion":"1.0""#, Fault::DuplicateAttribute, "specversion"),
            (r#""data":1,"data":1"#, Fault::DuplicateAttribute, "data"),
            (
                r#""data":1,"data_base64":"AA==""#,
                Fault::BothDataMembers,
                "data_base64",
            ),
            (r#""data_base64":1"#, Fault::BadData, "data_base64"),
            (r#""data_base64":"A""#, Fault::BadData, "data_base64"),
            (r#""data_base64":"AA== ""#, Fault::BadData, "data_base64"),
            (r#""data_base64":"__8=""#, Fault::BadData, "data_base64"),
            (
                r#""data":"\ud800","datacontenttype":"text/plain""#,
                Fault::BadData,
                "data",
            ),
        ];
        for (members, fault, field) in table {
            let invalid = with(members).unwrap_err();
            assert_eq!(
                (invalid.fault, invalid.field.as_deref()),
                (fault, Some(field)),
                "{members}"
            );
        }
    }

    #[test]
    fn required_members_must_be_there_as_strings() {
        let table = [
            (
                r#""id":"1","source":"/s","type":"t""#,
                Fault::MissingAttribute,
                "specversion",
            ),
            (
                r#""specversion":null,"id":"1","source":"/s","type":"t""#,
                Fault::MissingAttribute,
                "specversion",
            ),
            (
                r#""specversion":1.0,"id":"1","source":"/s","type":"t""#,
                Fault::BadAttributeValue,
                "specversion",
            ),
            (
                r#""specversion":"2.0","id":"1","source":"/s","type":"t""#,
                Fault::UnsupportedSpecversion,
                "specversion",
            ),
            (
                r#""specversion":"1.0","source":"/s","type":"t""#,
                Fault::MissingAttribute,
                "id",
            ),
            (
                r#""specversion":"1.0","id":null,"source":"/s","type":"t""#,
                Fault::MissingAttribute,
                "id",
            ),
            (
                r#""specversion":"1.0","id":5,"source":"/s","type":"t""#,
                Fault::BadAttributeValue,
                "id",
            ),
            (
                r#""specversion":"1.0","id":"1","type":"t""#,
                Fault::MissingAttribute,
                "source",
            ),
            (
                r#""specversion":"1.0","id":"1","source":"/s","type":"""#,
                Fault::BadAttributeValue,
                "type",
            ),
        ];
        for (members, fault, field) in table {
            let invalid = read(members).unwrap_err();
            assert_eq!(
                (invalid.fault, invalid.field.as_deref()),
                (fault, Some(field)),
                "{members}"
            );
        }
    }

    #[test]
    fn a_body_that_is_not_one_json_object_is_refused() {
        let bodies: [&[u8]; 9] = [
            b"",
            b"{",
            b"[]",
            b"1",
            b"{}{}",
            b"{\"a\":01}",
            b"\xef\xbb\xbf{}",
            b"{'a':1}",
            b"{\"a\":1,}",
        ];
        for body in bodies {
            let invalid = decode(&Bytes::from_static(body), &Limits::default()).unwrap_err();
            assert_eq!(
                (invalid.fault, invalid.status()),
                (Fault::BadJson, 400),
                "{}",
                body.escape_ascii()
            );
        }
        let invalid = decode(&Bytes::from_static(b"{\"a\":\"\xff\"}"), &Limits::default()).unwrap_err();
        assert_eq!(invalid.fault, Fault::NotUtf8);
    }

    #[test]
    fn nesting_is_bounded() {
        let limits = Limits {
            json_depth: 3,
            ..Limits::default()
        };
        let nested = |depth: usize| {
            let data = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            decode(&Bytes::from(format!(r#"{{{MINIMAL},"data":{data}}}"#)), &limits)
        };
        assert!(nested(2).is_ok());
        assert_eq!(nested(3).unwrap_err().fault, Fault::JsonTooDeep);
        assert_eq!(nested(1_000_000).unwrap_err().fault, Fault::JsonTooDeep);
    }

    #[test]
    fn decoded_data_is_bounded() {
        let limits = Limits {
            event_bytes: 3,
            ..Limits::default()
        };
        let size =
            |members: &str| decode(&Bytes::from(format!("{{{MINIMAL},{members}}}")), &limits).map(|_| ());
        for members in [
            r#""data":123"#,
            r#""data_base64":"AAAA""#,
            r#""data":"\u0041BC","datacontenttype":"text/plain""#,
        ] {
            assert_eq!(size(members), Ok(()), "{members}");
        }
        for members in [
            r#""data":1234"#,
            r#""data_base64":"AAAAAA==""#,
            r#""data":"abcd","datacontenttype":"text/plain""#,
        ] {
            let invalid = size(members).unwrap_err();
            assert_eq!(
                (invalid.fault, invalid.status()),
                (Fault::EventTooLarge, 413),
                "{members}"
            );
        }
    }

    #[test]
    fn members_are_bounded() {
        let members: Vec<_> = (0..100_000).map(|n| format!("\"a{n}\":null")).collect();
        assert_eq!(
            with(&members.join(",")).unwrap_err().fault,
            Fault::AttributesTooLarge
        );
        let large = format!(r#""a":"{}""#, "x".repeat(64 * 1024));
        assert_eq!(with(&large).unwrap_err().fault, Fault::AttributesTooLarge);
    }

    #[test]
    fn version_0_3_spells_octets_in_data() {
        let read = |members: &str| {
            read(&format!(
                r#""specversion":"0.3","id":"1","source":"/s","type":"t",{members}"#
            ))
        };
        let event = read(r#""data":"AAH/","datacontentencoding":"Base64""#).unwrap();
        assert_eq!(
            (event.data_form(), event.data_ref()),
            (DataForm::Bytes, Some(b"\x00\x01\xff".as_slice()))
        );
        assert_eq!(event.get("datacontentencoding").unwrap().text, "Base64");
        assert_eq!(event.specversion(), SpecVersion::V03);
        assert_eq!(
            read(r#""data":"A","datacontentencoding":"base64""#)
                .unwrap_err()
                .fault,
            Fault::BadData
        );
        assert_eq!(
            read(r#""data":{},"datacontentencoding":"base64""#)
                .unwrap_err()
                .fault,
            Fault::BadData
        );
        assert_eq!(
            read(r#""data_base64":"AA==""#).unwrap_err().fault,
            Fault::BadAttributeName
        );
    }
}
