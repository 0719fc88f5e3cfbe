//! The rules for the names and values of attributes in filters.

use crate::clause::Ask;
use crate::compile::{MAX_NAME_BYTES, MAX_VALUE_BYTES};

/// Knative's rule for names; `data` is not an attribute.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let shape = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if name.is_empty() {
        Err("the name of the attribute is empty".to_owned())
    } else if name.len() > MAX_NAME_BYTES {
        Err(format!(
            "the name of the attribute is longer than {MAX_NAME_BYTES} bytes"
        ))
    } else if !shape || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        let name = shown(name);
        Err(format!(
            "`{name}` is no attribute name: lower-case letters and digits, beginning with a letter"
        ))
    } else if name == "data" {
        Err("`data` is not an attribute: filters see only the attributes of an event".to_owned())
    } else {
        Ok(())
    }
}

/// The question of `exact`, `prefix` and `suffix`, where an empty value would ask nothing.
pub(crate) fn dialect_ask(value: &str, ask: fn(Box<str>) -> Ask) -> Result<Ask, String> {
    if value.is_empty() {
        return Err("the value is empty: say what the attribute is compared with".to_owned());
    }
    check_length(value).map(|()| ask(value.into()))
}

/// The question of `filter.attributes`, where an empty value asks for presence.
pub(crate) fn attribute_ask(value: &str) -> Result<Ask, String> {
    check_length(value).map(|()| {
        if value.is_empty() {
            Ask::Present
        } else {
            Ask::Exact(value.into())
        }
    })
}

fn check_length(value: &str) -> Result<(), String> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(format!("the value is longer than {MAX_VALUE_BYTES} bytes"));
    }
    Ok(())
}

/// A name as it can be shown: one line, not endless.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}
