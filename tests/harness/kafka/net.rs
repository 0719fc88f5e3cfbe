//! How a document says that its client logs in and encrypts, for a broker that asks for it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{Kafka, PASSWORD, USER};

/// What stands under `net` in documents for a secured broker, without the braces.
#[derive(Debug)]
pub struct Net {
    /// The folder of the files that it names.
    pub folder: PathBuf,
    /// Encryption by the broker's own authority.
    pub tls: String,
    /// The same, with a client's certificate.
    pub mutual: String,
}

// === impl Net ===

impl Net {
    /// For this broker.
    ///
    /// # Errors
    /// When it is not secured.
    pub fn of(kafka: &Kafka) -> anyhow::Result<Self> {
        let authority = kafka.authority().context("secured")?;
        let (certificate, key) = kafka.client_certificate().context("secured")?;
        let file = |path: &Path| format!("{{file: \"{}\"}}", path.display());
        let encrypted = format!("enable: true, caCert: {}", file(authority));
        Ok(Self {
            folder: authority.parent().context("a folder")?.to_owned(),
            mutual: format!(
                "tls: {{{encrypted}, cert: {}, key: {}}}",
                file(certificate),
                file(key)
            ),
            tls: format!("tls: {{{encrypted}}}"),
        })
    }

    /// A reference to an entry of [`Self::secret`].
    pub fn entry(key: &str) -> String {
        format!("{{secretKeyRef: {{name: login, key: {key}}}}}")
    }

    /// A login by this mechanism, whose password is that entry of [`Self::secret`].
    pub fn login(mechanism: &str, password: &str) -> String {
        let (user, password) = (Self::entry("user"), Self::entry(password));
        format!("sasl: {{enable: true, type: {mechanism}, user: {user}, password: {password}}}")
    }

    /// The Secret `shop/login`: `user`, `password`, and `type`, which is a mechanism and no password.
    pub fn secret() -> String {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: login, namespace: shop}}\n\
             stringData: {{user: {USER}, password: '{PASSWORD}', type: SCRAM-SHA-512}}\n"
        )
    }
}
