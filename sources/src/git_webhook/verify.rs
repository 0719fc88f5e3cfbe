//! Whether the caller knows a secret. All comparisons take the same time, whatever is compared.

use std::time::Duration;

use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use millrace_event::Timestamp;
use millrace_model::Octets;
use millrace_model::source::git_webhook::{Algorithm, Encoding, Forge, Hmac, Verification};

use super::refuse::RefusedCall;

/// What a signature was made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    /// The headers.
    pub(super) headers: &'a HeaderMap,
    /// The body as it came.
    pub(super) body: &'a [u8],
    /// The JSON in a form; the body itself where it is no form.
    pub(super) payload: &'a [u8],
    /// When it came.
    pub(super) received: Timestamp,
}

/// How old, or how far in the future, the time in a signature may be.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// The octets of an HMAC-SHA256.
const TAG: usize = 32;
/// Signatures of one call that are looked at; a sender that replaces its key sends two.
const MAX_SIGNATURES: usize = 16;
/// What the secrets of Standard Webhooks begin with.
pub(super) const WHSEC: &[u8] = b"whsec_";
/// What the headers of Standard Webhooks begin with, in the specification and at Svix, where it comes from.
const PREFIXES: [&str; 2] = ["webhook", "svix"];

/// Checks a call against the secrets, of which any one will do.
pub(super) fn verify(
    verification: &Verification,
    forge: Forge,
    secrets: &[Octets],
    signed: Signed<'_>,
) -> Result<(), RefusedCall> {
    match verification {
        Verification::None => Ok(()),
        Verification::Forge => as_forge(forge, secrets, signed),
        Verification::Hmac(spec) => {
            let text = header(signed.headers, &spec.header).ok_or(RefusedCall::SignatureMissing)?;
            by_hmac(spec, secrets, text, signed.body)
        }
        Verification::StandardWebhooks => standard(&keys(secrets, true), signed),
        Verification::Bearer => {
            let given = header(signed.headers, "authorization").ok_or(RefusedCall::SignatureMissing)?;
            let (scheme, token) = given.split_once(' ').ok_or(RefusedCall::SignatureWrong)?;
            let token = token.trim_start_matches(' ');
            matching(scheme.eq_ignore_ascii_case("bearer") && is_one_of(secrets, token))
        }
    }
}

fn as_forge(forge: Forge, secrets: &[Octets], signed: Signed<'_>) -> Result<(), RefusedCall> {
    let of = |name: &str| header(signed.headers, name);
    let sha256 = |text, prefix, body| check(hmac::HMAC_SHA256, Encoding::Hex, prefix, secrets, text, body);
    match forge {
        Forge::Github => match (of("x-hub-signature-256"), of("x-hub-signature")) {
            (Some(text), _) => sha256(text, "sha256=", signed.body),
            (None, Some(text)) => {
                let sha1 = hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY;
                check(sha1, Encoding::Hex, "sha1=", secrets, text, signed.body)
            }
            (None, None) => Err(RefusedCall::SignatureMissing),
        },
        Forge::Gitlab => gitlab(secrets, signed),
        Forge::Bitbucket | Forge::BitbucketServer => {
            let text = of("x-hub-signature").ok_or(RefusedCall::SignatureMissing)?;
            sha256(text, "sha256=", signed.body)
        }
        Forge::Gitea | Forge::Forgejo => {
            let bare = of("x-forgejo-signature").or_else(|| of("x-gitea-signature"));
            let (text, prefix) = match (bare, of("x-hub-signature-256")) {
                (Some(text), _) => (text, ""),
                (None, Some(text)) => (text, "sha256="),
                (None, None) => return Err(RefusedCall::SignatureMissing),
            };
            // In a form they sign the JSON and not the form.
            sha256(text, prefix, signed.body).or_else(|_| sha256(text, prefix, signed.payload))
        }
        Forge::Generic => Err(RefusedCall::SignatureMissing),
    }
}

/// The secret token as it is, or the signing token's signature.
fn gitlab(secrets: &[Octets], signed: Signed<'_>) -> Result<(), RefusedCall> {
    let token = header(signed.headers, "x-gitlab-token").filter(|token| !token.is_empty());
    if let Some(token) = token
        && is_one_of(secrets, token)
    {
        return Ok(());
    }
    match standard(&keys(secrets, false), signed) {
        Err(RefusedCall::SignatureMissing) if token.is_some() => Err(RefusedCall::SignatureWrong),
        outcome => outcome,
    }
}

/// The prefix of the headers that a signature of Standard Webhooks covers; `None` where there is no such
/// signature. Headers with the other prefix are not signed.
pub(super) fn prefix(headers: &HeaderMap) -> Option<&'static str> {
    let is_signed = |prefix: &&str| header(headers, &format!("{prefix}-signature")).is_some();
    PREFIXES.into_iter().find(is_signed)
}

/// Standard Webhooks: `v1,` and the HMAC of id, time and body; several signatures may be given.
fn standard(keys: &[Octets], signed: Signed<'_>) -> Result<(), RefusedCall> {
    let prefix = prefix(signed.headers).ok_or(RefusedCall::SignatureMissing)?;
    let of =
        |name: &str| header(signed.headers, &format!("{prefix}-{name}")).ok_or(RefusedCall::SignatureMissing);
    let (id, time, signatures) = (of("id")?, of("timestamp")?, of("signature")?);
    let seconds: i64 = time.parse().map_err(|_| RefusedCall::SignatureWrong)?;
    let sent = Timestamp(seconds.saturating_mul(1_000));
    let content = [id.as_bytes(), b".", time.as_bytes(), b".", signed.body].concat();
    // One HMAC for each key, however many signatures a caller lists.
    let tags = signatures.split(' ').filter_map(|text| text.strip_prefix("v1,"));
    let tags: Vec<Vec<u8>> = tags
        .filter_map(|text| STANDARD.decode(text).ok())
        .filter(|tag| tag.len() == TAG)
        .take(MAX_SIGNATURES)
        .collect();
    let signs = |key: &[u8]| {
        let own = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &content);
        tags.iter()
            .any(|tag| constant_time::verify_slices_are_equal(own.as_ref(), tag).is_ok())
    };
    matching(!tags.is_empty() && keys.iter().any(|key| signs(key)))?;
    let apart = sent.since(signed.received).max(signed.received.since(sent));
    if apart > TOLERANCE {
        return Err(RefusedCall::SignatureStale);
    }
    Ok(())
}

/// The keys that secrets of Standard Webhooks spell in Base64; with or without `whsec_` before it where that
/// `is_sure`.
fn keys(secrets: &[Octets], is_sure: bool) -> Vec<Octets> {
    let key = |secret: &[u8]| {
        let bare = match secret.strip_prefix(WHSEC) {
            Some(rest) => rest,
            None if is_sure => secret,
            None => return None,
        };
        let key = STANDARD.decode(bare).ok()?;
        (!key.is_empty()).then(|| key.into())
    };
    secrets.iter().filter_map(|secret| key(secret)).collect()
}

fn by_hmac(spec: &Hmac, secrets: &[Octets], text: &str, body: &[u8]) -> Result<(), RefusedCall> {
    let algorithm = match spec.algorithm {
        Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Algorithm::Sha256 => hmac::HMAC_SHA256,
        Algorithm::Sha512 => hmac::HMAC_SHA512,
    };
    check(algorithm, spec.encoding, &spec.prefix, secrets, text, body)
}

/// Whether the text is the HMAC of the data by any of the secrets.
fn check(
    algorithm: hmac::Algorithm,
    encoding: Encoding,
    prefix: &str,
    secrets: &[Octets],
    text: &str,
    data: &[u8],
) -> Result<(), RefusedCall> {
    let text = text.strip_prefix(prefix).ok_or(RefusedCall::SignatureWrong)?;
    let tag = match encoding {
        Encoding::Hex => unhex(text),
        Encoding::Base64 => STANDARD.decode(text).ok(),
    };
    let tag = tag.ok_or(RefusedCall::SignatureWrong)?;
    let is_of = |secret: &[u8]| hmac::verify(&hmac::Key::new(algorithm, secret), data, &tag).is_ok();
    matching(secrets.iter().any(|secret| is_of(secret)))
}

fn is_one_of(secrets: &[Octets], given: &str) -> bool {
    let is = |secret: &[u8]| constant_time::verify_slices_are_equal(secret, given.as_bytes()).is_ok();
    secrets.iter().any(|secret| is(secret))
}

fn matching(is_good: bool) -> Result<(), RefusedCall> {
    if is_good {
        Ok(())
    } else {
        Err(RefusedCall::SignatureWrong)
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[a, b]| Some(digit(*a)? << 4 | digit(*b)?))
        .collect()
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
