//! Promise: a Broker on Kafka is opened only on topics and servers that keep what is promised: others are
//! refused in words and left as they are. Its login is in a Secret, and is shown nowhere.

use millrace_tests::channel_server::{ChannelServer as _, PATIENT, all, broker_at, until_accepted};
use millrace_tests::documents::Documents;
use millrace_tests::kafka::{Kafka, Listener, PASSWORD, USER};
use millrace_tests::{Event, Mesh, Sink, wait_until};

/// The topic of the events of `shop/default`.
const TOPIC: &str = "millrace.shop.default";

#[tokio::test]
async fn a_topic_of_another_shape_is_refused_in_words_and_left_as_it_is() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    kafka
        .create_topic_with(TOPIC, 3, &[("retention.ms", "3600000")])
        .await?;
    let sink = Sink::start().await?;
    let mesh = Mesh::start(kafka.broker(PATIENT, &[]).trigger(&all(&sink)).text()).await?;
    let refused = mesh.post("shop/default", &Event::new("1", "x").binary()).await?;
    assert_eq!(refused.status, 503);
    let said = String::from_utf8_lossy(&refused.body).into_owned();
    for word in [
        TOPIC,
        "3 partitions",
        "retention.ms is 3600000",
        "message.timestamp.type",
        "left as it is",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    // Somebody puts it right: the Broker opens by itself.
    kafka.delete_topic(TOPIC).await?;
    until_accepted(&mesh, "2").await?;
    sink.wait_for("/all", 1).await?;
    Ok(())
}

#[tokio::test]
async fn more_durability_than_the_topics_give_is_refused_in_words() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let mut documents = kafka.broker(PATIENT, &[]);
    let mesh = Mesh::start(documents.text()).await?;
    for (wanted, word) in [
        ("replicated", "min.insync.replicas of 2"),
        ("synced", "cannot be verified"),
    ] {
        documents = kafka.broker(PATIENT, &[&format!("durability: {wanted}")]);
        mesh.reload(documents.text()).await?;
        let refused = mesh.post("shop/default", &Event::new("1", "x").binary()).await?;
        let said = String::from_utf8_lossy(&refused.body).into_owned();
        assert!(refused.status == 503 && said.contains(word), "{word}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn events_without_their_state_are_not_taken_for_a_new_broker() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let documents = kafka.broker(PATIENT, &[]).trigger(&all(&sink));
    let mut mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.wait_for("/all", 1).await?;
    mesh.stop().await?;
    kafka.delete_topic(&format!("{TOPIC}.state")).await?;
    mesh.restart().await?;
    let refused = mesh.post("shop/default", &Event::new("2", "x").binary()).await?;
    let said = String::from_utf8_lossy(&refused.body).into_owned();
    assert!(
        refused.status == 503 && said.contains("--rebuild-state"),
        "{said}"
    );
    Ok(())
}

#[tokio::test]
async fn a_login_and_certificates_come_from_a_secret_and_are_shown_nowhere() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::secured().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let authority = std::fs::read_to_string(kafka.authority().expect("secured"))?;
    let documents = |password: &str| {
        let at = kafka.listener(Listener::SaslTls);
        let documents = broker_at::<Kafka>(&at, PATIENT, &["auth-secret: for-kafka"]).trigger(&all(&sink));
        let ca = authority.replace('\n', "\n    ");
        let secret = format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: for-kafka, namespace: shop}}\nstringData:\n  user: \
             {USER}\n  password: \"{password}\"\n  sasl.mechanism: SCRAM-SHA-512\n  ca.crt: |\n    {ca}\n"
        );
        format!("{}{secret}", documents.text())
    };
    let mesh = Mesh::start(&documents("wrong-one")).await?;
    wait_until("the reason to be told", || async {
        let refused = mesh.post("shop/default", &Event::new("1", "x").binary()).await?;
        let said = String::from_utf8_lossy(&refused.body).into_owned();
        anyhow::ensure!(refused.status == 503 && !said.contains("wrong-one"), "{said}");
        Ok(said.contains("login is refused").then_some(()))
    })
    .await?;
    mesh.reload(&documents(PASSWORD)).await?;
    until_accepted(&mesh, "2").await?;
    sink.wait_for("/all", 1).await?;
    assert!(!mesh.running().stderr().contains(PASSWORD));
    Ok(())
}

#[tokio::test]
async fn a_server_at_an_address_that_no_document_may_name_is_refused() -> anyhow::Result<()> {
    let Some(mut kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let refused = async |documents: &Documents| {
        let mesh = Mesh::start(documents.text()).await?;
        let refused = mesh.post("shop/default", &Event::new("1", "x").binary()).await?;
        assert_eq!(refused.status, 503);
        anyhow::Ok(String::from_utf8_lossy(&refused.body).into_owned())
    };
    let said = refused(&broker_at::<Kafka>("169.254.169.254:9092", PATIENT, &[])).await?;
    assert!(said.contains("169.254.169.254:9092: connections to"), "{said}");
    // And one that the others name.
    kafka.advertise("169.254.169.254:9092").await?;
    let said = refused(&kafka.broker(PATIENT, &[])).await?;
    assert!(said.contains("a broker that the others name"), "{said}");
    Ok(())
}
