//! Whether a text is a URI-reference or an absolute URI, by the grammar of RFC 3986. It is only checked,
//! never altered: libraries that parse URIs also normalise them, and an event's `source` is compared
//! character by character.

/// Whether `text` is a URI-reference (§4.1): a URI or a relative reference.
pub(crate) fn is_reference(text: &str) -> bool {
    let (rest, fragment) = cut(text.as_bytes(), b'#');
    fragment.is_none_or(is_query) && without_fragment(rest).is_some()
}

/// Whether `text` is an absolute URI (§4.3): it has a scheme and no fragment.
pub(crate) fn is_absolute(text: &str) -> bool {
    without_fragment(text.as_bytes()) == Some(Scheme::Present)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Present,
    Absent,
}

/// Checks everything before the fragment and tells whether it has a scheme.
fn without_fragment(text: &[u8]) -> Option<Scheme> {
    let (hierarchy, query) = cut(text, b'?');
    if !query.is_none_or(is_query) {
        return None;
    }
    // A colon in the first segment ends a scheme: a relative path may not have one there (§4.2).
    let first = hierarchy.split(|&b| b == b'/').next().unwrap_or_default();
    let (scheme, rest) = match first.iter().position(|&b| b == b':') {
        Some(colon) if is_scheme(&hierarchy[..colon]) => (Scheme::Present, &hierarchy[colon + 1..]),
        Some(_) => return None,
        None => (Scheme::Absent, hierarchy),
    };
    let path = match rest.strip_prefix(b"//") {
        Some(rest) => {
            let end = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
            if !is_authority(&rest[..end]) {
                return None;
            }
            &rest[end..]
        }
        None => rest,
    };
    all(path, PCHAR | SLASH).then_some(scheme)
}

/// The part before the first `at`, and the part after it if there is one.
fn cut(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|&b| b == at) {
        Some(found) => (&text[..found], Some(&text[found + 1..])),
        None => (text, None),
    }
}

fn is_scheme(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphabetic)
        && text
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// `[userinfo@]host[:port]` (§3.2).
fn is_authority(text: &[u8]) -> bool {
    let (userinfo, host_port) = match text.iter().position(|&b| b == b'@') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (&b""[..], text),
    };
    if !all(userinfo, UNRESERVED | SUB_DELIM | COLON) {
        return false;
    }
    let is_port = |port: &[u8]| port.iter().all(u8::is_ascii_digit);
    if let Some(literal) = host_port.strip_prefix(b"[") {
        let (address, Some(after)) = cut(literal, b']') else {
            return false;
        };
        return is_ip_literal(address) && after.strip_prefix(b":").map_or(after.is_empty(), is_port);
    }
    let (host, port) = cut(host_port, b':');
    all(host, UNRESERVED | SUB_DELIM) && port.is_none_or(is_port)
}

/// What may stand between the brackets of a host: an IPv6 address, or `vF.` and an address of a future
/// version.
fn is_ip_literal(address: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = address {
        let (version, Some(rest)) = cut(future, b'.') else {
            return false;
        };
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !rest.is_empty()
            && rest
                .iter()
                .all(|&b| CLASS[usize::from(b)] & (UNRESERVED | SUB_DELIM | COLON) != 0);
    }
    str::from_utf8(address).is_ok_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

fn is_query(text: &[u8]) -> bool {
    all(text, PCHAR | SLASH | QUESTION)
}

/// Whether all characters are of the classes, or a percent sign and two hexadecimal digits.
fn all(mut text: &[u8], classes: u8) -> bool {
    while let [first, rest @ ..] = text {
        text = match rest {
            _ if CLASS[usize::from(*first)] & classes != 0 => rest,
            [a, b, rest @ ..] if *first == b'%' && a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => rest,
            _ => return false,
        };
    }
    true
}

const UNRESERVED: u8 = 1;
const SUB_DELIM: u8 = 2;
const COLON: u8 = 4;
const AT: u8 = 8;
const SLASH: u8 = 16;
const QUESTION: u8 = 32;
const PCHAR: u8 = UNRESERVED | SUB_DELIM | COLON | AT;

/// The class of each octet: a `source` is checked for every event, so that a look-up beats a comparison with
/// each delimiter.
const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = match octet as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => UNRESERVED,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => SUB_DELIM,
            b':' => COLON,
            b'@' => AT,
            b'/' => SLASH,
            b'?' => QUESTION,
            _ => 0,
        };
        octet += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_follow_the_grammar() {
        for text in [
            "",
            "https://github.com/cloudevents",
            "mailto:cncf-wg-serverless@lists.cncf.io",
            "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
            "cloudevents/spec/pull/123",
            "/cloudevents/spec/pull/123",
            "1-555-123-4567",
            "//host/path",
            "http://user:pw@[2001:db8::7]:8080/c=GB?objectClass?one#x/y?z",
            "http://[v1.fe:x]/",
            "http://",
            "http://host:/",
            "file:///etc/hosts",
            "a/b:c",
            "./a:b",
            "?query",
            "#fragment",
            "/a%20b",
            "tel:+1-816-555-1212",
            "x+y-z.1:",
        ] {
            assert!(is_reference(text), "{text}");
        }
        for text in [
            "a b",
            "/a b",
            "/%zz",
            "/%2",
            "%",
            "é",
            "http://é/",
            "1:2",
            ":a",
            "http://[::1",
            "http://[::g]/",
            "http://[]/",
            "http://host:80a/",
            "http://a@b@c/",
            "a#b#c",
            "/a|b",
            "/a\\b",
            "<a>",
            "{\"a\":1}",
            "/a^b",
            "/a`b",
            "/[a]",
        ] {
            assert!(!is_reference(text), "{text}");
        }
    }

    #[test]
    fn absolute_uris_have_a_scheme_and_no_fragment() {
        for text in ["http://a/b?c", "urn:a:b", "x:"] {
            assert!(is_absolute(text), "{text}");
        }
        for text in ["", "/a", "//a/b", "a", "http://a/b#c", "1a:b", "http://a b"] {
            assert!(!is_absolute(text), "{text}");
        }
    }
}
