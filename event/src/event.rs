//! The event as a value: validated attributes with their original text, and the data as the bytes that came.
//!
//! One event is one buffer (the *stored form*), which is also what the log keeps: taking an event in costs
//! one buffer, storing it one copy, and reading it back none. Cloning is a reference count.

use std::ops::Range;

use bytes::Bytes;

use crate::attribute::{Kind, SpecVersion, Value};
use crate::builder::EventBuilder;
use crate::invalid::Invalid;
use crate::rules::media;
use crate::stored::{self, Layout};

/// The media type that the JSON format implies.
pub(crate) const JSON: &str = "application/json";

/// What the data is, so that each format can carry it as the specification says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataForm {
    /// Octets whose meaning only `datacontenttype` tells (HTTP body, or `data_base64` of a JSON event).
    Bytes,
    /// The text of a JSON value, as it stood in the `data` member of a JSON event.
    Json,
    /// A text that was a JSON string under a media type that is not JSON.
    Text,
}

/// A valid CloudEvent. Immutable and cheap to clone.
///
/// # Guarantees
/// Attributes have the text they came with (after one decoding of what HTTP or JSON escapes), in the order
/// they came; nothing is normalised, neither `time` nor URIs. The data is byte for byte what came: the HTTP
/// body, the text of the JSON value, or what Base64 spelled.
///
/// # Caveats
/// An event that was built or decoded keeps every rule of the specification. One that was read by
/// [`Event::from_stored`] keeps them because it was built once; only the structure of the buffer is checked
/// again.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    stored: Bytes,
    layout: Layout,
}

// === impl Event ===

impl Event {
    /// A builder for an event of this version.
    pub fn builder(version: SpecVersion) -> EventBuilder {
        EventBuilder::new(version)
    }

    /// The version of the specification.
    pub fn specversion(&self) -> SpecVersion {
        stored::version(&self.stored)
    }

    /// The `id`.
    pub fn id(&self) -> &str {
        self.text(self.layout.first(0))
    }

    /// The `source`.
    pub fn source(&self) -> &str {
        self.text(self.layout.first(1))
    }

    /// The `type`.
    pub fn ty(&self) -> &str {
        self.text(self.layout.first(2))
    }

    /// The attribute of that name (core or extension, also `specversion`), if the event has it.
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        if name == "specversion" {
            return Some(Value {
                kind: Kind::String,
                text: self.specversion().as_str(),
            });
        }
        if !self.layout.has_name_of(name.len()) {
            return None;
        }
        let mut rows = self.layout.rows(&self.stored);
        let row = rows
            .find(|row| row.name.len() == name.len() && &self.stored[row.name.clone()] == name.as_bytes())?;
        Some(Value {
            kind: row.kind,
            text: self.text(row.value),
        })
    }

    /// All attributes: specversion, id, source, type, then the others as they came.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        let version = Value {
            kind: Kind::String,
            text: self.specversion().as_str(),
        };
        let rows = self.layout.rows(&self.stored);
        let others = rows.map(|row| {
            (
                self.text(row.name),
                Value {
                    kind: row.kind,
                    text: self.text(row.value),
                },
            )
        });
        std::iter::once(("specversion", version)).chain(others)
    }

    /// The data, if there is any (an empty HTTP body is no data). A slice of the event's own buffer.
    pub fn data(&self) -> Option<Bytes> {
        stored::data_form(&self.stored).map(|_| self.stored.slice(self.layout.data_at()..))
    }

    /// The data, if there is any, without a reference of its own to the buffer.
    pub fn data_ref(&self) -> Option<&[u8]> {
        stored::data_form(&self.stored).map(|_| &self.stored[self.layout.data_at()..])
    }

    /// How many bytes of data there are. Unlike [`Event::data_ref`] it does not look at the buffer.
    pub fn data_len(&self) -> usize {
        self.stored.len() - self.layout.data_at()
    }

    /// What the data is; [`DataForm::Bytes`] if there is none.
    pub fn data_form(&self) -> DataForm {
        stored::data_form(&self.stored).unwrap_or(DataForm::Bytes)
    }

    /// The data if it is said to be JSON: by the form it came in, or by a `datacontenttype` of `*/json` or
    /// `*/*+json`. An HTTP body that is said to be JSON was not checked to be.
    pub fn json(&self) -> Option<&[u8]> {
        let json = match self.data_form() {
            DataForm::Json => true,
            DataForm::Text => false,
            DataForm::Bytes => self
                .get("datacontenttype")
                .is_some_and(|value| media::is_json(value.text)),
        };
        if json { self.data_ref() } else { None }
    }

    /// The media type of the data: `datacontenttype`, or `application/json` for the `data` of a JSON event
    /// without one, as the JSON format implies it. For an event without data, or with `data_base64`, no type
    /// is implied.
    pub fn media_type(&self) -> Option<&str> {
        match self.get("datacontenttype") {
            Some(value) => Some(value.text),
            None => (self.data_form() == DataForm::Json).then_some(JSON),
        }
    }

    /// The transport headers that are passed on to subscribers, in order: lower-case name, value
    /// octets.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.layout
            .header_rows(&self.stored)
            .map(|(name, value)| (self.text(name), &self.stored[value]))
    }

    /// A builder that begins as a copy of this event: to add, replace or remove attributes.
    pub fn edit(&self) -> EventBuilder {
        EventBuilder::from_event(self)
    }

    /// The stored form: what the log keeps.
    pub fn stored(&self) -> &Bytes {
        &self.stored
    }

    /// The same event in a buffer of its own. What is kept for long should not keep the buffer alive that it
    /// was read with, which may be hundreds of times its size.
    #[must_use]
    pub fn compact(&self) -> Self {
        Self {
            stored: Bytes::copy_from_slice(&self.stored),
            layout: self.layout,
        }
    }

    /// Reads a stored form back, without copying; checks its structure (never panics on damage), not the
    /// specification's rules.
    pub fn from_stored(stored: Bytes) -> Result<Self, Invalid> {
        let layout = Layout::read(&stored)?;
        Ok(Self { stored, layout })
    }

    /// An event of a buffer whose layout is known.
    pub(crate) fn of(stored: Bytes, layout: Layout) -> Self {
        Self { stored, layout }
    }

    /// Where everything is in the stored form.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The part of the buffer, which lies within the text or is a header's name.
    pub(crate) fn text(&self, range: Range<usize>) -> &str {
        str::from_utf8(&self.stored[range]).expect("invariant: the layout was checked when it was read")
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id())
            .field("source", &self.source())
            .field("type", &self.ty())
            .field("data_len", &self.data_ref().map(<[u8]>::len))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Event {
        Event::builder(SpecVersion::V10)
            .attribute("time", "2026-11-22T10:00:00.10+02:00")
            .attribute("type", "com.example.paid")
            .attribute("source", "/shop")
            .value(
                "count",
                Value {
                    kind: Kind::Integer,
                    text: "-5",
                },
            )
            .attribute("id", "A-1")
            .data(DataForm::Bytes, b"\x00\x01")
            .header("traceparent", b"00-a-b-01")
            .build()
            .unwrap()
    }

    #[test]
    fn attributes_come_in_the_promised_order_with_their_own_text() {
        let event = sample();
        let names: Vec<_> = event
            .attributes()
            .map(|(name, value)| (name, value.text))
            .collect();
        let expected = [
            ("specversion", "1.0"),
            ("id", "A-1"),
            ("source", "/shop"),
            ("type", "com.example.paid"),
            ("time", "2026-11-22T10:00:00.10+02:00"),
            ("count", "-5"),
        ];
        assert_eq!(names, expected);
        assert_eq!(
            (event.id(), event.source(), event.ty()),
            ("A-1", "/shop", "com.example.paid")
        );
        for (name, text) in expected {
            assert_eq!(event.get(name).unwrap().text, text);
        }
        assert_eq!(event.get("count").unwrap().kind, Kind::Integer);
        assert_eq!((event.get("counts"), event.get("other")), (None, None));
        assert_eq!(event.get("data"), None);
    }

    #[test]
    fn data_is_a_slice_of_the_events_own_buffer() {
        let event = sample();
        let data = event.data().unwrap();
        assert_eq!((data.as_ref(), event.data_len()), ([0, 1].as_slice(), 2));
        assert!(event.stored().as_ptr_range().contains(&data.as_ptr()));
    }

    #[test]
    fn a_stored_event_reads_back_equal_without_a_copy() {
        let event = sample();
        let back = Event::from_stored(event.stored().clone()).unwrap();
        assert_eq!(back, event);
        assert_eq!(back.stored().as_ptr(), event.stored().as_ptr());
        assert_eq!(
            back.headers().collect::<Vec<_>>(),
            [("traceparent", b"00-a-b-01".as_slice())]
        );
    }

    #[test]
    fn an_event_shows_itself_without_its_data() {
        assert_eq!(
            format!("{:?}", sample()),
            r#"Event { id: "A-1", source: "/shop", type: "com.example.paid", data_len: Some(2), .. }"#
        );
    }

    #[test]
    fn json_is_told_by_form_or_media_type() {
        let table = [
            (DataForm::Json, None, true),
            (DataForm::Json, Some("text/plain"), true),
            (DataForm::Bytes, None, false),
            (DataForm::Bytes, Some("application/json"), true),
            (DataForm::Bytes, Some("text/plain"), false),
            (DataForm::Text, Some("application/json"), false),
        ];
        for (form, media_type, expected) in table {
            let mut builder = sample().edit().data(form, b"{}");
            if let Some(media_type) = media_type {
                builder = builder.attribute("datacontenttype", media_type);
            }
            assert_eq!(
                builder.build().unwrap().json().is_some(),
                expected,
                "{form:?} {media_type:?}"
            );
        }
    }

    #[test]
    fn an_event_is_small_to_move() {
        assert!(size_of::<Event>() <= 64);
    }
}
