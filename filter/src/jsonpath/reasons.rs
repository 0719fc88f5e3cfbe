//! What a path found, in sentences.

use jsonpath_rust::parser::errors::JsonPathError;

use super::{Found, PathTest, Wanted};
use crate::explain::{Verdict, quoted, shortened};
use crate::subject::NoJson;
use crate::value::Value;

/// How many selected values a sentence shows.
const SHOWN_VALUES: usize = 3;

/// The parser's message on one line, with the column.
pub(super) fn of_parsing(text: &str, error: &JsonPathError) -> String {
    if !text.starts_with('$') {
        return "a path begins with `$`, which is the whole of the data".to_owned();
    }
    let JsonPathError::PestError(error) = error else {
        return format!(
            "this is no JSONPath (RFC 9535): {}",
            shortened(&error.to_string())
        );
    };
    // The parser shows a picture of several lines, which begins with ` --> line:column`.
    let picture = error.to_string();
    let place = picture.lines().next().and_then(|line| line.rsplit(':').next());
    format!(
        "this is no JSONPath (RFC 9535): at column {}: {}",
        place.unwrap_or("1"),
        error.variant.message()
    )
}

/// The verdict of a clause and the sentence for it.
pub(crate) fn of_clause(test: &PathTest, found: &Found<'_>, held: bool) -> (Verdict, String) {
    let path = shortened(test.path.as_str());
    let values = match found {
        Found::NoJson(NoJson::Absent) => return (Verdict::Absent, "the event has no data".to_owned()),
        Found::NoJson(NoJson::OtherType(media)) => {
            let reason = match media {
                Some(media) => format!("the data is not JSON: datacontenttype is {}", quoted(media)),
                None => "the data is not JSON: the event has no attribute datacontenttype".to_owned(),
            };
            return (Verdict::WrongType, reason);
        }
        Found::NoJson(NoJson::Broken(message)) => {
            return (Verdict::Error, format!("the data is no valid JSON: {message}"));
        }
        Found::TooMuch => {
            let reason = format!("{path} would cost too much: the data is too large for this path");
            return (Verdict::Error, reason);
        }
        Found::Unordered => {
            let reason = format!("{path} compares by < or > and turns that round, but {UNORDERED}");
            return (Verdict::Error, reason);
        }
        Found::Values { values, unordered } => {
            if values.is_empty() && *unordered {
                return (Verdict::Absent, format!("{path} selects nothing; {UNORDERED}"));
            }
            values
        }
    };
    if values.is_empty() {
        return (Verdict::Absent, format!("{path} selects nothing"));
    }
    let seen = shown(values);
    let Some(wanted) = &test.wanted else {
        return (Verdict::Held, format!("{path} selects {seen}"));
    };
    if held {
        return (Verdict::Held, format!("{path} is {seen}"));
    }
    let verdict = if values.iter().any(|value| wanted.is_of_type(value)) {
        Verdict::Different
    } else {
        Verdict::WrongType
    };
    (verdict, format!("{path} is {seen}, not {}", spelled(wanted)))
}

/// Why a comparison may not have held.
const UNORDERED: &str = "the data has a number beyond 64 bits, which is equal to the same number only and neither less nor more than any";

fn shown(values: &[&Value<'_>]) -> String {
    let mut shown: Vec<String> = values.iter().take(SHOWN_VALUES).map(|value| one(value)).collect();
    if values.len() > SHOWN_VALUES {
        shown.push(format!("and {} more", values.len() - SHOWN_VALUES));
    }
    shown.join(", ")
}

/// A value as JSON, shortened; what is large is only named, so that it need not be written to be cut.
fn one(value: &Value<'_>) -> String {
    match value {
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(members) => format!("an object of {}", members.len()),
        Value::String(text) => quoted(text),
        Value::HalfPair(raw) => format!("{}, which has half of a surrogate pair", quoted(raw)),
        Value::Number(number) => shortened(&number.text()),
        Value::Null | Value::Bool(_) => value.to_string(),
    }
}

fn spelled(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Null => "null".to_owned(),
        Wanted::Boolean(truth) => truth.to_string(),
        Wanted::Number(text) => shortened(text),
        Wanted::Text(text) => quoted(text),
    }
}
