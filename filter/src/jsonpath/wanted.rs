//! The typed values of the map form, compared with JSON.

use crate::filter::Scalar;
use crate::json::Seen;
use crate::value::{self, Number, Value};

/// A value that something selected must be equal to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wanted {
    Null,
    Boolean(bool),
    Number(WantedNumber),
    Text(Box<str>),
}

/// A number that is compared with many others, so it is read only once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WantedNumber {
    /// As the user wrote it.
    pub(crate) text: Box<str>,
    whole: Option<i64>,
    double: Option<f64>,
}

// === impl Wanted ===

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
                Ok(Value::Number(number)) => Self::Number(WantedNumber {
                    text: text.trim().into(),
                    whole: match number {
                        Number::Whole(whole) => Some(whole),
                        Number::Double(_) | Number::Written { .. } => None,
                    },
                    double: number.double(),
                }),
                Ok(_) | Err(_) => return Err("the number is none that JSON can spell".to_owned()),
            },
        })
    }

    /// Whether the value is this one: the same type, and equal texts or equal numbers.
    pub(crate) fn is(&self, value: Seen<'_>) -> bool {
        match (self, value) {
            (Self::Null, Seen::Null) => true,
            (Self::Boolean(wanted), Seen::Boolean(is)) => *wanted == is,
            (Self::Text(wanted), Seen::Text(is)) => **wanted == *is,
            (Self::Number(wanted), Seen::Number(is)) => wanted.number() == is,
            _ => false,
        }
    }

    /// What [`is`](Wanted::is) costs beyond a step, in bytes of text compared.
    pub(crate) fn cost(&self, value: Seen<'_>) -> usize {
        match (self, value) {
            (Self::Text(wanted), Seen::Text(is)) if wanted.len() == is.len() => wanted.len(),
            (Self::Number(wanted), Seen::Number(is)) => wanted.number().cost(&is),
            _ => 0,
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

// === impl WantedNumber ===

impl WantedNumber {
    fn number(&self) -> Number<'_> {
        match self.whole {
            Some(whole) => Number::Whole(whole),
            None => Number::Written {
                text: &self.text,
                double: self.double,
            },
        }
    }
}
