//! Promise: a KafkaSource logs in and encrypts as its document says, reports why it is not let in, and shows
//! no secret.

use anyhow::{Context as _, ensure};
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::kafka::{Kafka, Listener, Net, PASSWORD, Record, source};
use millrace_tests::mesh::Setup;
use millrace_tests::{Sink, wait_until};

const BROKER: &str = "{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}";
const PATH: &str = "/ship";

#[tokio::test]
async fn a_source_logs_in_and_encrypts_as_its_document_says() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::secured().await? else {
        return Ok(());
    };
    let net = Net::of(&kafka)?;
    let login = Net::login;
    let at = |listener| kafka.listener(listener);
    // Nothing listens there.
    let closed = "127.0.0.1:1".to_owned();
    // What `reason` says of those that are not let in.
    let table: [(&str, String, String, Option<&str>); 11] = [
        ("plain", at(Listener::Sasl), login("PLAIN", "password"), None),
        (
            "scram",
            at(Listener::Sasl),
            login("SCRAM-SHA-256", "password"),
            None,
        ),
        (
            "both",
            at(Listener::SaslTls),
            format!("{}, {}", net.tls, login(&Net::entry("type"), "password")),
            None,
        ),
        ("mutual", at(Listener::Tls), net.mutual.clone(), None),
        (
            "wrong",
            at(Listener::Sasl),
            login("PLAIN", "type"),
            Some("the login is refused: "),
        ),
        (
            "wrong-scram",
            at(Listener::Sasl),
            login("SCRAM-SHA-512", "type"),
            Some("the login is refused: "),
        ),
        (
            "unsupported",
            at(Listener::SaslTls),
            format!("{}, {}", net.tls, login("SCRAM-SHA-256", "password")),
            Some("the mechanism of the login is not supported: "),
        ),
        (
            "nobody",
            at(Listener::Tls),
            net.tls.clone(),
            Some("encryption failed: "),
        ),
        (
            "stranger",
            at(Listener::SaslTls),
            format!("tls: {{enable: true}}, {}", login("PLAIN", "password")),
            Some("encryption failed: "),
        ),
        (
            "closed",
            closed,
            login("PLAIN", "password"),
            Some("connection refused: "),
        ),
        (
            "nowhere",
            "nowhere.invalid:9092".to_owned(),
            login("PLAIN", "password"),
            Some("name not found: "),
        ),
    ];
    let sink = Sink::start().await?;
    let broker = Documents::broker().trigger(&Trigger::new("ship", &sink.url(PATH)));
    let mut text = broker.text().to_owned() + &Net::secret();
    for (topic, server, said, _) in &table {
        kafka.create_topic(topic, 1).await?;
        text += &source(server, topic, BROKER, &format!("net: {{{said}}}"));
        kafka.produce(topic, &[Record::of(*topic)]).await?;
    }
    let mesh = Setup::new(&text)?.secret_dir(&net.folder).start().await?;
    for (topic, _, _, refused) in &table {
        let name = format!("shop/{topic}");
        wait_until(&format!("{topic}: {refused:?}"), || async {
            let sources = mesh.admin().get("sources").await?;
            let found = sources
                .as_array()
                .into_iter()
                .flatten()
                .find(|source| source["name"] == name);
            let found = found.context("there is no such source")?;
            let is_so = match refused {
                None => found["events"] == 1,
                Some(why) => {
                    let reason = found["reason"].as_str().unwrap_or_default();
                    found["state"] == "not-ready" && found["events"] == 0 && reason.contains(why)
                }
            };
            ensure!(is_so, "{found}");
            Ok(Some(()))
        })
        .await?;
    }
    let said = mesh.admin().get("sources").await?.to_string();
    assert!(
        !said.contains(PASSWORD) && !said.contains("a secret, with"),
        "{said}"
    );
    Ok(())
}
