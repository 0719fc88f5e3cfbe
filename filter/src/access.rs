//! What an index may know of a filter: questions that every passing event must answer alike.

use crate::cesql::{Compare, Expression, Kind, Node, Shape};
use crate::clause::{Ask, Attr, Test};
use crate::compiled::{Compiled, What, children};

/// How a value is found in an attribute's text. The cheapest and most telling comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum How {
    Exact,
    Prefix,
    Suffix,
}

/// A question that an event must answer to pass: the attribute has one of these values (or begins or ends
/// with it). No event finds two of the values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access<'a> {
    pub(crate) attr: &'a Attr,
    pub(crate) how: How,
    pub(crate) values: Vec<&'a [u8]>,
}

/// The questions of one filter, in the order in which the index asks them.
#[derive(Debug)]
pub(crate) struct Accesses<'a> {
    pub(crate) list: Vec<Access<'a>>,
    /// Whether an event that answers all of them passes, so that nothing else need be asked.
    pub(crate) complete: bool,
}

/// More questions than these are left to the filter itself: the index need not grow with them.
const MAX_LEVELS: usize = 6;

// === impl Accesses ===

impl<'a> Accesses<'a> {
    /// The questions of this filter; always the same for the same filter.
    pub(crate) fn of(filter: &'a Compiled) -> Self {
        let nodes = filter.nodes();
        let clauses: Vec<usize> = match nodes[0].what {
            What::All => children(nodes, 0).collect(),
            What::Test(_) | What::Cesql(_) | What::Path(_) | What::Any | What::Not => vec![0],
        };
        let mut list = Vec::new();
        let mut complete = true;
        for at in clauses {
            match &nodes[at].what {
                What::Cesql(expression) => complete &= of_expression(expression, &mut list),
                What::Test(_) | What::Path(_) | What::All | What::Any | What::Not => {
                    let access = Access::of(filter, at);
                    complete &= access.is_some();
                    list.extend(access);
                }
            }
        }
        let all = list.len();
        // Type first: a split that many filters share keeps the tree small.
        list.sort_by(|a, b| (a.how, a.values.len() > 1, a.attr).cmp(&(b.how, b.values.len() > 1, b.attr)));
        // A filter stands under each of its values; one question with several keeps that from multiplying.
        let mut several = 0;
        list.retain(|access| {
            several += usize::from(access.values.len() > 1);
            access.values.len() == 1 || several == 1
        });
        list.truncate(MAX_LEVELS);
        complete &= list.len() == all;
        Self { list, complete }
    }
}

/// Adds the questions that an expression asks of every event that it passes. Whether they are all that it
/// asks.
pub(crate) fn of_expression<'a>(expression: &'a Expression, list: &mut Vec<Access<'a>>) -> bool {
    let (conjuncts, mut complete) = expression.root().conjuncts();
    for node in conjuncts {
        match Access::of_node(node) {
            Some((access, whole)) => {
                list.push(access);
                complete &= whole;
            }
            None => complete = false,
        }
    }
    complete
}

// === impl Access ===

impl<'a> Access<'a> {
    /// The question that the clause at `at` is, if an index can ask it: a single comparison, or an `any` of
    /// comparisons of one kind with one attribute.
    pub(crate) fn of(filter: &'a Compiled, at: usize) -> Option<Self> {
        let nodes = filter.nodes();
        match &nodes[at].what {
            What::Test(test) => Self::of_test(test),
            What::Any => {
                let mut all: Option<Self> = None;
                for child in children(nodes, at) {
                    let What::Test(test) = &nodes[child].what else {
                        return None;
                    };
                    let one = Self::of_test(test)?;
                    match &mut all {
                        None => all = Some(one),
                        Some(all) if all.attr == one.attr && all.how == one.how => {
                            all.values.extend(one.values)
                        }
                        Some(_) => return None,
                    }
                }
                all.map(Self::without_overlap)
            }
            What::Cesql(_) | What::Path(_) | What::All | What::Not => None,
        }
    }

    /// The question that a part of an expression is, and whether it asks nothing more.
    ///
    /// A comparison with a literal text casts the attribute to a text, so it compares what the event has for
    /// it. The other way round the literal is cast to the attribute's type, which only core attributes always
    /// have.
    fn of_node(node: &'a Node) -> Option<(Self, bool)> {
        match &node.kind {
            Kind::Compare(Compare::Equal, both) => {
                let (attr, text) = match (&both[0].kind, &both[1].kind) {
                    (Kind::Attribute(attr), Kind::Text(text)) => (attr, text),
                    (Kind::Text(text), Kind::Attribute(attr)) if attr.is_core() => (attr, text),
                    _ => return None,
                };
                Some((Self::one(attr, How::Exact, text), true))
            }
            Kind::Like {
                of,
                pattern,
                negated: false,
            } => {
                let Kind::Attribute(attr) = &of.kind else {
                    return None;
                };
                let (how, text, whole) = match pattern.shape() {
                    Shape::Exact(text) => (How::Exact, text, true),
                    Shape::Prefix(text) => (How::Prefix, text, true),
                    Shape::Suffix(text) => (How::Suffix, text, true),
                    Shape::AtLeastPrefix(text) => (How::Prefix, text, false),
                    Shape::AtLeastSuffix(text) => (How::Suffix, text, false),
                    Shape::Other => return None,
                };
                Some((Self::one(attr, how, text), whole))
            }
            Kind::In {
                of,
                set,
                negated: false,
            } => {
                let Kind::Attribute(attr) = &of.kind else {
                    return None;
                };
                let text = |element: &'a Node| match &element.kind {
                    Kind::Text(text) => Some(text.as_bytes()),
                    _ => None,
                };
                let values: Vec<_> = set.iter().map(text).collect::<Option<_>>()?;
                let access = Self {
                    attr,
                    how: How::Exact,
                    values,
                };
                attr.is_core().then(|| (access.without_overlap(), true))
            }
            _ => None,
        }
    }

    fn one(attr: &'a Attr, how: How, value: &'a str) -> Self {
        Self {
            attr,
            how,
            values: vec![value.as_bytes()],
        }
    }

    fn of_test(test: &'a Test) -> Option<Self> {
        let (how, value) = match &test.ask {
            Ask::Exact(value) => (How::Exact, value),
            Ask::Prefix(value) => (How::Prefix, value),
            Ask::Suffix(value) => (How::Suffix, value),
            Ask::Present => return None,
        };
        Some(Self::one(&test.attr, how, value))
    }

    /// Leaves out values that another one covers, so that no event finds two.
    fn without_overlap(mut self) -> Self {
        match self.how {
            How::Exact => {
                self.values.sort_unstable();
                self.values.dedup();
            }
            // In this order whatever begins with a value directly follows it.
            How::Prefix => {
                self.values.sort_unstable();
                self.values.dedup_by(|next, kept| next.starts_with(kept));
            }
            How::Suffix => {
                self.values
                    .sort_unstable_by(|a, b| a.iter().rev().cmp(b.iter().rev()));
                self.values.dedup_by(|next, kept| next.ends_with(kept));
            }
        }
        self
    }
}
