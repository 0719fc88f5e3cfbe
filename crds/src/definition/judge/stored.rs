//! What the API server stores of an object: without the fields that a schema does not list, and with
//! defaults.

use crate::definition::Definition;
use crate::definition::schema::{Holds, Schema};
use crate::field::join;
use crate::problem::Mark;
use crate::tree::{self, Entry, Node, ReadsAs, Scalar, Shape};

/// The object, and the paths of what is dropped.
pub(super) fn stored(definition: &Definition, root: &Node) -> (Node, Vec<String>) {
    let (mut stored, mut dropped) = (root.clone(), Vec::new());
    if let Shape::Map(entries) = &mut stored.shape {
        entries.retain(|entry| {
            // Who writes an object does not write its status.
            let is_known = ["apiVersion", "kind", "metadata", "spec"].contains(&entry.key.text.as_str());
            if !is_known && entry.key.text != "status" {
                dropped.push(entry.key.text.clone());
            }
            is_known
        });
        for entry in entries.iter_mut().filter(|entry| entry.key.text == "spec") {
            prune(&definition.spec, &mut entry.value, "spec", &mut dropped);
        }
    }
    (stored, dropped)
}

fn prune(schema: &Schema, node: &mut Node, path: &str, dropped: &mut Vec<String>) {
    match (&schema.holds, &mut node.shape) {
        (Holds::List(items, ..), Shape::List(nodes)) => {
            for (i, node) in nodes.iter_mut().enumerate() {
                prune(items, node, &format!("{path}[{i}]"), dropped);
            }
        }
        (Holds::Map(values, _), Shape::Map(entries)) => {
            for entry in entries {
                prune(values, &mut entry.value, &join(path, &entry.key.text), dropped);
            }
        }
        (
            Holds::Object {
                fields, keeps_others, ..
            },
            Shape::Map(entries),
        ) => {
            let field = |name: &str| fields.iter().find(|field| field.name == name);
            entries.retain(|entry| {
                let known = field(&entry.key.text);
                let is_kept = known.is_some() || *keeps_others;
                if !is_kept {
                    dropped.push(join(path, &entry.key.text));
                }
                // A field that is null is as good as missing, and a default takes its place.
                is_kept && !(known.is_some() && entry.value.is_null())
            });
            for entry in entries.iter_mut() {
                if let Some(field) = field(&entry.key.text) {
                    prune(&field.schema, &mut entry.value, &join(path, field.name), dropped);
                }
            }
            for field in fields {
                let is_there = entries.iter().any(|entry| entry.key.text == field.name);
                if let Some(default) = field.schema.default.as_ref().filter(|_| !is_there)
                    && let Ok(value) = tree::tree(default)
                {
                    entries.push(entry(field.name, value));
                }
            }
        }
        _ => {}
    }
}

fn entry(name: &str, value: Node) -> Entry {
    let key = Scalar {
        text: name.to_owned(),
        reads_as: ReadsAs::Text,
    };
    Entry {
        key,
        key_at: Mark::NONE,
        value,
    }
}
