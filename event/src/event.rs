//! The event as a value: validated attributes with their original text, and the data as the bytes that came.
//!
//! One event is one buffer (the *stored form*), which is also what the log keeps: taking an event in costs one
//! allocation, storing it one copy, and reading it back none. Cloning is a reference count.

use bytes::Bytes;

use crate::attribute::{SpecVersion, Value};
use crate::invalid::Invalid;

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
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    stored: Bytes,
    // offsets of the parts, filled when the stored form is built or read
}

/// Builds an [`Event`], checking every rule of the specification as it goes. The first fault is kept and returned by `build`.
#[derive(Debug)]
pub struct EventBuilder {}

impl Event {
    /// A builder for an event of this version.
    pub fn builder(version: SpecVersion) -> EventBuilder {
        todo!()
    }
    /// The version of the specification.
    pub fn specversion(&self) -> SpecVersion {
        todo!()
    }
    /// The `id`.
    pub fn id(&self) -> &str {
        todo!()
    }
    /// The `source`.
    pub fn source(&self) -> &str {
        todo!()
    }
    /// The `type`.
    pub fn ty(&self) -> &str {
        todo!()
    }
    /// The attribute of that name (core or extension, also `specversion`), if the event has it.
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        todo!()
    }
    /// All attributes: specversion, id, source, type, then the others as they came.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        std::iter::empty()
    }
    /// The data, if there is any (an empty HTTP body is no data). A slice of the event's own buffer.
    pub fn data(&self) -> Option<Bytes> {
        todo!()
    }
    /// What the data is.
    pub fn data_form(&self) -> DataForm {
        todo!()
    }
    /// The transport headers that are passed on to subscribers (design §6), in order: lower-case name, value octets.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        std::iter::empty()
    }
    /// A builder that begins as a copy of this event: to add, replace or remove attributes.
    pub fn edit(&self) -> EventBuilder {
        todo!()
    }
    /// The stored form: what the log keeps.
    pub fn stored(&self) -> &Bytes {
        &self.stored
    }
    /// Reads a stored form back, without copying; checks its structure (never panics on damage), not the specification's rules.
    pub fn from_stored(stored: Bytes) -> Result<Self, Invalid> {
        todo!()
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}

impl EventBuilder {
    /// Sets (or replaces) an attribute with text. Core attributes are checked by their own rules.
    #[must_use]
    pub fn attribute(self, name: &str, value: &str) -> Self {
        todo!()
    }
    /// Sets (or replaces) an attribute of a given kind; `text` is the canonical form.
    #[must_use]
    pub fn value(self, name: &str, value: Value<'_>) -> Self {
        todo!()
    }
    /// Removes an attribute if it is there.
    #[must_use]
    pub fn without(self, name: &str) -> Self {
        todo!()
    }
    /// Sets the data.
    #[must_use]
    pub fn data(self, form: DataForm, data: &[u8]) -> Self {
        todo!()
    }
    /// Adds a transport header to pass on.
    #[must_use]
    pub fn header(self, name: &str, value: &[u8]) -> Self {
        todo!()
    }
    /// The event, or the first fault.
    pub fn build(self) -> Result<Event, Invalid> {
        todo!()
    }
}
