//! The rules of the specification for one attribute: its name, its value's type, and what the core attributes
//! demand.
//!
//! Source: CloudEvents 1.0.2 §3, with what 1.0.3 makes explicit (a name has at least one character and is not
//! `data`).

pub(crate) mod media;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod uri;

use crate::attribute::{Kind, SpecVersion, Value};
use crate::invalid::{Fault, Invalid, excerpt};

/// The longest name of an attribute, in bytes. The specification asks for 20 or less but demands nothing.
pub(crate) const MAX_NAME: usize = 255;

/// Checks an attribute.
pub(crate) fn check(version: SpecVersion, name: &str, value: Value<'_>) -> Result<(), Invalid> {
    check_name(name)?;
    check_value(version, name, value)
}

/// Checks an attribute's name: `[a-z0-9]+`, and not `data`.
pub(crate) fn check_name(name: &str) -> Result<(), Invalid> {
    let reason = if name.is_empty() {
        "is empty"
    } else if name.len() > MAX_NAME {
        "is longer than 255 bytes"
    } else if name == "data" {
        "is the name of the event's data and cannot be an attribute's"
    } else if !text::is_name(name) {
        "may hold only lower-case letters a to z and digits"
    } else {
        return Ok(());
    };
    Err(Invalid::of(
        Fault::BadAttributeName,
        name,
        format!("the attribute name `{}` {reason}", excerpt(name)),
    ))
}

/// Checks an attribute's value: what its kind demands, and what its name does if it is one of the core
/// attributes.
pub(crate) fn check_value(version: SpecVersion, name: &str, value: Value<'_>) -> Result<(), Invalid> {
    let text = value.text;
    let fault = match value.kind {
        Kind::String | Kind::RawHeader => {
            text::forbidden(text).map(|_| "holds a control character or a code point that is not a character")
        }
        Kind::Boolean => (!matches!(text, "true" | "false")).then_some("is neither true nor false"),
        Kind::Integer => (!is_integer(text)).then_some("is not a 32-bit signed integer"),
    };
    match fault.or_else(|| core_fault(version, name, value)) {
        None => Ok(()),
        Some(reason) => Err(Invalid::of(
            Fault::BadAttributeValue,
            name,
            format!("the attribute `{}` {reason}", excerpt(name)),
        )),
    }
}

/// What is wrong with the value of a core attribute, if it is one and something is.
fn core_fault(version: SpecVersion, name: &str, value: Value<'_>) -> Option<&'static str> {
    let text = value.text;
    let fault = match (name, version) {
        ("id" | "type" | "subject", _) | ("datacontentencoding", SpecVersion::V03) => {
            text.is_empty().then_some("is empty")
        }
        ("source", _) => uri_fault(uri::is_reference(text), text, "is not a URI-reference (RFC 3986)"),
        ("dataschema", SpecVersion::V10) => uri_fault(
            uri::is_absolute(text),
            text,
            "is not an absolute URI (RFC 3986 section 4.3)",
        ),
        ("schemaurl", SpecVersion::V03) => {
            uri_fault(uri::is_reference(text), text, "is not a URI-reference (RFC 3986)")
        }
        ("time", _) => (!time::is_timestamp(text)).then_some("is not a timestamp of RFC 3339"),
        ("datacontenttype", _) => (!media::is_media_type(text)).then_some("is not a media type (RFC 2046)"),
        _ => return None,
    };
    fault.or_else(|| matches!(value.kind, Kind::Boolean | Kind::Integer).then_some("is not a string"))
}

fn uri_fault(valid: bool, text: &str, reason: &'static str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else {
        (!valid).then_some(reason)
    }
}

/// Whether a text is the canonical form of a 32-bit signed integer.
fn is_integer(text: &str) -> bool {
    text.parse::<i32>().is_ok_and(|number| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: SpecVersion, name: &str, kind: Kind, text: &str) -> bool {
        check_value(version, name, Value { kind, text }).is_ok()
    }

    #[test]
    fn names_are_lower_case_letters_and_digits_only() {
        let long = "a".repeat(255);
        for name in [
            "a",
            "1",
            "0abc",
            "comexampleextension1",
            "averyveryverylongnamethatisonlyadvisedagainst",
            &long,
        ] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let longer = "a".repeat(256);
        for name in [
            "",
            "data",
            "data_base64",
            "A",
            "foo_bar",
            "foo-bar",
            "é",
            "a b",
            "a\0",
            &longer,
        ] {
            let invalid = check_name(name).unwrap_err();
            assert_eq!(invalid.fault, Fault::BadAttributeName, "{name}");
        }
    }

    #[test]
    fn core_attributes_keep_their_own_rules() {
        let table = [
            ("id", "x", true),
            ("id", "", false),
            ("type", "com.example", true),
            ("type", "", false),
            ("subject", "s", true),
            ("subject", "", false),
            ("source", "/a/b", true),
            ("source", "1-555-123-4567", true),
            ("source", "", false),
            ("source", "a b", false),
            ("time", "2026-11-22T10:00:00.123456789123+02:00", true),
            ("time", "2026-11-22", false),
            ("time", "", false),
            ("dataschema", "https://example.com/schema?v=1", true),
            ("dataschema", "urn:example:a", true),
            ("dataschema", "/schema", false),
            ("dataschema", "https://example.com/schema#part", false),
            ("dataschema", "", false),
            ("datacontenttype", "application/json; charset=utf-8", true),
            ("datacontenttype", "json", false),
            ("datacontenttype", "", false),
            ("extension", "", true),
            ("schemaurl", "not a uri", true),
        ];
        for (name, text, valid) in table {
            assert_eq!(
                check(SpecVersion::V10, name, Kind::String, text),
                valid,
                "{name} = {text}"
            );
        }
    }

    #[test]
    fn version_0_3_has_its_own_names() {
        let table = [
            ("schemaurl", "/schema", true),
            ("schemaurl", "not a uri", false),
            ("datacontentencoding", "base64", true),
            ("datacontentencoding", "", false),
            ("dataschema", "/only an extension here", true),
        ];
        for (name, text, valid) in table {
            assert_eq!(
                check(SpecVersion::V03, name, Kind::String, text),
                valid,
                "{name} = {text}"
            );
        }
    }

    #[test]
    fn booleans_and_integers_are_canonical_and_never_core_attributes() {
        let table = [
            (Kind::Boolean, "true", true),
            (Kind::Boolean, "false", true),
            (Kind::Boolean, "True", false),
            (Kind::Boolean, "", false),
            (Kind::Integer, "0", true),
            (Kind::Integer, "-2147483648", true),
            (Kind::Integer, "2147483647", true),
            (Kind::Integer, "2147483648", false),
            (Kind::Integer, "-0", false),
            (Kind::Integer, "+1", false),
            (Kind::Integer, "01", false),
            (Kind::Integer, "1.0", false),
        ];
        for (kind, text, valid) in table {
            assert_eq!(
                check(SpecVersion::V10, "extension", kind, text),
                valid,
                "{kind:?} {text}"
            );
        }
        assert!(!check(SpecVersion::V10, "id", Kind::Integer, "5"));
        assert!(!check(SpecVersion::V10, "subject", Kind::Boolean, "true"));
    }

    #[test]
    fn strings_hold_no_control_characters() {
        for text in [
            "\0",
            "a\nb",
            "\t",
            "\u{7f}",
            "\u{85}",
            "\u{9f}",
            "\u{fdd0}",
            "\u{fffe}",
            "\u{10ffff}",
        ] {
            assert!(
                !check(SpecVersion::V10, "extension", Kind::String, text),
                "{text:?}"
            );
        }
        for text in ["a b", "é", "\u{a0}", "\u{e000}", "日本語", "\u{fffd}", "😀"] {
            assert!(
                check(SpecVersion::V10, "extension", Kind::RawHeader, text),
                "{text:?}"
            );
        }
    }
}
