//! How a client encrypts and logs in. Secrets are read before, by whoever knows where they come from.

use std::fmt;

use millrace_model::kafka::Mechanism;

use crate::AccessError;

/// How a client gets at a cluster. The default is neither encryption nor a login.
#[derive(Debug, Default)]
pub struct Access {
    /// Encryption; `None`: none.
    pub tls: Option<Tls>,
    /// Login; `None`: none.
    pub login: Option<Login>,
}

/// Encryption.
#[derive(Default)]
pub struct Tls {
    /// PEM of the authorities to trust; `None`: those that the system trusts.
    pub authorities: Option<String>,
    /// PEM of a certificate of our own and of its key.
    pub identity: Option<(String, String)>,
}

/// A login (SASL).
pub struct Login {
    mechanism: String,
    user: String,
    password: String,
}

/// A secret as text; librdkafka takes no other.
///
/// # Errors
/// When it is no text, or cannot be a C string.
pub fn text(octets: &[u8]) -> Result<String, AccessError> {
    let text = std::str::from_utf8(octets).map_err(|_| AccessError::NotText)?;
    if text.contains('\0') {
        return Err(AccessError::ZeroByte);
    }
    Ok(text.to_owned())
}

// === impl Access ===

impl Access {
    /// librdkafka's `security.protocol`.
    pub(crate) fn protocol(&self) -> &'static str {
        match (&self.tls, &self.login) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        }
    }
}

// === impl Tls ===

impl Tls {
    pub(crate) fn settings(&self) -> Vec<(&'static str, &str)> {
        let authorities = match &self.authorities {
            Some(authorities) => ("ssl.ca.pem", authorities.as_str()),
            // OpenSSL is linked in and does not know where the system keeps its list.
            None => ("ssl.ca.location", "probe"),
        };
        let mut settings = vec![authorities];
        if let Some((certificate, key)) = &self.identity {
            settings.extend([
                ("ssl.certificate.pem", certificate.as_str()),
                ("ssl.key.pem", key),
            ]);
        }
        settings
    }
}

impl fmt::Debug for Tls {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

// === impl Login ===

impl Login {
    /// A login by the mechanism of that name.
    ///
    /// # Errors
    /// When there is no such mechanism.
    pub fn new(mechanism: String, user: String, password: String) -> Result<Self, AccessError> {
        if Mechanism::of(&mechanism).is_none() {
            return Err(AccessError::UnknownMechanism);
        }
        Ok(Self {
            mechanism,
            user,
            password,
        })
    }

    pub(crate) fn settings(&self) -> [(&'static str, &str); 3] {
        [
            ("sasl.mechanism", &self.mechanism),
            ("sasl.username", &self.user),
            ("sasl.password", &self.password),
        ]
    }
}

impl fmt::Debug for Login {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Login");
        shown.field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_that_can_be_a_c_string_is_a_secret_for_librdkafka() {
        for (octets, expected) in [
            (&b" p \n"[..], Ok(" p \n".to_owned())),
            ("pässword".as_bytes(), Ok("pässword".to_owned())),
            (b"", Ok(String::new())),
            (b"hush\0", Err(AccessError::ZeroByte)),
            (b"\xff", Err(AccessError::NotText)),
        ] {
            assert_eq!(text(octets), expected);
        }
    }

    #[test]
    fn a_login_has_one_of_three_mechanisms_and_is_never_shown() {
        for (mechanism, is_known) in [
            ("PLAIN", true),
            ("SCRAM-SHA-256", true),
            ("SCRAM-SHA-512", true),
            ("GSSAPI", false),
            ("plain", false),
            ("", false),
        ] {
            let login = Login::new(mechanism.to_owned(), "me".to_owned(), "hush".to_owned());
            match login {
                Ok(login) => {
                    let shown = format!("{login:?}");
                    assert!(
                        is_known && !shown.contains("hush") && !shown.contains("me\""),
                        "{shown}"
                    );
                }
                Err(error) => assert_eq!((error, is_known), (AccessError::UnknownMechanism, false)),
            }
        }
    }
}
