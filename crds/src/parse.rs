//! From text to trees, one document at a time: everything that a hostile text could multiply is bounded.
//!
//! The parser gives events; the tree is built here without recursion, so that depth, size, aliases and
//! repeated keys are under our own control.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::field::MAX_PROBLEMS;
use crate::merge::merged;
use crate::node::{Entry, Kind, Node, ReadsAs, Scalar, as_key, measure, nothing};
use crate::problem::{Code, Mark, shown};
use crate::telltale;

/// How deep a document may be nested. Twice what filters may be, and some.
pub(crate) const MAX_DEPTH: usize = 128;
/// How many parts a document may have, aliases counted as often as they are used.
pub(crate) const MAX_NODES: usize = 1_000_000;

/// Faults of one document that are looked at closely.
const TOLD: usize = 20;

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

/// Reads the documents of a text one after the other. After an `Err` there is nothing more: what follows a
/// fault of syntax cannot be told apart.
pub(crate) struct Documents<'a> {
    text: &'a str,
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
        key: Option<Key>,
        merges: Vec<(Mark, Node)>,
    },
}

/// A key whose value comes next.
enum Key {
    Field(Scalar, Mark),
    /// `<<`: what comes is merged in.
    Merge(Mark),
}

/// The document that is being read.
#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    root: Option<Node>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    faults: Vec<Fault>,
    /// The scalar that is placed is a plain `<<`.
    is_merge: bool,
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
            text,
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
                    let faults = self.told(builder.faults);
                    return Ok(builder.root.map(|root| Document { root, faults }));
                }
                event => builder.take(event, mark(span))?,
            }
        }
    }
}

impl Documents<'_> {
    /// The faults of a document, the first few in better words: looking for a line takes long in a large
    /// text.
    fn told(&self, faults: Vec<Fault>) -> Vec<Fault> {
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
                self.is_merge = style == ScalarStyle::Plain && tag.is_none() && text == "<<";
                let reads_as = match (style, tag.as_deref()) {
                    (_, Some(tag)) => self.by_tag(tag, &text, at),
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
                self.check_tag(tag.as_deref(), "seq", at);
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
                self.check_tag(tag.as_deref(), "map", at);
                self.open(
                    Frame::Map {
                        at,
                        anchor,
                        entries: Vec::new(),
                        key: None,
                        merges: Vec::new(),
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
                at,
                anchor,
                entries,
                merges,
                ..
            }) => {
                self.find_repeated(&entries);
                let entries = self.merge(entries, merges);
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
            let message = "an alias must not stand within what it stands for";
            self.note(at, Code::YamlUnsupported, message);
            return self.place(nothing(at));
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
        let is_merge = std::mem::take(&mut self.is_merge);
        let mut odd = None;
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map {
                entries, key, merges, ..
            }) => match key.take() {
                Some(Key::Field(key, key_at)) => entries.push(Entry {
                    key,
                    key_at,
                    value: node,
                }),
                Some(Key::Merge(at)) => merges.push((at, node)),
                None if is_merge => *key = Some(Key::Merge(node.at)),
                None => {
                    let at = node.at;
                    let (read, fault) = as_key(node);
                    *key = Some(Key::Field(read, at));
                    odd = fault.map(|message| (at, message));
                }
            },
        }
        if let Some((at, message)) = odd {
            self.note(at, Code::YamlUnsupported, message);
        }
        Ok(())
    }

    /// Notes a fault that does not hinder reading on.
    fn note(&mut self, at: Mark, code: Code, message: impl Into<String>) {
        if self.faults.len() < MAX_PROBLEMS {
            self.faults.push(fault(at, code, message));
        }
    }

    fn merge(&mut self, own: Vec<Entry>, merges: Vec<(Mark, Node)>) -> Vec<Entry> {
        if let [(first, _), (second, _), ..] = &merges[..] {
            let message = format!(
                "the key `<<` is here twice, first in line {}; write `<<: [*one, *other]`",
                first.line
            );
            self.note(*second, Code::DuplicateKey, message);
        }
        let nodes = merges.into_iter().map(|(_, node)| node).collect();
        let (entries, wrong) = merged(own, nodes);
        for at in wrong {
            let message = "a merge key (`<<`) takes a mapping, or a list of mappings";
            self.note(at, Code::YamlUnsupported, message);
        }
        entries
    }

    /// What a scalar with a tag is.
    fn by_tag(&mut self, tag: &Tag, text: &str, at: Mark) -> ReadsAs {
        match tag.suffix.as_str() {
            "str" if tag.is_yaml_core_schema() => ReadsAs::Text,
            "int" | "float" | "bool" | "null" if tag.is_yaml_core_schema() => ReadsAs::plain(text),
            "" if tag.handle == "!" || tag.handle.is_empty() => ReadsAs::Text,
            _ => {
                self.unknown_tag(tag, at);
                ReadsAs::Text
            }
        }
    }

    fn check_tag(&mut self, tag: Option<&Tag>, expected: &str, at: Mark) {
        if let Some(tag) = tag
            && !(tag.is_yaml_core_schema() && tag.suffix == expected)
        {
            self.unknown_tag(tag, at);
        }
    }

    fn unknown_tag(&mut self, tag: &Tag, at: Mark) {
        let message = format!("the tag `{}` is not supported here", shown(&tag.to_string()));
        self.note(at, Code::YamlUnsupported, message);
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
                self.note(pair[1].key_at, Code::DuplicateKey, message);
            }
        }
    }
}

fn too_deep(at: Mark) -> Fault {
    fault(
        at,
        Code::YamlTooDeep,
        format!("documents may be nested {MAX_DEPTH} deep, and not deeper"),
    )
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
            ("a: {{ .Values.x }}\n", Code::YamlTemplate, 1),
            ("{{- if .x }}\na: b\n", Code::YamlTemplate, 1),
            ("a: 1\n\u{feff}b: 1\n", Code::YamlSyntax, 2),
            ("{\u{feff}a: 1}\n", Code::YamlSyntax, 1),
            ("a: &b [*b]\n", Code::YamlUnsupported, 1),
            ("a: !thing x\n", Code::YamlUnsupported, 1),
            ("y:\n  <<: text\n", Code::YamlUnsupported, 2),
            ("y:\n  <<: [{a: b}, [c]]\n", Code::YamlUnsupported, 2),
            ("x: &x {a: 1}\ny:\n  <<: *x\n  <<: *x\n", Code::DuplicateKey, 4),
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
    fn merge_keys_give_what_a_mapping_does_not_say_itself() {
        let text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y], a: 3}\nw: {\"<<\": 4}\n";
        let root = Documents::new(text).next().expect("one").expect("valid").root;
        let of = |name: &str| root.get("z").and_then(|z| z.get(name)).and_then(Node::text);
        assert_eq!(
            [of("a"), of("b"), of("c"), of("<<")],
            [Some("3"), Some("1"), Some("2"), None]
        );
        assert_eq!(
            root.get("w").and_then(|w| w.get("<<")).and_then(Node::text),
            Some("4"),
            "in quotes it is a key like any other"
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
