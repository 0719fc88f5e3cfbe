//! Bearer tokens: made, hashed, compared.
//!
//! A token has 256 random bits, so a plain SHA-256 keeps it secret: there is nothing to guess, and no need
//! for a slow hash on the way of each request.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// What each token begins with, so that people and scanners for secrets recognise one.
const PREFIX: &str = "millrace_";
/// Random bytes of a token.
const BYTES: usize = 32;

/// A new token. `Debug` does not show it.
pub struct Token(String);

/// The SHA-256 of a token, which is all that a server keeps.
///
/// A secret's hash is compared in constant time. `Eq` is for hashes that the caller may know.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

/// A text that is no SHA-256 in hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("64 hexadecimal digits are expected, as `millrace access token` prints them")]
pub struct BadHash;

// === impl Token ===

impl Token {
    /// Makes one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn make() -> Result<Self, NoRandom> {
        let mut bytes = [0; BYTES];
        rand::fill(&mut bytes).map_err(|_| NoRandom)?;
        Ok(Self(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// The token itself, to be shown once.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// What a server keeps of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The system has no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandom;

// === impl TokenHash ===

impl TokenHash {
    /// The hash of what a client shows as a token.
    pub fn of(token: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token).as_ref());
        Self(hash)
    }

    /// Whether two are equal, in a time that does not depend on where they differ.
    pub(crate) fn is(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }

    /// A part of it to find it by. It tells nothing of use: who wants another token with the same hash has
    /// the other 192 bits before him.
    pub(crate) fn key(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl FromStr for TokenHash {
    type Err = BadHash;

    fn from_str(text: &str) -> Result<Self, BadHash> {
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(BadHash);
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| BadHash)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| BadHash)?;
        }
        Ok(Self(hash))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_random_and_recognisable() {
        let (one, other) = (Token::make().expect("a token"), Token::make().expect("a token"));
        assert!(one.secret().starts_with(PREFIX) && one.secret().len() == PREFIX.len() + 43);
        assert_ne!(one.secret(), other.secret());
        assert!(!format!("{one:?}{:?}", one.hash()).contains(&one.secret()[PREFIX.len()..]));
    }

    #[test]
    fn a_hash_is_written_as_sha256sum_writes_it() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hash = TokenHash::of(b"abc");
        assert_eq!(hash.to_string(), abc);
        let read = |text: &str| text.parse::<TokenHash>();
        assert!(read(abc).is_ok_and(|read| read.is(&hash)));
        assert!(read(&abc.to_uppercase()).is_ok_and(|read| read.is(&hash)));
        for text in [
            "",
            "ba78",
            &abc[1..],
            &abc.replace('b', "g"),
            &abc.replace('a', "+"),
        ] {
            assert_eq!(read(text).err(), Some(BadHash), "{text}");
        }
    }
}
