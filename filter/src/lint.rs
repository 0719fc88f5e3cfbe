//! What is admitted and probably not meant: filters that no event can pass, and expressions that read
//! otherwise than they look.
//!
//! A warning is always true; what cannot be told for certain is not warned of.

use millrace_event::{Event, SpecVersion};

use crate::access::{Access, How, of_expression};
use crate::cesql::{Compare, Expression, Kind, Logic, Node, Run, Type};
use crate::clause::{Ask, Attr};
use crate::compiled::{Compiled, What, children};
use crate::explain::shortened;
use crate::meter::{Allowance, MAX_STEPS, Meter};

/// Something about a filter that is worth a second look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where it stands, as in [`crate::Clause::path`].
    pub path: String,
    /// A sentence for people.
    pub message: String,
}

/// So many warnings are given for one filter.
const MAX_WARNINGS: usize = 10;

/// The most values in the data of an event of 1 MiB, the largest size that is admitted by default:
/// `[0,0,...]`.
const MOST_VALUES: u64 = 1 << 19;

impl Compiled {
    /// What about this filter is probably not meant.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings: Vec<Warning> = self.never(0).into_iter().chain(self.too_much()).collect();
        for (at, node) in self.nodes().iter().enumerate() {
            if let What::Cesql(expression) = &node.what {
                traps(expression, expression.root(), &mut |message| {
                    warnings.push(self.warning(at, message));
                });
            }
        }
        warnings.truncate(MAX_WARNINGS);
        warnings
    }

    fn warning(&self, at: usize, message: String) -> Warning {
        Warning {
            path: self.path(at).to_owned(),
            message,
        }
    }

    /// Warns of paths that together can exceed the work budget for an event of 1 MiB. The warning names the
    /// costliest of them.
    fn too_much(&self) -> Option<Warning> {
        let paths = self
            .nodes()
            .iter()
            .enumerate()
            .filter_map(|(at, node)| match &node.what {
                What::Path(test) => Some((test.path.visits() as u64, at)),
                What::Test(_) | What::Cesql(_) | What::All | What::Any | What::Not => None,
            });
        let all = paths.clone().map(|(visits, _)| visits).sum::<u64>();
        let (_, at) = paths.max()?;
        let message = || {
            format!(
                "large events may not match: with 1 MiB of data the paths of this trigger can need more than the \
                 {MAX_STEPS} steps that there are for an event; name the members on the way instead of `..` and `*`, \
                 or put fewer conditions on them"
            )
        };
        (all * MOST_VALUES > MAX_STEPS).then(|| self.warning(at, message()))
    }

    /// Why no event passes the node at `at`, if none does.
    fn never(&self, at: usize) -> Option<Warning> {
        let nodes = self.nodes();
        match &nodes[at].what {
            What::Test(test) if test.attr == Attr::Hidden => {
                Some(self.warning(at, format!("this never matches: {HIDDEN}")))
            }
            What::Test(_) | What::Path(_) => None,
            What::Cesql(expression) => {
                let why = never(expression.root()).or_else(|| {
                    let mut asked = Vec::new();
                    of_expression(expression, &mut asked);
                    conflict(&asked)
                })?;
                Some(self.warning(at, format!("this never matches: {why}")))
            }
            What::Not => self.always(at + 1).then(|| {
                let message = "this never matches: every event passes what is excluded".to_owned();
                self.warning(at, message)
            }),
            What::Any => {
                let all: Option<Vec<Warning>> = children(nodes, at).map(|child| self.never(child)).collect();
                all?.into_iter().next()
            }
            What::All => children(nodes, at)
                .find_map(|child| self.never(child))
                .or_else(|| {
                    let mut asked = Vec::new();
                    for child in children(nodes, at) {
                        match &nodes[child].what {
                            What::Cesql(expression) => {
                                of_expression(expression, &mut asked);
                            }
                            _ => asked.extend(Access::of(self, child)),
                        }
                    }
                    let why = conflict(&asked)?;
                    Some(self.warning(at, format!("this never matches: {why}")))
                }),
        }
    }

    /// Whether every event passes the node at `at`.
    fn always(&self, at: usize) -> bool {
        let nodes = self.nodes();
        match &nodes[at].what {
            What::Test(test) => test.ask == Ask::Present && is_required(&test.attr),
            What::Cesql(expression) => always(expression.root()),
            What::Path(_) => false,
            What::Not => self.never(at + 1).is_some(),
            What::All => children(nodes, at).all(|child| self.always(child)),
            What::Any => children(nodes, at).any(|child| self.always(child)),
        }
    }
}

const HIDDEN: &str = "knativebrokerttl belongs to the broker and counts as absent";

/// Attributes that every event has, and not empty.
fn is_required(attr: &Attr) -> bool {
    matches!(attr.name(), "id" | "source" | "type" | "specversion")
}

// === questions that exclude each other ===

fn conflict(asked: &[Access<'_>]) -> Option<String> {
    for (i, one) in asked.iter().enumerate() {
        for other in &asked[i + 1..] {
            let pair = |a: &[u8], b: &[u8]| excludes(one.how, a, other.how, b);
            let none = one.values.iter().all(|a| other.values.iter().all(|b| pair(a, b)));
            if one.attr == other.attr && none {
                return Some(format!(
                    "{name} cannot {} and {} at once",
                    asks(one),
                    asks(other),
                    name = one.attr.name(),
                ));
            }
        }
    }
    None
}

/// Whether no text is as both ask.
fn excludes(one: How, a: &[u8], other: How, b: &[u8]) -> bool {
    match (one, other) {
        (How::Exact, How::Exact) => a != b,
        (How::Exact, How::Prefix) => !a.starts_with(b),
        (How::Prefix, How::Exact) => !b.starts_with(a),
        (How::Exact, How::Suffix) => !a.ends_with(b),
        (How::Suffix, How::Exact) => !b.ends_with(a),
        (How::Prefix, How::Prefix) => !a.starts_with(b) && !b.starts_with(a),
        (How::Suffix, How::Suffix) => !a.ends_with(b) && !b.ends_with(a),
        (How::Prefix, How::Suffix) | (How::Suffix, How::Prefix) => false,
    }
}

fn asks(access: &Access<'_>) -> String {
    let verb = match access.how {
        How::Exact => "be",
        How::Prefix => "begin with",
        How::Suffix => "end with",
    };
    let value = |value: &&[u8]| format!("\"{}\"", shortened(&String::from_utf8_lossy(value)));
    let values: Vec<String> = access.values.iter().take(3).map(value).collect();
    format!("{verb} {}", values.join(" or "))
}

// === expressions ===

/// Why an expression is never true without an error, if it never is.
fn never(node: &Node) -> Option<String> {
    if fails(node) {
        return Some(HIDDEN.to_owned());
    }
    match &node.kind {
        _ if node.attributes().is_empty() => {
            (!constant(node)).then(|| "the expression is never true".to_owned())
        }
        Kind::Exists(Attr::Hidden) => Some(HIDDEN.to_owned()),
        Kind::Compare(Compare::Equal, both) => {
            let Kind::Text(text) = &both[1].kind else {
                return None;
            };
            let (what, possible) = match both[0].of_type()? {
                Type::Boolean => ("a Boolean", matches!(&**text, "true" | "false")),
                Type::Integer => (
                    "an Integer",
                    text.parse::<i32>()
                        .is_ok_and(|number| number.to_string() == **text),
                ),
                Type::Text => return None,
            };
            let text = shortened(text);
            (!possible).then(|| format!("what is compared with \"{text}\" is {what}"))
        }
        Kind::Chain(operands, operators) => {
            let (last, before) = operands.split_last()?;
            let pairs = before.iter().zip(operators).rev();
            pairs.fold(never(last), |rest, (operand, operator)| match operator {
                Logic::And => never(operand).or(rest),
                Logic::Or => rest.and_then(|rest| never(operand).map(|_| rest)),
                Logic::Xor => None,
            })
        }
        _ => None,
    }
}

/// Whether it is true for every event, without an error.
fn always(node: &Node) -> bool {
    match &node.kind {
        _ if node.attributes().is_empty() => constant(node),
        Kind::Exists(attr) => is_required(attr),
        Kind::Chain(operands, operators) => match operators.first() {
            Some(Logic::Or) => operands.first().is_some_and(always),
            _ => operators.iter().all(|is| *is == Logic::And) && operands.iter().all(always),
        },
        _ => false,
    }
}

/// Whether it always needs an attribute that no event has.
fn fails(node: &Node) -> bool {
    match &node.kind {
        Kind::Attribute(attr) => *attr == Attr::Hidden,
        // What stands behind the first operand, or the first element, may not be evaluated.
        Kind::Chain(operands, _) => operands.first().is_some_and(fails),
        Kind::In { of, .. } => fails(of),
        _ => node.children().into_iter().any(fails),
    }
}

/// Whether an expression without attributes is true.
fn constant(node: &Node) -> bool {
    let smallest = Event::builder(SpecVersion::V10)
        .attribute("id", "1")
        .attribute("source", "/")
        .attribute("type", "t");
    let Ok(event) = smallest.build() else { return false };
    let unlimited = Allowance::unlimited();
    let meter = Meter::new(&unlimited);
    matches!(Run::new(&event, &meter).evaluate(node), Ok(value) if value.to_boolean() == Some(true))
}

/// Where the precedence of the language is not what it looks like.
fn traps(expression: &Expression, node: &Node, warn: &mut impl FnMut(String)) {
    let text = |node: &Node| shortened(expression.text_of(node));
    let negated = |left: &Node| matches!(left.kind, Kind::Not(_)) && left.span.0 == node.span.0;
    match &node.kind {
        Kind::Chain(operands, operators) if operators.windows(2).any(|pair| pair[0] != pair[1]) => {
            let whole = text(node);
            let first = text(&operands[0]);
            warn(format!(
                "AND, OR and XOR bind alike and to the right: in `{whole}` everything behind `{first}` belongs \
                 together; write brackets"
            ));
        }
        Kind::Compare(_, both) if negated(&both[0]) => {
            let (left, whole) = (text(&both[0]), text(node));
            warn(format!(
                "NOT binds tighter than a comparison: `{whole}` compares `{left}`; write NOT (...)"
            ));
        }
        Kind::Like { of, .. } | Kind::In { of, .. } if negated(of) => {
            let (left, whole) = (text(of), text(node));
            warn(format!(
                "NOT binds tighter than LIKE and IN: `{whole}` asks `{left}`; write NOT LIKE or NOT IN"
            ));
        }
        _ => {}
    }
    for child in node.children() {
        traps(expression, child, warn);
    }
}

#[cfg(test)]
mod tests;
