//! Why a filter decided as it did.

/// The decision with the clause that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whether the event passes.
    pub matched: bool,
    /// The clause that decided; `None` when there is no clause at all (everything passes).
    pub decided_by: Option<Clause>,
}

/// One clause and what it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Where it stands, e.g. `filters[1].all[0].exact.type` or `filter.attributes.type`.
    pub path: String,
    /// A sentence: what it asked and what the event had.
    pub because: String,
}
