//! The Kafka protocol binding (CloudEvents Kafka 1.0.2): a record in binary or structured mode becomes an
//! event, and an event becomes a record (`write`; `kept`, where it comes back byte for byte).
//!
//! It knows records as borrowed headers and octets and nothing of any client. Unlike over HTTP, values of
//! headers are plain UTF-8: percent signs mean themselves.

mod alike;
mod kept;
mod stencil;
mod write;

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use self::alike::Alike;
pub use self::kept::{Kept, kept};
pub use self::write::{key, write_binary, write_structured};
use crate::attribute::{Kind, SpecVersion, Value};
use crate::builder::{EventBuilder, missing};
use crate::event::{DataForm, Event};
use crate::http::Limits;
use crate::invalid::{Fault, Invalid, excerpt};
use crate::json;
use crate::rules::media;

/// A header of a record: its name, and its value unless that is null.
pub type Header<'a> = (&'a str, Option<&'a [u8]>);

/// What marks the header of an attribute.
const PREFIX: &str = "ce_";
/// The header of the media type.
const CONTENT_TYPE: &str = "content-type";

/// Reads records one after the other, in the same memory.
///
/// # Caveats
/// Events in binary mode share buffers of [`SHARED_BYTES`] with those that are read before and after them,
/// because memory of its own for each costs more than the copy. [`Event::compact`] parts one from its
/// neighbours.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    builder: EventBuilder,
    room: BytesMut,
    /// What is known of a record in binary mode that was taken not long ago.
    last: Alike,
    /// How many have been unlike it.
    unlike: usize,
}

/// Among records unlike the known one, one in this many becomes the known one. If unlike records take turns,
/// learning each would cost more than it saves.
const LEARN_EVERY: usize = if cfg!(test) { 2 } else { 16 };

/// How much memory events share. One that needs more has a buffer of its own.
pub const SHARED_BYTES: usize = 64 * 1024;

// === impl Decoder ===

impl Decoder {
    /// A decoder that takes events within these limits.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            builder: EventBuilder::with_room(SpecVersion::V10),
            room: BytesMut::with_capacity(SHARED_BYTES),
            last: Alike::default(),
            unlike: 0,
        }
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The event of a record; `None` when it bears no mark of a CloudEvent (a CloudEvents media type, or a
    /// `ce_` header).
    ///
    /// Names of headers are taken in any case. A header whose value is null is as good as absent. A value
    /// that is null or empty is no data. `added` are attributes to add to the event's own, of a name each,
    /// replacing those of the same name.
    ///
    /// [`Invalid`] with the header or JSON member at fault: the record claims to be a CloudEvent, but cannot
    /// be taken as one. Never panics, whatever the octets.
    pub fn decode(
        &mut self,
        headers: &[Header<'_>],
        value: Option<&[u8]>,
        added: &[(&str, &str)],
    ) -> Result<Option<Event>, Invalid> {
        if self.last.is_like(headers, added) {
            return self.like_the_last(headers, value, added).map(Some);
        }
        let content_type = content_type(headers);
        if let Ok(Some(text)) = content_type
            && media::is_cloudevents(text)
        {
            return structured(text, value, added, &self.limits).map(Some);
        }
        if !headers.iter().any(|(name, _)| is_attribute(name)) {
            return Ok(None);
        }
        let event = self.binary(headers, content_type?, value, added)?;
        if self.unlike.is_multiple_of(LEARN_EVERY) {
            self.last = Alike::of(headers, added, &event);
        }
        self.unlike = self.unlike.wrapping_add(1);
        Ok(Some(event))
    }

    /// The event of a record whose headers have the names that those of the last one had.
    fn like_the_last(
        &mut self,
        headers: &[Header<'_>],
        value: Option<&[u8]>,
        added: &[(&str, &str)],
    ) -> Result<Event, Invalid> {
        let data = value.unwrap_or_default();
        json::check_data_size(data.len(), &self.limits)?;
        if let Some(event) = self.last.event(headers, data, added, &mut self.room)? {
            return Ok(event);
        }
        self.last.add_to(&mut self.builder, headers, added)?;
        let event = self.build(data)?;
        self.last.became(&event);
        Ok(event)
    }

    fn binary(
        &mut self,
        headers: &[Header<'_>],
        content_type: Option<&str>,
        value: Option<&[u8]>,
        added: &[(&str, &str)],
    ) -> Result<Event, Invalid> {
        let data = value.unwrap_or_default();
        json::check_data_size(data.len(), &self.limits)?;
        let builder = &mut self.builder;
        builder.begin(version(headers)?);
        for (header, value) in headers {
            let (Some(name), Some(octets)) = (attribute(header), value) else {
                continue;
            };
            let is_added = || added.iter().any(|(added, _)| *added == name);
            if name != "specversion" && !is_added() {
                read_attribute(builder, &name, octets).map_err(|fault| named(fault, header))?;
            }
        }
        if let Some(text) = content_type.filter(|_| !adds_media_type(added)) {
            add(builder, "datacontenttype", text).map_err(|fault| named(fault, CONTENT_TYPE))?;
        }
        for (name, text) in added {
            add(builder, name, text)?;
        }
        self.build(data)
    }

    fn build(&mut self, data: &[u8]) -> Result<Event, Invalid> {
        let data = (!data.is_empty()).then_some((DataForm::Bytes, data));
        self.builder
            .build_decoded_into(&mut self.room, data)
            .map_err(|fault| match fault.fault {
                Fault::MissingAttribute => fault.within(PREFIX),
                _ => fault,
            })
    }
}

fn structured(
    content_type: &str,
    value: Option<&[u8]>,
    added: &[(&str, &str)],
    limits: &Limits,
) -> Result<Event, Invalid> {
    let format = media::behind_cloudevents(media::essence(content_type)).unwrap_or_default();
    if !format.eq_ignore_ascii_case("+json") {
        let message =
            "of the CloudEvents formats only application/cloudevents+json is understood in a record";
        return Err(Invalid::of(Fault::UnsupportedFormat, CONTENT_TYPE, message));
    }
    if !media::is_utf8(content_type) {
        let message = "events in JSON are in UTF-8 only";
        return Err(Invalid::of(Fault::UnsupportedCharset, CONTENT_TYPE, message));
    }
    let body = Bytes::copy_from_slice(value.unwrap_or_default());
    let event = json::decode(&body, limits)?;
    if added.is_empty() {
        return Ok(event);
    }
    let add = |event: EventBuilder, (name, value): &(&str, &str)| event.attribute(name, value);
    added.iter().fold(event.edit(), add).build()
}

/// Whether the media type that the header tells is replaced.
fn adds_media_type(added: &[(&str, &str)]) -> bool {
    added.iter().any(|(name, _)| *name == "datacontenttype")
}

fn read_attribute(builder: &mut EventBuilder, name: &str, octets: &[u8]) -> Result<(), Invalid> {
    if name == "datacontenttype" {
        let message = "in binary mode the datacontenttype is the header content-type; `ce_datacontenttype` is forbidden";
        return Err(Invalid::of(Fault::DatacontenttypeHeader, name, message));
    }
    if builder.get(name).is_some() {
        return Err(repeated(name));
    }
    add(builder, name, text(octets, name)?)
}

fn add(builder: &mut EventBuilder, name: &str, text: &str) -> Result<(), Invalid> {
    let kind = Kind::String;
    builder.add(name, Value { kind, text })
}

/// The `ce_specversion`, which decides by which rules the others are read.
fn version(headers: &[Header<'_>]) -> Result<SpecVersion, Invalid> {
    let mut values = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("ce_specversion"))
        .filter_map(|(_, value)| *value);
    let Some(first) = values.next() else {
        return Err(missing("specversion").within(PREFIX));
    };
    if values.next().is_some() {
        return Err(repeated("specversion"));
    }
    let text = text(first, "ce_specversion")?;
    SpecVersion::from_wire(text).map_err(|fault| named(fault, "ce_specversion"))
}

/// Whether a header of this name holds an attribute.
fn is_attribute(header: &str) -> bool {
    header
        .as_bytes()
        .get(..PREFIX.len())
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX.as_bytes()))
}

/// The attribute that a header of this name holds, in lower case.
fn attribute(header: &str) -> Option<Cow<'_, str>> {
    if !is_attribute(header) {
        return None;
    }
    let name = &header[PREFIX.len()..];
    Some(if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    })
}

/// The one content type, if there is one.
fn content_type<'a>(headers: &[Header<'a>]) -> Result<Option<&'a str>, Invalid> {
    let mut values = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE))
        .filter_map(|(_, value)| *value);
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        let message = "there is more than one header content-type";
        return Err(Invalid::of(Fault::ContentTypeRepeated, CONTENT_TYPE, message));
    }
    text(first.trim_ascii(), CONTENT_TYPE).map(Some)
}

fn text<'a>(octets: &'a [u8], header: &str) -> Result<&'a str, Invalid> {
    str::from_utf8(octets)
        .map_err(|_| Invalid::of(Fault::NotUtf8, header, "the value of the header is not UTF-8"))
}

fn repeated(name: &str) -> Invalid {
    let message = format!("the header `{PREFIX}{}` is there more than once", excerpt(name));
    Invalid::of(Fault::DuplicateAttribute, &format!("{PREFIX}{name}"), message)
}

/// The fault as one of a header.
fn named(fault: Invalid, header: &str) -> Invalid {
    Invalid::of(fault.fault, header, fault.message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINIMAL: [Header<'static>; 4] = [
        ("ce_specversion", Some(b"1.0")),
        ("ce_id", Some(b"1")),
        ("ce_source", Some(b"/s")),
        ("ce_type", Some(b"t")),
    ];
    const JSON: &str = "application/cloudevents+json";

    fn decode(
        headers: &[Header<'_>],
        value: Option<&[u8]>,
        added: &[(&str, &str)],
        limits: &Limits,
    ) -> Result<Option<Event>, Invalid> {
        Decoder::new(*limits).decode(headers, value, added)
    }

    fn read(more: &[Header<'_>], value: Option<&[u8]>) -> Result<Option<Event>, Invalid> {
        decode(&[&MINIMAL, more].concat(), value, &[], &Limits::default())
    }

    fn fault(headers: &[Header<'_>], value: Option<&[u8]>) -> (Fault, String) {
        let invalid = decode(headers, value, &[], &Limits::default()).unwrap_err();
        (invalid.fault, invalid.field.unwrap_or_default())
    }

    fn event(more: &[Header<'_>], value: Option<&[u8]>) -> Event {
        read(more, value).unwrap().expect("an event")
    }

    #[test]
    fn a_binary_record_is_read_as_it_came() {
        let more: &[Header<'_>] = &[
            ("ce_subject", Some("50%25 é".as_bytes())),
            ("CE_Time", Some(b"2018-04-05T17:31:00.100+02:00")),
            ("ce_nothing", None),
            ("Content-Type", Some(b"Application/JSON")),
            ("other", Some(b"\xff")),
        ];
        let event = event(more, Some(b"{ \"a\" : 1.10 }"));
        let value = |name: &str| event.get(name).map(|value| value.text);
        assert_eq!(value("subject"), Some("50%25 é"));
        assert_eq!(value("time"), Some("2018-04-05T17:31:00.100+02:00"));
        assert_eq!(value("nothing"), None);
        assert_eq!(value("datacontenttype"), Some("Application/JSON"));
        assert_eq!(event.data().unwrap().as_ref(), b"{ \"a\" : 1.10 }");
    }

    #[test]
    fn events_that_share_memory_are_each_their_own() {
        let mut decoder = Decoder::new(Limits::default());
        let mut read = |id: usize| {
            // Some are larger than what is shared, and every fourth is none.
            let (text, data) = (
                id.to_string(),
                vec![b'0' + (id % 10) as u8; id * 997 % (2 * SHARED_BYTES)],
            );
            let mut headers = MINIMAL;
            headers[1] = ("ce_id", Some(text.as_bytes()));
            headers[3].1 = (!id.is_multiple_of(4)).then_some(b"t");
            decoder.decode(&headers, Some(&data), &[]).ok().flatten()
        };
        let events: Vec<_> = (0..200).map(|id| (id, read(id))).collect();
        for (id, event) in events {
            let Some(event) = event else {
                assert_eq!(id % 4, 0);
                continue;
            };
            let data = event.data_ref().unwrap_or_default();
            assert_eq!(
                (event.id(), data.len()),
                (&*id.to_string(), id * 997 % (2 * SHARED_BYTES))
            );
            assert!(data.iter().all(|octet| *octet == b'0' + (id % 10) as u8));
            assert_eq!(Event::from_stored(event.stored().clone()).as_ref(), Ok(&event));
        }
    }

    proptest! {
        /// Whatever was decoded before, a record becomes what it becomes by itself.
        #[test]
        fn records_that_are_alike_are_each_their_own(
            kinds in prop::collection::vec(prop::collection::vec(0..NAMES.len(), 1..5), 2),
            values in prop::collection::vec(prop::collection::vec(0..VALUES.len(), 8), 1..40),
        ) {
            let mut decoder = Decoder::new(Limits::default());
            for (n, values) in values.iter().enumerate() {
                // Kinds that take turns, several of each. Mostly good in what every event needs, so that
                // there is something to be known.
                let mut headers = MINIMAL.to_vec();
                headers[1 + values[0] % 3].1 = VALUES[values[1]];
                headers[0].1 = if values[2] == 0 { Some(b"0.3") } else { Some(b"1.0") };
                let names = &kinds[n / 5 % 2];
                headers.extend(names.iter().zip(&values[3..]).map(|(name, value)| (NAMES[*name], VALUES[*value])));
                headers.truncate(8 - values[7] % 3);
                let added: &[(&str, &str)] = match n / 5 % 4 {
                    0 => &[("partition", ["7", "6", "10", "\n"][values[6] % 4]), ("b", "8")],
                    1 => &[("datacontenttype", ["a/b", "c/d", "a/bc", "\n"][values[6] % 4])],
                    _ => &[("b", "9")],
                };
                let data = [Some(&b"x"[..]), Some(b""), None, Some(&[b'w'; SHARED_BYTES])][values[5] % 4];
                let alone = decode(&headers, data, added, &Limits::default());
                prop_assert_eq!(decoder.decode(&headers, data, added), alone);
            }
        }
    }

    /// Names that a header may have, and values good and bad.
    const NAMES: [&str; 9] = [
        "ce_a",
        "CE_A",
        "ce_b",
        "ce_time",
        "ce_subject",
        "content-type",
        "ce_a-b",
        "other",
        "ce_datacontenttype",
    ];
    const VALUES: [Option<&[u8]>; 13] = [
        Some(b"/a"),
        Some(b"/b"),
        Some(b"\xffa"),
        Some(b"a/b"),
        Some(b" a/b "),
        Some(b""),
        None,
        Some(b"\xff"),
        Some(b"a\n"),
        Some(b"2018-04-05T17:31:00Z"),
        Some(&[b'y'; 300]),
        Some(&[b'v'; 5 << 10]),
        Some(&[b'z'; 130 << 10]),
    ];

    #[test]
    fn a_value_that_is_null_or_empty_is_no_data() {
        assert_eq!(event(&[], None).data(), None);
        assert_eq!(event(&[], Some(b"")).data(), None);
    }

    #[test]
    fn the_media_type_in_any_case_tells_a_structured_record_before_any_header_does() {
        let body = br#"{"specversion":"1.0","id":"9","source":"/j","type":"u","data":{"a":1.10}}"#;
        for content_type in [JSON, "Application/CloudEvents+JSON; charset=UTF-8"] {
            let event = event(&[("content-type", Some(content_type.as_bytes()))], Some(body));
            assert_eq!((event.id(), event.source(), event.ty()), ("9", "/j", "u"));
            assert_eq!(event.data().unwrap().as_ref(), br#"{"a":1.10}"#);
        }
    }

    #[test]
    fn a_record_without_any_mark_is_no_event() {
        for headers in [
            &[][..],
            &[("content-type", Some(b"application/json".as_slice()))],
            &[("ce", Some(b"x".as_slice())), ("é", None)],
            &[("content-type", Some(b"a/b".as_slice())), ("content-type", None)],
            &[("content-type", Some(b"\xff".as_slice()))],
        ] {
            assert_eq!(
                decode(headers, Some(b"x"), &[], &Limits::default()),
                Ok(None),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_header() {
        let with = |more: &[Header<'static>]| [&MINIMAL, more].concat();
        let table: &[(Vec<Header<'_>>, Fault, &str)] = &[
            (MINIMAL[1..].to_vec(), Fault::MissingAttribute, "ce_specversion"),
            (MINIMAL[..3].to_vec(), Fault::MissingAttribute, "ce_type"),
            (with(&[("ce_id", Some(b"2"))]), Fault::DuplicateAttribute, "ce_id"),
            (
                with(&[("ce_specversion", Some(b"1.0"))]),
                Fault::DuplicateAttribute,
                "ce_specversion",
            ),
            (with(&[("ce_a-b", Some(b"2"))]), Fault::BadAttributeName, "ce_a-b"),
            (with(&[("ce_", Some(b"2"))]), Fault::BadAttributeName, "ce_"),
            (
                with(&[("ce_time", Some(b"now"))]),
                Fault::BadAttributeValue,
                "ce_time",
            ),
            (with(&[("ce_a", Some(b"\xff"))]), Fault::NotUtf8, "ce_a"),
            (
                with(&[("ce_datacontenttype", Some(b"a/b"))]),
                Fault::DatacontenttypeHeader,
                "ce_datacontenttype",
            ),
            (
                with(&[("content-type", Some(b"nothing"))]),
                Fault::BadAttributeValue,
                "content-type",
            ),
            (
                with(&[("content-type", Some(b"a/b")), ("Content-Type", Some(b"a/b"))]),
                Fault::ContentTypeRepeated,
                "content-type",
            ),
        ];
        for (headers, expected, field) in table {
            assert_eq!(
                fault(headers, None),
                (*expected, (*field).to_owned()),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn a_format_that_is_not_understood_is_told_so() {
        for (content_type, expected) in [
            ("application/cloudevents", Fault::UnsupportedFormat),
            ("application/cloudevents+avro", Fault::UnsupportedFormat),
            ("application/cloudevents-batch+json", Fault::UnsupportedFormat),
            (
                "application/cloudevents+json; charset=latin1",
                Fault::UnsupportedCharset,
            ),
            (JSON, Fault::BadJson),
        ] {
            let headers = [("content-type", Some(content_type.as_bytes()))];
            assert_eq!(fault(&headers, None).0, expected, "{content_type}");
        }
    }

    #[test]
    fn data_over_the_limit_is_refused() {
        let limits = Limits {
            event_bytes: 3,
            ..Limits::default()
        };
        assert!(decode(&MINIMAL, Some(b"abc"), &[], &limits).is_ok());
        let invalid = decode(&MINIMAL, Some(b"abcd"), &[], &limits).unwrap_err();
        assert_eq!(invalid.fault, Fault::EventTooLarge);
    }

    #[test]
    fn what_is_added_replaces_what_came_in_both_modes() {
        let added = [("place", "7"), ("datacontenttype", "a/b")];
        let body =
            br#"{"specversion":"1.0","id":"9","source":"/j","type":"u","place":"1","datacontenttype":"c/d"}"#;
        let structured = [("content-type", Some(JSON.as_bytes()))];
        let own: [Header<'_>; 2] = [("ce_place", Some(b"1")), ("content-type", Some(b"c/d"))];
        let binary = [&MINIMAL[..], &own].concat();
        for (headers, value) in [(&structured[..], Some(&body[..])), (&binary, None)] {
            let event = decode(headers, value, &added, &Limits::default())
                .unwrap()
                .unwrap();
            for (name, value) in added {
                let all = event.attributes().filter(|(known, _)| *known == name);
                assert_eq!(all.map(|(_, value)| value.text).collect::<Vec<_>>(), [value]);
            }
        }
    }
}
