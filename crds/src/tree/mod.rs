//! A document as a tree in which every part knows its place ([`node`]): read from a text of YAML ([`yaml`]),
//! or made of an object of a cluster ([`json`]).
//!
//! Everything that a hostile document could multiply is bounded.

mod json;
mod merge;
mod node;
mod telltale;
mod yaml;

pub(crate) use json::tree;
pub(crate) use node::{Entry, Node, ReadsAs, Scalar, Shape};
pub(crate) use telltale::of_value;
pub(crate) use yaml::{Tree, Trees, within};

use crate::problem::{Code, Mark};

/// How deep a document may be nested. Twice what filters may be, and some.
pub(crate) const MAX_DEPTH: usize = 128;
/// How many parts a document may have, aliases counted as often as they are used.
pub(crate) const MAX_NODES: usize = 1_000_000;

/// Something wrong with the document itself, before its fields are read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Malformed {
    pub(crate) at: Mark,
    pub(crate) code: Code,
    pub(crate) message: String,
}

fn fault(at: Mark, code: Code, message: impl Into<String>) -> Malformed {
    Malformed {
        at,
        code,
        message: message.into(),
    }
}

fn too_deep(at: Mark) -> Malformed {
    let message = format!("documents may be nested {MAX_DEPTH} deep, and not deeper");
    fault(at, Code::YamlTooDeep, message)
}

fn too_large(at: Mark) -> Malformed {
    let message = format!("a document may have {MAX_NODES} parts, aliases counted as often as they are used");
    fault(at, Code::YamlTooLarge, message)
}

/// A number of a line or column.
fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
