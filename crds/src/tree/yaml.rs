//! From a text of YAML to trees, one document at a time.
//!
//! The parser gives events, of which [`build`] makes the tree of each document.

mod build;

use saphyr_parser::{Event, Parser, Span};

use self::build::Builder;
use super::{Malformed, Node, fault, narrow, telltale};
use crate::problem::{Code, Mark, shown};

/// Faults of one document that are looked at closely.
const TOLD: usize = 20;

/// One document, and the faults in it that did not hinder reading on.
pub(crate) struct Tree {
    pub(crate) root: Node,
    /// The first of them, as many as are listed of all files.
    pub(crate) faults: Vec<Malformed>,
    /// Where the first fault beyond those is.
    pub(crate) cut: Option<Mark>,
}

/// Reads the one document of a text that stands at `at` of another document, as in an annotation. Every part
/// of it has that place.
pub(crate) fn within(text: &str, at: Mark) -> Result<Node, Malformed> {
    let mut trees = Trees::new(text);
    let first = trees.next().transpose();
    let tree = first.map_err(|first| Malformed { at, ..first })?;
    let Some(mut tree) = tree else {
        return Err(fault(
            at,
            Code::YamlSyntax,
            "a mapping is expected, but there is nothing",
        ));
    };
    let second = trees
        .next()
        .map(|_| fault(at, Code::YamlSyntax, "one document is expected, and not several"));
    if let Some(first) = tree.faults.drain(..).next().or(second) {
        return Err(Malformed { at, ..first });
    }
    tree.root.put_at(at);
    Ok(tree.root)
}

/// Reads the documents of a text one after the other. After an `Err` there is nothing more: what follows a
/// fault of syntax cannot be told apart.
pub(crate) struct Trees<'a> {
    text: &'a str,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    done: bool,
}

// === impl Trees ===

impl<'a> Trees<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            text,
            parser: Parser::new_from_str(text),
            done: false,
        }
    }

    fn read(&mut self) -> Result<Option<Tree>, Malformed> {
        let mut builder = Builder::default();
        loop {
            let (event, span) = match self.parser.next_event() {
                None => return Ok(None),
                Some(Ok(event)) => event,
                Some(Err(error)) => {
                    let (line, column) = (error.marker().line(), error.marker().col() + 1);
                    let at = Mark {
                        line: narrow(line),
                        column: narrow(column),
                    };
                    let message = format!("this is not YAML: {}", shown(error.info()));
                    return Err(telltale::of_fault(
                        self.text,
                        fault(at, Code::YamlSyntax, message),
                    ));
                }
            };
            match event {
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => {}
                Event::StreamEnd => return Ok(None),
                Event::DocumentEnd => {
                    return Ok(builder.finish().map(|tree| Tree {
                        faults: self.told(tree.faults),
                        ..tree
                    }));
                }
                event => builder.take(event, mark(span))?,
            }
        }
    }
}

impl Trees<'_> {
    /// The faults of a document, the first few in better words: looking for a line takes long in a large
    /// text.
    fn told(&self, faults: Vec<Malformed>) -> Vec<Malformed> {
        let (text, mut left) = (self.text, TOLD);
        let told = faults.into_iter().map(|fault| {
            if fault.code == Code::DuplicateKey || left == 0 {
                return fault;
            }
            left -= 1;
            telltale::of_fault(text, fault)
        });
        told.collect()
    }
}

impl Iterator for Trees<'_> {
    type Item = Result<Tree, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.read().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

fn mark(span: Span) -> Mark {
    Mark {
        line: narrow(span.start.line()),
        column: narrow(span.start.col() + 1),
    }
}

#[cfg(test)]
mod tests;
