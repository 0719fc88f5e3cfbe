//! JSON that can be read in one way only: bounded in depth, and no member twice. Two readers of a token with
//! two `sub`s could take it for two people's.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// How deep arrays and objects may stand in each other.
const MAX_DEPTH: usize = 8;
/// The most members of one object.
const MAX_MEMBERS: usize = 256;

/// The members of an object, each as it stands in the text.
#[derive(Debug)]
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

// === impl Object ===

impl<'a> Object<'a> {
    /// Reads a text that is one object and nothing else.
    ///
    /// # Errors
    /// It is none, too deep, or has a member twice. A sentence that repeats nothing of it.
    pub(super) fn read(text: &'a [u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8")?;
        if !is_shallow(text.as_bytes()) {
            return Err("its JSON is nested too deeply");
        }
        serde_json::from_str::<Self>(text).map_err(|error| match error.to_string() {
            said if said.starts_with(TWICE) => TWICE,
            said if said.starts_with(MANY) => MANY,
            _ => "it is not a JSON object",
        })
    }

    /// Whether it has this member, whatever its value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// A member of that type; `None`: it is not there.
    ///
    /// # Errors
    /// It is of another type.
    pub(super) fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, WrongType> {
        let raw = self.raw(name);
        raw.map(|raw| serde_json::from_str(raw.get()).map_err(|_| WrongType))
            .transpose()
    }

    /// A member as it is written.
    pub(super) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.0.iter().find(|(own, _)| own == name);
        found.map(|(_, raw)| *raw)
    }
}

/// A member is not of the type that it must be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongType;

const TWICE: &str = "a member of its JSON is there twice";
const MANY: &str = "its JSON has too many members";

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    if members.iter().any(|(own, _)| *own == name) {
                        return Err(A::Error::custom(TWICE));
                    }
                    if members.len() == MAX_MEMBERS {
                        return Err(A::Error::custom(MANY));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Object(members))
            }
        }
        from.deserialize_map(Members)
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Whether brackets, outside of texts, are not nested too deeply. Looked at before anything is parsed.
fn is_shallow(text: &[u8]) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_in_one_way_or_not_at_all() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        let wide = |members: usize| {
            let all: Vec<_> = (0..members).map(|nth| format!("\"m{nth}\":1")).collect();
            format!("{{{}}}", all.join(","))
        };
        let table = [
            (r#"{"a":1,"b":{"a":1}}"#.to_owned(), None),
            (r#"{"a":"[[[[[[[[[[[[","b":"\"{{{{{{{{{{"}"#.to_owned(), None),
            (nested(7), None),
            (wide(256), None),
            (nested(8), Some("its JSON is nested too deeply")),
            ("[".repeat(100_000), Some("its JSON is nested too deeply")),
            (wide(257), Some(MANY)),
            (r#"{"a":1,"a":1}"#.to_owned(), Some(TWICE)),
            (r#"{"a":1,"\u0061":2}"#.to_owned(), Some(TWICE)),
            (r#"{"a":1} {}"#.to_owned(), Some("it is not a JSON object")),
            (r#"{"a":1,}"#.to_owned(), Some("it is not a JSON object")),
            ("[]".to_owned(), Some("it is not a JSON object")),
            ("null".to_owned(), Some("it is not a JSON object")),
            (String::new(), Some("it is not a JSON object")),
        ];
        for (text, expected) in table {
            let read = Object::read(text.as_bytes());
            assert_eq!(read.err(), expected, "{text:.80}");
        }
        assert_eq!(Object::read(b"{\"a\":\"\xff\"}").err(), Some("it is not UTF-8"));
    }

    #[test]
    fn a_member_has_its_type() {
        let object = Object::read(br#"{"text":"x","number":1,"none":null}"#).expect("an object");
        assert_eq!(object.get::<String>("text"), Ok(Some("x".to_owned())));
        assert_eq!(object.get::<String>("number"), Err(WrongType));
        assert_eq!(object.get::<String>("none"), Err(WrongType));
        assert_eq!(object.get::<String>("absent"), Ok(None));
        assert!(object.has("none") && !object.has("absent"));
    }
}
