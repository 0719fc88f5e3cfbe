//! Promise: an event that is delivered to a KafkaSink is a record of its topic with every attribute and byte,
//! in either content mode, with its `partitionkey` as key. A KafkaSource makes the same event of it, and
//! other clients read it as the CloudEvents binding says.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::kafka::{Kafka, Listener, Net, PASSWORD, Record, sink, sink_ref, source, trigger_to};
use millrace_tests::mesh::Setup;
use millrace_tests::{Event, Mesh, Sink, wait_until};
use serde_json::{Value, json};

/// The attributes of a record in binary mode; the count of hops is the mesh's own.
fn attributes(record: &Record) -> BTreeSet<(String, String)> {
    let text =
        |value: &Option<Vec<u8>>| String::from_utf8(value.clone().unwrap_or_default()).unwrap_or_default();
    let headers = record.headers.iter();
    let all = headers.filter(|(name, _)| name != "ce_knativebrokerttl");
    all.map(|(name, value)| (name.clone(), text(value))).collect()
}

/// The same of an event.
fn expected(event: &Event) -> BTreeSet<(String, String)> {
    let own = event.attributes.iter();
    let own = own.map(|(name, value)| (format!("ce_{name}"), value.clone()));
    let content_type = event
        .content_type
        .clone()
        .map(|value| ("content-type".to_owned(), value));
    own.chain(content_type).collect()
}

/// Events that are easily damaged on their way.
fn delicate() -> Vec<Event> {
    vec![
        Event::new("plain", "order.paid"),
        Event::new("keyed", "order.paid").with("partitionkey", "customer 7 €"),
        Event::new("spaces", "order.paid")
            .with("subject", "50% é")
            .with("time", "2018-04-05T17:31:00.100+02:00"),
        Event::new("octets", "order.paid")
            .data("application/octet-stream", Bytes::from_static(b"\x00\xff\r\n")),
        Event::new("json", "order.paid").data("application/json", "{ \"a\" : 1.10, \"a\": 2 }"),
        Event::new("nothing", "order.paid").no_data(),
    ]
}

/// An event whose attributes came in headers of HTTP, which encode some characters.
fn decoded(mut event: Event) -> Event {
    for (_, value) in &mut event.attributes {
        let mut octets = Vec::new();
        let mut rest = value.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
            let code = code.filter(|_| *first == b'%');
            match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
                Some(octet) => {
                    octets.push(octet);
                    rest = &after[2..];
                }
                None => {
                    octets.push(*first);
                    rest = after;
                }
            }
        }
        *value = String::from_utf8_lossy(&octets).into_owned();
    }
    event.sorted()
}

/// The value of a record, as JSON.
fn value(record: &Record) -> anyhow::Result<Value> {
    let value = record.value.as_ref().context("a value")?;
    Ok(serde_json::from_slice(value)?)
}

#[tokio::test]
async fn events_become_records_and_records_become_the_same_events() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    kafka.create_topic("binary", 3).await?;
    kafka.create_topic("structured", 3).await?;
    let taken = Sink::start().await?;
    let back = |topic: &str| {
        let to = format!("{{uri: \"{}\"}}", taken.url(&format!("/{topic}")));
        source(&kafka.bootstrap(), topic, &to, "ordering: ordered")
    };
    let text = Documents::broker().text().to_owned()
        + &sink(&kafka.bootstrap(), "first", "binary", "")
        + &sink(
            &kafka.bootstrap(),
            "second",
            "structured",
            "contentMode: structured",
        )
        + &trigger_to("first", "first", "")
        + &trigger_to("second", "second", "")
        + &back("binary")
        + &back("structured");
    let mesh = Mesh::start(&text).await?;
    let events = delicate();
    mesh.send("shop/default", &events).await?;

    // Java's client reads records as the binding says.
    let records = kafka.read_with_java("binary", events.len()).await?;
    ensure!(records.len() == events.len(), "{records:?}");
    for event in &events {
        let id = ("ce_id".to_owned(), Some(event.id().as_bytes().to_vec()));
        let of_it = records.iter().find(|record| record.headers.contains(&id));
        let record = of_it.with_context(|| format!("{} is not there", event.id()))?;
        assert_eq!(attributes(record), expected(event), "{}", event.id());
        assert_eq!(record.value.as_deref(), event.data.as_deref(), "{}", event.id());
        let key = event.get("partitionkey").map(|key| key.as_bytes().to_vec());
        assert_eq!(record.key, key, "{}", event.id());
    }
    for record in kafka.read_with_java("structured", events.len()).await? {
        let headers = attributes(&record);
        let media_type = "application/cloudevents+json; charset=utf-8";
        assert_eq!(
            headers,
            [("content-type".to_owned(), media_type.to_owned())].into()
        );
        let json = value(&record)?;
        let event = events
            .iter()
            .find(|event| json["id"] == event.id())
            .context("known")?;
        assert_eq!(json["specversion"], "1.0");
        assert_eq!(json["partitionkey"].as_str(), event.get("partitionkey"));
        assert_eq!(json["subject"].as_str(), event.get("subject"));
    }

    // And our sources make the same events of them, but for where the record was.
    for path in ["/binary", "/structured"] {
        let arrived = taken.wait_for(path, events.len()).await?;
        for event in &events {
            let same = arrived
                .iter()
                .map(|one| one.event())
                .find(|one| one.id() == event.id());
            let same = same.with_context(|| format!("{path}: {} has not come", event.id()))?;
            let same = same
                .without("knativekafkapartition")
                .without("knativekafkaoffset");
            assert_eq!(decoded(same), event.clone().sorted(), "{path}");
        }
    }

    // Records of equal keys go where those of Java's clients go, and the attempt says where that is.
    let keyed = kafka.records("binary").await?;
    let keyed = keyed
        .iter()
        .find(|record| record.key.is_some())
        .context("a key")?;
    let args = [
        "explain",
        "--broker",
        "shop/default",
        "--id",
        "keyed",
        "--output",
        "json",
    ];
    let explained = mesh.millrace(&args).await?;
    let explained = String::from_utf8(explained.stdout)?;
    let place = format!(
        "binary[{}]@{}",
        keyed.partition.context("a partition")?,
        keyed.offset
    );
    ensure!(explained.contains(&place), "{place} in {explained}");
    mesh.admin()
        .until_trigger("shop/first", "delivered", |trigger| {
            trigger["delivered"] == events.len()
        })
        .await?;
    Ok(())
}

/// The ids of records, in their order.
fn ids(records: &[Record]) -> Vec<String> {
    let id = |record: &Record| {
        let found = record.headers.iter().find(|(name, _)| name == "ce_id");
        let value = found.and_then(|(_, value)| value.clone()).unwrap_or_default();
        String::from_utf8_lossy(&value).into_owned()
    };
    records.iter().map(id).collect()
}

#[tokio::test]
async fn order_is_kept_and_nothing_is_lost_while_kafka_is_away() -> anyhow::Result<()> {
    let Some(mut kafka) = Kafka::start().await? else {
        return Ok(());
    };
    kafka.create_topic("patient", 4).await?;
    kafka.create_topic("hasty", 4).await?;
    let policy = |timeout: &str| {
        format!(
            "delivery: {{retry: 1000, backoffPolicy: linear, backoffDelay: PT0.1S, backoffMax: PT0.2S, timeout: {timeout}}}"
        )
    };
    let text = Documents::broker().text().to_owned()
        + &sink(&kafka.bootstrap(), "patient", "patient", "")
        + &sink(&kafka.bootstrap(), "hasty", "hasty", "")
        // One attempt lasts as long as Kafka is away, and the other's attempts fail meanwhile.
        + &trigger_to("patient", "patient", &policy("PT5M"))
        + &trigger_to("hasty", "hasty", &policy("PT2S"));
    let mesh = Mesh::start(&text).await?;
    let of = |range: std::ops::Range<usize>| -> Vec<Event> {
        let event = |n: usize| Event::new(&n.to_string(), "order.paid").with("partitionkey", "one");
        range.map(event).collect()
    };
    mesh.send("shop/default", &of(0..20)).await?;
    kafka.wait_for("patient", 20).await?;
    kafka.wait_for("hasty", 20).await?;
    kafka.kill().await?;
    mesh.send("shop/default", &of(20..40)).await?;
    let is_failing = |trigger: &Value| {
        let why = trigger["lastFailure"]["reason"].as_str().unwrap_or_default();
        why.starts_with("topic hasty: ")
    };
    mesh.admin()
        .until_trigger("shop/hasty", "failing", is_failing)
        .await?;
    kafka.restart().await?;
    for topic in ["patient", "hasty"] {
        mesh.admin()
            .until_trigger(&format!("shop/{topic}"), "settled", |trigger| {
                trigger["delivered"] == 40
            })
            .await?;
        let records = kafka.records(topic).await?;
        let partitions: BTreeSet<_> = records.iter().map(|record| record.partition).collect();
        ensure!(partitions.len() == 1, "one key has one partition: {partitions:?}");
    }
    let wanted: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    // A record whose acknowledgement was lost may be there twice, and next to itself.
    let mut patient = ids(&kafka.records("patient").await?);
    patient.dedup();
    assert_eq!(patient, wanted);
    let hasty: BTreeSet<String> = ids(&kafka.records("hasty").await?).into_iter().collect();
    assert_eq!(hasty, wanted.into_iter().collect());
    assert_eq!(mesh.admin().get("parked").await?, json!([]));
    Ok(())
}

#[tokio::test]
async fn dead_letters_go_to_a_topic_and_circles_end() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    for topic in ["dead", "circle"] {
        kafka.create_topic(topic, 1).await?;
    }
    let subscriber = Sink::start().await?;
    subscriber.decide("/refuses", |_, _| {
        millrace_tests::Answer::status(422).body("no such order")
    });
    let delivery = format!("{{retry: 0, deadLetterSink: {}}}", sink_ref("dead"));
    let refused = Trigger::new("refused", &subscriber.url("/refuses"))
        .attributes("{type: order.paid}")
        .delivery(&delivery);
    let broker = "{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}";
    let text = Documents::broker().trigger(&refused).text().to_owned()
        + &sink(&kafka.bootstrap(), "dead", "dead", "")
        + &sink(&kafka.bootstrap(), "circle", "circle", "")
        // What the Trigger writes comes back.
        + &source(&kafka.bootstrap(), "circle", broker, "")
        + &trigger_to("circle", "circle", "filter: {attributes: {type: goes.round}}, delivery: {retry: 0}");
    let mesh = Mesh::start(&text).await?;

    mesh.send("shop/default", &[Event::new("7", "order.paid")])
        .await?;
    let dead = kafka.wait_for("dead", 1).await?;
    let dead = attributes(&dead[0]);
    let has = |name: &str, value: &str| dead.contains(&(name.to_owned(), value.to_owned()));
    ensure!(has("ce_id", "7") && has("ce_knativeerrorcode", "422"), "{dead:?}");
    ensure!(
        has("ce_knativeerrordest", &subscriber.url("/refuses")),
        "{dead:?}"
    );

    let event = Event::new("round", "goes.round").with("knativebrokerttl", "8");
    mesh.send("shop/default", &[event]).await?;
    let parked = mesh.admin().until_parked(1).await?;
    assert_eq!(parked[0]["event"]["id"], "round");
    let rounds = kafka.records("circle").await?.len();
    ensure!((2..8).contains(&rounds), "{rounds} rounds");
    Ok(())
}

#[tokio::test]
async fn a_source_that_writes_to_a_topic_is_a_mirror_and_needs_no_broker() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    kafka.create_topic("in", 1).await?;
    kafka
        .create_topic_with("out", 1, &[("max.message.bytes", "100000")])
        .await?;
    let text =
        sink(&kafka.bootstrap(), "out", "out", "") + &source(&kafka.bootstrap(), "in", &sink_ref("out"), "");
    let mesh = Setup::new(&text)?.sources().start().await?;
    let record = Record::of("{}")
        .header("ce_specversion", "1.0")
        .header("ce_id", "m")
        .header("ce_source", "/s")
        .header("ce_type", "t")
        .header("ce_other", "kept")
        .header("content-type", "application/json");
    // One that the topic never takes holds up no other.
    let all = [
        Record::of(vec![b'x'; 200_000]),
        record.clone(),
        Record::of("no event"),
    ];
    kafka.produce("in", &all).await?;
    let mirrored = kafka.wait_for("out", 2).await?;
    let first = attributes(&mirrored[0]);
    ensure!(
        attributes(&record).iter().all(|one| first.contains(one)),
        "{first:?}"
    );
    assert_eq!(mirrored[0].value.as_deref(), Some(&b"{}"[..]));
    assert_eq!(mirrored[1].value.as_deref(), Some(&b"no event"[..]));
    let skipped = |source: &Value| source["refused"] == 1 && source["events"] == 2;
    mesh.admin()
        .until_source("shop/in", "one is skipped", skipped)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_sink_logs_in_and_encrypts_as_its_document_says() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::secured().await? else {
        return Ok(());
    };
    let net = Net::of(&kafka)?;
    let login = Net::login;
    let at = |listener| kafka.listener(listener);
    // What an attempt says that is not let in.
    let table: [(&str, String, String, Option<&str>); 6] = [
        ("plain", at(Listener::Sasl), login("PLAIN", "password"), None),
        (
            "scram",
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
            "stranger",
            at(Listener::SaslTls),
            format!("tls: {{enable: true}}, {}", login("PLAIN", "password")),
            Some("encryption failed: "),
        ),
        (
            "others",
            at(Listener::Sasl),
            login("PLAIN", "password"),
            Some("the login may not"),
        ),
    ];
    let mut text = Documents::broker().text().to_owned() + &Net::secret();
    for (topic, server, said, _) in &table {
        kafka.create_topic(topic, 1).await?;
        text += &sink(server, topic, topic, &format!("net: {{{said}}}"));
        text += &trigger_to(topic, topic, "delivery: {retry: 1000, timeout: PT5S}");
    }
    kafka.allow("others", "somebody-else").await?;
    let mesh = Setup::new(&text)?.secret_dir(&net.folder).start().await?;
    mesh.send("shop/default", &[Event::new("1", "order.paid")])
        .await?;
    for (topic, _, _, refused) in &table {
        wait_until(&format!("{topic}: {refused:?}"), || async {
            match refused {
                None => {
                    let records = kafka.records(topic).await?;
                    ensure!(records.len() == 1, "{records:?}");
                }
                Some(why) => {
                    let trigger = mesh.admin().trigger(&format!("shop/{topic}")).await?;
                    let said = trigger["lastFailure"]["reason"].as_str().unwrap_or_default();
                    ensure!(said.contains(why), "{trigger}");
                }
            }
            Ok(Some(()))
        })
        .await?;
    }
    let said = mesh.admin().get("triggers").await?.to_string();
    ensure!(!said.contains(PASSWORD), "{said}");
    Ok(())
}
