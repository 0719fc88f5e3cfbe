//! The keys of an issuer (a JSON Web Key Set, RFC 7517), each made ready for the algorithms that it is for.
//!
//! # Guarantees
//! A key verifies with an algorithm only if it is of that algorithm's type and curve, is for signatures, and
//! names no other algorithm. Symmetric keys are never taken. A set that is too large or cannot be read is
//! refused as a whole; a single key that cannot be used is left out.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ParsedPublicKey, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::value::RawValue;

use super::TokenFault;
use super::algorithm::{Algorithm, KeyKind};
use super::compact::{Compact, MAX_KID};
use super::json::Object;

/// The largest set, in octets.
pub const MAX_SET: usize = 256 << 10;
/// The most keys of a set.
pub const MAX_KEYS: usize = 64;
/// Octets of an RSA modulus: 2 048 to 8 192 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1_024;
/// Octets of an RSA exponent.
const MAX_EXPONENT: usize = 4;

/// The keys, by their names and what they may verify.
pub struct KeySet {
    keys: HashMap<(Option<String>, Algorithm), ParsedPublicKey>,
    /// Keys with no name, or one.
    count: usize,
    /// What the set was made from: equal ones are the same keys.
    hash: [u8; 32],
}

/// Why a set cannot be used. What was there before stays in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// It is larger than 256 KiB.
    #[error("it has more than {MAX_SET} octets")]
    TooLarge,
    /// It has more than 64 keys.
    #[error("it has more than {MAX_KEYS} keys")]
    TooMany,
    /// It is no set of keys.
    #[error("it is no set of keys: {0}")]
    Unreadable(&'static str),
    /// None of its keys can be used.
    #[error("it has no key that the algorithms of the access file can use")]
    Useless,
}

// === impl KeySet ===

impl KeySet {
    /// Reads a set for these algorithms.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn read(text: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeyFault> {
        if text.len() > MAX_SET {
            return Err(KeyFault::TooLarge);
        }
        let set = Object::read(text).map_err(KeyFault::Unreadable)?;
        let listed = set.raw("keys").map(|keys| serde_json::from_str(keys.get()));
        let Some(Ok(listed)) = listed else {
            return Err(KeyFault::Unreadable("it has no list `keys`"));
        };
        let listed: Vec<&RawValue> = listed;
        if listed.len() > MAX_KEYS {
            return Err(KeyFault::TooMany);
        }
        let (mut keys, mut count) = (HashMap::new(), 0);
        for raw in listed {
            let Some(key) = Jwk::read(raw) else { continue };
            let mut useful = false;
            for &algorithm in algorithms {
                let Some(ready) = key.ready(algorithm) else {
                    continue;
                };
                // Of two keys with one name the first counts.
                keys.entry((key.kid.clone(), algorithm)).or_insert(ready);
                useful = true;
            }
            count += usize::from(useful);
        }
        if keys.is_empty() {
            return Err(KeyFault::Useless);
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, text).as_ref());
        Ok(Self { keys, count, hash })
    }

    /// How many of its keys can be used.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether these are the same keys.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.hash == other.hash
    }

    /// Whether the signature of a token is that of the key that it names. A token that names none is that of
    /// the only key for its algorithm, if there is one.
    ///
    /// # Errors
    /// There is no such key, or it did not sign this.
    pub(super) fn verify(&self, token: &Compact<'_>, algorithm: Algorithm) -> Result<(), TokenFault> {
        let key = match &token.header.kid {
            Some(kid) => self.keys.get(&(Some(kid.clone()), algorithm)),
            None => self.only(algorithm),
        };
        let key = key.ok_or(TokenFault::UnknownKey)?;
        key.verify_sig(token.message, &token.signature)
            .map_err(|_| TokenFault::Signature)
    }

    /// Whether there is a key of that name for anything.
    pub(super) fn knows(&self, kid: Option<&str>) -> bool {
        self.keys
            .keys()
            .any(|(own, _)| own.as_deref() == kid || kid.is_none())
    }

    fn only(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        let mut fitting = self.keys.iter().filter(|((_, own), _)| *own == algorithm);
        let (_, key) = fitting.next()?;
        fitting.next().is_none().then_some(key)
    }
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySet")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// One key of a set.
struct Jwk<'a> {
    object: Object<'a>,
    kid: Option<String>,
    kty: String,
    alg: Option<String>,
}

// === impl Jwk ===

impl<'a> Jwk<'a> {
    /// Reads one; `None`: it is not to be used.
    fn read(raw: &'a RawValue) -> Option<Self> {
        let object = Object::read(raw.get().as_bytes()).ok()?;
        let text = |name| object.get::<String>(name).ok();
        let (kid, alg, usage) = (text("kid")?, text("alg")?, text("use")?);
        let is_for_signatures = usage.as_deref().is_none_or(|usage| usage == "sig");
        let operations = object.get::<Vec<String>>("key_ops").ok()?;
        let verifies = operations.is_none_or(|all| all.iter().any(|one| one == "verify"));
        // A set with a private key in it was published by mistake: anybody could sign with that key.
        let is_private = ["d", "k", "p", "q"].iter().any(|name| object.has(name));
        let is_short = kid.as_ref().is_none_or(|kid| kid.len() <= MAX_KID);
        if !is_for_signatures || !verifies || is_private || !is_short {
            return None;
        }
        let kty = text("kty")??;
        Some(Self {
            object,
            kid,
            kty,
            alg,
        })
    }

    /// The key, ready to verify with that algorithm; `None`: it is not for it.
    fn ready(&self, algorithm: Algorithm) -> Option<ParsedPublicKey> {
        if self.alg.as_deref().is_some_and(|alg| !is_named(alg, algorithm)) {
            return None;
        }
        match algorithm.key() {
            KeyKind::Rsa(parameters) if self.kty == "RSA" => {
                let (n, e) = (self.octets("n")?, self.octets("e")?);
                if !MODULUS.contains(&n.len()) || e.len() > MAX_EXPONENT {
                    return None;
                }
                let components = RsaPublicKeyComponents { n, e };
                components.to_parsed_public_key(parameters).ok()
            }
            KeyKind::Ec(curve, length, verifier) if self.kty == "EC" && self.is_on(curve) => {
                let (x, y) = (self.octets("x")?, self.octets("y")?);
                if x.len() != length || y.len() != length {
                    return None;
                }
                ParsedPublicKey::new(verifier, [&[4], &x[..], &y[..]].concat()).ok()
            }
            KeyKind::Ed25519(verifier) if self.kty == "OKP" && self.is_on("Ed25519") => {
                let x = self.octets("x").filter(|x| x.len() == 32)?;
                ParsedPublicKey::new(verifier, x).ok()
            }
            KeyKind::Rsa(_) | KeyKind::Ec(..) | KeyKind::Ed25519(_) => None,
        }
    }

    fn is_on(&self, curve: &str) -> bool {
        self.object.get::<String>("crv") == Ok(Some(curve.to_owned()))
    }

    fn octets(&self, name: &str) -> Option<Vec<u8>> {
        let text = self.object.get::<String>(name).ok().flatten()?;
        BASE64_URL_SAFE_NO_PAD.decode(text).ok()
    }
}

/// Whether a key's `alg` names the algorithm. RFC 9864 gives that of Ed25519 a second name.
fn is_named(alg: &str, algorithm: Algorithm) -> bool {
    alg == algorithm.name() || (algorithm == Algorithm::EdDsa && alg == "Ed25519")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7515 (A.3) and RFC 8037 (A.4).
    const SET: &str = r#"{"keys":[
        {"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
         "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
        {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    const EC: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19\
                      yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    const ED: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dW\
                      bhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

    #[test]
    fn the_examples_of_the_rfcs_are_verified_by_their_keys_alone() {
        let set = KeySet::read(SET.as_bytes(), &Algorithm::ALL).expect("a set");
        assert_eq!(set.count(), 2);
        let (ec, ed) = (
            Compact::read(EC.as_bytes()).expect("a token"),
            Compact::read(ED.as_bytes()).expect("a token"),
        );
        assert_eq!(set.verify(&ec, Algorithm::Es256), Ok(()));
        assert_eq!(set.verify(&ed, Algorithm::EdDsa), Ok(()));
        assert_eq!(set.verify(&ec, Algorithm::EdDsa), Err(TokenFault::Signature));
        assert_eq!(set.verify(&ec, Algorithm::Es384), Err(TokenFault::UnknownKey));
    }

    #[test]
    fn a_set_that_makes_no_sense_is_refused_as_a_whole() {
        let many = format!("{{\"keys\":[{}]}}", vec!["{}"; MAX_KEYS + 1].join(","));
        let large = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(MAX_SET));
        let table = [
            (large.as_str(), KeyFault::TooLarge),
            (many.as_str(), KeyFault::TooMany),
            ("[]", KeyFault::Unreadable("it is not a JSON object")),
            ("{}", KeyFault::Unreadable("it has no list `keys`")),
            (r#"{"keys":{}}"#, KeyFault::Unreadable("it has no list `keys`")),
            (r#"{"keys":[]}"#, KeyFault::Useless),
            (
                r#"{"keys":[7,{"kty":"oct","k":"AA"},{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#,
                KeyFault::Useless,
            ),
        ];
        for (text, expected) in table {
            assert_eq!(
                KeySet::read(text.as_bytes(), &Algorithm::ALL).err(),
                Some(expected),
                "{text:.60}"
            );
        }
    }
}
