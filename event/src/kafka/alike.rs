//! Records that look like the one before them. The records of a topic mostly have the same headers, and the same values in many of
//! them: what was found out about the last one is not found out again.
//!
//! # Contract
//! A record that [`Alike`] takes becomes the event, or the fault, that it would become without it.

use super::{CONTENT_TYPE, Header, attribute, named, text};
use crate::attribute::{Kind, SpecVersion, Value};
use crate::builder::EventBuilder;
use crate::invalid::Invalid;
use crate::rules;

/// The longest value that is kept to be compared.
const MAX_KEPT: usize = 256;
/// The most headers that are kept.
const MAX_HEADERS: usize = 64;

/// A record that was taken, without its data.
#[derive(Debug, Default)]
pub(super) struct Alike {
    version: Option<SpecVersion>,
    headers: Vec<Known>,
    /// The names of the attributes that were added to it.
    added: Vec<String>,
}

/// A header that was taken.
#[derive(Debug)]
struct Known {
    header: String,
    role: Role,
    /// Its value when it was checked last, unless that is long.
    value: String,
}

#[derive(Debug, PartialEq)]
enum Role {
    /// It says how all others are read, so that another value is another kind of record.
    Fixed,
    /// It is the attribute of that name.
    Attribute(String),
    /// It is none, or is replaced by one that is added.
    Ignored,
}

// === impl Alike ===

impl Alike {
    /// What is known of a record that became an event; nothing, where keeping it is not worth it.
    pub(super) fn of(headers: &[Header<'_>], added: &[(&str, &str)], version: SpecVersion) -> Self {
        let known = |(header, value): &Header<'_>| Known::of(header, *value, added);
        let known = if headers.len() > MAX_HEADERS {
            None
        } else {
            headers.iter().map(known).collect::<Option<Vec<_>>>()
        };
        known.map_or_else(Self::default, |headers| Self {
            version: Some(version),
            headers,
            added: added.iter().map(|(name, _)| (*name).to_owned()).collect(),
        })
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
                .all(|(known, (name, _))| known == name)
    }

    /// Begins an event with the attributes of headers that are like those.
    pub(super) fn add_to(
        &mut self,
        builder: &mut EventBuilder,
        headers: &[Header<'_>],
        added: &[(&str, &str)],
    ) -> Result<(), Invalid> {
        let version = self.version.unwrap_or(SpecVersion::V10);
        builder.begin(version);
        let mut media_type = None;
        for (known, (header, value)) in self.headers.iter_mut().zip(headers) {
            match &known.role {
                Role::Attribute(name) => {
                    let octets = value.unwrap_or_default();
                    let is_same = known.value.as_bytes() == octets && !octets.is_empty();
                    let add = |builder: &mut EventBuilder| {
                        if is_same {
                            return builder.push(name, string(&known.value)).map(|()| None);
                        }
                        let value = text(octets, name)?;
                        rules::check_value(version, name, string(value))?;
                        builder.push(name, string(value)).map(|()| Some(value))
                    };
                    if let Some(value) = add(builder).map_err(|fault| named(fault, header))? {
                        known.keep(value);
                    }
                }
                Role::Fixed if header.eq_ignore_ascii_case(CONTENT_TYPE) => media_type = Some(&known.value),
                Role::Fixed | Role::Ignored => {}
            }
        }
        if let Some(media_type) = media_type {
            let media_type = string(media_type.trim_ascii());
            let added = builder.push("datacontenttype", media_type);
            added.map_err(|fault| named(fault, CONTENT_TYPE))?;
        }
        for (name, value) in added {
            rules::check_value(version, name, string(value))?;
            builder.push(name, string(value))?;
        }
        Ok(())
    }
}

fn string(text: &str) -> Value<'_> {
    let kind = Kind::String;
    Value { kind, text }
}

// === impl Known ===

impl Known {
    /// `None`: a record with such a header is like no other.
    fn of(header: &str, value: Option<&[u8]>, added: &[(&str, &str)]) -> Option<Self> {
        let name = attribute(header);
        let role = match name.as_deref() {
            Some("specversion") => Role::Fixed,
            Some(name) if added.iter().any(|(added, _)| *added == name) => Role::Ignored,
            Some(name) => Role::Attribute(name.to_owned()),
            None if header.eq_ignore_ascii_case(CONTENT_TYPE) => Role::Fixed,
            None => Role::Ignored,
        };
        let mut known = Self {
            header: header.to_owned(),
            role,
            value: String::new(),
        };
        if known.role != Role::Ignored {
            let value = str::from_utf8(value?).ok()?;
            known.keep(value);
            if known.role == Role::Fixed && known.value != value {
                return None;
            }
        }
        Some(known)
    }

    fn is_like(&self, (header, value): &Header<'_>) -> bool {
        self.header == *header
            && match self.role {
                Role::Fixed => *value == Some(self.value.as_bytes()),
                Role::Attribute(_) => value.is_some(),
                Role::Ignored => true,
            }
    }

    fn keep(&mut self, value: &str) {
        self.value.clear();
        if value.len() <= MAX_KEPT {
            self.value.push_str(value);
        }
    }
}
