//! Promise: every record of a topic becomes an event, whatever is killed, moved or full meanwhile; an odd
//! record is counted and holds up nothing; and what is read again has the same id.
//!
//! Scenarios on topics of their own share a Kafka broker, since starting one takes longer than most of them.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::kafka::{Kafka, Record, group, source};
use millrace_tests::mesh::Setup;
use millrace_tests::{Admin, Answer, Event, Gate, Mesh, Sink, wait_until};
use serde_json::Value;

const BROKER: &str = "{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}";
const PATH: &str = "/ship";
const PAUSED: &str = "millrace_source_paused_partitions";

/// A Broker, a Trigger that sends everything to the sink, and a source into the Broker.
fn documents(kafka: &Kafka, topic: &str, sink: &Sink) -> String {
    let broker = Documents::broker().trigger(&Trigger::new("ship", &sink.url(PATH)));
    broker.text().to_owned() + &source(&kafka.bootstrap(), topic, BROKER, "")
}

/// Waits until the one source of a mesh is as it should be.
async fn until_source(admin: Admin, what: &str, is_so: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    wait_until(&format!("the source to be: {what}"), || async {
        let sources = admin.get("sources").await?;
        ensure!(is_so(&sources[0]), "{sources}");
        Ok(Some(sources[0].clone()))
    })
    .await
}

fn is_ready(source: &Value) -> bool {
    source["state"] == "ready" && source["reason"].is_null()
}

fn ids(partition: i32, offsets: std::ops::Range<i64>) -> impl Iterator<Item = String> {
    offsets.map(move |offset| format!("partition:{partition}/offset:{offset}"))
}

fn records(count: usize, partition: i32) -> Vec<Record> {
    (0..count)
        .map(|n| Record::of(n.to_string()).partition(partition))
        .collect()
}

#[tokio::test]
async fn every_record_becomes_an_event_whatever_happens_to_millrace_and_its_sink() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let (mapped, many, killed, moved, full, url, latest) = tokio::join!(
        records_become_events_as_documented(&kafka),
        many_small_records_go_in_batches_that_a_broker_takes(&kafka),
        a_kill_loses_nothing_and_repeats_have_the_same_ids(&kafka),
        partitions_move_between_members_and_nothing_is_lost(&kafka),
        a_full_broker_pauses_the_topic_and_it_goes_on(&kafka),
        a_url_gets_the_records_of_a_partition_in_order(&kafka),
        a_source_that_begins_at_the_end_remembers_where_that_was(&kafka),
    );
    mapped.context("records_become_events_as_documented")?;
    many.context("many_small_records_go_in_batches_that_a_broker_takes")?;
    killed.context("a_kill_loses_nothing_and_repeats_have_the_same_ids")?;
    moved.context("partitions_move_between_members_and_nothing_is_lost")?;
    full.context("a_full_broker_pauses_the_topic_and_it_goes_on")?;
    url.context("a_url_gets_the_records_of_a_partition_in_order")?;
    latest.context("a_source_that_begins_at_the_end_remembers_where_that_was")
}

/// Runs the example of the guide.
async fn records_become_events_as_documented(kafka: &Kafka) -> anyhow::Result<()> {
    let (sink, topic) = (Sink::start().await?, "orders");
    kafka.create_topic(topic, 1).await?;
    let guide = include_str!("../../docs/guides/kafka.md");
    let (_, rest) = guide
        .split_once("```yaml\n")
        .context("the guide has an example")?;
    let (example, _) = rest.split_once("```").context("the example ends")?;
    let example = example
        .replace("127.0.0.1:9092", &kafka.bootstrap())
        .replace("http://127.0.0.1:9001/ship", &sink.url(PATH));
    let mesh = Setup::new(&example)?
        .args(&["--max-event-bytes", "2000"])
        .start()
        .await?;

    let structured = Event::new("s", "t.s").no_data().json().to_string();
    let binary = |record: Record| {
        let record = record.header("ce_specversion", "1.0").header("ce_id", "b");
        record.header("ce_source", "/s").header("ce_type", "t.b")
    };
    let mut odd = Record::of("odd")
        .key("k")
        .header("Trace-Id", "7")
        .header("content-type", "Text/Plain");
    odd.headers.push(("nothing".to_owned(), None));
    let tombstone = Record {
        value: None,
        ..Record::default()
    };
    let all = [
        binary(Record::of("{\"a\": 1.10}"))
            .header("content-type", "application/json")
            .header("ce_subject", "50%25 é"),
        Record::of(structured).header("content-type", "Application/CloudEvents+JSON; charset=utf-8"),
        odd,
        tombstone,
        Record::of("no event").header("ce_id", "1"),
        Record::of("x".repeat(3_000)),
        Record::of("last").header("bad", b"\xff".to_vec()),
        // Data that is an event in an unsupported format: no receiver may read it as the event itself.
        Record::of("\u{1}avro").header("content-type", "Application/CloudEvents+Avro"),
    ];
    kafka.produce(topic, &all).await?;
    let got = sink.wait_for(PATH, all.len() - 1).await?;
    let event = |id: &str| {
        let found = got.iter().find(|received| received.event().id() == id);
        found.with_context(|| format!("{id} has not arrived"))
    };
    let has = |id: &str, attributes: &[(&str, Option<&str>)], body: &str| -> anyhow::Result<()> {
        let received = event(id)?;
        ensure!(received.body == body.as_bytes(), "{id}: {:?}", received.body);
        for (name, expected) in attributes {
            let (event, expected) = (received.event(), *expected);
            ensure!(event.get(name) == expected, "{id}: {name}: {:?}", event.get(name));
        }
        Ok(())
    };
    has(
        "b",
        &[
            ("knativekafkapartition", Some("0")),
            ("knativekafkaoffset", Some("0")),
            ("key", None),
        ],
        "{\"a\": 1.10}",
    )?;
    // A header of HTTP holds what was said, in its own writing.
    assert_eq!(event("b")?.header("ce-subject"), Some("50%2525%20%C3%A9"));
    assert_eq!(event("b")?.header("content-type"), Some("application/json"));
    has(
        "s",
        &[("type", Some("t.s")), ("knativekafkaoffset", Some("1"))],
        "",
    )?;
    let plain = [
        ("type", Some("dev.knative.kafka.event")),
        (
            "source",
            Some("/apis/v1/namespaces/shop/kafkasources/orders#orders"),
        ),
        ("subject", Some("partition:0#2")),
        ("key", Some("k")),
        ("partitionkey", Some("k")),
        ("kafkaheadertraceid", Some("7")),
        ("kafkaheadernothing", None),
    ];
    has("partition:0/offset:2", &plain, "odd")?;
    assert_eq!(
        event("partition:0/offset:2")?.header("content-type"),
        Some("text/plain")
    );
    has("partition:0/offset:3", &[("key", None)], "")?;
    has(
        "partition:0/offset:4",
        &[("kafkaheaderceid", Some("1"))],
        "no event",
    )?;
    has("partition:0/offset:6", &[("kafkaheaderbad", None)], "last")?;

    let structured = Some("application/cloudevents+json; charset=utf-8");
    let within = got
        .iter()
        .find(|received| received.header("content-type") == structured);
    let within: Value = serde_json::from_slice(&within.context("a structured delivery")?.body)?;
    assert_eq!(
        (&within["id"], &within["datacontenttype"], &within["data_base64"]),
        (
            &"partition:0/offset:7".into(),
            &"application/cloudevents+avro".into(),
            &"AWF2cm8=".into()
        )
    );

    kafka.until_committed(&group(topic), topic, 0, 8).await?;
    let told = until_source(mesh.admin(), "ready", is_ready).await?;
    assert_eq!(
        (&told["events"], &told["refused"]),
        (&7.into(), &1.into()),
        "{told}"
    );
    let error = told["lastError"]["reason"].as_str().unwrap_or_default();
    assert!(error.starts_with("orders[0]@7: "), "{told}");
    for (metric, value) in [
        ("millrace_source_refused_total", 1.0),
        ("millrace_source_taken_otherwise_total", 3.0),
    ] {
        mesh.admin().until_metric(metric, value).await?;
    }
    Ok(())
}

async fn a_kill_loses_nothing_and_repeats_have_the_same_ids(kafka: &Kafka) -> anyhow::Result<()> {
    let (sink, topic, count) = (Sink::start().await?, "killed", 4_000);
    kafka.create_topic(topic, 1).await?;
    let mut mesh = Mesh::start(&documents(kafka, topic, &sink)).await?;
    let wanted: BTreeSet<String> = ids(0, 0..count).collect();
    let all = records(usize::try_from(count)?, 0);
    let (produced, killed) = tokio::join!(kafka.produce(topic, &all), async {
        sink.wait_for(PATH, 300).await?;
        mesh.kill().await?;
        mesh.restart().await
    });
    produced?;
    killed?;
    sink.until_all(PATH, &wanted).await?;
    kafka.until_committed(&group(topic), topic, 0, count).await?;
    let found: BTreeSet<String> = sink.ids(PATH).into_iter().collect();
    assert_eq!(found, wanted, "a repeat has another id");
    Ok(())
}

async fn partitions_move_between_members_and_nothing_is_lost(kafka: &Kafka) -> anyhow::Result<()> {
    let (sink, topic) = (Sink::start().await?, "moved");
    kafka.create_topic(topic, 4).await?;
    let text = documents(kafka, topic, &sink);
    let mut first = Mesh::start(&text).await?;
    let mut wanted = BTreeSet::new();
    let mut next = 0;
    let mut more = async |wanted: &mut BTreeSet<String>| {
        for partition in 0..4 {
            kafka.produce(topic, &records(200, partition)).await?;
            wanted.extend(ids(partition, next..next + 200));
        }
        next += 200;
        anyhow::Ok(())
    };
    more(&mut wanted).await?;
    until_source(first.admin(), "ready", is_ready).await?;
    let second = Mesh::start(&text).await?;
    more(&mut wanted).await?;
    until_source(second.admin(), "a member with partitions", is_ready).await?;
    more(&mut wanted).await?;
    let has_some = |source: &Value| source["events"].as_u64().is_some_and(|events| events > 0);
    until_source(second.admin(), "taking events", has_some).await?;
    // The other one takes what comes while it is away. What it has stored and not delivered before is
    // delivered once it is back.
    let all_are_taken = async |count: i64| {
        for partition in 0..4 {
            kafka
                .until_committed(&group(topic), topic, partition, count)
                .await?;
        }
        anyhow::Ok(())
    };
    first.stop().await?;
    more(&mut wanted).await?;
    all_are_taken(800).await?;
    first.restart().await?;
    sink.until_all(PATH, &wanted).await?;
    until_source(first.admin(), "a member again", is_ready).await?;
    more(&mut wanted).await?;
    first.kill().await?;
    more(&mut wanted).await?;
    all_are_taken(1_200).await?;
    first.restart().await?;
    sink.until_all(PATH, &wanted).await
}

async fn many_small_records_go_in_batches_that_a_broker_takes(kafka: &Kafka) -> anyhow::Result<()> {
    let topic = "many";
    kafka.create_topic(topic, 1).await?;
    kafka.produce(topic, &records(5_000, 0)).await?;
    let text = Documents::broker().text().to_owned() + &source(&kafka.bootstrap(), topic, BROKER, "");
    let mesh = Mesh::start(&text).await?;
    kafka.until_committed(&group(topic), topic, 0, 5_000).await?;
    assert_eq!(mesh.admin().metric("millrace_source_not_taken_total").await?, 0.0);
    Ok(())
}

async fn a_full_broker_pauses_the_topic_and_it_goes_on(kafka: &Kafka) -> anyhow::Result<()> {
    let (sink, topic, gate) = (Sink::start().await?, "full", Gate::closed());
    kafka.create_topic(topic, 1).await?;
    sink.answer(PATH, [Answer::ok().after(&gate)]);
    let broker = Documents::broker_annotated(&[("millrace.dev/backlog-bytes", "4000000")])
        .trigger(&Trigger::new("ship", &sink.url(PATH)));
    let text = broker.text().to_owned() + &source(&kafka.bootstrap(), topic, BROKER, "");
    let mesh = Mesh::start(&text).await?;
    let value = "x".repeat(10_000);
    let all: Vec<Record> = (0..1_500).map(|_| Record::of(value.as_str())).collect();
    kafka.produce(topic, &all).await?;
    let is_full = |source: &Value| {
        let reason = source["lastError"]["reason"].as_str().unwrap_or_default();
        is_ready(source) && source["events"].as_u64() < Some(1_500) && !reason.is_empty()
    };
    until_source(mesh.admin(), "held up", is_full).await?;
    wait_until("the Broker to turn some away", || async {
        let not_taken = mesh.admin().metric("millrace_source_not_taken_total").await?;
        anyhow::ensure!(not_taken >= 1.0, "{not_taken}");
        Ok(Some(()))
    })
    .await?;
    mesh.admin().until_metric(PAUSED, 1.0).await?;
    gate.open();
    sink.until_all(PATH, &ids(0, 0..1_500).collect()).await?;
    mesh.admin().until_metric(PAUSED, 0.0).await?;
    kafka.until_committed(&group(topic), topic, 0, 1_500).await
}

async fn a_url_gets_the_records_of_a_partition_in_order(kafka: &Kafka) -> anyhow::Result<()> {
    let (sink, topic) = (Sink::start().await?, "url");
    kafka.create_topic(topic, 1).await?;
    // Some are not taken at first, one never is, and one is refused for good.
    sink.decide(PATH, |received, nth| match received.event().id() {
        "partition:0/offset:7" => Answer::status(400),
        "partition:0/offset:9" => Answer::status(503),
        _ if nth % 5 == 0 => Answer::status(503),
        _ => Answer::ok(),
    });
    let delivery = "delivery: {retry: 4, backoffPolicy: linear, backoffDelay: PT0.01S}";
    let url = format!("{{uri: \"{}\"}}", sink.url(PATH));
    let text = source(&kafka.bootstrap(), topic, &url, delivery);
    let broker = Documents::broker();
    let mesh = Mesh::start(&(broker.text().to_owned() + &text)).await?;
    kafka.produce(topic, &records(40, 0)).await?;
    kafka.until_committed(&group(topic), topic, 0, 40).await?;
    let mut arrived = sink.ids(PATH);
    arrived.dedup();
    assert_eq!(arrived, ids(0, 0..40).collect::<Vec<_>>());
    let told = until_source(mesh.admin(), "ready", is_ready).await?;
    assert_eq!(
        (&told["events"], &told["refused"]),
        (&38.into(), &2.into()),
        "{told}"
    );
    Ok(())
}

async fn a_source_that_begins_at_the_end_remembers_where_that_was(kafka: &Kafka) -> anyhow::Result<()> {
    let (sink, topic) = (Sink::start().await?, "latest");
    kafka.create_topic(topic, 1).await?;
    kafka.produce(topic, &records(10, 0)).await?;
    let text = documents(kafka, topic, &sink).replace("initialOffset: earliest", "initialOffset: latest");
    let mut mesh = Mesh::start(&text).await?;
    until_source(mesh.admin(), "ready", is_ready).await?;
    mesh.kill().await?;
    kafka.produce(topic, &records(20, 0)).await?;
    mesh.restart().await?;
    kafka.until_committed(&group(topic), topic, 0, 30).await?;
    sink.until_all(PATH, &ids(0, 10..30).collect()).await?;
    let found: BTreeSet<String> = sink.ids(PATH).into_iter().collect();
    assert_eq!(found, ids(0, 10..30).collect());
    Ok(())
}

#[tokio::test]
async fn a_source_outlives_its_kafka_and_finds_topics_that_appear() -> anyhow::Result<()> {
    let Some(mut kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let (sink, topic) = (Sink::start().await?, "late");
    let mesh = Mesh::start(&documents(&kafka, topic, &sink)).await?;
    let is_missing = |source: &Value| {
        source["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("topic"))
    };
    until_source(mesh.admin(), "waiting for its topic", is_missing).await?;
    kafka.create_topic(topic, 2).await?;
    kafka.produce(topic, &records(100, 0)).await?;
    sink.until_all(PATH, &ids(0, 0..100).collect()).await?;
    kafka.kill().await?;
    until_source(mesh.admin(), "without Kafka", |source| {
        source["state"] == "not-ready"
    })
    .await?;
    kafka.restart().await?;
    kafka.produce(topic, &records(100, 1)).await?;
    sink.until_all(PATH, &ids(1, 0..100).collect()).await?;
    until_source(mesh.admin(), "ready", is_ready).await?;
    kafka.until_committed(&group(topic), topic, 0, 100).await?;
    kafka.until_committed(&group(topic), topic, 1, 100).await
}
