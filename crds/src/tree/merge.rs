//! Merge keys (`<<`): the fields of other mappings, put into one that says what differs.
//!
//! YAML 1.2 dropped them, but the tools of Kubernetes still read them, so documents may use them.

use std::collections::HashSet;

use super::node::{Entry, Node, Shape};
use crate::problem::Mark;

/// Puts the fields of the merged mappings behind a mapping's own. A field of its own wins, then one of an
/// earlier mapping. Also gives the places of what is no mapping.
pub(crate) fn merged(own: Vec<Entry>, merges: Vec<Node>) -> (Vec<Entry>, Vec<Mark>) {
    let mut entries = own;
    let mut wrong = Vec::new();
    let mut known: HashSet<String> = entries.iter().map(|entry| entry.key.text.clone()).collect();
    let mut add = |node: Node, wrong: &mut Vec<Mark>| match node.shape {
        Shape::Map(more) => {
            for entry in more {
                if known.insert(entry.key.text.clone()) {
                    entries.push(entry);
                }
            }
        }
        Shape::Scalar(_) | Shape::List(_) => wrong.push(node.at),
    };
    for node in merges {
        match node.shape {
            Shape::List(items) => items.into_iter().for_each(|item| add(item, &mut wrong)),
            Shape::Map(_) | Shape::Scalar(_) => add(node, &mut wrong),
        }
    }
    (entries, wrong)
}
