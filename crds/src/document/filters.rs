//! The filters of a Trigger: `filter.attributes` and the dialects of `filters[]`, read with the place of
//! every fault.
//!
//! The filter crate checks its rules again when it compiles and is the last word; here all faults are found
//! at once and each has its line. Where Knative lets a broken filter pass everything, the document is
//! refused.

use std::sync::Arc;

use millrace_filter::{Compiled, Filter, Scalar};

use crate::field::{Field, Object};
use crate::problem::{Code, shown};
use crate::report::Report;
use crate::suggest;
use crate::tree::{Entry, Node, ReadsAs, Shape};

/// The dialects of this version, as fields of a filter element.
pub(crate) const DIALECTS: &[&str] = &[
    "exact", "prefix", "suffix", "cesql", "jsonpath", "all", "any", "not",
];

/// Words of other filter languages, and the dialects that mean the same.
const MEANT: &[(&str, &str)] = &[
    ("and", "all"),
    ("every", "all"),
    ("or", "any"),
    ("some", "any"),
    ("none", "not"),
    ("equals", "exact"),
    ("eq", "exact"),
    ("startsWith", "prefix"),
    ("endsWith", "suffix"),
    ("sql", "cesql"),
];

/// Reads `filter` and `filters` of a Trigger's spec; `None` when something is wrong with them.
pub(crate) fn read(spec: &mut Object<'_>, report: &mut Report) -> Option<(Vec<Filter>, Arc<Compiled>)> {
    let older = spec.take("filter");
    let newer = spec.take("filters");
    let before = report.problems.len();
    let attributes = older.as_ref().and_then(|field| filter(field, report));
    let list = newer
        .as_ref()
        .and_then(|field| many(field, report))
        .unwrap_or_default();
    if report.problems.len() != before {
        return None;
    }
    let (filters, field) = match (newer, attributes) {
        (Some(newer), attributes) if !list.is_empty() => {
            if let (Some(_), Some(older)) = (attributes, older) {
                report.remark(
                    older.node.at,
                    &older.path,
                    "`filter` is ignored, because there are `filters`",
                );
            }
            (list, Some(newer))
        }
        (_, Some(attributes)) => (vec![attributes], older),
        _ => (Vec::new(), None),
    };
    compiled(filters, field, report)
}

/// Reads a list of filters by itself, as sources have it.
pub(crate) fn list(field: Field<'_>, report: &mut Report) -> Option<(Vec<Filter>, Arc<Compiled>)> {
    let filters = many(&field, report)?;
    compiled(filters, Some(field), report)
}

fn compiled(
    filters: Vec<Filter>,
    field: Option<Field<'_>>,
    report: &mut Report,
) -> Option<(Vec<Filter>, Arc<Compiled>)> {
    match Compiled::new(&filters) {
        Ok(compiled) => {
            if let Some(field) = &field {
                remarks(&compiled, field, report);
            }
            Some((filters, Arc::new(compiled)))
        }
        Err(error) => {
            let (at, path) = match field {
                Some(field) => (field.node.locate(&error.path), field.path),
                None => (crate::problem::Mark { line: 1, column: 1 }, "spec".to_owned()),
            };
            report.problem(
                at,
                &format!("{path}{}", error.path),
                Code::BadFilter,
                error.message,
            );
            None
        }
    }
}

/// What the filter crate finds odd, each at its place.
fn remarks(compiled: &Compiled, field: &Field<'_>, report: &mut Report) {
    for warning in compiled.warnings() {
        // The warning begins with the field's own name.
        let behind = &warning.path[warning.path.find(['.', '[']).unwrap_or(warning.path.len())..];
        let path = format!("{}{behind}", field.path);
        report.remark(field.node.locate(behind), &path, warning.message);
    }
}

/// The older `filter: {attributes: {...}}`. No attributes are no filter.
fn filter(field: &Field<'_>, report: &mut Report) -> Option<Filter> {
    let mut object = field.object(report)?;
    let attributes = object.take("attributes");
    object.close(report);
    let pairs = pairs(&attributes?, true, report);
    (!pairs.is_empty()).then_some(Filter::Attributes(pairs))
}

fn many(field: &Field<'_>, report: &mut Report) -> Option<Vec<Filter>> {
    let (mut read, mut is_sound) = (Vec::new(), true);
    for item in field.items(report)? {
        // Every element is read, so that every fault is found that can be shown.
        match element(&item, report) {
            Some(filter) if is_sound => read.push(filter),
            Some(_) => {}
            None => (read, is_sound) = (Vec::new(), false),
        }
        if report.is_full() {
            break;
        }
    }
    is_sound.then_some(read)
}

/// One element: a mapping with exactly one dialect. Recursion is bounded by the depth of documents.
fn element(field: &Field<'_>, report: &mut Report) -> Option<Filter> {
    let entries = field.entries(report)?;
    let mut dialects = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.value.is_null()) {
        let name = entry.key.text.as_str();
        let path = format!("{}.{}", field.path, shown(name));
        if DIALECTS.contains(&name) {
            dialects.push((
                name,
                Field {
                    node: &entry.value,
                    path,
                },
            ));
        } else {
            let meant = MEANT.iter().find(|(word, _)| word.eq_ignore_ascii_case(name));
            let meant = meant.map(|(_, dialect)| *dialect);
            let message = match meant.or_else(|| suggest::nearest(name, DIALECTS)) {
                Some(near) => format!("there is no such filter dialect; did you mean `{near}`?"),
                None => format!(
                    "there is no such filter dialect; there are {}",
                    DIALECTS.join(", ")
                ),
            };
            report.problem(entry.key_at, &path, Code::UnknownDialect, message);
            return None;
        }
    }
    match dialects.as_slice() {
        [(name, value)] => dialect(name, value, report),
        [] => {
            let message = format!("a filter needs one dialect: {}", DIALECTS.join(", "));
            field.refuse(report, Code::EmptyFilter, message);
            None
        }
        [(first, _), (second, _), ..] => {
            let message = format!(
                "a filter has only one dialect, but here are `{first}` and `{second}`: make them two elements"
            );
            field.refuse(report, Code::ManyDialects, message);
            None
        }
    }
}

fn dialect(name: &str, value: &Field<'_>, report: &mut Report) -> Option<Filter> {
    match name {
        "not" => element(value, report).map(|inner| Filter::Not(Box::new(inner))),
        "all" | "any" => {
            let filters = many(value, report)?;
            if filters.is_empty() {
                value.refuse(
                    report,
                    Code::EmptyFilter,
                    "the list is empty: it needs at least one filter",
                );
                return None;
            }
            Some(if name == "all" {
                Filter::All(filters)
            } else {
                Filter::Any(filters)
            })
        }
        "cesql" => {
            let text = text(value, "the expression is empty: say what must be true", report)?;
            checked(Filter::Cesql(text), value, report)
        }
        "jsonpath" => jsonpath(value, report),
        _ => {
            let before = report.problems.len();
            let pairs = pairs(value, false, report);
            if pairs.is_empty() {
                if report.problems.len() == before {
                    let message = "the mapping is empty: it needs at least one attribute";
                    value.refuse(report, Code::EmptyFilter, message);
                }
                return None;
            }
            Some(match name {
                "exact" => Filter::Exact(pairs),
                "prefix" => Filter::Prefix(pairs),
                _ => Filter::Suffix(pairs),
            })
        }
    }
}

/// A path, or a mapping of paths to values.
fn jsonpath(field: &Field<'_>, report: &mut Report) -> Option<Filter> {
    let entries = match &field.node.shape {
        Shape::Scalar(_) => {
            let text = text(field, "the path is empty: say what must be there", report)?;
            return checked(Filter::JsonPath(text), field, report);
        }
        Shape::List(_) => {
            let message = "a path, or a mapping of paths to values, is expected, but this is a list";
            field.refuse(report, Code::WrongType, message);
            return None;
        }
        Shape::Map(entries) => entries,
    };
    if entries.is_empty() {
        let message = "the mapping is empty: it needs at least one path";
        field.refuse(report, Code::EmptyFilter, message);
        return None;
    }
    let pairs: Vec<Option<(String, Scalar)>> = entries
        .iter()
        .map(|entry| {
            let path = format!("{}.{}", field.path, shown(&entry.key.text));
            let pair = (entry.key.text.clone(), scalar(entry, &path, report)?);
            let at_key = Field {
                node: &Node {
                    at: entry.key_at,
                    shape: Shape::Map(Vec::new()),
                },
                path,
            };
            checked(Filter::JsonPathEquals(vec![pair.clone()]), &at_key, report)?;
            Some(pair)
        })
        .collect();
    pairs
        .into_iter()
        .collect::<Option<_>>()
        .map(Filter::JsonPathEquals)
}

/// A value with the type that YAML reads it as, which must be the same in all versions of YAML.
fn scalar(entry: &Entry, path: &str, report: &mut Report) -> Option<Scalar> {
    let mut refuse = |code, message: &str| {
        report.problem(entry.value.at, path, code, message);
        None
    };
    let Shape::Scalar(value) = &entry.value.shape else {
        return refuse(
            Code::WrongType,
            "a text, a number, true, false or null is expected here",
        );
    };
    let text = value.text.as_str();
    match value.reads_as {
        ReadsAs::Text => Some(Scalar::Text(text.to_owned())),
        ReadsAs::Number => Some(Scalar::Number(text.to_owned())),
        ReadsAs::Null if text.is_empty() => {
            let message = "there is no value; write null if null is meant, or \"\" for an empty text";
            refuse(Code::EmptyValue, message)
        }
        ReadsAs::Null => Some(Scalar::Null),
        ReadsAs::Bool if text.eq_ignore_ascii_case("true") => Some(Scalar::Boolean(true)),
        ReadsAs::Bool if text.eq_ignore_ascii_case("false") => Some(Scalar::Boolean(false)),
        ReadsAs::Bool => {
            let message = "some versions of YAML read this as a boolean and some as a text: write true, false, or \
                           the text in quotes";
            refuse(Code::WrongType, message)
        }
    }
}

/// A text that is not empty.
fn text(field: &Field<'_>, otherwise: &str, report: &mut Report) -> Option<String> {
    let text = field.text(report)?;
    if text.trim().is_empty() {
        field.refuse(report, Code::EmptyFilter, otherwise);
        return None;
    }
    Some(text.to_owned())
}

/// The filter, if the filter crate takes it; what it says is noted here, so that the others' faults are found
/// too.
fn checked(filter: Filter, field: &Field<'_>, report: &mut Report) -> Option<Filter> {
    match Compiled::new(std::slice::from_ref(&filter)) {
        Ok(_) => Some(filter),
        Err(error) => {
            field.refuse(report, Code::BadFilter, error.message);
            None
        }
    }
}

/// The attributes and values of a clause. An empty value has a meaning only in the older form.
fn pairs(field: &Field<'_>, may_be_empty: bool, report: &mut Report) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for entry in field.entries(report).unwrap_or_default() {
        let name = &entry.key.text;
        let path = format!("{}.{}", field.path, shown(name));
        if entry.key.reads_as != ReadsAs::Text && is_name(name) {
            let message = format!("YAML does not read {name} as a text; write it in quotes: \"{name}\"");
            report.problem(entry.key_at, &path, Code::NotAString, message);
            continue;
        }
        if !is_name(name) {
            let message = "attribute names are lower-case letters and digits, and begin with a letter";
            report.problem(entry.key_at, &path, Code::BadAttributeName, message);
            continue;
        }
        if let Some(value) = value(&entry.value, path, may_be_empty, report) {
            pairs.push((name.clone(), value));
        }
    }
    pairs
}

fn value(node: &Node, path: String, may_be_empty: bool, report: &mut Report) -> Option<String> {
    let field = Field { node, path };
    let text = field.text(report)?;
    if text.is_empty() && !may_be_empty {
        field.refuse(
            report,
            Code::EmptyValue,
            "an empty value compares with nothing; leave the attribute out",
        );
        return None;
    }
    Some(text.to_owned())
}

/// Names as Knative's filters have them: narrower than CloudEvents' by the first character.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
}
