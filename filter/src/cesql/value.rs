//! The values of the language and the casts between its three types.

use std::borrow::Cow;

/// A value: what an attribute is, or an expression gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'x> {
    /// A String; URIs, timestamps and binaries are Strings too, with the text they came with.
    Text(Cow<'x, str>),
    /// An Integer.
    Integer(i32),
    /// A Boolean.
    Boolean(bool),
}

/// The types of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Integer,
    Boolean,
}

// === impl Value ===

impl<'x> Value<'x> {
    pub(crate) fn of_type(&self) -> Type {
        match self {
            Self::Text(_) => Type::Text,
            Self::Integer(_) => Type::Integer,
            Self::Boolean(_) => Type::Boolean,
        }
    }

    /// The value as one of another type; the value itself when it has no form there.
    pub(crate) fn cast(self, to: Type) -> Result<Value<'x>, Value<'x>> {
        match to {
            Type::Text => Ok(Value::Text(self.into_text())),
            Type::Integer => self.to_integer().map(Value::Integer).ok_or(self),
            Type::Boolean => self.to_boolean().map(Value::Boolean).ok_or(self),
        }
    }

    /// Every value has a text.
    pub(crate) fn into_text(self) -> Cow<'x, str> {
        match self {
            Self::Text(text) => text,
            Self::Integer(number) => Cow::Owned(number.to_string()),
            Self::Boolean(true) => Cow::Borrowed("true"),
            Self::Boolean(false) => Cow::Borrowed("false"),
        }
    }

    pub(crate) fn to_integer(&self) -> Option<i32> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Integer(number) => Some(*number),
            Self::Boolean(truth) => Some(i32::from(*truth)),
        }
    }

    pub(crate) fn to_boolean(&self) -> Option<bool> {
        match self {
            Self::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Self::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
            Self::Text(_) => None,
            Self::Integer(number) => Some(*number != 0),
            Self::Boolean(truth) => Some(*truth),
        }
    }
}

// === impl Type ===

impl Type {
    /// What an operator of this type gives when it fails.
    pub(crate) fn zero(self) -> Value<'static> {
        match self {
            Self::Text => Value::Text(Cow::Borrowed("")),
            Self::Integer => Value::Integer(0),
            Self::Boolean => Value::Boolean(false),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "a String",
            Self::Integer => "an Integer",
            Self::Boolean => "a Boolean",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_are_those_of_the_specification() {
        let text = |text: &'static str| Value::Text(Cow::Borrowed(text));
        let table = [
            (text("12"), Type::Integer, Some(Value::Integer(12))),
            (text("-12"), Type::Integer, Some(Value::Integer(-12))),
            (text("2147483648"), Type::Integer, None),
            (text("1.0"), Type::Integer, None),
            (text(" 1"), Type::Integer, None),
            (text(""), Type::Integer, None),
            (text("tRuE"), Type::Boolean, Some(Value::Boolean(true))),
            (text("FALSE"), Type::Boolean, Some(Value::Boolean(false))),
            (text("1"), Type::Boolean, None),
            (Value::Integer(-5), Type::Text, Some(text("-5"))),
            (Value::Integer(-5), Type::Boolean, Some(Value::Boolean(true))),
            (Value::Integer(0), Type::Boolean, Some(Value::Boolean(false))),
            (Value::Boolean(true), Type::Integer, Some(Value::Integer(1))),
            (Value::Boolean(false), Type::Text, Some(text("false"))),
        ];
        for (value, to, expected) in table {
            assert_eq!(value.clone().cast(to).ok(), expected, "{value:?} as {to:?}");
        }
    }
}
