//! Which events are wanted. Filters recurse and schemas do not, so the levels are written out.

use serde_json::json;

use super::TEXT;
use crate::definition::policy::MANY_DIALECTS;
use crate::definition::rule::{Part, Rule};
use crate::definition::schema::{Schema, optional};

/// The most attributes in one mapping of a filter.
const ATTRIBUTES: u32 = 32;

/// The most attributes of the older form.
const OLDER_ATTRIBUTES: u32 = 64;

/// The most elements of a list of filters. CEL's budget allows two levels of them with these bounds.
const ELEMENTS: u32 = 64;

/// The levels of filters whose rules the API server checks.
pub(crate) const LEVELS: u32 = 2;

/// The name of an attribute, as filters have it.
const ATTRIBUTE: &str = "^[a-z][a-z0-9]*$";

/// Attributes and the texts that they are compared with.
fn attributes(says: &str, most: u32) -> Schema {
    Schema::map(says, Schema::string("The text.", TEXT), most).rule(Rule::keys_match(
        ATTRIBUTE,
        "Attribute name must start with a letter and can only contain lowercase alphanumeric",
    ))
}

/// The older form of a filter.
pub(crate) fn filter() -> Schema {
    let says =
        "Texts that attributes of the event must equal. An empty text asks for an attribute that is there.";
    let fields = vec![optional("attributes", attributes(says, OLDER_ATTRIBUTES))];
    let says = "The older form of a filter. It is ignored where `filters` is not empty.";
    Schema::object(says, fields).or_else(json!({}))
}

/// A list of filters.
pub(crate) fn filters(says: &str) -> Schema {
    elements(says, 0, LEVELS)
}

fn elements(says: &str, least: u32, levels: u32) -> Schema {
    Schema::list(says, element("A filter of one dialect.", levels), least, ELEMENTS)
}

/// One filter. A schema cannot recurse, so the last level is whatever it is, and the controller judges it.
fn element(says: &str, levels: u32) -> Schema {
    let Some(below) = levels.checked_sub(1) else {
        let says = "A filter of one dialect. Millrace checks this one, the API server does not.";
        return Schema::object(says, Vec::new()).keeping_others().not_empty();
    };
    let exact = "Attributes that must equal these texts.";
    let prefix = "Attributes that must begin with these texts.";
    let suffix = "Attributes that must end with these texts.";
    let cesql = "An expression in CESQL (CloudEvents SQL) that must be true.";
    let jsonpath =
        "A path of the data that must select something, or paths with the values that they must select.";
    let fields = vec![
        optional("exact", attributes(exact, ATTRIBUTES)),
        optional("prefix", attributes(prefix, ATTRIBUTES)),
        optional("suffix", attributes(suffix, ATTRIBUTES)),
        optional("cesql", Schema::string(cesql, TEXT)),
        optional("jsonpath", Schema::anything(jsonpath)),
        optional("all", elements("Filters that must all hold.", 0, below)),
        optional("any", elements("Filters of which one must hold.", 0, below)),
        optional("not", element("A filter that must not hold.", below)),
    ];
    let dialects = vec![
        Part::NotEmpty("exact"),
        Part::NotEmpty("prefix"),
        Part::NotEmpty("suffix"),
        Part::Filled("cesql"),
        Part::NotEmpty("all"),
        Part::NotEmpty("any"),
        Part::There("not"),
    ];
    Schema::object(says, fields)
        .not_empty()
        .rule(Rule::at_most_one(dialects, MANY_DIALECTS))
}
