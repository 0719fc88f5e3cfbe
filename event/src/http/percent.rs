//! How text is spelled in the value of a `ce-` header (CloudEvents HTTP 1.0.2 §3.1.3.2).
//!
//! The rule is simple, but most clients neither encode nor decode. So the policy is: a value without quotes
//! and percent signs is taken as text, and leaves as it came for any receiver. Any other value is decoded
//! whole by the rule, and encoded by the rule when it leaves. Characters beyond printable ASCII always leave
//! encoded: clients read such octets as UTF-8, as ISO 8859-1, or refuse the whole message.

use std::borrow::Cow;

use crate::attribute::Kind;
use crate::rules::text;

/// The percent signs of a value spell octets that are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotUtf8;

/// The text of a header's value, and whether it may leave as it came.
///
/// # Errors
/// The percent signs spell octets that are not UTF-8.
pub(crate) fn decode(octets: &[u8]) -> Result<(Kind, Cow<'_, str>), NotUtf8> {
    let raw = octets_as_text(octets);
    if !text::is_marked(raw.as_bytes()) {
        return Ok((Kind::RawHeader, raw));
    }
    let raw = raw.as_bytes();
    let unquoted = unquote(raw).map_or(Cow::Borrowed(raw), Cow::Owned);
    let decoded = String::from_utf8(unescape(&unquoted)).map_err(|_| NotUtf8)?;
    Ok((Kind::String, Cow::Owned(decoded)))
}

/// The octets of a header's value as they stand, without surrounding blanks. They are read as UTF-8, or as
/// ISO 8859-1 if they are not UTF-8: HTTP once said so (RFC 2616), and Node's `http` writes it.
pub(super) fn octets_as_text(octets: &[u8]) -> Cow<'_, str> {
    let octets = octets.trim_ascii();
    match str::from_utf8(octets) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(octets.iter().copied().map(char::from).collect()),
    }
}

/// What a quoted-string of RFC 7230 §3.2.6 holds, if the value is one from its first octet to its last.
fn unquote(octets: &[u8]) -> Option<Vec<u8>> {
    let [b'"', inner @ .., b'"'] = octets else {
        return None;
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner.iter();
    while let Some(&octet) = rest.next() {
        match octet {
            b'\\' => out.push(*rest.next()?),
            b'"' => return None,
            octet => out.push(octet),
        }
    }
    Some(out)
}

/// One round of percent-decoding. A percent sign without two hexadecimal digits behind stands for itself.
fn unescape(mut octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    while let [first, rest @ ..] = octets {
        octets = match (first, rest) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex(*high) << 4 | hex(*low));
                after
            }
            _ => {
                out.push(*first);
                rest
            }
        };
    }
    out
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        letter => (letter | 0x20) - b'a' + 10,
    }
}

/// Whether the text must be spelled with percent signs in a header.
pub(super) fn needs_encoding(text: &str) -> bool {
    text.bytes().any(is_encoded)
}

/// The text as it is spelled in a header: upper-case hexadecimal digits.
pub(crate) fn encode(text: &str) -> String {
    encode_those(text, is_encoded)
}

/// Encodes a text that came without quotes and percent signs: its blanks stay as they are.
pub(crate) fn encode_beyond_ascii(text: &str) -> String {
    encode_those(text, |octet| octet != b' ' && !octet.is_ascii_graphic())
}

fn encode_those(text: &str, is_encoded: fn(u8) -> bool) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len() + text.len() / 2);
    for octet in text.bytes() {
        if is_encoded(octet) {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(octet >> 4)]));
            out.push(char::from(DIGITS[usize::from(octet & 15)]));
        } else {
            out.push(char::from(octet));
        }
    }
    out
}

/// Space, quote, percent sign, and all that is not a visible ASCII character.
fn is_encoded(octet: u8) -> bool {
    matches!(octet, b'"' | b'%') || !octet.is_ascii_graphic()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_without_quotes_and_percent_signs_is_text_as_it_stands() {
        for text in ["", "plain", "a b", "é", "日本", "a\\b", "{a: 5}", "+"] {
            assert_eq!(
                decode(text.as_bytes()),
                Ok((Kind::RawHeader, Cow::Borrowed(text))),
                "{text}"
            );
        }
        assert_eq!(decode(b"  a b\t "), Ok((Kind::RawHeader, Cow::Borrowed("a b"))));
    }

    #[test]
    fn a_value_with_quotes_or_percent_signs_is_decoded_once() {
        let table = [
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("%c3%a9", "é"),
            ("%41%42", "AB"),
            ("a%2525", "a%25"),
            ("100%", "100%"),
            ("100%zz", "100%zz"),
            ("%4", "%4"),
            ("%%41", "%A"),
            ("\"quoted\"", "quoted"),
            ("\"a \\\"b\\\" \\\\\"", "a \"b\" \\"),
            ("\"a%20b\"", "a b"),
            ("\"\"", ""),
            ("\"", "\""),
            ("\"a\" and \"b\"", "\"a\" and \"b\""),
            ("\"a\\\"", "\"a\\\""),
            ("{\"othervalue\": 5}", "{\"othervalue\": 5}"),
            ("é%20é", "é é"),
        ];
        for (octets, text) in table {
            assert_eq!(
                decode(octets.as_bytes()),
                Ok((Kind::String, Cow::Borrowed(text))),
                "{octets}"
            );
        }
    }

    #[test]
    fn what_is_not_utf_8_is_refused_overlong_forms_included() {
        for octets in ["%C0%A0", "%FF", "%E2%82", "%ED%A0%80", "a%80", "\"%C0%AF\""] {
            assert_eq!(decode(octets.as_bytes()), Err(NotUtf8), "{octets}");
        }
    }

    #[test]
    fn what_is_not_utf_8_as_it_came_is_iso_8859_1() {
        let table: [(&[u8], Kind, &str); 5] = [
            (b"caf\xe9", Kind::RawHeader, "café"),
            (b" \xfcber \xa3 ", Kind::RawHeader, "über £"),
            (b"100% caf\xe9", Kind::String, "100% café"),
            (b"%C3%A9 \xe9", Kind::String, "é é"),
            // An incomplete UTF-8 sequence is not UTF-8.
            (b"\xc3", Kind::RawHeader, "Ã"),
        ];
        for (octets, kind, text) in table {
            assert_eq!(decode(octets), Ok((kind, Cow::Borrowed(text))), "{text}");
        }
        assert_eq!(decode(b"%E9"), Err(NotUtf8));
    }

    #[test]
    fn a_value_without_marks_keeps_its_blanks_and_encodes_the_rest() {
        assert_eq!(encode_beyond_ascii("a b é~"), "a b %C3%A9~");
        assert_eq!(encode_beyond_ascii("\u{a0}"), "%C2%A0");
    }

    #[test]
    fn text_is_spelled_as_the_specification_shows() {
        assert_eq!(encode("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(encode("a\"b%c\u{7f}~!"), "a%22b%25c%7F~!");
        assert!(!needs_encoding("com.example!~{}'\\"));
        assert!(needs_encoding("a b"));
    }

    proptest! {
        #[test]
        fn what_was_encoded_decodes_to_the_same(text in any::<String>()) {
            let encoded = encode(&text);
            let (_, decoded) = decode(encoded.as_bytes()).unwrap();
            prop_assert_eq!(decoded.as_ref(), text.as_str());
        }

        #[test]
        fn any_octets_decode_or_are_refused(octets in any::<Vec<u8>>()) {
            let _ = decode(&octets);
        }
    }
}
