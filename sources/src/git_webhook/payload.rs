//! The JSON of a call: the body itself, or what a form holds.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use millrace_filter::value::{self, Value};
use millrace_model::source::git_webhook::Forge;

use super::refuse::RefusedCall;

/// How the JSON lies in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrapping {
    /// The body is the JSON.
    Bare,
    /// It is the field `payload` of a form.
    Form,
}

/// The JSON of a verified call.
#[derive(Debug)]
pub(super) struct Payload<'a> {
    document: Value<'a>,
}

/// A form may need three bytes for each of its JSON, and some for its other fields.
const FORM_FACTOR: usize = 3;
const FORM_REST: usize = 64 * 1024;

// === impl Wrapping ===

impl Wrapping {
    /// What the headers say.
    pub(super) fn of(forge: Forge, headers: &HeaderMap) -> Result<Self, RefusedCall> {
        let encoding = headers.get(CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(RefusedCall::Encoding);
        }
        let Some(value) = headers.get(CONTENT_TYPE) else {
            return Ok(Self::Bare);
        };
        let value = value.to_str().map_err(|_| RefusedCall::MediaType)?;
        let essence = value
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let has_forms = matches!(forge, Forge::Github | Forge::Gitea | Forge::Forgejo);
        match essence.as_str() {
            "application/x-www-form-urlencoded" if has_forms => Ok(Self::Form),
            essence if essence.ends_with("/json") || essence.ends_with("+json") => Ok(Self::Bare),
            _ => Err(RefusedCall::MediaType),
        }
    }

    /// The most that a body may have for its JSON to have `limit` bytes.
    pub(super) fn body_bytes(self, limit: usize) -> usize {
        match self {
            Self::Bare => limit,
            Self::Form => limit.saturating_mul(FORM_FACTOR).saturating_add(FORM_REST),
        }
    }

    /// The longest body of any call.
    pub(super) fn largest_body(limit: usize) -> usize {
        Self::Form.body_bytes(limit)
    }

    /// The JSON, byte for byte.
    pub(super) fn unwrap(self, body: &Bytes, limit: usize) -> Result<Bytes, RefusedCall> {
        if self == Self::Bare {
            return Ok(body.clone());
        }
        let mut fields = form_urlencoded::parse(body);
        let (_, payload) = fields
            .find(|(name, _)| name == "payload")
            .ok_or(RefusedCall::FormWithoutPayload)?;
        if payload.len() > limit {
            return Err(RefusedCall::TooLarge(limit));
        }
        Ok(Bytes::from(payload.into_owned()))
    }
}

// === impl Payload ===

impl<'a> Payload<'a> {
    /// Reads JSON, nested up to 128 deep. All valid JSON is accepted: a verified call is not refused for a
    /// number that is too large for a double.
    pub(super) fn read(data: &'a [u8]) -> Result<Self, RefusedCall> {
        let document = value::read(data).map_err(|error| RefusedCall::BadJson(error.in_words(data)))?;
        Ok(Self { document })
    }

    /// The whole document.
    pub(super) fn document(&self) -> &Value<'a> {
        &self.document
    }

    /// The value at a path of names and indices, as text; `None` where there is none, or it is empty or no
    /// single value.
    pub(super) fn text(&self, path: &str) -> Option<Cow<'_, str>> {
        match self.value(path)? {
            Value::String(text) if !text.is_empty() => Some(Cow::Borrowed(text)),
            value @ (Value::Number(_) | Value::Bool(_)) => Some(Cow::Owned(value.to_string())),
            Value::String(_) | Value::HalfPair(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The first of these paths that has a text.
    pub(super) fn first(&self, paths: &[&str]) -> Option<Cow<'_, str>> {
        paths.iter().find_map(|path| self.text(path))
    }

    /// The value at a path.
    pub(super) fn value(&self, path: &str) -> Option<&Value<'a>> {
        path.split('.')
            .try_fold(&self.document, |value, name| match value {
                Value::Object(members) => members.get(name),
                Value::Array(items) => items.get(name.parse::<usize>().ok()?),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::HalfPair(_) => {
                    None
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapping(forge: Forge, content_type: &str) -> Option<Wrapping> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        Wrapping::of(forge, &headers).ok()
    }

    #[test]
    fn json_is_taken_from_all_and_forms_from_those_that_send_them() {
        let json = Some(Wrapping::Bare);
        assert_eq!(wrapping(Forge::Github, "application/json"), json);
        assert_eq!(wrapping(Forge::Gitlab, "Application/JSON; charset=utf-8"), json);
        assert_eq!(wrapping(Forge::Generic, "application/vnd.x+json"), json);
        assert_eq!(wrapping(Forge::Github, "application/xml"), None);
        let form = "application/x-www-form-urlencoded";
        for (forge, takes) in [
            (Forge::Github, true),
            (Forge::Forgejo, true),
            (Forge::Gitlab, false),
        ] {
            assert_eq!(wrapping(forge, form).is_some(), takes, "{forge:?}");
        }
    }

    #[test]
    fn a_form_gives_its_payload_byte_for_byte() {
        let body = Bytes::from_static(b"x=1&payload=%7B%22a%22%3A%22b+c%2B%C3%A9%22%7D&payload=no");
        let payload = Wrapping::Form.unwrap(&body, 100).unwrap();
        assert_eq!(payload, r#"{"a":"b c+é"}"#);
        assert!(matches!(
            Wrapping::Form.unwrap(&body, 5),
            Err(RefusedCall::TooLarge(5))
        ));
        let none = Bytes::from_static(b"x=1");
        assert!(matches!(
            Wrapping::Form.unwrap(&none, 5),
            Err(RefusedCall::FormWithoutPayload)
        ));
    }

    #[test]
    fn a_path_leads_through_objects_and_lists() {
        let payload = Payload::read(br#"{"a":[{"b":"x","n":3,"e":"","z":null}],"t":true}"#).unwrap();
        let text = |path| payload.text(path).map(Cow::into_owned);
        assert_eq!(text("a.0.b").as_deref(), Some("x"));
        assert_eq!(text("a.0.n").as_deref(), Some("3"));
        assert_eq!(text("t").as_deref(), Some("true"));
        for path in ["a", "a.0", "a.1.b", "a.b", "a.0.e", "a.0.z", "t.x", ""] {
            assert_eq!(text(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_not_json_is_told_with_its_place() {
        for (text, place) in [
            ("{", "line 1, column 2"),
            ("{\"a\": 1,\n \"é\": nope}", "line 2, column 7"),
            ("{}\n{}", "line 2, column 1"),
            ("", "line 1, column 1"),
            ("a=b&c=d", "line 1, column 1"),
        ] {
            let refused = Payload::read(text.as_bytes()).expect_err(text).to_string();
            assert!(refused.ends_with(place), "{text}: {refused}");
        }
    }

    #[test]
    fn what_is_not_json_or_too_deep_is_refused() {
        let deep = [vec![b'['; 200], vec![b']'; 200]].concat();
        for good in [br#"{"n":1e400}"#.as_slice(), br#"["\ud800"]"#] {
            assert!(Payload::read(good).is_ok());
        }
        for bad in [b"".as_slice(), b"{", b"nope", b"{}x", b"\"\xff\"", &deep] {
            assert!(matches!(Payload::read(bad), Err(RefusedCall::BadJson(_))));
        }
    }
}
