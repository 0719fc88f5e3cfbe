//! How librdkafka is told what the document says: access with its secrets, and the settings of a consumer.

use millrace_delivery::kafka::access;
use millrace_kafka::{config, log};
use millrace_model::source::Kafka;
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
    let access = access::read(spec.tls.as_ref(), spec.login.as_ref(), secrets)
        .await
        .map_err(SourceError::Unusable)?;
    let mut config = config::client(&access);
    for (name, value) in SETTINGS {
        config.set(*name, *value);
    }
    config.set("group.id", &spec.group);
    log::with_recreated(&mut config);
    Ok(config)
}

#[cfg(test)]
mod tests {
    use millrace_model::source::{InitialOffset, KeyType, Ordering};
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
}
