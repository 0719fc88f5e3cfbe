//! Secrets in what a target answers. Some servers repeat a request's headers in their error pages, and the
//! beginning of an answer's body is kept for the history and for dead letters.

use bytes::Bytes;
use millrace_model::{Auth, Credentials, Octets};

use super::authorization;
use crate::reply::Came;

/// What stands in the place of a secret.
const MASK: &[u8] = b"***";
/// A beginning of a secret this long is taken for it, where the body ends in the middle of one.
const CUT: usize = 4;

/// Secrets that must not be kept of an answer.
pub(super) struct Veil(Vec<Octets>);

// === impl Veil ===

impl Veil {
    /// All secrets that go over the wire, as they are written there. Keys do not leave this process.
    pub(super) fn over(spec: &Auth<Octets>) -> Self {
        let mut secrets = match &spec.credentials {
            None => Vec::new(),
            Some(Credentials::Bearer(token)) => vec![token.clone()],
            Some(Credentials::Basic { username, password }) => vec![
                authorization::basic(username, password).into_bytes().into(),
                password.clone(),
            ],
            // What asks for a token stands in no delivery.
            Some(Credentials::OAuth2(_) | Credentials::Account(_)) => Vec::new(),
            // The key itself does not leave this process.
            Some(Credentials::AwsSigV4(aws)) => aws.session_token.iter().cloned().collect(),
        };
        // What is shorter stands in texts by chance.
        secrets.retain(|secret| secret.len() >= CUT);
        Self(secrets)
    }

    /// Masks them in an answer that is kept as it came.
    pub(super) fn lay_over(&self, came: &mut Came, another: Option<&[u8]>) {
        let lay = |octets: Bytes| self.lay(octets, another);
        came.body = lay(std::mem::take(&mut came.body));
        let values = came.attributes.iter_mut().map(|(_, value)| value);
        for text in came.media_type.iter_mut().chain(values) {
            let laid = lay(std::mem::take(text).into());
            *text = String::from_utf8_lossy(&laid).into_owned();
        }
    }

    /// The body with a mask in the place of each secret, and of this one.
    pub(super) fn lay(&self, body: Bytes, another: Option<&[u8]>) -> Bytes {
        let all = self.0.iter().map(|secret| &**secret).chain(another);
        all.fold(body, |body, secret| match found(&body, secret) {
            true => masked(&body, secret).into(),
            false => body,
        })
    }
}

fn found(body: &[u8], secret: &[u8]) -> bool {
    body.windows(secret.len()).any(|window| window == secret) || cut(body, secret) > 0
}

fn masked(mut rest: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut masked = Vec::with_capacity(rest.len());
    while let Some(at) = rest.windows(secret.len()).position(|window| window == secret) {
        masked.extend_from_slice(&rest[..at]);
        masked.extend_from_slice(MASK);
        rest = &rest[at + secret.len()..];
    }
    let cut = cut(rest, secret);
    masked.extend_from_slice(&rest[..rest.len() - cut]);
    if cut > 0 {
        masked.extend_from_slice(MASK);
    }
    masked
}

/// How many octets at the end are the beginning of the secret.
fn cut(body: &[u8], secret: &[u8]) -> usize {
    let most = secret.len().saturating_sub(1).min(body.len());
    (CUT..=most)
        .rev()
        .find(|&length| body.ends_with(&secret[..length]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid(body: &str) -> String {
        let octets = |text: &str| text.as_bytes().into();
        let veil = Veil::over(&Auth {
            credentials: Some(Credentials::Basic {
                username: octets("user"),
                password: octets("canary"),
            }),
            certificate: None,
            signing_keys: Vec::new(),
        });
        String::from_utf8(
            veil.lay(Bytes::copy_from_slice(body.as_bytes()), Some(b"access-token"))
                .to_vec(),
        )
        .expect("text")
    }

    #[test]
    fn an_answer_that_is_kept_as_it_came_is_masked_everywhere() {
        let veil = Veil(vec![b"canary"[..].into()]);
        let mut came = Came {
            media_type: Some("application/cloudevents+json; of=canary".to_owned()),
            attributes: vec![("type".to_owned(), "Bearer canary".to_owned())],
            body: Bytes::from_static(b"{canary, token"),
        };
        veil.lay_over(&mut came, Some(b"token"));
        let expected = Came {
            media_type: Some("application/cloudevents+json; of=***".to_owned()),
            attributes: vec![("type".to_owned(), "Bearer ***".to_owned())],
            body: Bytes::from_static(b"{***, ***"),
        };
        assert_eq!(came, expected);
    }

    #[test]
    fn a_secret_that_is_repeated_is_masked() {
        for (body, expected) in [
            ("", ""),
            ("nothing of it", "nothing of it"),
            ("canary", "***"),
            ("a canary, a canary", "a ***, a ***"),
            ("Basic dXNlcjpjYW5hcnk=.", "Basic ***."),
            ("it was: cana", "it was: ***"),
            ("it was: can", "it was: can"),
            ("canarcanary", "canar***"),
            ("Bearer access-token", "Bearer ***"),
        ] {
            assert_eq!(laid(body), expected, "{body}");
        }
    }
}
