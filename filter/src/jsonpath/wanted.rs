//! The typed values of the map form, compared with JSON.

use serde_json::{Number, Value};

use crate::filter::Scalar;

/// A value that something selected must be equal to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Null,
    Boolean(bool),
    Number(Number),
    Text(Box<str>),
}

impl Wanted {
    /// Checks what a user wrote.
    ///
    /// # Errors
    /// A sentence when the number is none that JSON can spell.
    pub(crate) fn new(scalar: &Scalar) -> Result<Self, String> {
        Ok(match scalar {
            Scalar::Null => Self::Null,
            Scalar::Boolean(truth) => Self::Boolean(*truth),
            Scalar::Text(text) => Self::Text(text.as_str().into()),
            Scalar::Number(text) => Self::Number(
                serde_json::from_str(text)
                    .map_err(|_| "the number is none that JSON can spell".to_owned())?,
            ),
        })
    }

    /// Whether the value is this one: of the same type, texts alike, numbers alike as numbers.
    pub(crate) fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null) => true,
            (Self::Boolean(wanted), Value::Bool(is)) => wanted == is,
            (Self::Text(wanted), Value::String(is)) => **wanted == **is,
            (Self::Number(wanted), Value::Number(is)) => same_number(wanted, is),
            _ => false,
        }
    }

    /// Whether the value is of the same type.
    pub(crate) fn is_of_type(&self, value: &Value) -> bool {
        matches!(
            (self, value),
            (Self::Null, Value::Null)
                | (Self::Boolean(_), Value::Bool(_))
                | (Self::Number(_), Value::Number(_))
                | (Self::Text(_), Value::String(_))
        )
    }
}

/// Whole numbers of up to 64 bits are compared exactly, all others as doubles.
fn same_number(a: &Number, b: &Number) -> bool {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => a == b,
        _ => a.as_f64() == b.as_f64(),
    }
}
