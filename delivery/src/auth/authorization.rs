//! The header `Authorization`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use millrace_model::{Credentials, Octets};

/// The header's value, which `Debug` does not show; `None` if it is not known yet.
///
/// # Errors
/// A sentence that says what cannot stand in a header.
pub(super) fn header(credentials: &Credentials<Octets>) -> Result<Option<HeaderValue>, String> {
    match credentials {
        Credentials::Bearer(token) => bearer(token).map(Some),
        Credentials::Basic { username, password } => {
            if username.contains(&b':') {
                return Err("the user name of HTTP Basic holds a colon, which ends it".to_owned());
            }
            hidden(format!("Basic {}", basic(username, password))).map(Some)
        }
        // It is got, or made, when it is needed.
        Credentials::OAuth2(_) | Credentials::AwsSigV4(_) | Credentials::Account(_) => Ok(None),
    }
}

/// A bearer token.
pub(crate) fn bearer(token: &[u8]) -> Result<HeaderValue, String> {
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err("the bearer token holds what no token may: a blank, a line break or the like".to_owned());
    }
    hidden([b"Bearer ".as_slice(), token].concat())
}

/// A value that `Debug` does not show.
pub(super) fn hidden(value: impl TryInto<HeaderValue>) -> Result<HeaderValue, String> {
    let value = value.try_into();
    let mut value: HeaderValue = value.map_err(|_| "the credentials fit into no header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// User and password as HTTP Basic spells them.
pub(super) fn basic(username: &[u8], password: &[u8]) -> String {
    STANDARD.encode([username, b":", password].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(text: &str) -> Octets {
        text.as_bytes().into()
    }

    fn of(credentials: &Credentials<Octets>) -> Result<String, String> {
        let value = header(credentials)?.expect("it is known");
        Ok(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    #[test]
    fn credentials_are_spelled_as_their_rfc_says() {
        assert_eq!(
            of(&Credentials::Bearer(octets("t.o-k_e/n+="))),
            Ok("Bearer t.o-k_e/n+=".to_owned())
        );
        // The example of RFC 7617.
        let (username, password) = (octets("Aladdin"), octets("open sesame"));
        assert_eq!(
            of(&Credentials::Basic { username, password }),
            Ok("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==".to_owned())
        );
        let (username, password) = (octets("test"), octets("123£:x"));
        assert_eq!(
            of(&Credentials::Basic { username, password }),
            Ok("Basic dGVzdDoxMjPCozp4".to_owned())
        );
    }

    #[test]
    fn what_could_begin_another_header_is_refused_without_repeating_it() {
        for token in ["q7 q8", "q7\r\nx: y", "q7\0", "tök", "q7\tq8"] {
            let error = of(&Credentials::Bearer(octets(token))).expect_err(token);
            assert!(!error.contains(token), "{error}");
        }
        let (username, password) = (octets("a:b"), octets("p"));
        assert!(of(&Credentials::Basic { username, password }).is_err());
    }

    #[test]
    fn the_value_does_not_show_in_debug_output() {
        let value = header(&Credentials::Bearer(octets("hush"))).expect("a header");
        assert!(!format!("{value:?}").contains("hush"));
    }
}
