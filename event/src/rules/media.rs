//! Media types (RFC 2046, by the grammar of RFC 9110 §8.3.1): whether a text is one, and what it says about
//! the data.

/// Whether `text` is a media type with good parameters. An empty parameter (`text/plain;`) is common and
/// harmless.
pub(crate) fn is_media_type(text: &str) -> bool {
    if text == "application/json" {
        return true;
    }
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let Some((main, sub)) = essence.trim_end_matches([' ', '\t']).split_once('/') else {
        return false;
    };
    is_token(main) && is_token(sub) && Parameters { rest: parameters }.all(|parameter| parameter.is_some())
}

/// What every media type of the CloudEvents formats begins with.
const CLOUDEVENTS: &str = "application/cloudevents";

/// The rest of a media type behind the beginning that all CloudEvents formats share, in any case; `None` for
/// another type. Receivers tell the content mode by this beginning alone.
pub(crate) fn behind_cloudevents(text: &str) -> Option<&str> {
    let (head, rest) = text.split_at_checked(CLOUDEVENTS.len())?;
    head.eq_ignore_ascii_case(CLOUDEVENTS).then_some(rest)
}

/// Whether data of this media type is itself an event, or a receiver would take it for one.
pub(crate) fn is_cloudevents(text: &str) -> bool {
    behind_cloudevents(text).is_some()
}

/// The type and subtype without parameters and blanks around, in the letters it came in.
pub(crate) fn essence(text: &str) -> &str {
    text.split(';')
        .next()
        .unwrap_or_default()
        .trim_matches([' ', '\t'])
}

/// Whether data of this media type is JSON: the subtype is `json` or ends with `+json` (CloudEvents JSON
/// 1.0.2 §3.1).
pub(crate) fn is_json(text: &str) -> bool {
    let Some((_, sub)) = essence(text).split_once('/') else {
        return false;
    };
    sub.eq_ignore_ascii_case("json") || ends_with(sub, "+json")
}

/// Whether data of this media type is text that a JSON string can hold without loss: `text/*` or XML, in
/// UTF-8.
pub(crate) fn is_text(text: &str) -> bool {
    let Some((main, sub)) = essence(text).split_once('/') else {
        return false;
    };
    let textual =
        main.eq_ignore_ascii_case("text") || sub.eq_ignore_ascii_case("xml") || ends_with(sub, "+xml");
    textual && is_utf8(text)
}

/// Whether the media type names no charset, or UTF-8, or ASCII, which is a part of it.
pub(crate) fn is_utf8(text: &str) -> bool {
    let Some((_, parameters)) = text.split_once(';') else {
        return true;
    };
    Parameters { rest: parameters }.flatten().all(|(name, value)| {
        let value = value.trim_matches('"');
        !name.eq_ignore_ascii_case("charset")
            || ["utf-8", "utf8", "us-ascii"]
                .iter()
                .any(|known| value.eq_ignore_ascii_case(known))
    })
}

fn ends_with(text: &str, suffix: &str) -> bool {
    let split = text.len().saturating_sub(suffix.len());
    text.as_bytes()[split..].eq_ignore_ascii_case(suffix.as_bytes())
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_tchar)
}

fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// The parameters after the first semicolon: name and value as written, or `None` once for one that is
/// malformed.
struct Parameters<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Option<(&'a str, &'a str)>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.trim_start_matches([' ', '\t', ';']);
        if rest.is_empty() {
            return None;
        }
        self.rest = "";
        let parsed = rest.split_once('=').and_then(|(name, rest)| {
            let end = value_end(rest)?;
            let after = rest[end..].trim_start_matches([' ', '\t']);
            let good = is_token(name) && (after.is_empty() || after.starts_with(';'));
            good.then(|| {
                self.rest = after;
                (name, &rest[..end])
            })
        });
        Some(parsed)
    }
}

/// Where the value of a parameter ends: a token or a quoted string.
fn value_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'"') {
        let end = bytes.iter().position(|&b| !is_tchar(b)).unwrap_or(bytes.len());
        return (end > 0).then_some(end);
    }
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' if bytes.get(at + 1).is_some_and(u8::is_ascii) => at += 2,
            b'\t' | b' '..=b'~' => at += 1,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_follow_the_grammar() {
        for text in [
            "application/json",
            "Application/JSON",
            "text/plain;charset=utf-8",
            "text/plain ; charset=\"utf-8\" ; x=y",
            "text/plain;",
            "multipart/form-data; boundary=\"a \\\" b\"",
            "application/vnd.x+json; profile=\"http://a/b\"",
        ] {
            assert!(is_media_type(text), "{text}");
        }
        for text in [
            "",
            "json",
            "/",
            "a/",
            "/b",
            "a/b/c",
            "a b/c",
            "text/plain; charset",
            "text/plain; =x",
            "text/plain; a=",
            "text/plain; a=\"b",
            "text/plain; a=b c=d",
            "text/é",
            "text/plain, text/html",
            "text/plain; a=\"é\"",
            "text/plain; a=\"\\é\"",
        ] {
            assert!(!is_media_type(text), "{text}");
        }
    }

    #[test]
    fn a_media_type_of_cloudevents_is_told_by_its_beginning() {
        for (text, rest) in [
            ("application/cloudevents+json", Some("+json")),
            (
                "Application/CloudEvents-Batch+JSON; charset=utf-8",
                Some("-Batch+JSON; charset=utf-8"),
            ),
            ("APPLICATION/CLOUDEVENTS", Some("")),
            ("application/cloudevents2", Some("2")),
            ("application/cloudevent+json", None),
            ("application/json", None),
            ("", None),
            ("application/cloudeventé", None),
        ] {
            assert_eq!(behind_cloudevents(text), rest, "{text}");
            assert_eq!(is_cloudevents(text), rest.is_some(), "{text}");
        }
    }

    #[test]
    fn json_is_told_by_the_subtype_in_any_case_and_with_any_parameters() {
        for text in [
            "application/json",
            "model/JSON",
            "Application/Vnd.X+Json; charset=utf-8",
            "text/json ",
        ] {
            assert!(is_json(text), "{text}");
        }
        for text in [
            "",
            "json",
            "application/jsonx",
            "application/x-json",
            "text/plain; a=b+json",
            "application/+é",
        ] {
            assert!(!is_json(text), "{text}");
        }
    }

    #[test]
    fn text_is_what_a_json_string_holds_without_loss() {
        for text in [
            "text/plain",
            "TEXT/csv; charset=UTF-8",
            "application/xml",
            "image/svg+xml",
            "text/a; charset=us-ascii",
        ] {
            assert!(is_text(text), "{text}");
        }
        for text in [
            "application/octet-stream",
            "text/plain; charset=iso-8859-1",
            "",
            "application/json",
        ] {
            assert!(!is_text(text), "{text}");
        }
    }
}
