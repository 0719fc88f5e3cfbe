//! What a cluster makes of a document, without a cluster: what the API server stores of it or why it refuses
//! it, by the same schemas and rules that are applied there.
//!
//! [`judge`] is the API server's part. What the controller says is the verdict of the document itself.
//! [`both`] puts the two together, for `millrace check --kubernetes`.

pub(crate) mod both;
mod policies;
mod stored;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use super::schema::{Holds, Schema};
use super::{Definition, definitions};
use crate::field::join;
use crate::problem::{Mark, shown};
use crate::tree::{Node, ReadsAs, Shape};

/// The kinds, made once: a folder may have thousands of documents.
static KINDS: LazyLock<Vec<Definition>> = LazyLock::new(definitions);

/// What the API server does with an object.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// Why it refuses the object; it stores it when there is nothing.
    pub(crate) refusals: Vec<Refusal>,
    /// The fields that it drops, which are none to it.
    pub(crate) dropped: Vec<String>,
    /// What it stores, or would store: without those fields, and with defaults.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the tests let the reader judge what is stored")
    )]
    pub(crate) stored: Node,
}

/// One reason to refuse an object.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) at: Mark,
    pub(crate) path: String,
    pub(crate) message: String,
}

/// What the API server does with an object of that kind, which replaces the one `before`. `None` when the
/// kind is not one of ours.
pub(crate) fn judge(root: &Node, before: Option<&Node>) -> Option<Verdict> {
    let text = |name| root.get(name).and_then(Node::text);
    let (version, kind) = (text("apiVersion")?, text("kind")?);
    let is_it = |known: &Definition| known.kind == kind && known.api_version() == version;
    let definition = KINDS.iter().find(|known| is_it(known))?;
    let (stored, dropped) = stored::stored(definition, root);
    let mut refusals = Vec::new();
    policies::metadata(&stored, &mut refusals);
    match stored.get("spec") {
        Some(spec) => {
            let before = before.and_then(|before| before.get("spec"));
            value(&definition.spec, spec, before, "spec", &mut refusals);
        }
        None if definition.needs_spec => refusals.push(missing(stored.at, "spec")),
        None => {}
    }
    policies::policies(definition, &stored, before, &mut refusals);
    Some(Verdict {
        refusals,
        dropped,
        stored,
    })
}

fn missing(at: Mark, path: &str) -> Refusal {
    refusal(at, path, "Required value")
}

fn refusal(at: Mark, path: &str, message: impl Into<String>) -> Refusal {
    Refusal {
        at,
        path: path.to_owned(),
        message: message.into(),
    }
}

/// Judges one value. Recursion is bounded by the schema.
fn value(schema: &Schema, node: &Node, before: Option<&Node>, path: &str, out: &mut Vec<Refusal>) {
    if let Err(message) = of_type(schema, node) {
        // Rules ask nothing of a value of another type.
        return out.push(refusal(node.at, path, message));
    }
    match (&schema.holds, &node.shape) {
        (Holds::List(items, ..), Shape::List(nodes)) => {
            for (i, item) in nodes.iter().enumerate() {
                value(items, item, None, &format!("{path}[{i}]"), out);
            }
        }
        (Holds::Map(values, _), Shape::Map(entries)) => {
            for entry in entries {
                let path = join(path, &shown(&entry.key.text));
                value(values, &entry.value, None, &path, out);
            }
        }
        (Holds::Object { fields, .. }, _) => {
            for field in fields {
                let path = join(path, field.name);
                match node.get(field.name) {
                    Some(found) => {
                        let before = before.and_then(|before| before.get(field.name));
                        value(&field.schema, found, before, &path, out);
                    }
                    None if field.is_needed => out.push(missing(node.at, &path)),
                    None => {}
                }
            }
        }
        _ => {}
    }
    for rule in schema.rules.iter().filter(|rule| !rule.is_kept(node, before)) {
        let path = rule
            .field()
            .map_or_else(|| path.to_owned(), |field| join(path, field));
        out.push(refusal(node.at, &path, rule.message()));
    }
}

/// Whether a value is of the type, within its bounds; else what the API server says, without the place.
fn of_type(schema: &Schema, node: &Node) -> Result<(), String> {
    let Some(name) = schema.type_name() else {
        return Ok(());
    };
    let wrong = || Err(format!("must be of type {name}, and this is {}", node.what()));
    match (&schema.holds, &node.shape) {
        (Holds::Text(most), Shape::Scalar(scalar)) if scalar.reads_as == ReadsAs::Text => bound(
            scalar.text.chars().count(),
            0,
            *most,
            "Too long: may not be more than {} bytes",
        ),
        (Holds::Word(words), Shape::Scalar(scalar)) if scalar.reads_as == ReadsAs::Text => {
            if words.contains(&scalar.text.as_str()) {
                return Ok(());
            }
            let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            Err(format!(
                "Unsupported value: supported values: {}",
                words.join(", ")
            ))
        }
        (Holds::Whole(least, most), Shape::Scalar(scalar)) if scalar.reads_as == ReadsAs::Number => {
            match scalar.text.parse::<i64>() {
                Ok(number) if number < *least => Err(format!("should be greater than or equal to {least}")),
                Ok(number) if number > *most => Err(format!("should be less than or equal to {most}")),
                Ok(_) => Ok(()),
                Err(_) => wrong(),
            }
        }
        (Holds::Truth, Shape::Scalar(scalar)) if scalar.reads_as == ReadsAs::Bool => Ok(()),
        (Holds::List(_, least, most), Shape::List(items)) => {
            bound(items.len(), *least, *most, "Too many: must have at most {} items")
        }
        (Holds::Map(_, most), Shape::Map(entries)) => {
            bound(entries.len(), 0, *most, "Too many: must have at most {} items")
        }
        (Holds::Object { needs_one, .. }, Shape::Map(entries)) => {
            bound(entries.len(), u32::from(*needs_one), u32::MAX, "")
        }
        _ => wrong(),
    }
}

fn bound(count: usize, least: u32, most: u32, too_many: &str) -> Result<(), String> {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    if count < least {
        return Err(format!("should have at least {least}"));
    }
    if count > most {
        return Err(too_many.replace("{}", &most.to_string()));
    }
    Ok(())
}
