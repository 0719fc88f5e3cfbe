//! Whom to trust behind a URL, beside those whom the machine trusts.

use std::fmt;
use std::sync::Arc;

/// Certificates in PEM: those of authorities, or of targets themselves. Whoever makes it has looked at them:
/// each can be used. Clones share the text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Authorities(Arc<str>);

// === impl Authorities ===

impl Authorities {
    /// These certificates.
    pub fn new(pem: impl Into<Arc<str>>) -> Self {
        Self(pem.into())
    }

    /// The certificates, as they were written.
    pub fn pem(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({} octets)", self.0.len())
    }
}
