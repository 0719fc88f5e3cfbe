//! Reading the fields of a document: every fault is noted with its place and path, and reading goes on.

use crate::problem::{Code, Mark, shown};
use crate::report::Report;
use crate::suggest;
use crate::tree::{self, Entry, Node, ReadsAs, Shape};

/// A value with its path.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: String,
}

/// A mapping whose fields are taken one by one; what nobody took is unknown.
pub(crate) struct Object<'a> {
    at: Mark,
    path: String,
    entries: &'a [Entry],
    known: Vec<&'static str>,
}

// === impl Field ===

impl<'a> Field<'a> {
    /// Notes a problem of this value: in these words, unless the value itself gives away what went wrong.
    pub(crate) fn refuse(&self, report: &mut Report, code: Code, message: impl Into<String>) {
        match tree::of_value(self.node, code) {
            Some(why) => report.problem(self.node.at, &self.path, code, why),
            None => report.problem(self.node.at, &self.path, code, message),
        }
    }

    /// The value as a text.
    pub(crate) fn text(&self, report: &mut Report) -> Option<&'a str> {
        self.text_named(report, |text| (shown(text), format!("\"{}\"", shown(text))))
    }

    /// A secret text: no message repeats it.
    pub(crate) fn secret_text(&self, report: &mut Report) -> Option<&'a str> {
        self.text_named(report, |_| ("it".to_owned(), "\"...\"".to_owned()))
    }

    /// The value as a text; `named` says what a message calls another scalar, and how it is to be written.
    fn text_named(&self, report: &mut Report, named: impl Fn(&str) -> (String, String)) -> Option<&'a str> {
        if let Shape::Scalar(scalar) = &self.node.shape {
            if scalar.reads_as == ReadsAs::Text {
                return Some(&scalar.text);
            }
            let message = match scalar.reads_as {
                ReadsAs::Null | ReadsAs::Text => {
                    "a text is expected here, but there is nothing; write \"\" for an empty one".to_owned()
                }
                ReadsAs::Bool | ReadsAs::Number => {
                    let (it, quoted) = named(&scalar.text);
                    let what = self.node.what();
                    format!("a text is expected, but YAML reads {it} as {what}; write it in quotes: {quoted}")
                }
            };
            self.refuse(report, Code::NotAString, message);
            return None;
        }
        self.wrong_type(report, "a text");
        None
    }

    /// The value as a whole number within bounds.
    pub(crate) fn whole(&self, report: &mut Report, bounds: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let Shape::Scalar(scalar) = &self.node.shape else {
            self.wrong_type(report, "a whole number");
            return None;
        };
        match scalar.reads_as {
            ReadsAs::Number => whole(self, report, &scalar.text, bounds),
            ReadsAs::Text if scalar.text.parse::<i64>().is_ok() => {
                self.refuse(
                    report,
                    Code::WrongType,
                    "a whole number is expected: write it without quotes",
                );
                None
            }
            ReadsAs::Text | ReadsAs::Bool | ReadsAs::Null => {
                self.wrong_type(report, "a whole number");
                None
            }
        }
    }

    /// The value as true or false, as Kubernetes takes them: the other words that YAML takes for them are
    /// refused.
    pub(crate) fn truth(&self, report: &mut Report) -> Option<bool> {
        if let Shape::Scalar(scalar) = &self.node.shape
            && scalar.reads_as == ReadsAs::Bool
        {
            match scalar.text.as_str() {
                "true" => return Some(true),
                "false" => return Some(false),
                _ => {}
            }
        }
        self.wrong_type(report, "true or false");
        None
    }

    /// The value as a list.
    pub(crate) fn list(&self, report: &mut Report) -> Option<Vec<Field<'a>>> {
        self.items(report).map(Iterator::collect)
    }

    /// The items of a list, one by one: a list may be long.
    pub(crate) fn items(&self, report: &mut Report) -> Option<impl Iterator<Item = Field<'a>> + use<'_, 'a>> {
        let Shape::List(items) = &self.node.shape else {
            self.wrong_type(report, "a list");
            return None;
        };
        let item = |(i, node)| Field {
            node,
            path: format!("{}[{i}]", self.path),
        };
        Some(items.iter().enumerate().map(item))
    }

    /// The value as a mapping.
    pub(crate) fn object(&self, report: &mut Report) -> Option<Object<'a>> {
        let entries = self.entries(report)?;
        Some(Object {
            at: self.node.at,
            path: self.path.clone(),
            entries,
            known: Vec::new(),
        })
    }

    /// The value as a mapping whose keys are the user's.
    pub(crate) fn entries(&self, report: &mut Report) -> Option<&'a [Entry]> {
        if let Shape::Map(entries) = &self.node.shape {
            return Some(entries);
        }
        self.wrong_type(report, "a mapping");
        None
    }

    fn wrong_type(&self, report: &mut Report, expected: &str) {
        self.refuse(
            report,
            Code::WrongType,
            format!("{expected} is expected, but this is {}", self.node.what()),
        );
    }
}

/// A whole number in decimal digits within bounds.
pub(crate) fn whole(
    field: &Field<'_>,
    report: &mut Report,
    text: &str,
    bounds: std::ops::RangeInclusive<u32>,
) -> Option<u32> {
    let (low, high) = (*bounds.start(), *bounds.end());
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let out_of_range = |report: &mut Report| {
        let message = format!("{} is not between {low} and {high}", shown(text));
        field.refuse(report, Code::OutOfRange, message);
    };
    if text.starts_with('-') && in_decimal(unsigned).is_some_and(|number| number > 0) {
        // Whatever its digits mean, it is below every bound.
        out_of_range(report);
        return None;
    }
    if let Some(digits) = with_leading_zero(unsigned) {
        let decimal = digits.trim_start_matches('0');
        let decimal = if decimal.is_empty() { "0" } else { decimal };
        let message = match u64::from_str_radix(digits, 8) {
            Ok(octal) if octal.to_string() != decimal => format!(
                "`{}` is {octal} to YAML 1.1 and {decimal} to YAML 1.2: write {octal} or {decimal}",
                shown(text)
            ),
            _ => format!(
                "`{}`: write it without zeros before it: {}",
                shown(text),
                shown(decimal)
            ),
        };
        field.refuse(report, Code::BadNumber, message);
        return None;
    }
    match text.parse::<i128>() {
        Ok(number) if i128::from(low) <= number && number <= i128::from(high) => u32::try_from(number).ok(),
        Ok(_) => {
            out_of_range(report);
            None
        }
        Err(_) => {
            let message = match in_decimal(unsigned) {
                Some(number) => format!("`{}`: write it in decimal digits: {number}", shown(text)),
                None => format!("`{}` is not a whole number", shown(text)),
            };
            field.refuse(report, Code::BadNumber, message);
            None
        }
    }
}

/// The digits of a number without a sign that begins with a zero and goes on.
fn with_leading_zero(digits: &str) -> Option<&str> {
    let is_such = digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|c| c.is_ascii_digit());
    is_such.then_some(digits)
}

/// A whole number without a sign that YAML reads from other digits, or from digits in groups.
fn in_decimal(text: &str) -> Option<u64> {
    let plain = text.replace('_', "");
    let radix = |prefix: &str, radix| {
        let digits = plain.strip_prefix(prefix)?;
        u64::from_str_radix(digits, radix).ok()
    };
    radix("0x", 16)
        .or_else(|| radix("0o", 8))
        .or_else(|| radix("0b", 2))
        .or_else(|| plain.parse().ok())
}

// === impl Object ===

impl<'a> Object<'a> {
    pub(crate) fn at(&self) -> Mark {
        self.at
    }

    /// The path of a field of this name.
    pub(crate) fn path_of(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// The field of that name. A field that is null is as good as absent, as in Kubernetes.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.known.push(name);
        let entry = self.entries.iter().find(|entry| entry.key.text == name)?;
        (!entry.value.is_null()).then(|| Field {
            node: &entry.value,
            path: self.path_of(name),
        })
    }

    /// The field of that name as a text.
    pub(crate) fn text(&mut self, name: &'static str, report: &mut Report) -> Option<&'a str> {
        self.take(name)?.text(report)
    }

    /// The field of that name, which must be there.
    pub(crate) fn require(&mut self, name: &'static str, report: &mut Report) -> Option<Field<'a>> {
        let field = self.take(name);
        if field.is_none() {
            report.problem(
                self.at,
                &self.path_of(name),
                Code::MissingField,
                "this field is required",
            );
        }
        field
    }

    /// Notes every field that nobody took.
    pub(crate) fn close(self, report: &mut Report) {
        for entry in self.entries {
            let name = entry.key.text.as_str();
            if self.known.contains(&name) {
                continue;
            }
            let message = match suggest::nearest(name, &self.known) {
                Some(near) => format!("there is no such field; did you mean `{near}`?"),
                None => format!("there is no such field; there are {}", self.known.join(", ")),
            };
            report.problem(
                entry.key_at,
                &join(&self.path, &shown(name)),
                Code::UnknownField,
                message,
            );
        }
    }
}

/// `path.name`, or `name` at the top.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
