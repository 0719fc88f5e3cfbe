//! How librdkafka is told what the document says.

use millrace_model::Secret;
use millrace_model::source::{Kafka, Login, Tls};
use millrace_secrets::SecretReader;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::heard;
use crate::SourceError;

/// The settings that are the same for every source.
const SETTINGS: &[(&str, &str)] = &[
    ("client.id", "millrace"),
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
    // Topics that appear are found within this time.
    ("topic.metadata.refresh.interval.ms", "10000"),
    ("allow.auto.create.topics", "false"),
    ("socket.keepalive.enable", "true"),
    // Read-ahead is bounded in bytes (see `ReadAhead`). Without this short backoff a full queue would stand
    // still for a second.
    ("fetch.queue.backoff.ms", "1"),
    // The cluster is not told how we are doing; measuring it takes time for each record.
    ("enable.metrics.push", "false"),
    // What the process has no name for is told by poll.
    ("log.connection.close", "false"),
];

/// The settings of one source, except its servers: those are judged first (`servers`). Secrets are read now.
pub(crate) async fn client(spec: &Kafka, secrets: &SecretReader) -> Result<ClientConfig, SourceError> {
    let mut config = ClientConfig::new();
    for (name, value) in SETTINGS {
        config.set(*name, *value);
    }
    config.set("group.id", &spec.group);
    // Where there is nothing to read librdkafka says so, and the partition is begun anew by our own rules.
    config.set("auto.offset.reset", "error");
    config.set("debug", heard::DEBUG);
    config.set_log_level(RDKafkaLogLevel::Debug);
    let protocol = match (&spec.tls, &spec.login) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &spec.tls {
        encryption(&mut config, tls, secrets).await?;
    }
    if let Some(login) = &spec.login {
        self::login(&mut config, login, secrets).await?;
    }
    Ok(config)
}

async fn encryption(config: &mut ClientConfig, tls: &Tls, secrets: &SecretReader) -> Result<(), SourceError> {
    match &tls.authorities {
        Some(authorities) => config.set("ssl.ca.pem", text("net.tls.caCert", authorities, secrets).await?),
        // OpenSSL is linked in and does not know where the system keeps its list.
        None => config.set("ssl.ca.location", "probe"),
    };
    if let Some((certificate, key)) = &tls.identity {
        config.set(
            "ssl.certificate.pem",
            text("net.tls.cert", certificate, secrets).await?,
        );
        config.set("ssl.key.pem", text("net.tls.key", key, secrets).await?);
    }
    Ok(())
}

async fn login(config: &mut ClientConfig, login: &Login, secrets: &SecretReader) -> Result<(), SourceError> {
    use millrace_model::source::Mechanism;

    let name = match &login.mechanism {
        Mechanism::Named(secret) => text("net.sasl.type", secret, secrets).await?,
        known => known.name().unwrap_or_default().to_owned(),
    };
    if Mechanism::of(&name).is_none() {
        let message = "`net.sasl.type` is none of PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512";
        return Err(SourceError::Unusable(message.to_owned()));
    }
    config.set("sasl.mechanism", name);
    config.set(
        "sasl.username",
        text("net.sasl.user", &login.user, secrets).await?,
    );
    config.set(
        "sasl.password",
        text("net.sasl.password", &login.password, secrets).await?,
    );
    Ok(())
}

/// A secret that is text; librdkafka takes no other.
async fn text(field: &str, secret: &Secret, secrets: &SecretReader) -> Result<String, SourceError> {
    let octets = secrets
        .secret(secret)
        .await
        .map_err(|error| SourceError::Unusable(format!("`{field}`: {error}")))?;
    let text = String::from_utf8(octets.into())
        .map_err(|_| SourceError::Unusable(format!("`{field}` is not UTF-8")))?;
    if text.contains('\0') {
        return Err(SourceError::Unusable(format!("`{field}` holds a zero byte")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use millrace_model::source::{InitialOffset, KeyType, Mechanism, Ordering};
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
                login(Secret::Missing("there is no Secret s".to_owned()), "PLAIN"),
                "`net.sasl.password`: there is no Secret s",
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
