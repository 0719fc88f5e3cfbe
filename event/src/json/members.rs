//! The members of a JSON object as they stand in the text: names decoded, values untouched.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::builder::MAX_ATTRIBUTES;
use crate::invalid::{Fault, Invalid, excerpt};

/// The most members that are looked at: all attributes, the specversion, and the data.
const MAX_MEMBERS: usize = MAX_ATTRIBUTES + 2;

/// The members of an object, in order, each name once.
pub(super) struct Members<'a> {
    list: Vec<(Cow<'a, str>, &'a RawValue)>,
    too_many: bool,
}

// === impl Members ===

impl<'a> Members<'a> {
    /// The members of the one JSON object that `text` is.
    pub(super) fn of(text: &'a str) -> Result<Self, Invalid> {
        let members: Self = serde_json::from_str(text).map_err(|error| not_json(&error, "a JSON object"))?;
        if members.too_many {
            let message = format!("the event has more than {MAX_MEMBERS} members");
            return Err(Invalid::new(Fault::AttributesTooLarge, message));
        }
        for (index, (name, _)) in members.list.iter().enumerate() {
            if members.list[..index].iter().any(|(earlier, _)| earlier == name) {
                let message = format!("the member `{}` is there more than once", excerpt(name));
                return Err(Invalid::of(Fault::DuplicateAttribute, name, message));
            }
        }
        Ok(members)
    }

    /// The value of a member, as text.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.list
            .iter()
            .find(|(member, _)| member == name)
            .map(|(_, value)| value.get())
    }

    /// All members in order: name, and value as text.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.list.iter().map(|(name, value)| (name.as_ref(), value.get()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

/// A name, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members {
            list: Vec::with_capacity(16),
            too_many: false,
        };
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            if members.list.len() < MAX_MEMBERS {
                members.list.push((name, value));
            } else {
                members.too_many = true;
            }
        }
        Ok(members)
    }
}

/// The fault of a body that is not the JSON it should be; the place is told, the content is not.
pub(super) fn not_json(error: &serde_json::Error, expected: &str) -> Invalid {
    let message = match error.classify() {
        serde_json::error::Category::Data => format!("the body is not {expected}"),
        _ => format!(
            "the body is not JSON: it goes wrong in line {}, column {}",
            error.line(),
            error.column()
        ),
    };
    Invalid::new(Fault::BadJson, message)
}

/// Whether more than `limit` objects and arrays are open at once anywhere in the text. It need not be JSON.
pub(super) fn deeper_than(text: &str, limit: usize) -> bool {
    // Most texts open less than the limit in all. Counting that is a few vector instructions.
    if text.bytes().filter(|b| matches!(b, b'{' | b'[')).count() <= limit {
        return false;
    }
    let mut depth = 0_usize;
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        match octet {
            b'{' | b'[' => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut octets),
            _ => {}
        }
    }
    false
}

fn skip_string(octets: &mut std::str::Bytes<'_>) {
    while let Some(octet) = octets.next() {
        match octet {
            b'"' => return,
            b'\\' => {
                octets.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_what_is_open_at_once_outside_of_strings() {
        let table = [
            ("1", 0, false),
            ("{}", 0, true),
            ("{}", 1, false),
            ("[[],[],[]]", 2, false),
            ("[[],[[]]]", 2, true),
            (r#"["[[[[", "\"[[[", "\\"]"#, 1, false),
            (r#"["\\", [["#, 2, true),
            ("]]]][", 1, false),
            ("\"unfinished \\", 0, false),
        ];
        for (text, limit, expected) in table {
            assert_eq!(deeper_than(text, limit), expected, "{text}");
        }
    }

    #[test]
    fn values_are_kept_as_text_and_names_decoded() {
        let members = Members::of(r#" {"a": 1e2 , "\u0062":{"x" : [ 1.10 ]}} "#)
            .ok()
            .unwrap();
        assert_eq!(
            members.iter().collect::<Vec<_>>(),
            [("a", "1e2"), ("b", r#"{"x" : [ 1.10 ]}"#)]
        );
    }

    #[test]
    fn a_name_may_stand_only_once_however_it_is_written() {
        let fault = |text| {
            Members::of(text)
                .err()
                .map(|invalid| (invalid.fault, invalid.field))
        };
        let twice = |name: &str| Some((Fault::DuplicateAttribute, Some(name.to_owned())));
        assert_eq!(fault(r#"{"id":"1","\u0069d":"2"}"#), twice("id"));
        assert_eq!(fault(r#"{"a":null,"a":null}"#), twice("a"));
        assert_eq!(fault(r#"{"data":1,"data":1}"#), twice("data"));
        assert_eq!(fault(r#"{"a":1,"b":1}"#), None);
    }
}
