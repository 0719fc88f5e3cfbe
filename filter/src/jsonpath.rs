//! Paths into an event's data, as RFC 9535 has them: checked and compiled once, then asked of parsed JSON.
//!
//! The work is jsonpath-rust's. Around it stand bounds (`bounds`), since whoever writes a trigger or sends an event may
//! be hostile, the typed values of the map form (`wanted`) and the sentences of explanations (`reasons`).

mod bounds;
mod reasons;
mod wanted;

use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use serde_json::Value;

use crate::compile::CompileError;
use crate::subject::{Json, NoJson, Subject};
pub(crate) use bounds::weight;
pub(crate) use reasons::of_clause;
pub(crate) use wanted::Wanted;

/// The longest path, in bytes.
pub const MAX_PATH_BYTES: usize = 1_024;
/// What one evaluation may cost, in bytes of the places (`$['items'][3]`) it visits; then the path selects nothing, and
/// the explanation says so.
pub const MAX_PATH_WORK: usize = 4 << 20;

/// A path made ready.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath {
    text: Box<str>,
    query: JpQuery,
    /// How often it may visit each value of the data; 0 when it names one place.
    visits: usize,
}

/// The question of one clause: does the path select something, or something that is this?
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PathTest {
    pub(crate) path: JsonPath,
    pub(crate) wanted: Option<Wanted>,
}

/// What a path finds in an event's data.
#[derive(Debug)]
pub(crate) enum Found<'d> {
    NoJson(&'d NoJson),
    TooMuch,
    Values(Vec<&'d Value>),
}

// === impl JsonPath ===

impl JsonPath {
    /// Compiles a path.
    ///
    /// # Errors
    /// It is no path of RFC 9535, longer than [`MAX_PATH_BYTES`], uses a regular expression (`match`, `search`) or
    /// another function that the RFC does not have, or could visit each value of the data too often. The `path` of the
    /// error is empty.
    pub fn new(text: &str) -> Result<Self, CompileError> {
        let refuse = |message| CompileError {
            path: String::new(),
            message,
        };
        bounds::before_parsing(text).map_err(refuse)?;
        let query = parse_json_path(text).map_err(|error| refuse(reasons::of_parsing(text, &error)))?;
        let visits = bounds::visits(&query).map_err(refuse)?;
        Ok(Self {
            text: text.into(),
            query,
            visits,
        })
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first value that the path selects, as a text: a string as it is, `null` as nothing, anything else as JSON.
    /// Nothing as well where the path would cost more than [`MAX_PATH_WORK`].
    pub fn first_text(&self, data: &Value) -> Option<String> {
        if self.visits > 0 && self.visits.saturating_mul(weight(data)) > MAX_PATH_WORK {
            return None;
        }
        match self.select(data).first()? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Some(other.to_string())
            }
        }
    }

    /// The same for JSON that has not been parsed; nothing when it is none.
    pub fn first_text_of(&self, json: &[u8]) -> Option<String> {
        self.first_text(&serde_json::from_slice(json).ok()?)
    }

    fn select<'d>(&self, data: &'d Value) -> Vec<&'d Value> {
        let found = js_path_process(&self.query, data).unwrap_or_default();
        found.into_iter().map(|found| found.val).collect()
    }

    fn find<'d>(&self, data: &'d Json) -> Found<'d> {
        if self.visits > 0 && self.visits.saturating_mul(data.weight()) > MAX_PATH_WORK {
            return Found::TooMuch;
        }
        Found::Values(self.select(&data.value))
    }
}

// === impl Found ===

impl Found<'_> {
    /// Whether nothing could be found out, other than for data that is no JSON at all.
    pub(crate) fn is_error(&self) -> bool {
        matches!(self, Self::TooMuch | Self::NoJson(NoJson::Broken(_)))
    }
}

// === impl PathTest ===

impl PathTest {
    /// What the path selects of the event's data, which is parsed now unless another clause has asked for it before.
    pub(crate) fn find<'d>(&self, subject: &'d Subject<'_>) -> Found<'d> {
        match subject.json() {
            Ok(data) => self.path.find(data),
            Err(reason) => Found::NoJson(reason),
        }
    }

    /// Whether that is what the clause asks for.
    pub(crate) fn holds(&self, found: &Found<'_>) -> bool {
        let Found::Values(values) = found else {
            return false;
        };
        match &self.wanted {
            None => !values.is_empty(),
            Some(wanted) => values.iter().any(|value| wanted.is(value)),
        }
    }
}

#[cfg(test)]
mod tests;
