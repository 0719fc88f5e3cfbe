//! How a client gets into a cluster, with its secrets as they are now.

use millrace_kafka::{Access, AccessError, Login as LoginTold, Tls as TlsTold, access};
use millrace_model::Secret;
use millrace_model::kafka::{Login, Mechanism, Tls};
use millrace_secrets::SecretReader;

/// Reads the secrets of a cluster.
///
/// # Errors
/// A sentence that names the field of the secret that cannot be had, and repeats none.
pub async fn read(
    tls: Option<&Tls>,
    login: Option<&Login>,
    secrets: &SecretReader,
) -> Result<Access, String> {
    let mut access = Access::default();
    if let Some(tls) = tls {
        access.tls = Some(encryption(tls, secrets).await?);
    }
    if let Some(login) = login {
        access.login = Some(self::login(login, secrets).await?);
    }
    Ok(access)
}

async fn encryption(tls: &Tls, secrets: &SecretReader) -> Result<TlsTold, String> {
    let mut told = TlsTold::default();
    if let Some(authorities) = &tls.authorities {
        told.authorities = Some(text("net.tls.caCert", authorities, secrets).await?);
    }
    if let Some((certificate, key)) = &tls.identity {
        let certificate = text("net.tls.cert", certificate, secrets).await?;
        told.identity = Some((certificate, text("net.tls.key", key, secrets).await?));
    }
    Ok(told)
}

async fn login(login: &Login, secrets: &SecretReader) -> Result<LoginTold, String> {
    let mechanism = match &login.mechanism {
        Mechanism::Named(secret) => text("net.sasl.type", secret, secrets).await?,
        known => known.name().unwrap_or_default().to_owned(),
    };
    let user = text("net.sasl.user", &login.user, secrets).await?;
    let password = text("net.sasl.password", &login.password, secrets).await?;
    LoginTold::new(mechanism, user, password).map_err(|flaw| unusable("net.sasl.type", flaw))
}

/// A secret that is text.
async fn text(field: &str, secret: &Secret, secrets: &SecretReader) -> Result<String, String> {
    let octets = secrets.secret(secret).await;
    let octets = octets.map_err(|error| format!("`{field}`: {error}"))?;
    access::text(&octets).map_err(|flaw| unusable(field, flaw))
}

fn unusable(field: &str, flaw: AccessError) -> String {
    format!("`{field}` {flaw}")
}

#[cfg(test)]
mod tests {
    use millrace_kafka::config;
    use millrace_model::{MissingSecret, NoSecret, ObjectName};
    use millrace_secrets::SecretRule;

    use super::*;

    fn nothing_named() -> SecretReader {
        SecretReader::new(SecretRule::default())
    }

    fn secret(text: &str) -> Secret {
        Secret::Value(text.as_bytes().into())
    }

    #[tokio::test]
    async fn encryption_and_login_are_told_with_their_secrets() {
        let tls = Tls {
            authorities: Some(secret("PEM\n")),
            identity: None,
        };
        let login = Login {
            mechanism: Mechanism::Named(secret("SCRAM-SHA-512\n")),
            user: secret("me"),
            password: secret(" p "),
        };
        let access = read(Some(&tls), Some(&login), &nothing_named()).await;
        let config = config::client(&access.expect("it is good"));
        for (name, value) in [
            ("security.protocol", "sasl_ssl"),
            ("ssl.ca.pem", "PEM"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "me"),
            ("sasl.password", " p "),
        ] {
            assert_eq!(config.get(name), Some(value), "{name}");
        }
    }

    #[tokio::test]
    async fn a_secret_that_is_not_there_is_said_with_its_field_and_without_any_value() {
        let missing = || {
            Secret::Missing(MissingSecret {
                secret: ObjectName::new("shop", "s"),
                key: "k".to_owned(),
                why: NoSecret::NotFound,
            })
        };
        let login = |password, mechanism: &str| Login {
            mechanism: Mechanism::Named(secret(mechanism)),
            user: secret("me"),
            password,
        };
        for (login, expected) in [
            (
                login(missing(), "PLAIN"),
                "`net.sasl.password`: there is no Secret shop/s",
            ),
            (
                login(secret("hush\0"), "PLAIN"),
                "`net.sasl.password` holds a zero byte",
            ),
            (
                login(secret("hush"), "GSSAPI"),
                "`net.sasl.type` is none of PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512",
            ),
        ] {
            let error = read(None, Some(&login), &nothing_named()).await;
            assert_eq!(error.expect_err("it is not good"), expected);
        }
    }
}
