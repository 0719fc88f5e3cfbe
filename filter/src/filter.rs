//! What a user wrote: the dialects of `filter.attributes` and `filters[]` as a tree.

/// One filter expression. Texts are as written; nothing has been checked yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The older `filter.attributes`: all equal; an empty value asks that the attribute is present and not empty.
    Attributes(Vec<(String, String)>),
    /// All named attributes are equal to the values.
    Exact(Vec<(String, String)>),
    /// All named attributes begin with the values.
    Prefix(Vec<(String, String)>),
    /// All named attributes end with the values.
    Suffix(Vec<(String, String)>),
    /// All of these (at least one).
    All(Vec<Filter>),
    /// Any of these (at least one).
    Any(Vec<Filter>),
    /// The contrary.
    Not(Box<Filter>),
}
