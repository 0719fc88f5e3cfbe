//! The reference of all kinds, for people: each field with its type, bounds, default and meaning.

use std::fmt::Write as _;

use super::schema::{Field, Holds, Schema};
use super::{Definition, definitions};

/// Levels of filters that the page shows. The next look the same.
const LEVELS: usize = 1;

/// The page `docs/reference/custom-resources.md`.
pub fn reference() -> String {
    let mut page = String::from(
        "# Custom resources\n\n\
         The fields of each kind as the API server of a cluster knows them, made from \
         [the definitions](../../crds/definitions).\n\
         [Resources](resources.md) explains the same documents in files, with the code of each refusal, and\n\
         [annotations](annotations.md) what has no field. `millrace check --kubernetes` says what a cluster makes of a\n\
         document. Every kind has `apiVersion`, `kind` and `metadata` besides.\n",
    );
    for definition in definitions() {
        kind(&definition, &mut page);
    }
    page
}

fn kind(definition: &Definition, page: &mut String) {
    let _ = write!(
        page,
        "\n## {}\n\n`{}`. {}\n",
        definition.kind,
        definition.api_version(),
        definition.says
    );
    for (name, schema) in [("spec", &definition.spec), ("status", &definition.status)] {
        let _ = write!(page, "\n| field of `{name}` | type | |\n|---|---|---|\n");
        if let Holds::Object { fields, .. } = &schema.holds {
            rows(fields, "", 0, page);
        }
    }
    let rules = rules(&definition.spec, "spec");
    if !rules.is_empty() {
        let _ = write!(page, "\nThe API server refuses it with:\n\n{rules}");
    }
}

/// A row for each field, and for those below it.
fn rows(fields: &[Field], above: &str, filters: usize, page: &mut String) {
    for field in fields {
        let path = format!("{above}{}", field.name);
        let Field {
            schema, is_needed, ..
        } = field;
        let needed = if *is_needed { ", required" } else { "" };
        let says = schema.says.replace('|', "\\|");
        let _ = writeln!(page, "| `{path}` | {}{needed} | {says} |", ty(schema));
        below(schema, &path, filters, page);
    }
}

/// The rows of what stands below a field.
fn below(schema: &Schema, path: &str, filters: usize, page: &mut String) {
    match &schema.holds {
        Holds::List(items, ..) => below(items, &format!("{path}[]"), filters, page),
        Holds::Object { fields, .. } => {
            // Filters within filters have the same fields again.
            let is_filter = fields.iter().any(|field| field.name == "cesql");
            if !is_filter || filters < LEVELS {
                rows(
                    fields,
                    &format!("{path}."),
                    filters + usize::from(is_filter),
                    page,
                );
            }
        }
        Holds::Map(values, _) => below(values, &format!("{path}.*"), filters, page),
        Holds::Text(_) | Holds::Word(_) | Holds::Whole(..) | Holds::Truth | Holds::Anything => {}
    }
}

/// A type with its bounds.
fn ty(schema: &Schema) -> String {
    match &schema.holds {
        Holds::Text(most) => format!("text, up to {most} characters"),
        Holds::Word(words) => words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", "),
        Holds::Whole(least, i64::MAX) => format!("number, {least} or more"),
        Holds::Whole(least, most) => format!("number, {least} to {most}"),
        Holds::Truth => "boolean".to_owned(),
        Holds::List(_, 0, most) => format!("list, up to {most}"),
        Holds::List(_, least, most) => format!("list, {least} to {most}"),
        Holds::Map(_, most) => format!("mapping of texts, up to {most}"),
        Holds::Object { .. } => "mapping".to_owned(),
        Holds::Anything => "text or mapping".to_owned(),
    }
}

/// What the rules of a schema and of all below it say, each text once.
fn rules(schema: &Schema, path: &str) -> String {
    let mut said = Vec::new();
    collect(schema, path, &mut said);
    said.iter().fold(String::new(), |mut list, (path, message)| {
        let _ = writeln!(list, "- `{path}`: {message}");
        list
    })
}

fn collect(schema: &Schema, path: &str, said: &mut Vec<(String, String)>) {
    for rule in &schema.rules {
        let message = rule.message().to_owned();
        if !said.iter().any(|(_, other)| *other == message) {
            let path = rule
                .field()
                .map_or_else(|| path.to_owned(), |field| format!("{path}.{field}"));
            said.push((path, message));
        }
    }
    match &schema.holds {
        Holds::List(below, ..) => collect(below, &format!("{path}[]"), said),
        Holds::Map(below, _) => collect(below, &format!("{path}.*"), said),
        Holds::Object { fields, .. } => {
            for field in fields {
                collect(&field.schema, &format!("{path}.{}", field.name), said);
            }
        }
        Holds::Text(_) | Holds::Word(_) | Holds::Whole(..) | Holds::Truth | Holds::Anything => {}
    }
}
