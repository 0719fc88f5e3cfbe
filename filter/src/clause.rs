//! One clause: one question to one attribute. The only place that compares texts.

use millrace_event::{Event, Kind, Value, hops};

/// The attribute a clause asks, with a short way to those that every event has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Attr {
    /// `type`.
    Type,
    /// `source`.
    Source,
    /// `id`.
    Id,
    /// `datacontenttype`, which the JSON format may imply.
    MediaType,
    /// Any other, found by name.
    Named(Box<str>),
    /// `knativebrokerttl`: the broker's own, so it counts as absent.
    Hidden,
}

/// What a clause asks. Texts are compared byte for byte, so case matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Equal to this.
    Exact(Box<str>),
    /// Begins with this.
    Prefix(Box<str>),
    /// Ends with this.
    Suffix(Box<str>),
    /// Is there and not empty (the `""` of `filter.attributes`).
    Present,
}

/// A question to an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) attr: Attr,
    pub(crate) ask: Ask,
}

/// The core attributes, which are texts in every event that has them.
const CORE: [&str; 8] = [
    "id",
    "source",
    "specversion",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
];

// === impl Attr ===

impl Attr {
    pub(crate) fn new(name: &str) -> Self {
        match name {
            "type" => Self::Type,
            "source" => Self::Source,
            "id" => Self::Id,
            "datacontenttype" => Self::MediaType,
            hops::TTL => Self::Hidden,
            other => Self::Named(other.into()),
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Type => "type",
            Self::Source => "source",
            Self::Id => "id",
            Self::MediaType => "datacontenttype",
            Self::Named(name) => name,
            Self::Hidden => hops::TTL,
        }
    }

    /// The canonical text of this attribute in the event; `None` when the event does not have it.
    pub(crate) fn of<'e>(&self, event: &'e Event) -> Option<&'e str> {
        match self {
            Self::Type => Some(event.ty()),
            Self::Source => Some(event.source()),
            Self::Id => Some(event.id()),
            Self::MediaType => event.media_type(),
            Self::Named(name) => event.get(name).map(|value| value.text),
            Self::Hidden => None,
        }
    }

    /// The same with its kind.
    pub(crate) fn value_of<'e>(&self, event: &'e Event) -> Option<Value<'e>> {
        let kind = Kind::String;
        match self {
            Self::Named(name) => event.get(name),
            Self::Type | Self::Source | Self::Id | Self::MediaType | Self::Hidden => {
                self.of(event).map(|text| Value { kind, text })
            }
        }
    }

    /// Whether it is a text in every event that has it; an extension may also be a number or a truth value.
    pub(crate) fn is_core(&self) -> bool {
        CORE.contains(&self.name())
    }

    /// What it costs to find, in steps of about a few nanoseconds: those found by name cost a search.
    pub(crate) fn cost(&self) -> u32 {
        match self {
            Self::Hidden => 0,
            Self::Type | Self::Source | Self::Id => 1,
            Self::MediaType | Self::Named(_) => 4,
        }
    }
}

// === impl Ask ===

impl Ask {
    /// The answer for an attribute's text. What is missing never holds (so `not` of it does).
    pub(crate) fn holds(&self, seen: Option<&str>) -> bool {
        let Some(seen) = seen else { return false };
        match self {
            Self::Exact(value) => *seen == **value,
            Self::Prefix(value) => seen.starts_with(&**value),
            Self::Suffix(value) => seen.ends_with(&**value),
            Self::Present => !seen.is_empty(),
        }
    }
}

// === impl Test ===

impl Test {
    /// What it costs to ask, in steps of about a few nanoseconds.
    pub(crate) fn cost(&self) -> u32 {
        let compare = match self.ask {
            Ask::Present => 0,
            // An exact comparison first compares lengths, and is the one that most often says no.
            Ask::Exact(_) => 1,
            Ask::Prefix(_) | Ask::Suffix(_) => 2,
        };
        self.attr.cost() + compare
    }
}
