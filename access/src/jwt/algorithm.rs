//! The algorithms of signatures: a closed list, each with one kind of key. There is none without a key, and
//! none whose key verifies and signs alike.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    VerificationAlgorithm,
};

/// An algorithm, by its name in a token's header (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// The same with SHA-384.
    Rs384,
    /// The same with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// The same with SHA-384.
    Ps384,
    /// The same with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// Ed25519.
    EdDsa,
}

/// The key that an algorithm needs.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeyKind {
    /// RSA of 2 048 to 8 192 bits.
    Rsa(&'static RsaParameters),
    /// A point on a curve of that name, with coordinates of that many octets.
    Ec(&'static str, usize, &'static dyn VerificationAlgorithm),
    /// A key of Ed25519.
    Ed25519(&'static dyn VerificationAlgorithm),
}

// === impl Algorithm ===

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// Those of an issuer whose entry does not say.
    pub const USUAL: [Self; 2] = [Self::Rs256, Self::Es256];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of that name. Names are compared as they are.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    pub(super) fn key(self) -> KeyKind {
        match self {
            Self::Rs256 => KeyKind::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => KeyKind::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => KeyKind::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => KeyKind::Rsa(&RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => KeyKind::Rsa(&RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => KeyKind::Rsa(&RSA_PSS_2048_8192_SHA512),
            Self::Es256 => KeyKind::Ec("P-256", 32, &ECDSA_P256_SHA256_FIXED),
            Self::Es384 => KeyKind::Ec("P-384", 48, &ECDSA_P384_SHA384_FIXED),
            Self::Es512 => KeyKind::Ec("P-521", 66, &ECDSA_P521_SHA512_FIXED),
            Self::EdDsa => KeyKind::Ed25519(&ED25519),
        }
    }
}
