//! Finds secrets that can never verify a call, before the first call is refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millrace_model::source::git_webhook::{Forge, Verification};

use super::verify::WHSEC;

/// The prefix of a Standard Webhooks signature. A secret with it was copied by mistake.
const SIGNATURE: &[u8] = b"v1,";

/// Why calls can never be verified with a secret; `None` where they may be. Nothing of the secret is
/// repeated.
pub fn secret_flaw(forge: Forge, verification: &Verification, secret: &[u8]) -> Option<&'static str> {
    match verification {
        Verification::StandardWebhooks => standard(secret),
        Verification::Bearer => token(secret),
        Verification::Forge if forge == Forge::Gitlab => gitlab(secret),
        // An HMAC takes any octets, also blanks.
        Verification::Forge | Verification::Hmac(_) | Verification::None => None,
    }
}

fn standard(secret: &[u8]) -> Option<&'static str> {
    if secret.starts_with(SIGNATURE) {
        return Some("remove `v1,`: that is the prefix of signatures; secrets begin with `whsec_`");
    }
    if secret.trim_ascii() != secret {
        return Some("there are blanks around the secret: remove them");
    }
    let bare = secret.strip_prefix(WHSEC);
    match (STANDARD.decode(bare.unwrap_or(secret)), bare) {
        (Ok(key), _) if key.is_empty() => Some("there is nothing behind `whsec_` in the secret"),
        (Ok(_), _) => None,
        (Err(_), Some(_)) => {
            Some("what stands behind `whsec_` in the secret is not Base64: is a part of it missing?")
        }
        (Err(_), None) => Some(
            "the secret is not Base64, as those of Standard Webhooks are: `whsec_` and the key in Base64",
        ),
    }
}

/// A token that stands in a header as it is: HTTP takes blanks away at both ends.
fn token(secret: &[u8]) -> Option<&'static str> {
    if secret.trim_ascii() != secret {
        return Some("there are blanks around the secret, and a header never brings them: remove them");
    }
    let is_visible = |octet: &u8| octet.is_ascii_graphic() || *octet == b' ';
    if !secret.iter().all(is_visible) {
        return Some(
            "the secret has characters that a header does not bring, such as a line break or an umlaut",
        );
    }
    None
}

/// A signing token as Standard Webhooks has it, or a secret token.
fn gitlab(secret: &[u8]) -> Option<&'static str> {
    let is_signing = secret
        .strip_prefix(SIGNATURE)
        .unwrap_or(secret)
        .starts_with(WHSEC);
    if is_signing {
        standard(secret)
    } else {
        token(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_model::source::git_webhook::{Algorithm, Encoding, Hmac};

    #[test]
    fn a_secret_that_can_never_verify_is_told_with_the_reason() {
        let standard = Verification::StandardWebhooks;
        let hmac = Verification::Hmac(Hmac {
            header: "x".to_owned(),
            algorithm: Algorithm::Sha256,
            encoding: Encoding::Hex,
            prefix: String::new(),
        });
        let cases: &[(Forge, &Verification, &str, Option<&str>)] = &[
            (Forge::Generic, &standard, "whsec_c2VjcmV0", None),
            (Forge::Generic, &standard, "c2VjcmV0", None),
            (
                Forge::Generic,
                &standard,
                "v1,whsec_c2VjcmV0",
                Some("remove `v1,`"),
            ),
            (Forge::Generic, &standard, "whsec_", Some("nothing behind")),
            (
                Forge::Generic,
                &standard,
                "whsec_c2VjcmV",
                Some("is a part of it missing?"),
            ),
            (
                Forge::Generic,
                &standard,
                "a secret",
                Some("is not Base64, as those"),
            ),
            (
                Forge::Generic,
                &standard,
                " whsec_c2VjcmV0",
                Some("blanks around"),
            ),
            (
                Forge::Generic,
                &standard,
                "whsec_c2VjcmV0\n",
                Some("blanks around"),
            ),
            (Forge::Generic, &Verification::Bearer, "a token", None),
            (
                Forge::Generic,
                &Verification::Bearer,
                "token ",
                Some("blanks around"),
            ),
            (
                Forge::Generic,
                &Verification::Bearer,
                "t\u{f6}ken",
                Some("umlaut"),
            ),
            (Forge::Gitlab, &Verification::Forge, "token", None),
            (Forge::Gitlab, &Verification::Forge, "whsec_c2VjcmV0", None),
            (
                Forge::Gitlab,
                &Verification::Forge,
                "v1,whsec_c2VjcmV0",
                Some("remove `v1,`"),
            ),
            (
                Forge::Gitlab,
                &Verification::Forge,
                "whsec_c2VjcmV",
                Some("is a part of it missing?"),
            ),
            (
                Forge::Gitlab,
                &Verification::Forge,
                "\ttoken",
                Some("blanks around"),
            ),
            (Forge::Github, &Verification::Forge, " blanks are octets ", None),
            (Forge::Generic, &hmac, " v1,whsec_x ", None),
        ];
        for (forge, verification, secret, expected) in cases {
            let flaw = secret_flaw(*forge, verification, secret.as_bytes());
            match expected {
                Some(expected) => assert!(
                    flaw.is_some_and(|flaw| flaw.contains(expected)),
                    "{secret}: {flaw:?}"
                ),
                None => assert_eq!(flaw, None, "{secret}"),
            }
        }
    }
}
