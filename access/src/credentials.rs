//! What a request shows to prove who sends it, read from its head alone.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap};
use millrace_serve::ClientCertificate;

use crate::refusal::Refusal;
use crate::token::TokenHash;

/// What a request shows. `Debug` does not.
#[derive(Clone)]
pub enum Shown<'a> {
    /// A bearer token: its hash, and as it came. Only so is the token of an issuer taken.
    Bearer(TokenHash, &'a [u8]),
    /// A token as the password of HTTP Basic. Only its hash is kept.
    Password(TokenHash),
    /// A client certificate that the listener has checked.
    Certificate(&'a ClientCertificate),
}

/// The longest Authorization header.
const MAX_BYTES: usize = 8 * 1024;

// === impl Shown ===

impl<'a> Shown<'a> {
    /// Reads what is shown. A token counts before a certificate: it was chosen for this request.
    ///
    /// # Errors
    /// Nothing is shown, or what is shown cannot be read.
    pub fn read(headers: &'a HeaderMap, extensions: &'a Extensions) -> Result<Self, Refusal> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        match (values.next(), values.next()) {
            (None, _) => extensions
                .get()
                .map(Self::Certificate)
                .ok_or(Refusal::NoCredentials),
            (Some(value), None) => token(value.as_bytes()).map(|token| match token {
                Cow::Borrowed(token) => Self::Bearer(TokenHash::of(token), token),
                Cow::Owned(token) => Self::Password(TokenHash::of(&token)),
            }),
            (Some(_), Some(_)) => Err(bad("a request may have one Authorization header")),
        }
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bearer(..) => f.write_str("Bearer(***)"),
            Self::Password(_) => f.write_str("Password(***)"),
            Self::Certificate(certificate) => f.debug_tuple("Certificate").field(certificate).finish(),
        }
    }
}

/// The token in an Authorization header; owned if it was a password.
fn token(value: &[u8]) -> Result<Cow<'_, [u8]>, Refusal> {
    let value = value.trim_ascii();
    if value.len() > MAX_BYTES {
        return Err(bad("the Authorization header is too long"));
    }
    let at = value.iter().position(|byte| *byte == b' ');
    let (scheme, rest) = value.split_at(at.unwrap_or(value.len()));
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") && !rest.is_empty() {
        return Ok(Cow::Borrowed(rest));
    }
    if scheme.eq_ignore_ascii_case(b"basic") {
        let password = password(rest)
            .ok_or_else(|| bad("the credentials of HTTP Basic are not Base64 of name:password"))?;
        return match password.is_empty() {
            true => Err(bad("the password of HTTP Basic is empty; it is the token")),
            false => Ok(Cow::Owned(password)),
        };
    }
    Err(bad(
        "the Authorization header has neither a bearer token nor HTTP Basic",
    ))
}

/// The password of HTTP Basic. The name before it may be anything: the token says who it is.
fn password(encoded: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = BASE64_STANDARD.decode(encoded).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(decoded.split_off(colon + 1))
}

fn bad(why: &'static str) -> Refusal {
    Refusal::BadCredentials(why)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn shown(values: &[&[u8]]) -> Result<TokenHash, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).expect("a value"));
        }
        match Shown::read(&headers, &Extensions::new()) {
            Ok(Shown::Bearer(hash, _) | Shown::Password(hash)) => Ok(hash),
            Ok(Shown::Certificate(_)) => Err("certificate"),
            Err(refusal) => Err(refusal.code()),
        }
    }

    #[test]
    fn a_token_is_a_bearer_or_the_password_of_basic() {
        let expected = TokenHash::of(b"secret:x");
        let basic = format!("Basic {}", BASE64_STANDARD.encode("anybody:secret:x"));
        let nameless = format!("basic {}", BASE64_STANDARD.encode(":secret:x"));
        let taken: [&[u8]; 4] = [
            b"Bearer secret:x",
            b"bearer   secret:x ",
            basic.as_bytes(),
            nameless.as_bytes(),
        ];
        for value in taken {
            let read = shown(&[value]);
            assert!(
                read.is_ok_and(|hash| hash.is(&expected)),
                "{}",
                String::from_utf8_lossy(value)
            );
        }
    }

    #[test]
    fn what_is_shown_is_not_printed() {
        let (secret, extensions) = ("hush-hush", Extensions::new());
        let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("shop:{secret}")));
        for shown in [format!("Bearer {secret}"), basic] {
            let mut headers = HeaderMap::new();
            headers.append(AUTHORIZATION, shown.parse().expect("a value"));
            let printed = format!("{:?}", Shown::read(&headers, &extensions).expect("shown"));
            assert!(printed.ends_with("(***)"), "{printed}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let long = [b"Bearer ".as_slice(), &vec![b'x'; MAX_BYTES]].concat();
        let table: [(&[&[u8]], &str); 12] = [
            (&[], "no-credentials"),
            (&[b""], "bad-credentials"),
            (&[b"Bearer"], "bad-credentials"),
            (&[b"Bearer "], "bad-credentials"),
            (&[b"Digest x"], "bad-credentials"),
            (&[b"Basic ????"], "bad-credentials"),
            (&[b"Basic c2VjcmV0"], "bad-credentials"),
            // `name:` and `:` have no password.
            (&[b"Basic bmFtZTo="], "bad-credentials"),
            (&[b"Basic Og=="], "bad-credentials"),
            (&[b"Bearer \t"], "bad-credentials"),
            (&[b"Bearer a", b"Bearer a"], "bad-credentials"),
            (&[&long], "bad-credentials"),
        ];
        for (values, code) in table {
            assert_eq!(shown(values).err(), Some(code), "{values:?}");
        }
        assert!(shown(&[b"Bearer caf\xe9"]).is_ok(), "any bytes have a hash");
    }
}
