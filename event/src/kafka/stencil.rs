//! The stored form of an event without its data, to be filled in again: the next event whose values are as
//! long differs from it in a few octets.

use std::ops::Range;

use bytes::BytesMut;

use super::SHARED_BYTES;
use crate::event::Event;
use crate::stored::Layout;

/// The largest form that is kept.
const MAX_KEPT: usize = 4 * 1024;

/// The form of the last event that was [taken](Stencil::take), with the values that were set since; none, if
/// it was too large.
#[derive(Debug, Default)]
pub(super) struct Stencil {
    form: Vec<u8>,
    layout: Option<Layout>,
    /// Where the values of the attributes are, in the order of the event.
    values: Vec<Range<usize>>,
    has_data: bool,
}

// === impl Stencil ===

impl Stencil {
    /// Takes the form of an event without passed-on headers.
    pub(super) fn take(&mut self, event: &Event) {
        let (layout, stored) = (*event.layout(), event.stored());
        self.form.clear();
        self.values.clear();
        self.layout = (layout.data_at() <= MAX_KEPT).then_some(layout);
        if self.layout.is_some() {
            self.form.extend_from_slice(&stored[..layout.data_at()]);
            self.values.extend(layout.rows(stored).map(|row| row.value));
            self.has_data = event.data_ref().is_some();
        }
    }

    /// The value of an attribute; `None`, if there is no stencil.
    pub(super) fn value(&self, index: usize) -> Option<&[u8]> {
        Some(&self.form[self.values.get(index)?.clone()])
    }

    /// Sets the value of an attribute, which is as long as the one that was there and keeps the rules.
    pub(super) fn set(&mut self, index: usize, value: &str) {
        self.form[self.values[index].clone()].copy_from_slice(value.as_bytes());
    }

    /// Whether an event with such data has this form, and a place in memory that events share.
    pub(super) fn is_for(&self, data: &[u8]) -> bool {
        self.layout.is_some()
            && self.has_data != data.is_empty()
            && self.form.len() + data.len() <= SHARED_BYTES
    }

    /// The event with the values as they are set, where [`Stencil::is_for`] its data.
    pub(super) fn event(&self, data: &[u8], room: &mut BytesMut) -> Option<Event> {
        room.clear();
        room.reserve(self.form.len() + data.len());
        room.extend_from_slice(&self.form);
        room.extend_from_slice(data);
        Some(Event::of(room.split().freeze(), self.layout?))
    }
}
