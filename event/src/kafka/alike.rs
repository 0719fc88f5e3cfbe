//! Records that look like the one before them. Records of a topic mostly have the same headers, and the same
//! values in many of them: facts found out about the last record are reused.
//!
//! # Contract
//! A record that [`Alike`] takes becomes the event, or the fault, that it would become without it.

use bytes::BytesMut;

use super::stencil::Stencil;
use super::{CONTENT_TYPE, Header, adds_media_type, attribute, named, text};
use crate::attribute::{Kind, SpecVersion, Value};
use crate::builder::EventBuilder;
use crate::event::Event;
use crate::invalid::Invalid;
use crate::rules;

/// The longest value of a header that says how a record is read; where it is longer, nothing is kept.
const MAX_FIXED: usize = 256;
/// The most headers that are kept.
const MAX_HEADERS: usize = 64;

/// A record that was taken, without its data.
#[derive(Debug, Default)]
pub(super) struct Alike {
    version: Option<SpecVersion>,
    headers: Vec<Known>,
    /// The attributes that were added to it.
    added: Vec<Attribute>,
    /// The form of the last event of such a record. Whatever values stand in it have been checked by the
    /// rules of the version, also those of a record that was refused for another of its values.
    last: Stencil,
}

/// A header that was taken.
#[derive(Debug)]
struct Known {
    header: String,
    role: Role,
}

#[derive(Debug)]
enum Role {
    /// It tells how all others are read, so another value means another kind of record.
    Fixed(String),
    /// It is this attribute.
    Attribute(Attribute),
    /// It is none, or is replaced by one that is added.
    Ignored,
}

/// An attribute of the events of these records.
#[derive(Debug)]
struct Attribute {
    name: String,
    /// Its place among those of each event.
    index: usize,
}

// === impl Alike ===

impl Alike {
    /// The facts about a record that became this event; `None` if keeping them is not worth it.
    pub(super) fn of(headers: &[Header<'_>], added: &[(&str, &str)], event: &Event) -> Self {
        let known = |(header, value): &Header<'_>| Known::of(header, *value, added, event);
        let known = if headers.len() > MAX_HEADERS {
            None
        } else {
            headers.iter().map(known).collect::<Option<Vec<_>>>()
        };
        let added = added.iter().map(|(name, _)| Attribute::of(name, event));
        let (Some(headers), Some(added)) = (known, added.collect()) else {
            return Self::default();
        };
        let mut last = Stencil::default();
        last.take(event);
        Self {
            version: Some(event.specversion()),
            headers,
            added,
            last,
        }
    }

    /// Whether these headers have the same names, and what decides how they are read is the same.
    pub(super) fn is_like(&self, headers: &[Header<'_>], added: &[(&str, &str)]) -> bool {
        self.version.is_some()
            && self.headers.len() == headers.len()
            && self.added.len() == added.len()
            && self
                .headers
                .iter()
                .zip(headers)
                .all(|(known, header)| known.is_like(header))
            && self
                .added
                .iter()
                .zip(added)
                .all(|(known, (name, _))| known.name == *name)
    }

    /// The event of a record that is like those, if the last one has left a form in which its values and its
    /// data fit.
    pub(super) fn event(
        &mut self,
        headers: &[Header<'_>],
        data: &[u8],
        added: &[(&str, &str)],
        room: &mut BytesMut,
    ) -> Result<Option<Event>, Invalid> {
        let last = &mut self.last;
        let is_as_long = |attribute: &Attribute, octets: &[u8]| {
            last.value(attribute.index)
                .is_some_and(|value| value.len() == octets.len())
        };
        if !last.is_for(data)
            || !attributes(&self.headers, headers).all(|(attribute, _, octets)| is_as_long(attribute, octets))
            || !(self.added.iter().zip(added)).all(|(known, (_, value))| is_as_long(known, value.as_bytes()))
        {
            return Ok(None);
        }
        let version = self.version.unwrap_or(SpecVersion::V10);
        for (attribute, header, octets) in attributes(&self.headers, headers) {
            if last.value(attribute.index) != Some(octets) {
                let checked = attribute.checked(version, octets);
                last.set(attribute.index, checked.map_err(|fault| named(fault, header))?);
            }
        }
        for (attribute, (name, value)) in self.added.iter().zip(added) {
            rules::check_value(version, name, string(value))?;
            last.set(attribute.index, value);
        }
        Ok(last.event(data, room))
    }

    /// Begins an event with the attributes of headers that are like those.
    pub(super) fn add_to(
        &self,
        builder: &mut EventBuilder,
        headers: &[Header<'_>],
        added: &[(&str, &str)],
    ) -> Result<(), Invalid> {
        let version = self.version.unwrap_or(SpecVersion::V10);
        builder.begin(version);
        for (attribute, header, octets) in attributes(&self.headers, headers) {
            // The last record's value was checked then.
            let is_same = self.last.value(attribute.index) == Some(octets);
            let value = if is_same {
                text(octets, &attribute.name)
            } else {
                attribute.checked(version, octets)
            };
            let pushed = value.and_then(|value| builder.push(&attribute.name, string(value)));
            pushed.map_err(|fault| named(fault, header))?;
        }
        let is_media_type = |known: &&Known| known.header.eq_ignore_ascii_case(CONTENT_TYPE);
        let media_type = self.headers.iter().find(is_media_type);
        if let Some(Role::Fixed(media_type)) = media_type.map(|known| &known.role)
            && !adds_media_type(added)
        {
            let added = builder.push("datacontenttype", string(media_type.trim_ascii()));
            added.map_err(|fault| named(fault, CONTENT_TYPE))?;
        }
        for (name, value) in added {
            rules::check_value(version, name, string(value))?;
            builder.push(name, string(value))?;
        }
        Ok(())
    }

    /// Takes down the event that such a record became.
    pub(super) fn became(&mut self, event: &Event) {
        self.last.take(event);
    }
}

/// The attributes among headers that are like those that are known, each with its header's name and value.
fn attributes<'a>(
    known: &'a [Known],
    headers: &'a [Header<'a>],
) -> impl Iterator<Item = (&'a Attribute, &'a str, &'a [u8])> {
    let headers = known.iter().zip(headers);
    headers.filter_map(|(known, (header, value))| match &known.role {
        Role::Attribute(attribute) => Some((attribute, *header, value.unwrap_or_default())),
        Role::Fixed(_) | Role::Ignored => None,
    })
}

fn string(text: &str) -> Value<'_> {
    let kind = Kind::String;
    Value { kind, text }
}

// === impl Known ===

impl Known {
    /// `None`: a record with such a header is like no other.
    fn of(header: &str, value: Option<&[u8]>, added: &[(&str, &str)], event: &Event) -> Option<Self> {
        let fixed = || {
            let value = str::from_utf8(value?).ok()?;
            (value.len() <= MAX_FIXED).then(|| Role::Fixed(value.to_owned()))
        };
        let role = match attribute(header).as_deref() {
            Some("specversion") => fixed()?,
            Some(name) if added.iter().any(|(added, _)| *added == name) => Role::Ignored,
            // A null one may stand beside another of its name.
            Some(name) => Role::Attribute(value.and_then(|_| Attribute::of(name, event))?),
            None if header.eq_ignore_ascii_case(CONTENT_TYPE) => fixed()?,
            None => Role::Ignored,
        };
        let header = header.to_owned();
        Some(Self { header, role })
    }

    fn is_like(&self, (header, value): &Header<'_>) -> bool {
        self.header == *header
            && match &self.role {
                Role::Fixed(fixed) => *value == Some(fixed.as_bytes()),
                Role::Attribute(_) => value.is_some(),
                Role::Ignored => true,
            }
    }
}

// === impl Attribute ===

impl Attribute {
    fn of(name: &str, event: &Event) -> Option<Self> {
        let stored = event.stored();
        let mut rows = event.layout().rows(stored);
        let index = rows.position(|row| &stored[row.name] == name.as_bytes())?;
        let name = name.to_owned();
        Some(Self { name, index })
    }

    /// A value for it that keeps the rules.
    fn checked<'a>(&self, version: SpecVersion, octets: &'a [u8]) -> Result<&'a str, Invalid> {
        let value = text(octets, &self.name)?;
        rules::check_value(version, &self.name, string(value))?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::DataForm;

    #[test]
    fn a_record_like_the_last_takes_its_form_until_a_value_has_another_length() {
        let headers = |id: &'static str| {
            [
                ("ce_id", Some(id.as_bytes())),
                ("ce_specversion", Some(b"1.0".as_slice())),
            ]
        };
        let event = |id: &str| {
            let event = Event::builder(SpecVersion::V10)
                .attribute("id", id)
                .attribute("source", "/s");
            let event = event.attribute("type", "t").data(DataForm::Bytes, b"x");
            event.build().expect("it is valid")
        };
        let added = [("source", "/s"), ("type", "t")];
        let mut alike = Alike::of(&headers("10"), &added, &event("10"));
        let mut next = |id: &'static str| {
            assert!(alike.is_like(&headers(id), &added));
            alike.event(&headers(id), b"x", &added, &mut BytesMut::new())
        };
        assert_eq!(next("11"), Ok(Some(event("11"))));
        assert_eq!(
            next("1\n").map_err(|fault| fault.field),
            Err(Some("ce_id".to_owned()))
        );
        assert_eq!(next("12"), Ok(Some(event("12"))));
        assert_eq!(next("100"), Ok(None));
    }
}
