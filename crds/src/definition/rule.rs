//! Rules that a type cannot say. Each is data, so that it is written once: as CEL for the API server, and as
//! a test of a document for `millrace check --kubernetes`.
//!
//! Patterns are understood alike by RE2 and by the crate `regex`: no look-around, no classes of Unicode. They
//! have no single quote, so they stand in CEL as raw strings.

use std::sync::OnceLock;

use regex::Regex;
use serde_json::{Value, json};

use crate::tree::{Node, ReadsAs, Shape};

/// A rule about a value.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    test: Test,
    message: String,
    /// The field that the message is about, below the value that the rule is about.
    field: Option<&'static str>,
    /// What kind of fault it is, as the API names it.
    reason: Option<&'static str>,
}

/// What must hold.
#[derive(Clone, Debug)]
enum Test {
    /// The text has a part that looks like this.
    Matches(Pattern),
    /// Every key looks like this.
    KeysMatch(Pattern),
    /// At least one of them is there.
    AtLeastOne(Vec<Part>),
    /// At most one of them is there.
    AtMostOne(Vec<Part>),
    /// Beside the other field, the text in the field does not look like this; or, without the other field,
    /// it does.
    FieldMatches {
        field: &'static str,
        pattern: Pattern,
        other: &'static str,
        beside: bool,
    },
    /// The field is as it was before.
    Unchanged(&'static str),
}

/// What a text must look like somewhere: `^` and `$` are its beginning and end.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    text: String,
    /// It is compiled when it is first asked for; `None` if that cannot be done, which a test excludes.
    regex: OnceLock<Option<Regex>>,
}

/// When a field counts as being there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// It is there, whatever it holds.
    There(&'static str),
    /// It is a text that is not empty.
    Filled(&'static str),
    /// It is a list or mapping that is not empty.
    NotEmpty(&'static str),
}

// === impl Part ===

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::There(name) | Self::Filled(name) | Self::NotEmpty(name) => name,
        }
    }

    fn cel(self) -> String {
        let name = escaped(self.name());
        match self {
            Self::There(_) => format!("has(self.{name})"),
            Self::Filled(_) => format!("(has(self.{name}) && self.{name} != '')"),
            Self::NotEmpty(_) => format!("(has(self.{name}) && size(self.{name}) > 0)"),
        }
    }

    fn is_in(self, node: &Node) -> bool {
        let Some(value) = node.get(self.name()).filter(|value| !value.is_null()) else {
            return false;
        };
        match (self, &value.shape) {
            (Self::There(_), _) => true,
            (Self::Filled(_), Shape::Scalar(scalar)) => !scalar.text.is_empty(),
            (Self::NotEmpty(_), Shape::List(items)) => !items.is_empty(),
            (Self::NotEmpty(_), Shape::Map(entries)) => !entries.is_empty(),
            // Of another type, which is a fault of its own.
            _ => false,
        }
    }
}

/// CEL's own words cannot be fields as they are.
fn escaped(name: &str) -> String {
    match name {
        "const" | "namespace" | "in" => format!("__{name}__"),
        _ => name.to_owned(),
    }
}

// === impl Pattern ===

impl Pattern {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            regex: OnceLock::new(),
        }
    }

    /// Whether a text looks like this somewhere.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        let regex = self.regex.get_or_init(|| Regex::new(&self.text).ok());
        regex.as_ref().is_some_and(|regex| regex.is_match(text))
    }

    /// The call that asks it in CEL, of that value.
    pub(crate) fn cel(&self, value: &str) -> String {
        format!("{value}.matches(r'{}')", self.text)
    }
}

// === impl Rule ===

impl Rule {
    fn new(test: Test, message: impl Into<String>) -> Self {
        Self {
            test,
            message: message.into(),
            field: None,
            reason: None,
        }
    }

    /// A text has a part that looks like this.
    pub(crate) fn matches(pattern: impl Into<String>, message: &str) -> Self {
        Self::new(Test::Matches(Pattern::new(pattern)), message)
    }

    /// The keys of a mapping look like this.
    pub(crate) fn keys_match(pattern: &'static str, message: &str) -> Self {
        Self::new(Test::KeysMatch(Pattern::new(pattern)), message)
    }

    /// A text must be there and not be empty, as a field of the value at `path`.
    pub(crate) fn filled(path: &str, field: &'static str) -> Self {
        let test = Test::AtLeastOne(vec![Part::Filled(field)]);
        Self::new(test, format!("missing field(s): {path}.{field}")).required(field)
    }

    /// At least one of them must be there.
    pub(crate) fn at_least_one(parts: Vec<Part>, message: impl Into<String>) -> Self {
        Self::new(Test::AtLeastOne(parts), message)
    }

    /// At most one of them may be there.
    pub(crate) fn at_most_one(parts: Vec<Part>, message: impl Into<String>) -> Self {
        Self::new(Test::AtMostOne(parts), message)
    }

    /// Beside another field, a field must not look like this.
    pub(crate) fn beside(
        other: &'static str,
        field: &'static str,
        pattern: &'static str,
        message: &str,
    ) -> Self {
        Self::field_matches(true, other, field, pattern, message)
    }

    /// Without another field, a field must look like this.
    pub(crate) fn without(
        other: &'static str,
        field: &'static str,
        pattern: &'static str,
        message: &str,
    ) -> Self {
        Self::field_matches(false, other, field, pattern, message)
    }

    fn field_matches(
        beside: bool,
        other: &'static str,
        field: &'static str,
        pattern: &'static str,
        message: &str,
    ) -> Self {
        let test = Test::FieldMatches {
            field,
            pattern: Pattern::new(pattern),
            other,
            beside,
        };
        Self::new(test, message).at(field)
    }

    /// A field must not change.
    pub(crate) fn unchanged(field: &'static str, message: &str) -> Self {
        Self {
            reason: Some("FieldValueForbidden"),
            ..Self::new(Test::Unchanged(field), message)
        }
    }

    /// The same rule, whose message is about a field below.
    pub(crate) fn at(self, field: &'static str) -> Self {
        Self {
            field: Some(field),
            ..self
        }
    }

    /// The same rule: that field is missing.
    pub(crate) fn required(self, field: &'static str) -> Self {
        Self {
            reason: Some("FieldValueRequired"),
            ..self.at(field)
        }
    }

    /// For people, as the API answers it.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The field that it is about, below the value.
    pub(crate) fn field(&self) -> Option<&'static str> {
        self.field
    }

    /// The rule as Kubernetes has it.
    pub(crate) fn validation(&self) -> Value {
        let mut validation = json!({"rule": self.test.cel(), "message": self.message});
        if let Some(field) = self.field {
            validation["fieldPath"] = json!(format!(".{field}"));
        }
        if let Some(reason) = self.reason {
            validation["reason"] = json!(reason);
        }
        validation
    }

    /// Whether a value keeps the rule. `before` is what stood there, where an object is changed.
    pub(crate) fn is_kept(&self, value: &Node, before: Option<&Node>) -> bool {
        self.test.passes(value, before)
    }
}

// === impl Test ===

impl Test {
    fn cel(&self) -> String {
        let all = |parts: &[Part]| parts.iter().map(|part| part.cel()).collect::<Vec<_>>();
        match self {
            Self::Matches(pattern) => pattern.cel("self"),
            Self::KeysMatch(pattern) => format!("self.all(key, {})", pattern.cel("key")),
            Self::AtLeastOne(parts) => all(parts).join(" || "),
            Self::AtMostOne(parts) => format!("[{}].filter(x, x).size() <= 1", all(parts).join(", ")),
            Self::FieldMatches {
                field,
                pattern,
                other,
                beside,
            } => {
                let not = if *beside { "!" } else { "" };
                let matches = pattern.cel(&format!("self.{field}"));
                format!("{not}has(self.{other}) || !has(self.{field}) || {not}{matches}")
            }
            Self::Unchanged(field) => format!(
                "has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
            ),
        }
    }

    fn passes(&self, value: &Node, before: Option<&Node>) -> bool {
        let count = |parts: &[Part]| parts.iter().filter(|part| part.is_in(value)).count();
        match self {
            Self::Matches(pattern) => value.text().is_none_or(|text| pattern.is_in(text)),
            Self::KeysMatch(pattern) => match &value.shape {
                Shape::Map(entries) => entries.iter().all(|entry| pattern.is_in(&entry.key.text)),
                _ => true,
            },
            Self::AtLeastOne(parts) => count(parts) > 0,
            Self::AtMostOne(parts) => count(parts) <= 1,
            Self::FieldMatches {
                field,
                pattern,
                other,
                beside,
            } => {
                let applies = Part::There(other).is_in(value) == *beside;
                let text = value.get(field).and_then(Node::text);
                !applies || text.is_none_or(|text| pattern.is_in(text) != *beside)
            }
            Self::Unchanged(field) => {
                let there = |node: &Node| node.get(field).filter(|node| !node.is_null()).map(plain);
                before.is_none_or(|before| there(value) == there(before))
            }
        }
    }
}

/// A value without its places.
fn plain(node: &Node) -> Value {
    match &node.shape {
        Shape::Scalar(scalar) => match scalar.reads_as {
            ReadsAs::Null => Value::Null,
            ReadsAs::Text | ReadsAs::Bool | ReadsAs::Number => json!(scalar.text),
        },
        Shape::List(items) => items.iter().map(plain).collect(),
        Shape::Map(entries) => {
            let entries = entries
                .iter()
                .map(|entry| (entry.key.text.clone(), plain(&entry.value)));
            Value::Object(entries.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::definitions;
    use crate::definition::policy::ANNOTATION_RULES;
    use crate::definition::schema::{Holds, Schema};

    fn patterns(schema: &Schema, out: &mut Vec<Pattern>) {
        for rule in &schema.rules {
            match &rule.test {
                Test::Matches(pattern) | Test::KeysMatch(pattern) | Test::FieldMatches { pattern, .. } => {
                    out.push(pattern.clone());
                }
                Test::AtLeastOne(_) | Test::AtMostOne(_) | Test::Unchanged(_) => {}
            }
        }
        match &schema.holds {
            Holds::List(below, ..) | Holds::Map(below, _) => patterns(below, out),
            Holds::Object { fields, .. } => fields.iter().for_each(|field| patterns(&field.schema, out)),
            Holds::Text(_) | Holds::Word(_) | Holds::Whole(..) | Holds::Truth | Holds::Anything => {}
        }
    }

    #[test]
    fn every_pattern_compiles_and_can_stand_in_cel() {
        let mut all: Vec<Pattern> = ANNOTATION_RULES.iter().map(|rule| rule.pattern.clone()).collect();
        for definition in definitions() {
            patterns(&definition.spec, &mut all);
        }
        assert!(all.len() > 20, "{}", all.len());
        for pattern in all {
            assert!(Regex::new(&pattern.text).is_ok(), "{}", pattern.text);
            assert!(!pattern.text.contains('\''), "{}", pattern.text);
        }
    }
}
