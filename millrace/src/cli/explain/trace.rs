//! What a filter says of an event, as JSON in the form of the admin API.

use millrace_filter::{Clause, Explanation};
use serde_json::{Value, json};

/// The members of an explanation that the admin API has too.
pub(super) fn of(said: &Explanation) -> Value {
    json!({
        "matched": said.matched,
        "decidedBy": said.decided_by.as_ref().map(clause),
        "clauses": said.clauses.iter().map(clause).collect::<Vec<_>>(),
        "omittedClauses": said.omitted,
    })
}

fn clause(clause: &Clause) -> Value {
    json!({"path": clause.path, "verdict": clause.verdict.as_str(), "because": clause.because})
}
