//! The typed values of the map form, compared with JSON.

use crate::filter::Scalar;
use crate::json::Seen;
use crate::value::{self, Value};

/// A value that something selected must be equal to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Null,
    Boolean(bool),
    /// As the user wrote it.
    Number(Box<str>),
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
            Scalar::Number(text) => match value::read(text.as_bytes()) {
                Ok(Value::Number(_)) => Self::Number(text.trim().into()),
                Ok(_) | Err(_) => return Err("the number is none that JSON can spell".to_owned()),
            },
        })
    }

    /// Whether the value is this one: of the same type, texts alike, numbers saying the same.
    pub(crate) fn is(&self, value: Seen<'_>) -> bool {
        match (self, value) {
            (Self::Null, Seen::Null) => true,
            (Self::Boolean(wanted), Seen::Boolean(is)) => *wanted == is,
            (Self::Text(wanted), Seen::Text(is)) => **wanted == *is,
            (Self::Number(wanted), Seen::Number(is)) => is.says(wanted),
            _ => false,
        }
    }

    /// Whether the value is of the same type.
    pub(crate) fn is_of_type(&self, value: Seen<'_>) -> bool {
        matches!(
            (self, value),
            (Self::Null, Seen::Null)
                | (Self::Boolean(_), Seen::Boolean(_))
                | (Self::Number(_), Seen::Number(_))
                | (Self::Text(_), Seen::Text(_) | Seen::HalfPair(_))
        )
    }
}
