//! JSON that several paths look into: laid out once, with one allowance for all of them.

use super::JsonPath;
use crate::json::{Id, Json, Seen};
use crate::meter::{Allowance, MAX_STEPS, Meter};
use crate::value::Value;

/// JSON that several paths look into.
///
/// # Guarantees
/// The data is laid out once. All paths together take no more than [`MAX_STEPS`] steps; those that come later
/// find nothing.
#[derive(Debug)]
pub struct Document {
    json: Json,
    pub(super) allowance: Allowance,
}

// === impl Document ===

impl Document {
    /// Lays out JSON that has been read.
    pub fn of(data: &Value<'_>) -> Self {
        Self {
            json: Json::of(data),
            allowance: Allowance::of(MAX_STEPS),
        }
    }

    /// The first value that the path selects, as a text: a string as it is, `null` as nothing, anything else
    /// as JSON.
    pub fn first_text(&self, path: &JsonPath) -> Option<String> {
        let mut first = None;
        let meter = Meter::new(&self.allowance);
        path.look(&self.json, &meter, |id| {
            first = Some(id);
            false
        });
        self.text(first?)
    }

    fn text(&self, id: Id) -> Option<String> {
        match self.json.see(id) {
            Seen::Null => None,
            Seen::Text(text) => Some(text.to_owned()),
            Seen::Boolean(_) | Seen::Number(_) | Seen::HalfPair(_) | Seen::Array(_) | Seen::Object(_) => {
                Some(self.json.value(id).to_string())
            }
        }
    }
}
