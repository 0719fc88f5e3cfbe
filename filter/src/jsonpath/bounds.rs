//! Which paths are admitted: none that could visit each value of the data again and again, whatever the data
//! is.
//!
//! A short path (`$[0,0][0,0][0,0]...`), or one `..` behind another, multiplies the ways to a value. The cost
//! of other paths depends on the data, and is counted while they are evaluated.

use jsonpath_rust::parser::model::{
    Comparable, Filter, FilterAtom, FnArg, JpQuery, Literal, Segment, Selector, Test, TestFunction,
};

use super::MAX_PATH_BYTES;
use crate::value;

/// How often a path may visit a value.
const MAX_VISITS: usize = 4_096;
/// How deep JSON may be nested: one `..` behind another visits a value that many times.
const DEEPEST: usize = value::MAX_DEPTH;
/// How deep round brackets may be nested. The parser tries each level in several ways.
const MAX_BRACKETS: usize = 5;

/// Checks the text before the parser sees it.
pub(super) fn before_parsing(text: &str) -> Result<(), String> {
    if text.len() > MAX_PATH_BYTES {
        return Err(format!("the path is longer than {MAX_PATH_BYTES} bytes"));
    }
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    let mut chars = text.chars().peekable();
    // The last character that was no space.
    let mut last = ' ';
    while let Some(c) = chars.next() {
        // jsonpath-rust would read `$.a b` as the name `a b`, which the RFC refuses.
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        if quote.is_none() && c.is_whitespace() && is_name(last) && chars.peek().is_some_and(|c| is_name(*c))
        {
            return Err("a name with a space in it is written in quotes: $['a b']".to_owned());
        }
        if quote.is_some() || !c.is_whitespace() {
            last = c;
        }
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_BRACKETS {
            return Err(format!(
                "round brackets may be nested {MAX_BRACKETS} deep in a path, and not deeper"
            ));
        }
    }
    Ok(())
}

/// How often the path may visit each value of the data; 0 when it only walks down to one place.
pub(super) fn visits(query: &JpQuery) -> Result<usize, String> {
    let visits = of_segments(&query.segments, Within::default())?;
    if visits > MAX_VISITS {
        return Err(
            "the path could visit every value of the data over and over; use fewer `..`, filters and lists of \
             selectors in one path"
                .to_owned(),
        );
    }
    Ok(visits)
}

/// From where segments are asked.
#[derive(Clone, Copy, Default)]
struct Within {
    /// From many values, and not only from the root.
    many: bool,
    /// From values that lie within each other.
    nested: bool,
}

fn of_segments(segments: &[Segment], mut within: Within) -> Result<usize, String> {
    let (mut ways, mut total) = (1_usize, 0_usize);
    for segment in segments {
        let segment = match segment {
            Segment::Descendant(inner) => {
                if within.nested {
                    ways = ways.saturating_mul(DEEPEST);
                }
                within = Within {
                    many: true,
                    nested: true,
                };
                &**inner
            }
            Segment::Selector(_) | Segment::Selectors(_) => segment,
        };
        let selectors = match segment {
            Segment::Selector(selector) => std::slice::from_ref(selector),
            Segment::Selectors(selectors) => selectors,
            // The parser puts none into another.
            Segment::Descendant(_) => return Err("the path has `..` behind `..`".to_owned()),
        };
        ways = ways.saturating_mul(selectors.len());
        let mut filters = 0_usize;
        for selector in selectors {
            within.many |= !matches!(selector, Selector::Name(_) | Selector::Index(_));
            if let Selector::Filter(filter) = selector {
                within.many = true;
                filters = filters.saturating_add(of_filter(filter, within)?);
            }
        }
        within.many |= selectors.len() > 1;
        if within.many {
            total = total.saturating_add(ways.saturating_mul(1 + filters));
        }
    }
    Ok(total)
}

fn of_filter(filter: &Filter, within: Within) -> Result<usize, String> {
    match filter {
        Filter::Or(parts) | Filter::And(parts) => sum(parts.iter().map(|part| of_filter(part, within))),
        Filter::Atom(FilterAtom::Filter { expr, .. }) => of_filter(expr, within),
        Filter::Atom(FilterAtom::Test { expr, .. }) => of_test(expr, within),
        Filter::Atom(FilterAtom::Comparison(comparison)) => {
            let (left, right) = comparison.vals();
            sum([left, right].into_iter().map(|side| match side {
                Comparable::Function(function) => of_function(function, within),
                Comparable::Literal(Literal::Float(number)) if !number.is_finite() => Err(
                    "a number in a path has 64 bits; compare with a larger one in the map form: {PATH: NUMBER}"
                        .to_owned(),
                ),
                // One place, below this value or below the root.
                Comparable::Literal(_) | Comparable::SingularQuery(_) => Ok(1),
            }))
        }
    }
}

fn of_test(test: &Test, within: Within) -> Result<usize, String> {
    match test {
        Test::RelQuery(segments) => Ok(of_segments(segments, within)?.max(1)),
        Test::Function(function) => of_function(function, within),
        Test::AbsQuery(query) => match of_segments(&query.segments, Within::default())? {
            0 => Ok(1),
            _ => Err(
                "a path from the root (`$`) within a filter may only name one place: no `..`, `*`, slice or filter"
                    .to_owned(),
            ),
        },
    }
}

fn of_function(function: &TestFunction, within: Within) -> Result<usize, String> {
    let argument = match function {
        TestFunction::Length(argument) => argument,
        TestFunction::Value(argument) | TestFunction::Count(argument) => argument,
        TestFunction::Match(..) => return Err(no_function("match")),
        TestFunction::Search(..) => return Err(no_function("search")),
        TestFunction::Custom(name, _) => return Err(no_function(name)),
    };
    match argument {
        FnArg::Literal(_) => Ok(1),
        FnArg::Test(test) => of_test(test, within),
        FnArg::Filter(filter) => of_filter(filter, within),
    }
}

fn no_function(name: &str) -> String {
    match name {
        "match" | "search" => format!(
            "`{name}()` is not supported: regular expressions would be compiled again for every value; compare with \
             == or filter an attribute by prefix, suffix or LIKE"
        ),
        _ => format!("there is no function `{name}()`; there are length, count and value"),
    }
}

fn sum(parts: impl Iterator<Item = Result<usize, String>>) -> Result<usize, String> {
    parts.sum::<Result<usize, String>>()
}
