//! JSON Web Tokens of OpenID Connect issuers: read, verified, remembered.
//!
//! The files follow a token. Its three parts are taken apart ([`compact`]), as JSON that can be read in one
//! way only (`json`). Its header names an [`algorithm`] and one of the issuer's [`keys`], and what it claims
//! ([`claims`]) counts once the signature is right. `verified` remembers tokens that were. An [`issuer`] puts
//! these together; [`discovery`] says where its keys are. Nothing here waits or fetches: who has fetched keys
//! hands them in.

pub mod algorithm;
pub mod claims;
pub mod compact;
pub mod discovery;
pub mod issuer;
mod json;
pub mod keys;
mod verified;

pub use algorithm::Algorithm;
pub use claims::Claims;
pub use issuer::{Issuer, IssuerKeys, KeySource};
pub use keys::{KeyFault, KeySet};

use crate::refusal::Refusal;

/// Why a token is not taken, before it is known whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// It is no token that can be read, or has something that is not taken. A sentence.
    Unreadable(&'static str),
    /// The access file does not name its issuer.
    UnknownIssuer,
    /// The issuer's entry does not name its algorithm.
    Algorithm,
    /// The issuer has no such key.
    UnknownKey,
    /// The signature is not that of the key.
    Signature,
    /// The issuer's keys are not there (yet), so that nothing can be said of the token.
    KeysMissing,
}

impl From<TokenFault> for Refusal {
    fn from(fault: TokenFault) -> Self {
        Self::Token(fault)
    }
}

/// Something in a token that cannot be read.
fn unreadable(why: &'static str) -> TokenFault {
    TokenFault::Unreadable(why)
}
