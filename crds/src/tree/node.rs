//! A document as a tree in which every part knows its place, and what YAML takes each scalar for.
//!
//! The tree is a form of our own because the messages need the place of every key and value, and because all
//! problems of a document are to be found in one go; decoding by serde stops at the first.

use crate::problem::Mark;

/// A part of a document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: Mark,
    pub(crate) shape: Shape,
}

/// What the part is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: Scalar,
    pub(crate) key_at: Mark,
    pub(crate) value: Node,
}

/// A text, and what YAML takes it for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) reads_as: ReadsAs,
}

/// What YAML takes a scalar for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadsAs {
    Text,
    Null,
    Bool,
    Number,
}

// === impl Node ===

impl Node {
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.shape, Shape::Scalar(scalar) if scalar.reads_as == ReadsAs::Null)
    }

    /// Says of every part that it stands there.
    pub(crate) fn put_at(&mut self, at: Mark) {
        self.at = at;
        match &mut self.shape {
            Shape::Scalar(_) => {}
            Shape::List(items) => items.iter_mut().for_each(|item| item.put_at(at)),
            Shape::Map(entries) => {
                for entry in entries {
                    entry.key_at = at;
                    entry.value.put_at(at);
                }
            }
        }
    }

    /// The value under `key`, of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        let Shape::Map(entries) = &self.shape else {
            return None;
        };
        entries
            .iter()
            .find(|entry| entry.key.text == key)
            .map(|entry| &entry.value)
    }

    /// The text, of a scalar that is not null.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.shape {
            Shape::Scalar(scalar) if scalar.reads_as != ReadsAs::Null => Some(&scalar.text),
            Shape::Scalar(_) | Shape::List(_) | Shape::Map(_) => None,
        }
    }

    /// What it is, for people.
    pub(crate) fn what(&self) -> &'static str {
        match &self.shape {
            Shape::List(_) => "a list",
            Shape::Map(_) => "a mapping",
            Shape::Scalar(scalar) => match scalar.reads_as {
                ReadsAs::Text => "a text",
                ReadsAs::Null => "nothing",
                ReadsAs::Bool => "a boolean",
                ReadsAs::Number => "a number",
            },
        }
    }

    /// The place of the deepest part on the way that `path` (`[1].all[0].exact.Type`) names.
    pub(crate) fn locate(&self, path: &str) -> Mark {
        let mut here = self;
        let mut rest = path;
        while !rest.is_empty() {
            let (next, behind) = match &here.shape {
                Shape::List(items) => {
                    let Some((index, behind)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) else {
                        break;
                    };
                    (
                        index.parse::<usize>().ok().and_then(|index| items.get(index)),
                        behind,
                    )
                }
                Shape::Map(_) => {
                    let key = rest.trim_start_matches('.');
                    let end = key.find(['.', '[']).unwrap_or(key.len());
                    (here.get(&key[..end]), &key[end..])
                }
                Shape::Scalar(_) => break,
            };
            let Some(next) = next else { break };
            (here, rest) = (next, behind);
        }
        here.at
    }
}

// === impl ReadsAs ===

impl ReadsAs {
    /// What an unquoted scalar is to YAML 1.2 (core schema) or to YAML 1.1, which Kubernetes' tools still
    /// read. A text that only one of them takes for a text is none here: the same file must mean the same
    /// everywhere.
    pub(crate) fn plain(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Self::Null,
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" | "y" | "Y" | "yes" | "Yes" | "YES"
            | "n" | "N" | "no" | "No" | "NO" | "on" | "On" | "ON" | "off" | "Off" | "OFF" => Self::Bool,
            _ if is_number(text) => Self::Number,
            _ => Self::Text,
        }
    }
}

fn is_number(text: &str) -> bool {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(body, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = body.strip_prefix(prefix) {
            return !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix) || c == '_');
        }
    }
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)),
        ),
        None => (body, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit() || c == '_');
    let begins = mantissa
        .trim_start_matches('.')
        .starts_with(|c: char| c.is_ascii_digit());
    begins
        && digits(whole)
        && digits(fraction)
        && exponent.is_none_or(|e| !e.is_empty() && e.chars().all(|c| c.is_ascii_digit()))
}

/// What a node is as a key, and what is wrong with that.
pub(crate) fn as_key(node: Node) -> (Scalar, Option<&'static str>) {
    match node.shape {
        Shape::Scalar(key) => (key, None),
        Shape::List(_) | Shape::Map(_) => {
            // A name of its own, so that two of them are not the same key.
            let text = format!("?{}:{}", node.at.line, node.at.column);
            let key = Scalar {
                text,
                reads_as: ReadsAs::Text,
            };
            (key, Some("a key must be a text"))
        }
    }
}

/// A node that is null.
pub(crate) fn nothing(at: Mark) -> Node {
    let shape = Shape::Scalar(Scalar {
        text: String::new(),
        reads_as: ReadsAs::Null,
    });
    Node { at, shape }
}

/// The number of parts, and of levels. Recursion is bounded by [`super::MAX_DEPTH`].
pub(crate) fn measure(node: &Node) -> (usize, usize) {
    let join = |(nodes, height): (usize, usize), child: &Node| {
        let (more, higher) = measure(child);
        (nodes + more, height.max(higher + 1))
    };
    match &node.shape {
        Shape::Scalar(_) => (1, 1),
        Shape::List(items) => items.iter().fold((1, 1), join),
        Shape::Map(entries) => entries.iter().map(|entry| &entry.value).fold((1, 1), join),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_scalar_is_a_text_only_when_all_of_yaml_says_so() {
        for text in [
            "order.paid",
            "/shop/",
            "1.2.3",
            "PT1S",
            "-",
            ".",
            "1e",
            "x1",
            "0xg",
            "e5",
            "_1",
            "2026-11-22",
            "+",
            ".",
        ] {
            assert_eq!(ReadsAs::plain(text), ReadsAs::Text, "{text}");
        }
        for text in [
            "5", "-5", "+5", "0.5", ".5", "5.", "1e5", "1E-5", "010", "0o17", "0xAF", "1_000", ".inf",
            "-.inf", ".nan",
        ] {
            assert_eq!(ReadsAs::plain(text), ReadsAs::Number, "{text}");
        }
        for text in ["true", "False", "yes", "n", "on", "OFF"] {
            assert_eq!(ReadsAs::plain(text), ReadsAs::Bool, "{text}");
        }
        for text in ["", "~", "null"] {
            assert_eq!(ReadsAs::plain(text), ReadsAs::Null, "{text}");
        }
    }
}
