//! How jsonpath-rust reads our values. Only tests use it, as a witness for the walk that filters make.

use std::borrow::Cow;

use jsonpath_rust::query::queryable::Queryable;

use super::{Number, Value};

impl Queryable for Value<'_> {
    fn get(&self, key: &str) -> Option<&Self> {
        self.get(key)
    }

    fn as_array(&self) -> Option<&Vec<Self>> {
        self.as_array()
    }

    fn as_object(&self) -> Option<Vec<(&str, &Self)>> {
        match self {
            Self::Object(members) => Some(members.iter().collect()),
            _ => None,
        }
    }

    fn as_str(&self) -> Option<&str> {
        self.as_str()
    }

    fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Number(Number::Whole(whole)) => Some(*whole),
            _ => None,
        }
    }

    fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => number.double(),
            _ => None,
        }
    }

    fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    fn null() -> Self {
        Self::Null
    }
}

impl From<&str> for Value<'_> {
    fn from(text: &str) -> Self {
        Self::String(Cow::Owned(text.to_owned()))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::String(Cow::Owned(text))
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<i64> for Value<'_> {
    fn from(whole: i64) -> Self {
        Self::Number(Number::Whole(whole))
    }
}

impl From<f64> for Value<'_> {
    fn from(double: f64) -> Self {
        Self::Number(Number::Double(double))
    }
}

impl From<Vec<Self>> for Value<'_> {
    fn from(items: Vec<Self>) -> Self {
        Self::Array(items)
    }
}
