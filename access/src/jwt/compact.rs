//! The three parts of a token, as they stand in an Authorization header.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::algorithm::Algorithm;
use super::json::Object;
use super::{TokenFault, unreadable};

/// A token taken apart. Nothing of it is proved. `Debug` shows its header alone: the rest could be shown by
/// whoever reads it.
pub struct Compact<'a> {
    /// What is signed: the first two parts as they came.
    pub(super) message: &'a [u8],
    pub(super) header: Header,
    pub(crate) claims: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

/// What the header says that matters here.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// `None`: it is none of ours.
    pub algorithm: Option<Algorithm>,
    /// The key's name.
    pub kid: Option<String>,
}

/// The longest name of a key.
pub(super) const MAX_KID: usize = 256;
/// Members of a header that would let a token say which key to trust, or how it is to be read. `crit` names
/// extensions that must be understood, and none is here.
const NOT_TAKEN: [&str; 10] = [
    "crit", "jku", "jwk", "x5u", "x5c", "zip", "enc", "cty", "b64", "epk",
];
/// Kinds of tokens that prove who calls. Others are made for something else (RFC 8725, section 3.11).
const KINDS: [&str; 4] = ["JWT", "application/jwt", "at+jwt", "application/at+jwt"];

/// Whether a token looks like one of these. Ours have no dot.
pub fn is_likely(token: &[u8]) -> bool {
    token.contains(&b'.')
}

// === impl Compact ===

impl fmt::Debug for Compact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compact")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl<'a> Compact<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// It cannot be read, or its header has something that is not taken.
    pub fn read(token: &'a [u8]) -> Result<Self, TokenFault> {
        let mut parts = token.split(|byte| *byte == b'.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(unreadable("a token has three parts, with dots between them"));
        };
        let message = &token[..header.len() + 1 + claims.len()];
        let header = Header::read(&decoded(header)?)?;
        Ok(Self {
            message,
            header,
            claims: decoded(claims)?,
            signature: decoded(signature)?,
        })
    }
}

// === impl Header ===

impl Header {
    fn read(text: &[u8]) -> Result<Self, TokenFault> {
        let object = Object::read(text).map_err(unreadable)?;
        if NOT_TAKEN.iter().any(|name| object.has(name)) {
            return Err(unreadable(
                "its header names keys of its own, or extensions, which are not taken",
            ));
        }
        let text = |name| {
            let found = object.get::<String>(name);
            found.map_err(|_| unreadable("a member of its header is not a text"))
        };
        let is_known = |kind: &String| KINDS.iter().any(|known| known.eq_ignore_ascii_case(kind));
        if !text("typ")?.as_ref().is_none_or(is_known) {
            return Err(unreadable("it is a token of another type (`typ`)"));
        }
        let kid = text("kid")?;
        if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID) {
            return Err(unreadable("the name of its key is too long"));
        }
        let algorithm = text("alg")?.ok_or_else(|| unreadable("its header has no `alg`"))?;
        Ok(Self {
            algorithm: Algorithm::named(&algorithm),
            kid,
        })
    }
}

/// Base64url without padding, of which there is one way to write the same octets.
fn decoded(part: &[u8]) -> Result<Vec<u8>, TokenFault> {
    BASE64_URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| unreadable("a part of it is not Base64url without padding"))
}
