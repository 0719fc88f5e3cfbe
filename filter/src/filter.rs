//! What a user wrote: the dialects of `filter.attributes` and `filters[]` as a tree.

use serde::{Deserialize, Serialize};

/// One filter expression. Texts are as written; nothing has been checked yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// The older `filter.attributes`: all equal; an empty value asks that the attribute is present and not
    /// empty.
    Attributes(Vec<(String, String)>),
    /// All named attributes are equal to the values.
    Exact(Vec<(String, String)>),
    /// All named attributes begin with the values.
    Prefix(Vec<(String, String)>),
    /// All named attributes end with the values.
    Suffix(Vec<(String, String)>),
    /// A CESQL expression is true.
    Cesql(String),
    /// A path selects something of the data.
    JsonPath(String),
    /// Each of these paths selects a value of the data that is equal to this one.
    #[serde(rename = "jsonpath-equals")]
    JsonPathEquals(Vec<(String, Scalar)>),
    /// All of these (at least one).
    All(Vec<Filter>),
    /// Any of these (at least one).
    Any(Vec<Filter>),
    /// The contrary.
    Not(Box<Filter>),
}

/// A typed value to compare JSON with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scalar {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A number, as JSON spells it.
    Number(String),
    /// A string.
    Text(String),
}
