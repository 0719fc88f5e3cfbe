//! Selectors of labels: `matchLabels` and `matchExpressions` become the text that Kubernetes' API takes.

use std::collections::BTreeMap;
use std::fmt;

use crate::field::{Field, Object};
use crate::problem::{Code, shown};
use crate::report::Report;

/// The most requirements of one selector.
pub(crate) const MAX_REQUIREMENTS: usize = 100;
/// The most values of one requirement.
pub(crate) const MAX_VALUES: usize = 100;

/// What a selector asks of labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    /// A label has this value.
    Is(String, String),
    /// A label has one of these.
    In(String, Vec<String>),
    /// It has none of these, or is not there.
    NotIn(String, Vec<String>),
    /// It is there.
    Exists(String),
    /// It is not there.
    DoesNotExist(String),
}

// === impl Requirement ===

impl Requirement {
    /// Whether labels meet it.
    pub(crate) fn fits(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Is(key, value) => labels.get(key) == Some(value),
            Self::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => labels.contains_key(key),
            Self::DoesNotExist(key) => !labels.contains_key(key),
        }
    }
}

impl fmt::Display for Requirement {
    /// As Kubernetes' API takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(key, value) => write!(f, "{key}={value}"),
            Self::In(key, values) => write!(f, "{key} in ({})", values.join(",")),
            Self::NotIn(key, values) => write!(f, "{key} notin ({})", values.join(",")),
            Self::Exists(key) => f.write_str(key),
            Self::DoesNotExist(key) => write!(f, "!{key}"),
        }
    }
}

/// Reads a selector. Empty text: it selects everything.
pub(super) fn read(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let mut object = field.object(report)?;
    let requirements = requirements(field, &mut object, report);
    let before = report.problems.len();
    object.close(report);
    let texts: Vec<String> = requirements?.iter().map(ToString::to_string).collect();
    (report.problems.len() == before).then(|| texts.join(","))
}

/// Reads what a selector asks of labels; `None`: not all of it makes sense.
pub(crate) fn requirements(
    field: &Field<'_>,
    object: &mut Object<'_>,
    report: &mut Report,
) -> Option<Vec<Requirement>> {
    let before = report.problems.len();
    let mut requirements = Vec::new();
    if let Some(labels) = object.take("matchLabels") {
        for entry in labels.entries(report).unwrap_or_default() {
            let field = Field {
                node: &entry.value,
                path: format!("{}.{}", labels.path, shown(&entry.key.text)),
            };
            if !is_key(&entry.key.text) {
                report.problem(entry.key_at, &field.path, Code::BadSelector, KEY);
            } else if let Some(value) = value(&field, report) {
                requirements.push(Requirement::Is(entry.key.text.clone(), value.to_owned()));
            }
        }
    }
    if let Some(list) = object.take("matchExpressions") {
        for item in list.list(report).unwrap_or_default() {
            requirements.extend(expression(&item, report));
        }
    }
    if requirements.len() > MAX_REQUIREMENTS {
        let message = format!("a selector has at most {MAX_REQUIREMENTS} requirements");
        field.refuse(report, Code::BadSelector, message);
    }
    (report.problems.len() == before).then_some(requirements)
}

/// `{key, operator, values}`.
fn expression(field: &Field<'_>, report: &mut Report) -> Option<Requirement> {
    let mut object = field.object(report)?;
    let key = object.require("key", report).and_then(|key| {
        let text = key.text(report)?;
        if is_key(text) {
            return Some(text);
        }
        key.refuse(report, Code::BadSelector, KEY);
        None
    });
    let operator = object.require("operator", report);
    let values = object.take("values");
    object.close(report);
    let list = values.as_ref().and_then(|values| values.list(report));
    let values: Vec<String> = list
        .unwrap_or_default()
        .iter()
        .filter_map(|item| value(item, report).map(str::to_owned))
        .collect();
    let (key, operator) = (key?.to_owned(), operator?);
    let word = operator.text(report)?;
    let message = match (word, values.len()) {
        ("In", 1..=MAX_VALUES) => return Some(Requirement::In(key, values)),
        ("NotIn", 1..=MAX_VALUES) => return Some(Requirement::NotIn(key, values)),
        ("Exists", 0) => return Some(Requirement::Exists(key)),
        ("DoesNotExist", 0) => return Some(Requirement::DoesNotExist(key)),
        ("In" | "NotIn", _) => format!("{word} needs from 1 to {MAX_VALUES} `values`"),
        ("Exists" | "DoesNotExist", _) => format!("{word} has no `values`"),
        _ => "the operators are In, NotIn, Exists and DoesNotExist".to_owned(),
    };
    operator.refuse(report, Code::BadSelector, message);
    None
}

const KEY: &str = "the key of a label is a name of up to 63 letters, digits, `-`, `_` and `.`, after a domain and `/` if any";

/// A label's value, which may be empty.
fn value<'a>(field: &Field<'a>, report: &mut Report) -> Option<&'a str> {
    let text = field.text(report)?;
    if text.is_empty() || is_label(text) {
        return Some(text);
    }
    let message =
        "the value of a label has up to 63 letters, digits, `-`, `_` and `.`, a letter or digit at both ends";
    field.refuse(report, Code::BadSelector, message);
    None
}

fn is_key(text: &str) -> bool {
    let (domain, name) = text
        .split_once('/')
        .map_or((None, text), |(domain, name)| (Some(domain), name));
    let is_domain = |domain: &str| {
        !domain.is_empty()
            && domain.len() <= 253
            && domain
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.'))
    };
    domain.is_none_or(is_domain) && is_label(name)
}

fn is_label(text: &str) -> bool {
    let ends = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.bytes().next())
        && ends(text.bytes().last())
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}
