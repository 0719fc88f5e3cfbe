//! JSON as filters and sources read it. Every JSON text that a Broker accepts can be read here, 128 levels
//! deep.
//!
//! serde_json refuses two things that are JSON by its grammar (RFC 8259): a number too large for a double
//! (`1e400`), and a text with half of a surrogate pair (`"\ud800"`). One such member would hide all others
//! from filters. It also rounds numbers beyond 64 bits, and its feature `arbitrary_precision` changes the
//! whole program. So the reader is our own: it borrows from the data, keeps numbers as they are written, and
//! accepts exactly the texts that serde_json can skip.

mod number;
#[cfg(test)]
mod queryable;
mod read;

use std::borrow::Cow;
use std::fmt;

pub use number::Number;
pub use read::{MAX_DEPTH, NotJson, read};

/// A JSON value, borrowed from its text.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value<'a> {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number<'a>),
    /// A text.
    String(Cow<'a, str>),
    /// A text with half of a surrogate pair, as it is written between the quotes. It is not Unicode text, so
    /// no value that a filter can name equals it.
    HalfPair(&'a str),
    /// A list.
    Array(Vec<Value<'a>>),
    /// Members by name.
    Object(Object<'a>),
}

/// The members of an object, sorted by name. Of several members with the same name the last one counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

// === impl Value ===

impl<'a> Value<'a> {
    /// The member of that name, if this is an object that has it.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(name),
            _ => None,
        }
    }

    /// The items, if this is a list.
    pub fn as_array(&self) -> Option<&Vec<Self>> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The text, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

/// Compact JSON; numbers as they are written.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(truth) => write!(f, "{truth}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::String(text) => quoted(f, text),
            Self::HalfPair(raw) => write!(f, "\"{raw}\""),
            Self::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Object(members) => {
                f.write_str("{")?;
                for (index, (name, member)) in members.iter().enumerate() {
                    f.write_str(if index > 0 { "," } else { "" })?;
                    quoted(f, name)?;
                    write!(f, ":{member}")?;
                }
                f.write_str("}")
            }
        }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?)
}

// === impl Object ===

impl<'a> Object<'a> {
    /// The object of these members, in the order in which they stand.
    fn of(mut members: Vec<(Cow<'a, str>, Value<'a>)>) -> Self {
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        members.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Self(members)
    }

    /// The member of that name.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        let found = self.0.binary_search_by(|(member, _)| (**member).cmp(name));
        found.ok().map(|at| &self.0[at].1)
    }

    /// The members, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.0.iter().map(|(name, member)| (&**name, member))
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> FromIterator<(Cow<'a, str>, Value<'a>)> for Object<'a> {
    fn from_iter<I: IntoIterator<Item = (Cow<'a, str>, Value<'a>)>>(members: I) -> Self {
        Self::of(members.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
