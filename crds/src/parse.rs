//! From text to trees, one document at a time: everything that a hostile text could multiply is bounded.
//!
//! The parser gives events; the tree is built here without recursion, so that depth, size, aliases and repeated
//! keys are under our own control.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::node::{Entry, Kind, Node, ReadsAs, Scalar};
use crate::problem::{Code, Mark, shown};

/// How deep a document may be nested. Twice what filters may be, and some.
pub(crate) const MAX_DEPTH: usize = 128;
/// How many parts a document may have, aliases counted as often as they are used.
pub(crate) const MAX_NODES: usize = 1_000_000;

/// Something wrong with the text itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) at: Mark,
    pub(crate) code: Code,
    pub(crate) message: String,
}

/// One document, and the faults in it that did not hinder reading on.
pub(crate) struct Document {
    pub(crate) root: Node,
    pub(crate) faults: Vec<Fault>,
}

/// Reads the documents of a text one after the other. After an `Err` there is nothing more: what follows a fault of
/// syntax cannot be told apart.
pub(crate) struct Documents<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    done: bool,
}

/// A collection that is being filled.
enum Frame {
    List {
        at: Mark,
        anchor: usize,
        items: Vec<Node>,
    },
    Map {
        at: Mark,
        anchor: usize,
        entries: Vec<Entry>,
        key: Option<(Scalar, Mark)>,
    },
}

/// The document that is being read.
#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    root: Option<Node>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    faults: Vec<Fault>,
}

/// What an alias may stand for.
struct Anchored {
    node: Node,
    nodes: usize,
    height: usize,
}

// === impl Documents ===

impl<'a> Documents<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            parser: Parser::new_from_str(text),
            done: false,
        }
    }

    fn read(&mut self) -> Result<Option<Document>, Fault> {
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
                    return Err(fault(
                        at,
                        Code::YamlSyntax,
                        format!("this is not YAML: {}", shown(error.info())),
                    ));
                }
            };
            match event {
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => {}
                Event::StreamEnd => return Ok(None),
                Event::DocumentEnd => {
                    let faults = builder.faults;
                    return Ok(builder.root.map(|root| Document { root, faults }));
                }
                event => builder.take(event, mark(span))?,
            }
        }
    }
}

impl Iterator for Documents<'_> {
    type Item = Result<Document, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.read().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

// === impl Builder ===

impl Builder {
    fn take(&mut self, event: Event<'_>, at: Mark) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let reads_as = match (style, tag.as_deref()) {
                    (_, Some(tag)) => by_tag(tag, &text, at)?,
                    (ScalarStyle::Plain, None) => ReadsAs::plain(&text),
                    (_, None) => ReadsAs::Text,
                };
                let scalar = Scalar {
                    text: text.into_owned(),
                    reads_as,
                };
                self.add(
                    Node {
                        at,
                        kind: Kind::Scalar(scalar),
                    },
                    anchor,
                )
            }
            Event::SequenceStart(anchor, tag) => {
                known_tag(tag.as_deref(), "seq", at)?;
                self.open(
                    Frame::List {
                        at,
                        anchor,
                        items: Vec::new(),
                    },
                    at,
                )
            }
            Event::MappingStart(anchor, tag) => {
                known_tag(tag.as_deref(), "map", at)?;
                self.open(
                    Frame::Map {
                        at,
                        anchor,
                        entries: Vec::new(),
                        key: None,
                    },
                    at,
                )
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(at),
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn open(&mut self, frame: Frame, at: Mark) -> Result<(), Fault> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        self.stack.push(frame);
        Ok(())
    }

    fn close(&mut self, at: Mark) -> Result<(), Fault> {
        match self.stack.pop() {
            Some(Frame::List { at, anchor, items }) => self.add(
                Node {
                    at,
                    kind: Kind::List(items),
                },
                anchor,
            ),
            Some(Frame::Map {
                at, anchor, entries, ..
            }) => {
                self.find_repeated(&entries);
                self.add(
                    Node {
                        at,
                        kind: Kind::Map(entries),
                    },
                    anchor,
                )
            }
            None => Err(fault(
                at,
                Code::YamlSyntax,
                "a collection ends that did not begin",
            )),
        }
    }

    /// Puts a finished part where it belongs, and remembers it when it has an anchor.
    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        self.count(1, node.at)?;
        if anchor != 0 {
            let (nodes, height) = measure(&node);
            self.count(nodes, node.at)?;
            self.anchors.insert(
                anchor,
                Anchored {
                    node: node.clone(),
                    nodes,
                    height,
                },
            );
        }
        self.place(node)
    }

    fn alias(&mut self, anchor: usize, at: Mark) -> Result<(), Fault> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(fault(
                at,
                Code::YamlUnsupported,
                "an alias must not stand within what it stands for",
            ));
        };
        if self.stack.len() + anchored.height > MAX_DEPTH {
            return Err(too_deep(at));
        }
        let nodes = anchored.nodes;
        self.count(nodes, at)?;
        let mut node = self.anchors[&anchor].node.clone();
        node.at = at;
        self.place(node)
    }

    fn place(&mut self, node: Node) -> Result<(), Fault> {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map { entries, key, .. }) => match key.take() {
                Some((key, key_at)) => entries.push(Entry {
                    key,
                    key_at,
                    value: node,
                }),
                None => *key = Some(as_key(node)?),
            },
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, at: Mark) -> Result<(), Fault> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            let message =
                format!("a document may have {MAX_NODES} parts, aliases counted as often as they are used");
            return Err(fault(at, Code::YamlTooLarge, message));
        }
        Ok(())
    }

    fn find_repeated(&mut self, entries: &[Entry]) {
        let mut order: Vec<&Entry> = entries.iter().collect();
        order.sort_by(|a, b| (&a.key.text, a.key_at).cmp(&(&b.key.text, b.key_at)));
        for pair in order.windows(2) {
            if pair[0].key.text == pair[1].key.text {
                let message = format!(
                    "the key `{}` is here twice, first in line {}",
                    shown(&pair[1].key.text),
                    pair[0].key_at.line
                );
                self.faults
                    .push(fault(pair[1].key_at, Code::DuplicateKey, message));
            }
        }
    }
}

fn as_key(node: Node) -> Result<(Scalar, Mark), Fault> {
    match node.kind {
        Kind::Scalar(key) if key.text == "<<" && key.reads_as == ReadsAs::Text => Err(fault(
            node.at,
            Code::YamlUnsupported,
            "merge keys (`<<`) are not supported: write the fields out",
        )),
        Kind::Scalar(key) => Ok((key, node.at)),
        Kind::List(_) | Kind::Map(_) => Err(fault(node.at, Code::YamlUnsupported, "a key must be a text")),
    }
}

/// What a scalar with a tag is.
fn by_tag(tag: &Tag, text: &str, at: Mark) -> Result<ReadsAs, Fault> {
    match tag.suffix.as_str() {
        "str" if tag.is_yaml_core_schema() => Ok(ReadsAs::Text),
        "int" | "float" | "bool" | "null" if tag.is_yaml_core_schema() => Ok(ReadsAs::plain(text)),
        "" if tag.handle == "!" || tag.handle.is_empty() => Ok(ReadsAs::Text),
        _ => Err(unknown_tag(tag, at)),
    }
}

fn known_tag(tag: Option<&Tag>, expected: &str, at: Mark) -> Result<(), Fault> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == expected) => Err(unknown_tag(tag, at)),
        _ => Ok(()),
    }
}

fn unknown_tag(tag: &Tag, at: Mark) -> Fault {
    fault(
        at,
        Code::YamlUnsupported,
        format!("the tag `{}` is not supported here", shown(&tag.to_string())),
    )
}

fn too_deep(at: Mark) -> Fault {
    fault(
        at,
        Code::YamlTooDeep,
        format!("documents may be nested {MAX_DEPTH} deep, and not deeper"),
    )
}

/// The number of parts, and of levels. Recursion is bounded by [`MAX_DEPTH`].
fn measure(node: &Node) -> (usize, usize) {
    let join = |(nodes, height): (usize, usize), child: &Node| {
        let (more, higher) = measure(child);
        (nodes + more, height.max(higher + 1))
    };
    match &node.kind {
        Kind::Scalar(_) => (1, 1),
        Kind::List(items) => items.iter().fold((1, 1), join),
        Kind::Map(entries) => entries.iter().map(|entry| &entry.value).fold((1, 1), join),
    }
}

fn fault(at: Mark, code: Code, message: impl Into<String>) -> Fault {
    Fault {
        at,
        code,
        message: message.into(),
    }
}

fn mark(span: Span) -> Mark {
    Mark {
        line: narrow(span.start.line()),
        column: narrow(span.start.col() + 1),
    }
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_fault(text: &str) -> Fault {
        for document in Documents::new(text) {
            match document {
                Err(fault) => return fault,
                Ok(document) => {
                    if let Some(fault) = document.faults.into_iter().next() {
                        return fault;
                    }
                }
            }
        }
        panic!("no fault in {text:?}");
    }

    #[test]
    fn every_part_knows_its_place() {
        let text = "# c\na:\n  b: [x, {c: y}]\n---\nd: 1\n";
        let documents: Vec<_> = Documents::new(text).map(|d| d.expect("valid").root).collect();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[0].locate(".a.b[1].c"), Mark { line: 3, column: 14 });
        assert_eq!(documents[0].locate(".a.b[7].c"), Mark { line: 3, column: 6 });
        assert_eq!(documents[1].locate(".d"), Mark { line: 5, column: 4 });
    }

    #[test]
    fn json_is_read_with_its_places_too() {
        let text = "{\n\t\"a\": \"x\\/y\",\n\t\"b\": [1, true, null, \"yes\"]}\n";
        let root = Documents::new(text).next().expect("one").expect("valid").root;
        assert_eq!(root.get("a").and_then(Node::text), Some("x/y"));
        assert_eq!(root.locate(".b[3]"), Mark { line: 3, column: 23 });
    }

    #[test]
    fn what_a_text_must_not_do_is_refused_with_its_place() {
        let deep = format!("{}1", "a: {".repeat(MAX_DEPTH + 1));
        let deep_lists = format!("a:\n{}x", " -".repeat(MAX_DEPTH + 1));
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..9 {
            let use_it = vec![format!("*a{}", i - 1); 10].join(", ");
            laughs.push_str(&format!("a{i}: &a{i} [{use_it}]\n"));
        }
        let cases: &[(&str, Code, u32)] = &[
            ("a: 1\na: 2\n", Code::DuplicateKey, 2),
            ("a: {b: 1, \"b\": 2}\n", Code::DuplicateKey, 1),
            ("a: [1\nb: 2\n", Code::YamlSyntax, 2),
            ("a: b: c\n", Code::YamlSyntax, 1),
            ("a: *b\n", Code::YamlSyntax, 1),
            ("a: &b [*b]\n", Code::YamlUnsupported, 1),
            ("a: !thing x\n", Code::YamlUnsupported, 1),
            ("x: &x {a: 1}\ny:\n  <<: *x\n", Code::YamlUnsupported, 3),
            ("? [a, b]\n: c\n", Code::YamlUnsupported, 1),
            (&deep, Code::YamlTooDeep, 1),
            (&deep_lists, Code::YamlTooDeep, 2),
            (&laughs, Code::YamlTooLarge, 6),
        ];
        for (text, code, line) in cases {
            let fault = first_fault(text);
            assert_eq!(
                (fault.code, fault.at.line),
                (*code, *line),
                "{text:.60}: {}",
                fault.message
            );
        }
    }

    #[test]
    fn aliases_within_bounds_stand_for_their_anchor() {
        let root = Documents::new("a: &x {b: c}\nd: *x\n")
            .next()
            .expect("one")
            .expect("valid")
            .root;
        assert_eq!(
            root.get("d").and_then(|d| d.get("b")).and_then(Node::text),
            Some("c")
        );
    }

    #[test]
    fn an_empty_text_has_no_documents() {
        for text in ["", "\n", "# only a remark\n", "\u{feff}"] {
            assert_eq!(
                Documents::new(text)
                    .filter(|d| !matches!(d, Ok(d) if d.root.is_null()))
                    .count(),
                0,
                "{text:?}"
            );
        }
    }
}
