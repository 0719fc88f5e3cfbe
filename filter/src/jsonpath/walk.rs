//! The walk along a path: each value that it selects, in order, with every step counted before it is made.
//!
//! jsonpath-rust parses the paths. Its own evaluation cannot be stopped, and it allocates a text with the
//! location of each value ([decision 9](../../../docs/decisions/0009-work-counted-in-steps.md)).

use std::ops::ControlFlow;

use jsonpath_rust::parser::model::{Filter, FilterAtom, Segment, Selector, Test};

use crate::json::{Id, Json, ROOT};
use crate::meter::{Meter, Stopped};

/// Why a walk ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The caller has seen enough.
    Enough,
    /// The work budget is used up.
    Stopped,
}

pub(super) type Flow = ControlFlow<End>;

/// Called with each selected value.
pub(super) type Show<'a> = &'a mut dyn FnMut(Id) -> Flow;

/// A walk through one document.
///
/// Each call goes down in the data or comes nearer to the end of the path. So its depth is bounded by that of
/// JSON plus the length of a path.
#[derive(Clone, Copy)]
pub(super) struct Walk<'d> {
    pub(super) json: &'d Json,
    pub(super) meter: &'d Meter<'d>,
}

// === impl Walk ===

impl Walk<'_> {
    /// Shows what the segments select from this value on.
    pub(super) fn select(self, segments: &[Segment], from: Id, show: Show<'_>) -> Flow {
        let Some((segment, rest)) = segments.split_first() else {
            return show(from);
        };
        match segment {
            Segment::Descendant(inner) => self.select_below(inner, rest, from, show),
            Segment::Selector(selector) => self.select_one(selector, rest, from, show),
            Segment::Selectors(selectors) => selectors
                .iter()
                .try_for_each(|selector| self.select_one(selector, rest, from, show)),
        }
    }

    /// `..`: applies the selectors to the value and to everything below it.
    fn select_below(self, inner: &Segment, rest: &[Segment], from: Id, show: Show<'_>) -> Flow {
        // Counted as if each value were looked at, even where members are found by name: what a Trigger
        // spends must not depend on what others ask.
        self.spend(self.json.size(from))?;
        if let Segment::Selector(Selector::Name(name)) = inner {
            for member in self.json.named_within(from, name) {
                self.spend(1)?;
                self.select(rest, member, show)?;
            }
            return Flow::Continue(());
        }
        let selectors = match inner {
            Segment::Selector(selector) => std::slice::from_ref(selector),
            Segment::Selectors(selectors) => selectors,
            // The parser never nests them.
            Segment::Descendant(_) => &[],
        };
        for value in self.json.within(from) {
            for selector in selectors {
                self.select_one(selector, rest, value, show)?;
            }
        }
        Flow::Continue(())
    }

    fn select_one(self, selector: &Selector, rest: &[Segment], from: Id, show: Show<'_>) -> Flow {
        let children = self.json.children(from);
        if children.is_empty() {
            return Flow::Continue(());
        }
        match selector {
            Selector::Name(name) => match self.member(from, name)? {
                Some(member) => self.select(rest, member, show),
                None => Flow::Continue(()),
            },
            Selector::Index(index) => match self.item(from, *index)? {
                Some(item) => self.select(rest, item, show),
                None => Flow::Continue(()),
            },
            Selector::Wildcard => children.iter().try_for_each(|child| {
                self.spend(1)?;
                self.select(rest, *child, show)
            }),
            Selector::Slice(start, end, step) if self.json.is_array(from) => {
                Slice::of(*start, *end, *step, children.len()).try_for_each(|at| {
                    self.spend(1)?;
                    self.select(rest, children[at], show)
                })
            }
            Selector::Slice(..) => Flow::Continue(()),
            Selector::Filter(filter) => children.iter().try_for_each(|child| {
                self.spend(1)?;
                if self.passes(filter, *child)? {
                    self.select(rest, *child, show)?;
                }
                Flow::Continue(())
            }),
        }
    }

    /// The member of that name.
    pub(super) fn member(self, of: Id, name: &str) -> ControlFlow<End, Option<Id>> {
        self.spend(1)?;
        self.spend_on_text(name.len())?;
        Continue(self.json.member(of, name))
    }

    /// The item of an array at a place; -1 is the last.
    pub(super) fn item(self, of: Id, index: i64) -> ControlFlow<End, Option<Id>> {
        self.spend(1)?;
        if !self.json.is_array(of) {
            return Continue(None);
        }
        let items = self.json.children(of);
        let at = usize::try_from(index.unsigned_abs()).ok();
        let at = at.and_then(|at| {
            if index < 0 {
                items.len().checked_sub(at)
            } else {
                Some(at)
            }
        });
        Continue(at.and_then(|at| items.get(at)).copied())
    }

    /// Whether a value passes a condition.
    pub(super) fn passes(self, filter: &Filter, value: Id) -> ControlFlow<End, bool> {
        match filter {
            Filter::Or(parts) => self.any(parts, value, true),
            Filter::And(parts) => self.any(parts, value, false),
            Filter::Atom(FilterAtom::Filter { expr, not }) => Continue(self.passes(expr, value)? != *not),
            Filter::Atom(FilterAtom::Test { expr, not }) => Continue(self.exists(expr, value)? != *not),
            Filter::Atom(FilterAtom::Comparison(comparison)) => self.compare(comparison, value),
        }
    }

    /// Whether one of the parts gives `wanted`; otherwise all give the contrary.
    fn any(self, parts: &[Filter], value: Id, wanted: bool) -> ControlFlow<End, bool> {
        for part in parts {
            if self.passes(part, value)? == wanted {
                return Continue(wanted);
            }
        }
        Continue(!wanted)
    }

    /// Whether a path within a condition selects anything.
    fn exists(self, test: &Test, value: Id) -> ControlFlow<End, bool> {
        self.spend(1)?;
        let (segments, from) = match test {
            Test::RelQuery(segments) => (segments, value),
            Test::AbsQuery(query) => (&query.segments, ROOT),
            // Functions give values, and a value is not a test.
            Test::Function(_) => return Continue(false),
        };
        match self.select(segments, from, &mut |_| Break(End::Enough)) {
            Break(End::Enough) => Continue(true),
            Break(End::Stopped) => Break(End::Stopped),
            Continue(()) => Continue(false),
        }
    }

    pub(super) fn spend(self, steps: usize) -> Flow {
        flow(self.meter.spend(steps))
    }

    pub(super) fn spend_on_text(self, bytes: usize) -> Flow {
        flow(self.meter.spend_on_text(bytes))
    }
}

use ControlFlow::{Break, Continue};

pub(super) fn flow(spent: Result<(), Stopped>) -> Flow {
    match spent {
        Ok(()) => Continue(()),
        Err(_) => Break(End::Stopped),
    }
}

/// The places of a slice, as RFC 9535 has them (2.3.4.2.2).
struct Slice {
    next: i64,
    end: i64,
    step: i64,
}

// === impl Slice ===

impl Slice {
    fn of(start: Option<i64>, end: Option<i64>, step: Option<i64>, length: usize) -> Self {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        let place = |at: i64| if at < 0 { length.saturating_add(at) } else { at };
        let step = step.unwrap_or(1);
        let (next, end) = if step < 0 {
            (
                start.map_or(length - 1, place).clamp(-1, length - 1),
                end.map_or(-1, |end| place(end).clamp(-1, length - 1)),
            )
        } else {
            (
                start.map_or(0, place).clamp(0, length),
                end.map_or(length, place).clamp(0, length),
            )
        };
        Self { next, end, step }
    }
}

impl Iterator for Slice {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let at = self.next;
        let goes_on = if self.step < 0 {
            at > self.end
        } else {
            at < self.end
        };
        if !goes_on || self.step == 0 {
            return None;
        }
        self.next = at.saturating_add(self.step);
        usize::try_from(at).ok()
    }
}
