//! How librdkafka is told what the document says: access with its secrets, and the settings of a consumer.

use millrace_kafka::{Access, AccessError, access, config, log};
use millrace_model::Secret;
use millrace_model::source::{Kafka, Login, Mechanism, Tls};
use millrace_secrets::SecretReader;
use rdkafka::ClientConfig;

use crate::SourceError;

/// The settings of every consumer, beside those of every client.
const SETTINGS: &[(&str, &str)] = &[
    // Kafka is told what is done once it is: an offset is stored after its event is durable, and committed
    // soon after.
    ("enable.auto.offset.store", "false"),
    ("enable.auto.commit", "true"),
    ("auto.commit.interval.ms", "1000"),
    // A rebalance takes all partitions and gives them anew. Committing during a cooperative one can lose the
    // assignment (librdkafka#4059).
    ("partition.assignment.strategy", "range,roundrobin"),
    // A dead member is noticed within this time; only then do its partitions go to others.
    ("session.timeout.ms", "10000"),
    // Read-ahead is bounded in bytes (see `ReadAhead`). Without this short backoff a full queue would stand
    // still for a second.
    ("fetch.queue.backoff.ms", "1"),
    // Where there is nothing to read librdkafka says so, and the partition is begun anew by our own rules.
    ("auto.offset.reset", "error"),
];

/// The settings of one source, except its servers: those are judged first (`servers`). Secrets are read now.
pub(super) async fn client(spec: &Kafka, secrets: &SecretReader) -> Result<ClientConfig, SourceError> {
    let mut access = Access::default();
    if let Some(tls) = &spec.tls {
        access.tls = Some(encryption(tls, secrets).await?);
    }
    if let Some(login) = &spec.login {
        access.login = Some(self::login(login, secrets).await?);
    }
    let mut config = config::client(&access);
    for (name, value) in SETTINGS {
        config.set(*name, *value);
    }
    config.set("group.id", &spec.group);
    log::with_recreated(&mut config);
    Ok(config)
}

async fn encryption(tls: &Tls, secrets: &SecretReader) -> Result<millrace_kafka::Tls, SourceError> {
    let mut told = millrace_kafka::Tls::default();
    if let Some(authorities) = &tls.authorities {
        told.authorities = Some(text("net.tls.caCert", authorities, secrets).await?);
    }
    if let Some((certificate, key)) = &tls.identity {
        let certificate = text("net.tls.cert", certificate, secrets).await?;
        told.identity = Some((certificate, text("net.tls.key", key, secrets).await?));
    }
    Ok(told)
}

async fn login(login: &Login, secrets: &SecretReader) -> Result<millrace_kafka::Login, SourceError> {
    let mechanism = match &login.mechanism {
        Mechanism::Named(secret) => text("net.sasl.type", secret, secrets).await?,
        known => known.name().unwrap_or_default().to_owned(),
    };
    let user = text("net.sasl.user", &login.user, secrets).await?;
    let password = text("net.sasl.password", &login.password, secrets).await?;
    millrace_kafka::Login::new(mechanism, user, password).map_err(|flaw| unusable("net.sasl.type", flaw))
}

/// A secret that is text.
async fn text(field: &str, secret: &Secret, secrets: &SecretReader) -> Result<String, SourceError> {
    let octets = secrets
        .secret(secret)
        .await
        .map_err(|error| SourceError::Unusable(format!("`{field}`: {error}")))?;
    access::text(&octets).map_err(|flaw| unusable(field, flaw))
}

fn unusable(field: &str, flaw: AccessError) -> SourceError {
    SourceError::Unusable(format!("`{field}` {flaw}"))
}

#[cfg(test)]
mod tests {
    use millrace_model::source::{InitialOffset, KeyType, Ordering};
    use millrace_model::{MissingSecret, NoSecret, ObjectName};
    use millrace_secrets::SecretRule;

    use super::*;

    fn nothing_named() -> SecretReader {
        SecretReader::new(SecretRule::default())
    }

    fn spec() -> Kafka {
        Kafka {
            bootstrap_servers: vec!["a:1".to_owned(), "b:2".to_owned()],
            topics: vec!["orders".to_owned()],
            topic_pattern: None,
            group: "g".to_owned(),
            initial_offset: InitialOffset::Earliest,
            ordering: Ordering::Ordered,
            key_type: KeyType::Text,
            tls: None,
            login: None,
            delivery: None,
        }
    }

    fn secret(text: &str) -> Secret {
        Secret::Value(text.as_bytes().into())
    }

    #[tokio::test]
    async fn the_document_is_told_in_librdkafkas_words() {
        let config = client(&spec(), &nothing_named()).await.expect("it is good");
        for (name, value) in [
            ("group.id", "g"),
            ("auto.offset.reset", "error"),
            ("security.protocol", "plaintext"),
            ("enable.auto.offset.store", "false"),
            ("debug", "topic"),
        ] {
            assert_eq!(config.get(name), Some(value), "{name}");
        }
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
        let spec = Kafka {
            tls: Some(tls),
            login: Some(login),
            ..spec()
        };
        let config = client(&spec, &nothing_named()).await.expect("it is good");
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
        let login = |password, mechanism: &str| Kafka {
            login: Some(Login {
                mechanism: Mechanism::Named(secret(mechanism)),
                user: secret("me"),
                password,
            }),
            ..spec()
        };
        for (spec, expected) in [
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
            let error = client(&spec, &nothing_named()).await.expect_err("it is not good");
            assert_eq!(error.to_string(), expected);
        }
    }
}
