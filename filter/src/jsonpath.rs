//! Paths into an event's data, as RFC 9535 has them: checked and compiled once, then asked of parsed JSON.
//!
//! jsonpath-rust parses them. The author of a trigger or the sender of an event may be hostile, so some paths
//! are refused (`bounds`), and the walk counts its steps (`walk`, `compare`). The typed values of the map
//! form are in `wanted`, the sentences of explanations in `reasons`.

mod bounds;
mod compare;
mod document;
mod reasons;
mod walk;
mod wanted;

use std::ops::ControlFlow::{Break, Continue};

use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::parser::parse_json_path;

use crate::compile::CompileError;
use crate::json::{Id, Json, ROOT, Seen};
use crate::meter::Meter;
use crate::subject::{NoJson, Subject};
pub use document::Document;
pub(crate) use reasons::of_clause;
use walk::{End, Walk};
pub(crate) use wanted::Wanted;

/// The longest path, in bytes.
pub const MAX_PATH_BYTES: usize = 1_024;

/// A path made ready.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath {
    text: Box<str>,
    query: JpQuery,
    /// How many times it may visit each value of the data; 0 when it names one place.
    visits: usize,
}

/// The question of one clause: does the path select something, or something that is this?
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PathTest {
    pub(crate) path: JsonPath,
    pub(crate) wanted: Option<Wanted>,
}

/// What a path was evaluated on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked<'d> {
    /// Nothing: the data is not JSON.
    NoJson(&'d NoJson),
    /// The data, as far as the walk went.
    Json(&'d Json),
    /// The data is not parsed, because there is no time for it here.
    Later,
}

// === impl JsonPath ===

impl JsonPath {
    /// Compiles a path.
    ///
    /// # Errors
    /// It is no path of RFC 9535, longer than [`MAX_PATH_BYTES`], uses a regular expression (`match`,
    /// `search`) or another function that the RFC does not have, or could visit each value of the data too
    /// often. The `path` of the error is empty.
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

    /// How many times it may visit each value of the data; 0 when it names one place.
    pub(crate) fn visits(&self) -> usize {
        self.visits
    }

    /// Shows each selected value until `more` returns that no more is needed. Returns whether it came to the
    /// end.
    fn look(&self, json: &Json, meter: &Meter<'_>, mut more: impl FnMut(Id) -> bool) -> bool {
        let walk = Walk { json, meter };
        let ended = walk.select(&self.query.segments, ROOT, &mut |id| {
            if more(id) {
                Continue(())
            } else {
                Break(End::Enough)
            }
        });
        ended != Break(End::Stopped)
    }
}

// === impl Asked ===

impl Asked<'_> {
    /// Whether the data is broken JSON, rather than no JSON at all.
    pub(crate) fn is_error(self) -> bool {
        matches!(self, Self::NoJson(NoJson::Broken(_)))
    }
}

// === impl PathTest ===

impl PathTest {
    /// Whether the clause holds, and the data it was asked of. The data is parsed now unless another clause
    /// has asked for it before.
    pub(crate) fn ask<'d>(&self, subject: &'d Subject<'_>, meter: &Meter<'_>) -> (bool, Asked<'d>) {
        let json = match subject.json(meter) {
            None => return (false, Asked::Later),
            Some(Err(reason)) => return (false, Asked::NoJson(reason)),
            Some(Ok(json)) => json,
        };
        let mut held = false;
        let to_the_end = self.path.look(json, meter, |id| {
            held = self.is_wanted(json.see(id), meter);
            !held && meter.stopped().is_none()
        });
        (held && to_the_end, Asked::Json(json))
    }

    /// Whether a selected value is one that the clause asks for.
    fn is_wanted(&self, value: Seen<'_>, meter: &Meter<'_>) -> bool {
        let Some(wanted) = &self.wanted else { return true };
        let spent = meter
            .spend(1)
            .and_then(|()| meter.spend_on_text(wanted.cost(value)));
        spent.is_ok() && wanted.is(value)
    }
}

#[cfg(test)]
mod tests;
