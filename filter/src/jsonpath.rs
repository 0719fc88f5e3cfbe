//! JSONPath (RFC 9535): compiled once, then the first value that it selects in a JSON document, as text.

use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use serde_json::Value;

/// A compiled path.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(JpQuery);

/// The longest path, in bytes.
const MAX_PATH_BYTES: usize = 1024;

// === impl JsonPath ===

impl JsonPath {
    /// Compiles a path.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn compile(path: &str) -> Result<Self, String> {
        if path.len() > MAX_PATH_BYTES {
            return Err(format!("a path has at most {MAX_PATH_BYTES} bytes"));
        }
        let parsed = parse_json_path(path);
        parsed
            .map(Self)
            .map_err(|_| "this is not a JSONPath (RFC 9535), as `$.event.type`".to_owned())
    }

    /// The first value that the path selects, as text; `None` where there is none, or it is null, an object or a list.
    pub fn first_text(&self, document: &Value) -> Option<String> {
        let found = js_path_process(&self.0, document).ok()?;
        match found.first()?.val {
            Value::String(text) => Some(text.clone()),
            value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_is_given_as_text() {
        let document: Value = serde_json::from_str(r#"{"a":{"b":["x",2]},"n":7,"t":true,"z":null}"#).unwrap();
        let table = [
            ("$.a.b[0]", Some("x")),
            ("$.a.b[*]", Some("x")),
            ("$.a.b[1]", Some("2")),
            ("$.n", Some("7")),
            ("$.t", Some("true")),
            ("$.z", None),
            ("$.a", None),
            ("$.missing", None),
        ];
        for (path, expected) in table {
            let found = JsonPath::compile(path).unwrap().first_text(&document);
            assert_eq!(found.as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in ["", "a.b", "$.", "$[", &"$.a".repeat(1000)] {
            assert!(JsonPath::compile(path).is_err(), "{path}");
        }
    }
}
