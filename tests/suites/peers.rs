//! That the real servers start and do what the other suites build on. What fails here is wrong with the machine, or with
//! the harness, and not with Millrace.

use millrace_tests::kafka::{Kafka, Listener, PASSWORD, Record, USER};
use millrace_tests::peers;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

#[tokio::test]
async fn kafka_keeps_records_over_a_stop_and_a_kill() -> anyhow::Result<()> {
    let Some(mut kafka) = Kafka::start().await? else {
        return Ok(());
    };
    kafka.create_topic("orders", 2).await?;
    let first = Record::of("one").key("k").header("ce_id", "1").partition(1);
    kafka.produce("orders", std::slice::from_ref(&first)).await?;
    let before = kafka.wait_for("orders", 1).await?;
    assert_eq!((&before[0].key, &before[0].value), (&first.key, &first.value));
    assert_eq!(
        (&before[0].headers, before[0].partition),
        (&first.headers, Some(1))
    );

    kafka.restart().await?;
    assert_eq!(kafka.records("orders").await?, before);

    kafka.produce("orders", &[Record::of("two").partition(1)]).await?;
    kafka.kill().await?;
    kafka.restart().await?;
    let after = kafka.records("orders").await?;
    assert_eq!(after.len(), 2, "{after:?}");
    assert_eq!(after[1].offset, 1);

    assert_eq!(kafka.committed("nobody", "orders", 1).await?, None);
    kafka.delete_topic("orders").await?;
    assert!(kafka.create_topic("a topic", 1).await.is_err());
    Ok(())
}

#[tokio::test]
async fn kafka_lets_in_who_can_log_in_and_nobody_else() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::secured().await? else {
        return Ok(());
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        for (listener, protocol) in [
            (Listener::Sasl, "sasl_plaintext"),
            (Listener::SaslTls, "sasl_ssl"),
        ] {
            let mut config = trusting(&kafka, listener, protocol)?;
            config.set("sasl.mechanism", mechanism).set("sasl.username", USER);
            config.set("sasl.password", "wrong");
            assert!(
                !connects(&config).await?,
                "{mechanism} on {protocol} without the password"
            );
            config.set("sasl.password", PASSWORD);
            assert!(connects(&config).await?, "{mechanism} on {protocol}");
        }
    }
    let mut config = trusting(&kafka, Listener::Tls, "ssl")?;
    assert!(!connects(&config).await?, "a client without a certificate");
    let (certificate, key) = kafka.client_certificate().expect("secured");
    config.set("ssl.certificate.location", certificate.to_string_lossy());
    config.set("ssl.key.location", key.to_string_lossy());
    assert!(connects(&config).await?, "a client with a certificate");
    Ok(())
}

fn trusting(kafka: &Kafka, listener: Listener, protocol: &str) -> anyhow::Result<ClientConfig> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.listener(listener));
    config.set("security.protocol", protocol);
    config.set(
        "ssl.ca.location",
        kafka.authority().expect("secured").to_string_lossy(),
    );
    Ok(config)
}

/// Whether the broker answers; a refusal says so at once, since librdkafka reports it as an event.
async fn connects(config: &ClientConfig) -> anyhow::Result<bool> {
    let config = config.clone();
    tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = config.create()?;
        Ok(consumer
            .fetch_metadata(None, std::time::Duration::from_secs(5))
            .is_ok())
    })
    .await?
}

#[test]
fn the_webhook_payloads_are_there() -> anyhow::Result<()> {
    let Some(events) = peers::webhooks()? else {
        return Ok(());
    };
    let push = events.iter().find(|event| event["name"] == "push").expect("push");
    assert!(
        push["examples"][0]["repository"]["full_name"].is_string(),
        "{push}"
    );
    Ok(())
}
