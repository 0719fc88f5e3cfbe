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

use crate::compile::CompileError;
use crate::subject::{Json, NoJson, Subject};
use crate::value::{self, Value};
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
    /// What it makes of numbers that are in no order.
    order: Order,
}

/// What a path makes of numbers. Those beyond 64 bits are equal to the same number only and in no order: `<` and `>` do not
/// hold for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// It compares nothing.
    NotAsked,
    /// It compares, and selects less where there is no order.
    Asked,
    /// It may select more where there is no order: it has a `<` or `>` and turns it round by a `!`, or counts.
    Turned,
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
    /// The path might select something just because numbers beyond 64 bits are in no order.
    Unordered,
    Values {
        values: Vec<&'d Value<'d>>,
        /// Numbers beyond 64 bits may be the reason why there are no more.
        unordered: bool,
    },
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
            order: Order::of(text),
        })
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first value that the path selects, as a text: a string as it is, `null` as nothing, anything else as JSON.
    /// Nothing as well where the path would cost more than [`MAX_PATH_WORK`].
    pub fn first_text(&self, data: &Value<'_>) -> Option<String> {
        if self.visits > 0 && self.visits.saturating_mul(weight(data)) > MAX_PATH_WORK {
            return None;
        }
        match self.select(data).first()? {
            Value::Null => None,
            Value::String(text) => Some(text.to_string()),
            other => Some(other.to_string()),
        }
    }

    /// The same for JSON that has not been parsed; nothing when it is none.
    pub fn first_text_of(&self, json: &[u8]) -> Option<String> {
        self.first_text(&value::read(json).ok()?)
    }

    fn select<'d, 'e>(&self, data: &'d Value<'e>) -> Vec<&'d Value<'e>> {
        let found = js_path_process(&self.query, data).unwrap_or_default();
        found.into_iter().map(|found| found.val).collect()
    }

    fn find<'d>(&self, data: &'d Json<'_>) -> Found<'d> {
        if self.visits > 0 && self.visits.saturating_mul(data.weight()) > MAX_PATH_WORK {
            return Found::TooMuch;
        }
        let unordered = self.order != Order::NotAsked && data.has_beyond();
        if unordered && self.order == Order::Turned {
            return Found::Unordered;
        }
        let values = self.select(&data.value);
        Found::Values { values, unordered }
    }
}

// === impl Order ===

impl Order {
    /// What the path asks outside of its texts. Names of members hold none of these signs.
    fn of(path: &str) -> Self {
        let mut plain = String::with_capacity(path.len());
        let (mut open, mut escaped) = (None, false);
        for c in path.chars() {
            match open {
                Some(_) if escaped => escaped = false,
                Some(quote) if c == quote => open = None,
                Some(_) => escaped = c == '\\',
                None if matches!(c, '\'' | '"') => open = Some(c),
                None => plain.push(c),
            }
        }
        let turns = plain.replace("!=", "").contains('!') || plain.split("count").skip(1).any(filters);
        if turns && plain.contains(['<', '>']) {
            Self::Turned
        } else if plain.contains(['<', '>', '=']) {
            Self::Asked
        } else {
            Self::NotAsked
        }
    }
}

/// Whether the argument in brackets, with which this begins, filters.
fn filters(argument: &str) -> bool {
    let mut depth = 0_usize;
    let within = argument.chars().take_while(|c| {
        depth += usize::from(*c == '(');
        depth -= usize::from(*c == ')' && depth > 0);
        depth > 0
    });
    within.into_iter().any(|c| c == '?')
}

// === impl Found ===

impl Found<'_> {
    /// Whether nothing could be found out, other than for data that is no JSON at all.
    pub(crate) fn is_error(&self) -> bool {
        matches!(
            self,
            Self::TooMuch | Self::Unordered | Self::NoJson(NoJson::Broken(_))
        )
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
        let Found::Values { values, .. } = found else {
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
