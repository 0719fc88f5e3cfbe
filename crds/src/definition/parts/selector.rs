//! Objects by their labels.

use super::{NAME, bound};
use crate::definition::schema::{Field, Schema, needed, optional};
use crate::document::source::selector::{MAX_REQUIREMENTS, MAX_VALUES};

/// A selector of labels, with fields that stand before them.
pub(crate) fn selector(says: &str, before: Vec<Field>) -> Schema {
    let values = Schema::string("A value.", 63);
    let operator = "How the label relates to the values.";
    let expression = vec![
        needed(
            "key",
            Schema::string("The label, after its domain and `/` if it has one.", NAME + 64),
        ),
        needed(
            "operator",
            Schema::word(operator, vec!["In", "NotIn", "Exists", "DoesNotExist"]),
        ),
        optional(
            "values",
            Schema::list(
                "The values, for In and NotIn.",
                values.clone(),
                0,
                bound(MAX_VALUES),
            ),
        ),
    ];
    let expression = Schema::object("A requirement.", expression);
    let mut fields = before;
    fields.extend([
        optional(
            "matchLabels",
            Schema::map("Labels that must be equal.", values, bound(MAX_REQUIREMENTS)),
        ),
        optional(
            "matchExpressions",
            Schema::list(
                "Requirements that must all hold.",
                expression,
                0,
                bound(MAX_REQUIREMENTS),
            ),
        ),
    ]);
    Schema::object(says, fields)
}
