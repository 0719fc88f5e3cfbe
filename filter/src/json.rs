//! An event's data for filters: every value in one list, in the order of the text, so that all that lies
//! within a value follows it.
//!
//! One pass over the data serves all filters. All values below a value (`..`) are a contiguous part of the
//! list. When many paths ask for members of some name anywhere below (`..name`), those are found by name.

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::ops::Range;

use crate::value::{self, Number, Value};

/// A document.
#[derive(Debug)]
pub(crate) struct Json {
    nodes: Vec<Node>,
    /// The children of each array and object, side by side; those of an object by name.
    children: Vec<Id>,
    /// The texts, the names of members, and the numbers that are not integers.
    texts: String,
    /// How often members of some name anywhere below were asked for.
    asked: Cell<u32>,
    by_name: OnceCell<ByName>,
}

/// A value: its place in the list.
pub(crate) type Id = u32;

/// The whole document.
pub(crate) const ROOT: Id = 0;

#[derive(Debug)]
struct Node {
    what: What,
    /// The name of a member.
    name: Option<Span>,
    /// The place behind the last value within it.
    end: Id,
}

/// What a value is.
#[derive(Clone, Copy, Debug)]
enum What {
    Null,
    Boolean(bool),
    Whole(i64),
    Number { text: Span, double: Option<f64> },
    Text(Span),
    HalfPair(Span),
    Array(Span),
    Object(Span),
}

/// A part of `texts` or of `children`.
#[derive(Clone, Copy, Debug)]
struct Span {
    at: u32,
    len: u32,
}

/// A value, as its reader sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen<'d> {
    Null,
    Boolean(bool),
    Number(Number<'d>),
    Text(&'d str),
    /// A text with half of a surrogate pair, as it is written.
    HalfPair(&'d str),
    Array(&'d [Id]),
    Object(&'d [Id]),
}

/// The members of each name, in the order of the list.
#[derive(Debug)]
struct ByName {
    places: HashMap<Box<str>, Vec<Id>>,
}

/// From this many questions on, members are found by name. Before, going through the list costs less than
/// sorting it.
const INDEXED_FROM: u32 = 4;

// === impl Json ===

impl Json {
    /// Reads JSON.
    ///
    /// # Errors
    /// The text is not JSON, or it is nested deeper than [`value::MAX_DEPTH`].
    pub(crate) fn parse(text: &[u8]) -> Result<Self, value::NotJson> {
        value::read(text).map(|value| Self::of(&value))
    }

    /// The same for a value that has been read already.
    pub(crate) fn of(value: &Value<'_>) -> Self {
        let mut json = Self {
            nodes: Vec::new(),
            children: Vec::new(),
            texts: String::new(),
            asked: Cell::new(0),
            by_name: OnceCell::new(),
        };
        json.put(value, None);
        json
    }

    fn put(&mut self, value: &Value<'_>, name: Option<&str>) -> Id {
        let id = self.nodes.len() as Id;
        let name = name.map(|name| self.keep(name));
        let what = match value {
            Value::Null => What::Null,
            Value::Bool(truth) => What::Boolean(*truth),
            Value::Number(Number::Whole(whole)) => What::Whole(*whole),
            Value::Number(number) => What::Number {
                text: self.keep(&number.text()),
                double: number.double(),
            },
            Value::String(text) => What::Text(self.keep(text)),
            Value::HalfPair(raw) => What::HalfPair(self.keep(raw)),
            Value::Array(items) => What::Array(self.room(items.len())),
            Value::Object(members) => What::Object(self.room(members.len())),
        };
        self.nodes.push(Node {
            what,
            name,
            end: id + 1,
        });
        match (value, what) {
            (Value::Array(items), What::Array(room)) => {
                for (place, item) in room.range().zip(items) {
                    self.children[place] = self.put(item, None);
                }
            }
            (Value::Object(members), What::Object(room)) => {
                for (place, (name, member)) in room.range().zip(members.iter()) {
                    self.children[place] = self.put(member, Some(name));
                }
            }
            _ => {}
        }
        self.nodes[id as usize].end = self.nodes.len() as Id;
        id
    }

    fn keep(&mut self, text: &str) -> Span {
        let at = self.texts.len() as u32;
        self.texts.push_str(text);
        let len = text.len() as u32;
        Span { at, len }
    }

    fn room(&mut self, children: usize) -> Span {
        let at = self.children.len();
        self.children.resize(at + children, ROOT);
        Span {
            at: at as u32,
            len: children as u32,
        }
    }

    pub(crate) fn see(&self, id: Id) -> Seen<'_> {
        match self.nodes[id as usize].what {
            What::Null => Seen::Null,
            What::Boolean(truth) => Seen::Boolean(truth),
            What::Whole(whole) => Seen::Number(Number::Whole(whole)),
            What::Number { text, double } => Seen::Number(Number::Written {
                text: &self.texts[text.range()],
                double,
            }),
            What::Text(span) => Seen::Text(&self.texts[span.range()]),
            What::HalfPair(span) => Seen::HalfPair(&self.texts[span.range()]),
            What::Array(span) => Seen::Array(&self.children[span.range()]),
            What::Object(span) => Seen::Object(&self.children[span.range()]),
        }
    }

    pub(crate) fn is_array(&self, id: Id) -> bool {
        matches!(self.nodes[id as usize].what, What::Array(_))
    }

    /// The items of an array or the members of an object.
    pub(crate) fn children(&self, id: Id) -> &[Id] {
        match self.nodes[id as usize].what {
            What::Array(span) | What::Object(span) => &self.children[span.range()],
            What::Null
            | What::Boolean(_)
            | What::Whole(_)
            | What::Number { .. }
            | What::Text(_)
            | What::HalfPair(_) => &[],
        }
    }

    /// The member of that name, if the value is an object that has it.
    pub(crate) fn member(&self, id: Id, name: &str) -> Option<Id> {
        let Seen::Object(members) = self.see(id) else {
            return None;
        };
        let found = members.binary_search_by(|member| self.name(*member).cmp(&Some(name)));
        found.ok().map(|at| members[at])
    }

    fn name(&self, id: Id) -> Option<&str> {
        let name = self.nodes[id as usize].name?;
        Some(&self.texts[name.range()])
    }

    /// How many values there are from this one down, itself included.
    pub(crate) fn size(&self, id: Id) -> usize {
        (self.nodes[id as usize].end - id) as usize
    }

    /// The value and everything below it.
    pub(crate) fn within(&self, id: Id) -> Range<Id> {
        id..self.nodes[id as usize].end
    }

    /// The members of that name anywhere below the value.
    pub(crate) fn named_within<'d>(&'d self, id: Id, name: &'d str) -> impl Iterator<Item = Id> + 'd {
        let below = id + 1..self.nodes[id as usize].end;
        self.asked.set(self.asked.get().saturating_add(1));
        let known: Option<&[Id]> = (self.asked.get() >= INDEXED_FROM).then(|| {
            let by_name = self.by_name.get_or_init(|| ByName::of(self));
            by_name.within(&below, name)
        });
        let searched = known.is_none().then_some(below);
        let searched = searched.into_iter().flatten();
        let searched = searched.filter(move |at| self.name(*at) == Some(name));
        known.into_iter().flatten().copied().chain(searched)
    }

    /// Whether two values are equal. `count` is called before each pair is compared, with the bytes of text
    /// in it.
    pub(crate) fn equal<E>(
        &self,
        one: Id,
        other: Id,
        count: &impl Fn(usize) -> Result<(), E>,
    ) -> Result<bool, E> {
        count(0)?;
        match (self.see(one), self.see(other)) {
            (Seen::Null, Seen::Null) => Ok(true),
            (Seen::Boolean(one), Seen::Boolean(other)) => Ok(one == other),
            (Seen::Number(one), Seen::Number(other)) => {
                count(one.cost(&other))?;
                Ok(one == other)
            }
            (Seen::Text(one), Seen::Text(other)) | (Seen::HalfPair(one), Seen::HalfPair(other)) => {
                count(one.len().min(other.len()))?;
                Ok(one == other)
            }
            (Seen::Array(items), Seen::Array(others)) if items.len() == others.len() => {
                self.all_equal(items, others, count)
            }
            (Seen::Object(members), Seen::Object(others)) if members.len() == others.len() => {
                for (member, other) in members.iter().zip(others) {
                    let name = self.name(*member);
                    count(name.map_or(0, str::len))?;
                    if name != self.name(*other) {
                        return Ok(false);
                    }
                }
                self.all_equal(members, others, count)
            }
            _ => Ok(false),
        }
    }

    fn all_equal<E>(
        &self,
        ones: &[Id],
        others: &[Id],
        count: &impl Fn(usize) -> Result<(), E>,
    ) -> Result<bool, E> {
        for (one, other) in ones.iter().zip(others) {
            if !self.equal(*one, *other, count)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The value as it was read, to be shown.
    pub(crate) fn value(&self, id: Id) -> Value<'_> {
        match self.see(id) {
            Seen::Null => Value::Null,
            Seen::Boolean(truth) => Value::Bool(truth),
            Seen::Number(number) => Value::Number(number),
            Seen::Text(text) => Value::String(text.into()),
            Seen::HalfPair(raw) => Value::HalfPair(raw),
            Seen::Array(items) => Value::Array(items.iter().map(|item| self.value(*item)).collect()),
            Seen::Object(members) => {
                let named = |id: &Id| Some((self.name(*id)?.into(), self.value(*id)));
                Value::Object(members.iter().filter_map(named).collect())
            }
        }
    }
}

// === impl ByName ===

impl ByName {
    fn of(json: &Json) -> Self {
        let mut places: HashMap<Box<str>, Vec<Id>> = HashMap::new();
        for id in json.within(ROOT) {
            let Some(name) = json.name(id) else { continue };
            match places.get_mut(name) {
                Some(known) => known.push(id),
                None => {
                    places.insert(name.into(), vec![id]);
                }
            }
        }
        Self { places }
    }

    fn within(&self, range: &Range<Id>, name: &str) -> &[Id] {
        let all = self.places.get(name).map_or(&[][..], Vec::as_slice);
        &all[all.partition_point(|id| *id < range.start)..all.partition_point(|id| *id < range.end)]
    }
}

// === impl Span ===

impl Span {
    fn range(self) -> Range<usize> {
        self.at as usize..(self.at + self.len) as usize
    }
}

#[cfg(test)]
mod tests;
