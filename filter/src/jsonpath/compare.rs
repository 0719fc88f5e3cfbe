//! Comparisons within a condition: the values on their two sides, and whether the comparison holds.

use std::cmp::Ordering;
use std::ops::ControlFlow::{self, Break, Continue};

use jsonpath_rust::parser::model::{
    Comparable, Comparison, FnArg, Literal, Segment, Selector, SingularQuery, SingularQuerySegment, Test,
    TestFunction,
};

use super::walk::{End, Walk, flow};
use crate::json::{Id, ROOT, Seen};
use crate::value::Number;

/// One side of a comparison.
#[derive(Clone, Debug)]
enum Side<'d> {
    /// The path selects nothing, or the function has no result.
    Nothing,
    Null,
    Boolean(bool),
    Number(Number<'d>),
    Text(&'d str),
    /// An array or an object of the data, or a string that is not valid Unicode.
    Other(Id),
}

// === impl Walk ===

impl Walk<'_> {
    /// Whether the comparison holds for a value.
    pub(super) fn compare(self, comparison: &Comparison, value: Id) -> ControlFlow<End, bool> {
        self.spend(1)?;
        let (left, right) = comparison.vals();
        let (left, right) = (self.side(left, value)?, self.side(right, value)?);
        match comparison {
            Comparison::Eq(..) => self.equal(&left, &right),
            Comparison::Ne(..) => Continue(!self.equal(&left, &right)?),
            Comparison::Lt(..) => Continue(self.order(&left, &right)? == Some(Ordering::Less)),
            Comparison::Gt(..) => Continue(self.order(&left, &right)? == Some(Ordering::Greater)),
            // What is equal to something is also less or equal, even where there is no order.
            Comparison::Lte(..) => {
                Continue(self.order(&left, &right)? == Some(Ordering::Less) || self.equal(&left, &right)?)
            }
            Comparison::Gte(..) => {
                Continue(self.order(&left, &right)? == Some(Ordering::Greater) || self.equal(&left, &right)?)
            }
        }
    }

    fn equal(self, left: &Side<'_>, right: &Side<'_>) -> ControlFlow<End, bool> {
        Continue(match (left, right) {
            (Side::Nothing, Side::Nothing) | (Side::Null, Side::Null) => true,
            (Side::Boolean(left), Side::Boolean(right)) => left == right,
            (Side::Number(left), Side::Number(right)) => {
                self.spend_on_text(left.cost(right))?;
                left == right
            }
            (Side::Text(left), Side::Text(right)) if left.len() == right.len() => {
                self.spend_on_text(left.len())?;
                left == right
            }
            (Side::Other(left), Side::Other(right)) => {
                let count = |bytes: usize| {
                    self.meter.spend(1)?;
                    self.meter.spend_on_text(bytes)
                };
                match self.json.equal(*left, *right, &count) {
                    Ok(equal) => equal,
                    Err(_) => return Break(End::Stopped),
                }
            }
            _ => false,
        })
    }

    /// How they are ordered: numbers with numbers, texts with texts.
    fn order(self, left: &Side<'_>, right: &Side<'_>) -> ControlFlow<End, Option<Ordering>> {
        Continue(match (left, right) {
            (Side::Number(left), Side::Number(right)) => {
                self.spend_on_text(left.cost(right))?;
                left.order(right)
            }
            (Side::Text(left), Side::Text(right)) => {
                self.spend_on_text(left.len().min(right.len()))?;
                Some(left.cmp(right))
            }
            _ => None,
        })
    }
}

impl<'d> Walk<'d> {
    fn side<'s>(self, side: &'s Comparable, value: Id) -> ControlFlow<End, Side<'s>>
    where
        'd: 's,
    {
        match side {
            Comparable::Literal(literal) => Continue(Side::of_literal(literal)),
            Comparable::Function(function) => self.call(function, value),
            Comparable::SingularQuery(query) => {
                let (segments, mut at) = match query {
                    SingularQuery::Current(segments) => (segments, value),
                    SingularQuery::Root(segments) => (segments, ROOT),
                };
                for segment in segments {
                    if self.json.children(at).is_empty() {
                        return Continue(Side::Nothing);
                    }
                    let next = match segment {
                        SingularQuerySegment::Index(index) => self.item(at, *index)?,
                        SingularQuerySegment::Name(name) => self.member(at, name)?,
                    };
                    let Some(next) = next else {
                        return Continue(Side::Nothing);
                    };
                    at = next;
                }
                Continue(self.seen(at))
            }
        }
    }

    fn call<'s>(self, function: &'s TestFunction, value: Id) -> ControlFlow<End, Side<'s>>
    where
        'd: 's,
    {
        match function {
            TestFunction::Length(argument) => self.length(argument, value),
            TestFunction::Value(argument) => match argument {
                FnArg::Literal(literal) => Continue(Side::of_literal(literal)),
                FnArg::Test(test) => Continue(match self.nodes(test, value)? {
                    (1, Some(only)) => self.seen(only),
                    _ => Side::Nothing,
                }),
                FnArg::Filter(_) => Continue(Side::Nothing),
            },
            TestFunction::Count(FnArg::Test(test)) => Continue(Side::of_count(self.nodes(test, value)?.0)),
            // No other function is admitted.
            TestFunction::Count(_)
            | TestFunction::Custom(..)
            | TestFunction::Search(..)
            | TestFunction::Match(..) => Continue(Side::Nothing),
        }
    }

    /// The characters of a text, the items of an array or the members of an object.
    fn length<'s>(self, argument: &'s FnArg, value: Id) -> ControlFlow<End, Side<'s>>
    where
        'd: 's,
    {
        let of = match argument {
            FnArg::Literal(literal) => Side::of_literal(literal),
            FnArg::Test(test) => match &**test {
                Test::Function(function) => self.call(function, value)?,
                Test::RelQuery(segments) if !segments.iter().all(names_one) => {
                    // The RFC wants a single value here; if there are several, they are counted.
                    return Continue(Side::of_count(self.nodes(test, value)?.0));
                }
                Test::RelQuery(_) | Test::AbsQuery(_) => match self.nodes(test, value)? {
                    (_, Some(only)) => self.seen(only),
                    (_, None) => Side::Nothing,
                },
            },
            FnArg::Filter(_) => Side::Nothing,
        };
        Continue(match of {
            Side::Text(text) => {
                flow(self.meter.spend_on_text(text.len()))?;
                Side::of_count(text.chars().count())
            }
            Side::Other(id) => match self.json.see(id) {
                Seen::Array(children) | Seen::Object(children) => Side::of_count(children.len()),
                _ => Side::Nothing,
            },
            Side::Nothing | Side::Null | Side::Boolean(_) | Side::Number(_) => Side::Nothing,
        })
    }

    /// How many values the path selects, and the last of them.
    fn nodes(self, test: &Test, value: Id) -> ControlFlow<End, (usize, Option<Id>)> {
        let (segments, from) = match test {
            Test::RelQuery(segments) => (segments, value),
            Test::AbsQuery(query) => (&query.segments, ROOT),
            Test::Function(_) => return Continue((0, None)),
        };
        let mut found = (0, None);
        self.select(segments, from, &mut |id| {
            found = (found.0 + 1, Some(id));
            Continue(())
        })?;
        Continue(found)
    }

    fn seen(self, id: Id) -> Side<'d> {
        match self.json.see(id) {
            Seen::Null => Side::Null,
            Seen::Boolean(truth) => Side::Boolean(truth),
            Seen::Number(number) => Side::Number(number),
            Seen::Text(text) => Side::Text(text),
            Seen::HalfPair(_) | Seen::Array(_) | Seen::Object(_) => Side::Other(id),
        }
    }
}

/// Whether the segment selects one value at most.
fn names_one(segment: &Segment) -> bool {
    matches!(segment, Segment::Selector(Selector::Name(_) | Selector::Index(_)))
}

// === impl Side ===

impl<'d> Side<'d> {
    fn of_literal(literal: &'d Literal) -> Self {
        match literal {
            Literal::Int(number) => Self::Number(Number::Whole(*number)),
            Literal::Float(number) => Self::Number(Number::Double(*number)),
            Literal::String(text) => Self::Text(text),
            Literal::Bool(truth) => Self::Boolean(*truth),
            Literal::Null => Self::Null,
        }
    }

    fn of_count(count: usize) -> Self {
        Self::Number(Number::Whole(i64::try_from(count).unwrap_or(i64::MAX)))
    }
}
