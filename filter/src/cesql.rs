//! CESQL 1.0, CloudEvents' expression language over attributes: parsed once, then evaluated for each event.
//!
//! The files are the steps: a text becomes tokens (`lexer`), those a tree (`parser`, `expression`), whose
//! parts work on typed values (`value`, `like`, `functions`), and which is evaluated for an event
//! (`evaluation`).
//!
//! Where the specification, its grammar and its test kit contradict each other, `docs/reference/filters.md`
//! says what was chosen.

mod evaluation;
mod expression;
mod functions;
mod lexer;
mod like;
mod parser;
mod reasons;
mod value;

use millrace_event::Event;

pub use evaluation::ErrorKind;
pub(crate) use evaluation::{Evaluated, Run};
pub(crate) use expression::{Compare, Kind, Logic, Node};
pub(crate) use like::Shape;
pub(crate) use reasons::of_clause;
pub(crate) use value::Type;
pub use value::Value;

use crate::compile::CompileError;
use crate::meter::{Allowance, Meter};

/// The longest expression, in bytes.
pub const MAX_EXPRESSION_BYTES: usize = 4_096;
/// How deep brackets, prefixes and operators may be nested.
pub const MAX_NESTING: usize = 64;
/// A fault of a text that is to be an expression.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    /// Where, in bytes.
    pub(crate) at: usize,
    /// A sentence without the place.
    pub(crate) message: String,
}

/// An expression made ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    text: Box<str>,
    root: Node,
}

/// What an expression gives for an event: a value in any case, and the error that makes it worth nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation<'x> {
    /// The value; after an error, what the specification says is given instead.
    pub value: Value<'x>,
    /// The first error of the evaluation, which ended it.
    pub error: Option<ErrorKind>,
}

// === impl Expression ===

impl Expression {
    /// Parses an expression of any type.
    ///
    /// # Errors
    /// It does not parse, calls a function that there is not, is longer than [`MAX_EXPRESSION_BYTES`] or
    /// nested deeper than [`MAX_NESTING`]. The message names the column; the path is empty.
    pub fn new(text: &str) -> Result<Self, CompileError> {
        match parser::parse(text) {
            Ok(root) => Ok(Self {
                text: text.into(),
                root,
            }),
            Err(fault) => Err(CompileError {
                path: String::new(),
                message: format!("at column {}: {}", column(text, fault.at), fault.message),
            }),
        }
    }

    /// Parses an expression that is to be a filter.
    ///
    /// # Errors
    /// As [`Expression::new`], and also when it is never a Boolean.
    pub(crate) fn filter(text: &str) -> Result<Self, CompileError> {
        let expression = Self::new(text)?;
        match expression.root.of_type() {
            None | Some(Type::Boolean) => Ok(expression),
            Some(other) => Err(CompileError {
                path: String::new(),
                message: format!(
                    "the expression is {} whatever the event, and a filter must be a Boolean",
                    other.name()
                ),
            }),
        }
    }

    /// Evaluates it for an event.
    pub fn evaluate<'x>(&'x self, event: &'x Event) -> Evaluation<'x> {
        let unlimited = Allowance::unlimited();
        let meter = Meter::new(&unlimited);
        evaluate(&self.root, event, &meter)
    }

    pub(crate) fn root(&self) -> &Node {
        &self.root
    }

    /// A part as it was written.
    pub(crate) fn text_of(&self, node: &Node) -> &str {
        &self.text[node.span.0..node.span.1]
    }
}

fn evaluate<'x>(root: &'x Node, event: &'x Event, meter: &Meter<'_>) -> Evaluation<'x> {
    match Run::new(event, meter).evaluate(root) {
        Ok(value) => Evaluation { value, error: None },
        Err(failure) => Evaluation {
            value: if std::ptr::eq(failure.at, root) {
                failure.instead
            } else {
                root.of_type().map_or(Value::Boolean(false), Type::zero)
            },
            error: Some(failure.kind),
        },
    }
}

/// The column of a byte, in characters from 1.
fn column(text: &str, at: usize) -> usize {
    text[..at].chars().count() + 1
}

#[cfg(test)]
mod tests;
