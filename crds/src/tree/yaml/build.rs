//! From the parser's events to the tree of one document.
//!
//! The tree is built without recursion, so that depth, size, aliases and repeated keys are under our own
//! control.

use std::collections::HashMap;

use saphyr_parser::{Event, ScalarStyle, Tag};

use super::Tree;
use crate::problem::{Code, MAX_PROBLEMS, Mark, shown};
use crate::tree::merge::merged;
use crate::tree::node::{Entry, Node, ReadsAs, Scalar, Shape, as_key, measure, nothing};
use crate::tree::{MAX_DEPTH, MAX_NODES, Malformed, fault, too_deep, too_large};

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
pub(super) struct Builder {
    stack: Vec<Frame>,
    root: Option<Node>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    faults: Vec<Malformed>,
    /// The first fault beyond those.
    cut: Option<Mark>,
    /// The scalar that is placed is a plain `<<`.
    is_merge: bool,
}

/// What an alias may stand for.
struct Anchored {
    node: Node,
    nodes: usize,
    height: usize,
}

// === impl Builder ===

impl Builder {
    /// Takes the next event of the document.
    pub(super) fn take(&mut self, event: Event<'_>, at: Mark) -> Result<(), Malformed> {
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
                        shape: Shape::Scalar(scalar),
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

    /// The document, once all of it has been taken; `None` if there is nothing in it.
    pub(super) fn finish(self) -> Option<Tree> {
        let Self {
            root, faults, cut, ..
        } = self;
        root.map(|root| Tree { root, faults, cut })
    }

    fn open(&mut self, frame: Frame, at: Mark) -> Result<(), Malformed> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        self.stack.push(frame);
        Ok(())
    }

    fn close(&mut self, at: Mark) -> Result<(), Malformed> {
        match self.stack.pop() {
            Some(Frame::List { at, anchor, items }) => self.add(
                Node {
                    at,
                    shape: Shape::List(items),
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
                        shape: Shape::Map(entries),
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
    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Malformed> {
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

    fn alias(&mut self, anchor: usize, at: Mark) -> Result<(), Malformed> {
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

    fn place(&mut self, node: Node) -> Result<(), Malformed> {
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
        } else {
            self.cut.get_or_insert(at);
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

    fn count(&mut self, nodes: usize, at: Mark) -> Result<(), Malformed> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(too_large(at));
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
