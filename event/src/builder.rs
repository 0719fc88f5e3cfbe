//! Building an event, by hand or while decoding: every rule of the specification is checked here and nowhere
//! else.

use bytes::{Bytes, BytesMut};
use serde::de::IgnoredAny;

use crate::attribute::{Kind, SpecVersion, Value};
use crate::event::{DataForm, Event};
use crate::invalid::{Fault, Invalid};
use crate::kafka::SHARED_BYTES;
use crate::rules;
use crate::stored::{Entry, FIRST, Parts, push_header};

/// The most attributes a decoder takes: as many as a request may have headers.
pub(crate) const MAX_ATTRIBUTES: usize = 256;
/// The most bytes of names and values a decoder takes: as many as a request may have of header.
pub(crate) const MAX_ATTRIBUTE_BYTES: usize = 64 * 1024;
/// The most bytes of passed-on headers that an event keeps.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Builds an [`Event`], checking every rule of the specification as it goes. The first fault is kept and
/// returned by `build`.
///
/// It takes twice the attributes that a decoder takes (512, 128 KiB), so that an event that just came in can
/// still be given a few by those that it passes.
#[derive(Debug)]
pub struct EventBuilder {
    version: SpecVersion,
    /// Names and values, one after the other; what was replaced stays as a gap.
    text: String,
    entries: Vec<Entry>,
    headers: Vec<u8>,
    data: Option<(DataForm, Bytes)>,
    fault: Option<Invalid>,
}

// === impl EventBuilder ===

impl EventBuilder {
    pub(crate) fn new(version: SpecVersion) -> Self {
        let (text, entries) = (String::new(), Vec::new());
        Self {
            version,
            text,
            entries,
            headers: Vec::new(),
            data: None,
            fault: None,
        }
    }

    /// A builder with room for an ordinary event, so that decoding one does not grow it step by step.
    pub(crate) fn with_room(version: SpecVersion) -> Self {
        Self {
            text: String::with_capacity(512),
            entries: Vec::with_capacity(16),
            ..Self::new(version)
        }
    }

    pub(crate) fn from_event(event: &Event) -> Self {
        let (layout, stored) = (event.layout(), event.stored());
        let base = layout.text().start;
        let mut builder = Self::new(event.specversion());
        builder.text.reserve_exact(layout.text().len() + 64);
        builder.text.push_str(event.text(layout.text()));
        builder.entries.reserve_exact(layout.attributes() + 2);
        builder.entries.extend(layout.rows(stored).map(|row| Entry {
            kind: row.kind,
            name_len: u8::try_from(row.name.len()).expect("invariant: the layout keeps it in a byte"),
            at: offset(row.name.start - base),
            value_len: offset(row.value.len()),
        }));
        builder.headers.extend_from_slice(&stored[layout.headers()]);
        builder.data = event.data().map(|data| (event.data_form(), data));
        builder
    }

    /// Sets (or replaces) an attribute with text. Core attributes are checked by their own rules.
    /// `specversion` is what the builder began with; setting it to anything else is a fault.
    #[must_use]
    pub fn attribute(self, name: &str, value: &str) -> Self {
        self.value(
            name,
            Value {
                kind: Kind::String,
                text: value,
            },
        )
    }

    /// Sets (or replaces) an attribute of a given kind; `text` is the canonical form.
    #[must_use]
    pub fn value(mut self, name: &str, value: Value<'_>) -> Self {
        if let Err(invalid) = self.set(name, value) {
            self.fault.get_or_insert(invalid);
        }
        self
    }

    /// Removes an attribute if it is there.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        let text = &self.text;
        self.entries.retain(|entry| entry.name(text) != name);
        self
    }

    /// Sets the data. Data of the form [`DataForm::Json`] or [`DataForm::Text`] is checked to be so.
    #[must_use]
    pub fn data(mut self, form: DataForm, data: &[u8]) -> Self {
        let fault = match form {
            DataForm::Bytes => None,
            DataForm::Json => (!is_json(data)).then_some("the data is not JSON"),
            DataForm::Text => str::from_utf8(data)
                .is_err()
                .then_some("the data is not UTF-8 text"),
        };
        if let Some(message) = fault {
            self.fault
                .get_or_insert_with(|| Invalid::of(Fault::BadData, "data", message));
        }
        self.data = Some((form, Bytes::copy_from_slice(data)));
        self
    }

    /// Adds a transport header to pass on. The name is lower case. Past 64 KiB, or with a name that is empty
    /// or longer than 255 bytes, it is left out: such headers are a courtesy, no part of the event.
    #[must_use]
    pub fn header(mut self, name: &str, value: &[u8]) -> Self {
        self.add_header(name, value);
        self
    }

    /// The event, or the first fault.
    pub fn build(mut self) -> Result<Event, Invalid> {
        if let Some(invalid) = self.fault {
            return Err(invalid);
        }
        self.check_size(2)?;
        self.first_to_front()?;
        let data = self.data.as_ref().map(|(form, data)| (*form, data.as_ref()));
        let mut stored = BytesMut::new();
        let layout = self.parts(data).write(&mut stored)?;
        Ok(Event::of(stored.freeze(), layout))
    }

    /// The event of a decoder: as `build`, with the bounds for what comes from outside.
    pub(crate) fn build_decoded(self) -> Result<Event, Invalid> {
        self.check_size(1)?;
        self.build()
    }

    /// As `build_decoded`, but of borrowed data, written to a buffer that events share; the builder can be
    /// used again.
    pub(crate) fn build_decoded_into(
        &mut self,
        room: &mut BytesMut,
        data: Option<(DataForm, &[u8])>,
    ) -> Result<Event, Invalid> {
        self.check_size(1)?;
        self.first_to_front()?;
        let parts = self.parts(data);
        if parts.size() > SHARED_BYTES {
            let mut own = BytesMut::new();
            let layout = parts.write(&mut own)?;
            return Ok(Event::of(own.freeze(), layout));
        }
        let layout = parts.write(room)?;
        Ok(Event::of(room.split().freeze(), layout))
    }

    /// Begins anew, in the memory it has, unless that has grown beyond what an event needs.
    pub(crate) fn begin(&mut self, version: SpecVersion) {
        self.version = version;
        if self.text.capacity() > 2 * MAX_ATTRIBUTE_BYTES {
            self.text = String::new();
        }
        self.text.clear();
        self.entries.clear();
        self.headers.clear();
        (self.data, self.fault) = (None, None);
    }

    fn parts<'a>(&'a self, data: Option<(DataForm, &'a [u8])>) -> Parts<'a> {
        Parts {
            version: self.version,
            entries: &self.entries,
            text: &self.text,
            headers: &self.headers,
            data,
        }
    }

    /// Adds an attribute of a name that is known to be new: decoders look for repeated names in their own
    /// way.
    pub(crate) fn add(&mut self, name: &str, value: Value<'_>) -> Result<(), Invalid> {
        rules::check(self.version, name, value)?;
        self.push(name, value)
    }

    /// The version the builder began with.
    pub(crate) fn version(&self) -> SpecVersion {
        self.version
    }

    /// Sets the data, which is known to be of its form.
    pub(crate) fn set_data(&mut self, form: DataForm, data: Bytes) {
        self.data = Some((form, data));
    }

    /// The value of an attribute that was set.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.position(name)
            .map(|index| self.entries[index].value(&self.text))
    }

    /// Adds a header if it fits.
    pub(crate) fn add_header(&mut self, name: &str, value: &[u8]) {
        if self.headers.len() + name.len() + value.len() <= MAX_HEADER_BYTES {
            push_header(&mut self.headers, name, value);
        }
    }

    fn set(&mut self, name: &str, value: Value<'_>) -> Result<(), Invalid> {
        if name == "specversion" {
            return if value.text == self.version.as_str() {
                Ok(())
            } else {
                Err(Invalid::of(
                    Fault::UnsupportedSpecversion,
                    name,
                    "the version of an event cannot be changed",
                ))
            };
        }
        rules::check(self.version, name, value)?;
        let earlier = self.position(name);
        self.push(name, value)?;
        if let Some(earlier) = earlier {
            self.entries.swap_remove(earlier);
        }
        Ok(())
    }

    /// Appends an attribute of a new name that is known to keep the rules.
    pub(crate) fn push(&mut self, name: &str, value: Value<'_>) -> Result<(), Invalid> {
        let too_large = self.entries.len() > 2 * MAX_ATTRIBUTES
            || value.text.len() > 2 * MAX_ATTRIBUTE_BYTES
            || self.text.len() > 64 * MAX_ATTRIBUTE_BYTES;
        let (Ok(name_len), false) = (u8::try_from(name.len()), too_large) else {
            return Err(too_many(2));
        };
        let (at, value_len) = (offset(self.text.len()), offset(value.text.len()));
        self.entries.push(Entry {
            kind: value.kind,
            name_len,
            at,
            value_len,
        });
        self.text.push_str(name);
        self.text.push_str(value.text);
        Ok(())
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| entry.name(&self.text) == name)
    }

    fn check_size(&self, times: usize) -> Result<(), Invalid> {
        let bytes: usize = self.entries.iter().map(|entry| entry.len()).sum();
        if self.entries.len() > times * MAX_ATTRIBUTES || bytes > times * MAX_ATTRIBUTE_BYTES {
            return Err(too_many(times));
        }
        Ok(())
    }

    /// Brings `id`, `source` and `type` to the front; one that is missing is a fault.
    fn first_to_front(&mut self) -> Result<(), Invalid> {
        for (index, name) in FIRST.iter().enumerate() {
            let Some(found) = self.position(name) else {
                return Err(missing(name));
            };
            self.entries[index..=found].rotate_right(1);
        }
        Ok(())
    }
}

/// The fault of a REQUIRED attribute that is not there.
pub(crate) fn missing(name: &str) -> Invalid {
    Invalid::of(
        Fault::MissingAttribute,
        name,
        format!("the event has no `{name}`, which every CloudEvent must have"),
    )
}

fn too_many(times: usize) -> Invalid {
    let (count, kib) = (times * MAX_ATTRIBUTES, times * MAX_ATTRIBUTE_BYTES / 1024);
    let message = format!("the event has more than {count} attributes or more than {kib} KiB of them");
    Invalid::new(Fault::AttributesTooLarge, message)
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("invariant: a stored form and the text of a builder are smaller than 4 GiB")
}

/// Whether octets are one JSON value in UTF-8. Nested as deep as may be: nothing here recurses.
pub(crate) fn is_json(data: &[u8]) -> bool {
    str::from_utf8(data).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimal() -> EventBuilder {
        Event::builder(SpecVersion::V10)
            .attribute("id", "1")
            .attribute("source", "/s")
            .attribute("type", "t")
    }

    fn fault(builder: EventBuilder) -> Option<(Fault, Option<String>)> {
        builder
            .build()
            .err()
            .map(|invalid| (invalid.fault, invalid.field))
    }

    #[test]
    fn the_required_attributes_must_be_there() {
        for name in FIRST {
            let expected = Some((Fault::MissingAttribute, Some(name.to_owned())));
            assert_eq!(fault(minimal().without(name)), expected);
        }
        assert_eq!(fault(minimal()), None);
    }

    #[test]
    fn the_first_fault_is_the_one_that_is_told() {
        let builder = minimal()
            .attribute("Bad", "x")
            .attribute("time", "never")
            .without("id");
        assert_eq!(
            fault(builder),
            Some((Fault::BadAttributeName, Some("Bad".to_owned())))
        );
    }

    #[test]
    fn an_attribute_that_is_set_again_is_replaced_where_it_is() {
        let event = minimal()
            .attribute("a", "1")
            .attribute("b", "2")
            .attribute("a", "3")
            .build()
            .unwrap();
        let others: Vec<_> = event
            .attributes()
            .skip(4)
            .map(|(name, value)| (name, value.text))
            .collect();
        assert_eq!(others, [("a", "3"), ("b", "2")]);
    }

    #[test]
    fn an_edited_event_differs_only_where_it_was_edited() {
        let event = minimal()
            .attribute("a", "é")
            .attribute("b", "2")
            .data(DataForm::Text, "ü".as_bytes())
            .header("x-request-id", b"7")
            .build()
            .unwrap();
        assert_eq!(event.edit().build().unwrap(), event);
        let edited = event
            .edit()
            .without("a")
            .attribute("knativebrokerttl", "254")
            .build()
            .unwrap();
        let names: Vec<_> = edited.attributes().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            ["specversion", "id", "source", "type", "b", "knativebrokerttl"]
        );
        assert_eq!(
            (edited.data(), edited.data_form()),
            (event.data(), DataForm::Text)
        );
        assert!(edited.headers().eq(event.headers()));
    }

    #[test]
    fn the_version_cannot_be_changed() {
        assert_eq!(fault(minimal().attribute("specversion", "1.0")), None);
        let expected = Some((Fault::UnsupportedSpecversion, Some("specversion".to_owned())));
        assert_eq!(fault(minimal().attribute("specversion", "0.3")), expected);
    }

    #[test]
    fn data_is_of_the_form_it_is_said_to_be() {
        let bad = Some((Fault::BadData, Some("data".to_owned())));
        assert_eq!(fault(minimal().data(DataForm::Json, b"{")), bad);
        assert_eq!(fault(minimal().data(DataForm::Json, b"\"\xff\"")), bad);
        assert_eq!(fault(minimal().data(DataForm::Text, b"\xff")), bad);
        assert_eq!(fault(minimal().data(DataForm::Json, b"null")), None);
        assert_eq!(fault(minimal().data(DataForm::Bytes, b"\xff")), None);
    }

    #[test]
    fn attributes_are_bounded_in_number_and_size() {
        let many =
            |count: usize| (0..count).fold(minimal(), |builder, n| builder.attribute(&format!("a{n}"), ""));
        assert_eq!(fault(many(2 * MAX_ATTRIBUTES - 3)), None);
        assert_eq!(
            fault(many(2 * MAX_ATTRIBUTES)),
            Some((Fault::AttributesTooLarge, None))
        );
        let large = |size: usize| minimal().attribute("a", &"x".repeat(size));
        assert_eq!(fault(large(MAX_ATTRIBUTE_BYTES)), None);
        assert_eq!(
            fault(large(2 * MAX_ATTRIBUTE_BYTES)),
            Some((Fault::AttributesTooLarge, None))
        );
        assert!(large(MAX_ATTRIBUTE_BYTES - 100).build_decoded().is_ok());
        let invalid = large(MAX_ATTRIBUTE_BYTES).build_decoded().unwrap_err();
        assert_eq!(
            (invalid.fault, invalid.status()),
            (Fault::AttributesTooLarge, 413)
        );
    }

    #[test]
    fn an_attribute_that_is_replaced_without_end_takes_bounded_memory() {
        let value = "x".repeat(1000);
        let builder = (0..100_000).fold(minimal(), |builder, _| builder.attribute("a", &value));
        assert!(builder.text.len() < 65 * MAX_ATTRIBUTE_BYTES + 1001);
        assert_eq!(fault(builder), Some((Fault::AttributesTooLarge, None)));
    }

    #[test]
    fn headers_that_do_not_fit_are_left_out() {
        let long = "k".repeat(256);
        let event = minimal()
            .header("", b"x")
            .header(&long, b"x")
            .header("knative-a", &[b'x'; 100_000])
            .header("baggage", b"");
        assert_eq!(
            event.build().unwrap().headers().collect::<Vec<_>>(),
            [("baggage", b"".as_slice())]
        );
    }
}
