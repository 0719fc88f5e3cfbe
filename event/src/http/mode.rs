//! Which content mode a message is in, told by its headers alone (CloudEvents HTTP 1.0.2 §3).

use std::borrow::Cow;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue};

use super::percent;
use crate::Invalid;
use crate::invalid::Fault;
use crate::rules::media;

/// The three content modes of a request, told by its Content-Type (case-insensitive, batch first).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Attributes in `ce-` headers, data in the body.
    Binary,
    /// One event as JSON in the body.
    Structured,
    /// An array of events as JSON in the body.
    Batch,
}

/// The mode of a message with these headers; `None` when it is not a CloudEvent (no CloudEvents media type
/// and no `ce-` header).
///
/// # Errors
/// A CloudEvents media type whose format is not JSON or whose charset is not UTF-8 (415); Content-Type given
/// twice (400).
pub fn mode(headers: &HeaderMap) -> Result<Option<Mode>, Invalid> {
    examine(headers).map(|(mode, _)| mode)
}

/// Whether a message claims to be a CloudEvent, by a media type of CloudEvents or a `ce-` header. It may be a
/// broken one, or one in a format that is not supported here.
pub fn is_claimed(headers: &HeaderMap) -> bool {
    let says = |value: &HeaderValue| media::is_cloudevents(&percent::octets_as_text(value.as_bytes()));
    has_event_header(headers) || headers.get_all(CONTENT_TYPE).iter().any(says)
}

fn has_event_header(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("ce-"))
}

/// The mode, and the Content-Type that it was told by.
pub(super) fn examine(headers: &HeaderMap) -> Result<(Option<Mode>, Option<Cow<'_, str>>), Invalid> {
    let content_type = content_type(headers)?;
    if let Some(text) = &content_type
        && media::is_cloudevents(text)
    {
        let mode = format(text)?;
        return Ok((Some(mode), content_type));
    }
    let binary = has_event_header(headers);
    Ok((binary.then_some(Mode::Binary), content_type))
}

/// The mode of a CloudEvents media type.
fn format(text: &str) -> Result<Mode, Invalid> {
    let suffix = media::behind_cloudevents(media::essence(text)).unwrap_or_default();
    let mode = if suffix.eq_ignore_ascii_case("-batch+json") {
        Mode::Batch
    } else if suffix.eq_ignore_ascii_case("+json") {
        Mode::Structured
    } else {
        let message = "of the CloudEvents formats only application/cloudevents+json and \
                       application/cloudevents-batch+json are understood";
        return Err(Invalid::of(Fault::UnsupportedFormat, "content-type", message));
    };
    if !media::is_utf8(text) {
        return Err(Invalid::of(
            Fault::UnsupportedCharset,
            "content-type",
            "events in JSON are in UTF-8 only",
        ));
    }
    Ok(mode)
}

/// The one Content-Type, if there is one.
fn content_type(headers: &HeaderMap) -> Result<Option<Cow<'_, str>>, Invalid> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        let message = "there is more than one Content-Type header";
        return Err(Invalid::of(Fault::ContentTypeRepeated, "content-type", message));
    }
    Ok(Some(percent::octets_as_text(first.as_bytes())))
}

/// A compressed body would be stored as if it were the data, and no subscriber would learn that it is
/// compressed.
pub(super) fn check_coding(headers: &HeaderMap) -> Result<(), Invalid> {
    let plain = |value: &HeaderValue| value.is_empty() || value.as_bytes().eq_ignore_ascii_case(b"identity");
    let chunked = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    let (field, message) = if !headers.get_all(CONTENT_ENCODING).iter().all(plain) {
        let message = "a body with a Content-Encoding is not taken: send it uncompressed";
        ("content-encoding", message)
    } else if !headers.get_all(TRANSFER_ENCODING).iter().all(chunked) {
        // Only the chunks have been undone.
        let message =
            "a body with another Transfer-Encoding than `chunked` is not taken: send it uncompressed";
        ("transfer-encoding", message)
    } else {
        return Ok(());
    };
    Err(Invalid::of(Fault::UnsupportedEncoding, field, message))
}

/// The fault of a message that bears no mark of a CloudEvent.
pub(super) fn not_an_event() -> Invalid {
    let message = "this is not a CloudEvent: it has neither ce- headers nor a Content-Type of application/cloudevents+json \
                   or application/cloudevents-batch+json";
    Invalid::new(Fault::NotAnEvent, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content_type: &'static str, event_header: bool) -> Result<Option<Mode>, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if event_header {
            headers.insert("ce-id", HeaderValue::from_static("1"));
        }
        mode(&headers).map_err(|invalid| invalid.fault)
    }

    #[test]
    fn the_media_type_decides_in_any_case_and_batch_is_told_first() {
        let table = [
            ("application/cloudevents+json", Ok(Some(Mode::Structured))),
            (
                "Application/CloudEvents+JSON; charset=UTF-8",
                Ok(Some(Mode::Structured)),
            ),
            (
                "application/cloudevents+json;charset=\"utf-8\"",
                Ok(Some(Mode::Structured)),
            ),
            (
                "application/cloudevents+json ; foo=bar",
                Ok(Some(Mode::Structured)),
            ),
            ("application/cloudevents-batch+json", Ok(Some(Mode::Batch))),
            (
                "APPLICATION/cloudevents-BATCH+json; charset=utf-8",
                Ok(Some(Mode::Batch)),
            ),
            ("application/json", Ok(None)),
            ("application/cloudevent+json", Ok(None)),
            ("", Ok(None)),
            ("application/cloudevents", Err(Fault::UnsupportedFormat)),
            ("application/cloudevents-batch", Err(Fault::UnsupportedFormat)),
            ("application/cloudevents+avro", Err(Fault::UnsupportedFormat)),
            (
                "application/cloudevents+xml; charset=utf-8",
                Err(Fault::UnsupportedFormat),
            ),
            ("application/cloudevents+protobuf", Err(Fault::UnsupportedFormat)),
            (
                "application/cloudevents-batch+protobuf",
                Err(Fault::UnsupportedFormat),
            ),
            (
                "application/cloudevents+json; charset=iso-8859-1",
                Err(Fault::UnsupportedCharset),
            ),
            (
                "application/cloudevents-batch+json; CHARSET=utf-16",
                Err(Fault::UnsupportedCharset),
            ),
        ];
        for (content_type, expected) in table {
            assert_eq!(of(content_type, false), expected, "{content_type}");
        }
    }

    #[test]
    fn a_ce_header_makes_it_binary_unless_the_media_type_says_otherwise() {
        assert_eq!(of("application/json", true), Ok(Some(Mode::Binary)));
        assert_eq!(
            of("application/cloudevents+json", true),
            Ok(Some(Mode::Structured))
        );
        assert_eq!(
            of("application/cloudevents+avro", true),
            Err(Fault::UnsupportedFormat)
        );
        assert_eq!(mode(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn statuses_of_the_faults() {
        let status = |content_type| mode_status(content_type);
        assert_eq!(status("application/cloudevents+avro"), 415);
        assert_eq!(status("application/cloudevents+json; charset=latin1"), 415);
    }

    fn mode_status(content_type: &'static str) -> u16 {
        of(content_type, false).unwrap_err().status()
    }

    #[test]
    fn content_type_is_one_header() {
        let mut headers = HeaderMap::new();
        headers.append(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.append(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        assert_eq!(mode(&headers).unwrap_err().fault, Fault::ContentTypeRepeated);
        assert!(!is_claimed(&headers));
        headers.append(
            CONTENT_TYPE,
            HeaderValue::from_static("Application/CloudEvents+avro"),
        );
        assert!(is_claimed(&headers));
        headers.insert(CONTENT_TYPE, HeaderValue::from_bytes(b"text/\xff").unwrap());
        assert_eq!(mode(&headers), Ok(None));
        headers.insert("ce-id", HeaderValue::from_static("1"));
        assert!(is_claimed(&headers));
    }
}
