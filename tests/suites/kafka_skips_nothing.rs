//! Promise: a KafkaSource misses no record that Kafka did not have when the source was admitted, whatever is
//! added, deleted or forgotten in Kafka, while Millrace runs and while it does not.
//!
//! Scenarios on topics of their own share a Kafka broker, since starting one takes longer than most of them.

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::{Context as _, ensure};
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::kafka::scene::{
    BROKER, EARLIEST, LATEST, Millrace, PATH, Scene, ids, records, until_source,
};
use millrace_tests::kafka::{Kafka, Listener, PASSWORD, Record, USER, group, source};
use millrace_tests::{Answer, Gate, Mesh, wait_until};

#[tokio::test]
async fn what_appears_after_the_admission_is_read_from_its_beginning() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let (up, down, later, matched, named, upgraded) = tokio::join!(
        partitions_are_added(&kafka, "added-up", Millrace::Up),
        partitions_are_added(&kafka, "added-down", Millrace::Down),
        a_topic_is_made_later(&kafka),
        topics_are_matched_later(&kafka),
        a_topic_that_existed_is_named_later(&kafka),
        a_group_without_a_list_has_seen_what_it_has_committed(&kafka),
    );
    up.context("partitions are added while it is up")?;
    down.context("partitions are added while it is down")?;
    later.context("a_topic_is_made_later")?;
    matched.context("topics_are_matched_later")?;
    named.context("a_topic_that_existed_is_named_later")?;
    upgraded.context("a_group_without_a_list_has_seen_what_it_has_committed")
}

#[tokio::test]
async fn what_an_acl_had_hidden_is_read_from_its_beginning() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::secured().await? else {
        return Ok(());
    };
    let (named, matched) = tokio::join!(
        a_topic_is_shown(
            &kafka,
            "acl-named",
            "topics: [acl-named-0, acl-named-1]",
            Millrace::Down
        ),
        a_topic_is_shown(
            &kafka,
            "acl-matched",
            "topicPattern: '^acl-matched-[0-9]$'",
            Millrace::Up
        ),
    );
    named.context("the topic is named")?;
    matched.context("the topic matches a pattern")
}

/// Of two topics the second one is hidden when the source is admitted.
async fn a_topic_is_shown(kafka: &Kafka, name: &str, reads: &str, millrace: Millrace) -> anyhow::Result<()> {
    let scene = Scene::new(kafka, name).await?;
    let [open, hidden] = [0, 1].map(|number| format!("{name}-{number}"));
    for topic in [&open, &hidden] {
        kafka.create_topic(topic, 1).await?;
        kafka.produce(topic, &records(3, 0)).await?;
    }
    kafka.allow(&hidden, "somebody-else").await?;
    let login = "{enable: true, type: PLAIN, user: {secretKeyRef: {name: login, key: user}}, \
                 password: {secretKeyRef: {name: login, key: password}}}";
    let documents = scene
        .documents(&format!("{reads}, net: {{sasl: {login}}}"), LATEST)
        .replace(&kafka.bootstrap(), &kafka.listener(Listener::Sasl));
    let secret = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: login, namespace: shop}}\n\
         stringData: {{user: {USER}, password: '{PASSWORD}'}}\n"
    );
    let mut mesh = Mesh::start(&(documents + &secret)).await?;
    kafka.until_committed(&group(name), &open, 0, 3).await?;
    kafka.produce(&hidden, &records(2, 0)).await?;
    scene
        .meanwhile(&mut mesh, millrace, async || kafka.allow(&hidden, USER).await)
        .await?;
    until_read(&scene, name, &hidden, 0..5).await?;
    kafka.produce(&open, &records(1, 0)).await?;
    until_read(&scene, name, &open, 3..4).await
}

async fn partitions_are_added(kafka: &Kafka, topic: &str, millrace: Millrace) -> anyhow::Result<()> {
    let scene = Scene::new(kafka, topic).await?;
    kafka.create_topic(topic, 1).await?;
    kafka.produce(topic, &records(3, 0)).await?;
    let mut mesh = Mesh::start(&scene.own_topic(LATEST)).await?;
    scene.until_ready(&mesh).await?;
    scene
        .meanwhile(&mut mesh, millrace, async || {
            kafka.add_partitions(topic, 3).await?;
            kafka.produce(topic, &records(4, 1)).await?;
            kafka.produce(topic, &records(5, 2)).await?;
            kafka.produce(topic, &records(2, 0)).await
        })
        .await?;
    scene
        .until_exactly(&mesh, ids(0, 3..5).chain(ids(1, 0..4)).chain(ids(2, 0..5)))
        .await
}

/// A named topic that is not there when the source is admitted, and is made while Millrace is away.
async fn a_topic_is_made_later(kafka: &Kafka) -> anyhow::Result<()> {
    let topic = "made-later";
    let scene = Scene::new(kafka, topic).await?;
    let mut mesh = Mesh::start(&scene.own_topic(LATEST)).await?;
    until_source(&mesh, "without its topic", |source| {
        source["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("topic"))
    })
    .await?;
    mesh.kill().await?;
    kafka.create_topic(topic, 1).await?;
    kafka.produce(topic, &records(6, 0)).await?;
    mesh.restart().await?;
    scene.until_exactly(&mesh, ids(0, 0..6)).await
}

async fn topics_are_matched_later(kafka: &Kafka) -> anyhow::Result<()> {
    let scene = Scene::new(kafka, "matched").await?;
    kafka.create_topic("matched-0", 1).await?;
    kafka.produce("matched-0", &records(2, 0)).await?;
    let mut mesh = Mesh::start(&scene.documents("topicPattern: '^matched-[0-9]$'", LATEST)).await?;
    scene.until_ready(&mesh).await?;
    for (number, millrace) in [(1, Millrace::Up), (2, Millrace::Down)] {
        let topic = format!("matched-{number}");
        scene
            .meanwhile(&mut mesh, millrace, async || {
                kafka.create_topic(&topic, 1).await?;
                kafka.produce(&topic, &records(3, 0)).await
            })
            .await?;
        until_read(&scene, "matched", &topic, 0..3).await?;
    }
    Ok(())
}

/// Waits until exactly these records of a topic with one partition have come.
async fn until_read(scene: &Scene<'_>, name: &str, topic: &str, offsets: Range<i64>) -> anyhow::Result<()> {
    let source = format!("/apis/v1/namespaces/shop/kafkasources/{name}#{topic}");
    wait_until(&format!("the records of {topic}"), || async {
        let received = scene.sink.received(PATH);
        let from = received
            .iter()
            .filter(|received| received.event().get("source") == Some(&source));
        let found: BTreeSet<String> = from.map(|received| received.event().id().to_owned()).collect();
        ensure!(found == ids(0, offsets.clone()).collect(), "{found:?}");
        Ok(Some(()))
    })
    .await
}

/// What existed and is only now named is admitted now: what it had before is not read.
async fn a_topic_that_existed_is_named_later(kafka: &Kafka) -> anyhow::Result<()> {
    let scene = Scene::new(kafka, "named").await?;
    for topic in ["named", "named-too"] {
        kafka.create_topic(topic, 1).await?;
        kafka.produce(topic, &records(7, 0)).await?;
    }
    let mut mesh = Mesh::start(&scene.own_topic(LATEST)).await?;
    scene.until_ready(&mesh).await?;
    mesh.stop().await?;
    let both = scene.documents("topics: [named, named-too]", LATEST);
    mesh.setup().write(&both)?;
    mesh.restart().await?;
    // It was admitted once it has committed where the topic ended.
    kafka.until_committed(&group("named"), "named-too", 0, 7).await?;
    kafka.produce("named-too", &records(2, 0)).await?;
    kafka.until_committed(&group("named"), "named-too", 0, 9).await?;
    scene.until_exactly(&mesh, ids(0, 7..9)).await
}

/// As after an upgrade, or with a new data folder: what the group has committed tells what was there before.
async fn a_group_without_a_list_has_seen_what_it_has_committed(kafka: &Kafka) -> anyhow::Result<()> {
    let topic = "upgraded";
    let scene = Scene::new(kafka, topic).await?;
    kafka.create_topic(topic, 1).await?;
    kafka.produce(topic, &records(3, 0)).await?;
    let mut mesh = Mesh::start(&scene.own_topic(LATEST)).await?;
    scene.until_ready(&mesh).await?;
    kafka.until_committed(&group(topic), topic, 0, 3).await?;
    mesh.stop().await?;
    kafka.add_partitions(topic, 2).await?;
    kafka.produce(topic, &records(4, 0)).await?;
    kafka.produce(topic, &records(4, 1)).await?;
    let fresh = Mesh::start(&scene.own_topic(LATEST)).await?;
    scene
        .until_exactly(&fresh, ids(0, 3..7).chain(ids(1, 0..4)))
        .await
}

#[tokio::test]
async fn what_kafka_forgets_or_deletes_is_made_up_for_or_told() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let (expired, set_back, further, deleted, overtaken, aborted) = tokio::join!(
        commits_expire(&kafka),
        a_group_is_set_back(&kafka),
        another_member_was_further(&kafka),
        records_are_deleted_unread(&kafka),
        records_are_deleted_under_a_reader(&kafka),
        aborted_records_are_no_lag(&kafka),
    );
    expired.context("commits_expire")?;
    set_back.context("a_group_is_set_back")?;
    further.context("another_member_was_further")?;
    deleted.context("records_are_deleted_unread")?;
    overtaken.context("records_are_deleted_under_a_reader")?;
    aborted.context("aborted_records_are_no_lag")
}

async fn commits_expire(kafka: &Kafka) -> anyhow::Result<()> {
    let topic = "expired";
    let scene = Scene::new(kafka, topic).await?;
    kafka.create_topic(topic, 1).await?;
    kafka.produce(topic, &records(5, 0)).await?;
    let mut mesh = Mesh::start(&scene.own_topic(LATEST)).await?;
    scene.until_ready(&mesh).await?;
    kafka.produce(topic, &records(5, 0)).await?;
    scene.until_exactly(&mesh, ids(0, 5..10)).await?;
    mesh.stop().await?;
    kafka.forget_group(&group(topic)).await?;
    kafka.produce(topic, &records(5, 0)).await?;
    mesh.restart().await?;
    scene.until_exactly(&mesh, ids(0, 5..15)).await?;
    scene.came_once(10)
}

/// What people do to read something once more counts, and begins no new life.
async fn a_group_is_set_back(kafka: &Kafka) -> anyhow::Result<()> {
    let topic = "set-back";
    let (scene, mut mesh) = Scene::with_records(kafka, topic, 10).await?;
    mesh.stop().await?;
    kafka.commit(&group(topic), topic, 0, 4).await?;
    mesh.restart().await?;
    kafka.until_committed(&group(topic), topic, 0, 10).await?;
    scene.sink.wait_for(PATH, 16).await?;
    let mut again: Vec<String> = scene.sink.ids(PATH).split_off(10);
    again.sort();
    let wanted: Vec<String> = ids(0, 4..10).collect();
    ensure!(again == wanted, "{again:?}");
    Ok(())
}

/// A process with a data folder of its own has read on in between: its commit counts, and nothing comes
/// twice.
async fn another_member_was_further(kafka: &Kafka) -> anyhow::Result<()> {
    let topic = "further";
    let (scene, mut first) = Scene::with_records(kafka, topic, 10).await?;
    first.stop().await?;
    kafka.produce(topic, &records(10, 0)).await?;
    let mut second = Mesh::start(&scene.own_topic(EARLIEST)).await?;
    scene.until_exactly(&second, ids(0, 0..20)).await?;
    second.stop().await?;
    kafka.produce(topic, &records(5, 0)).await?;
    first.restart().await?;
    scene.until_exactly(&first, ids(0, 0..25)).await?;
    scene.came_once(25)
}

async fn records_are_deleted_unread(kafka: &Kafka) -> anyhow::Result<()> {
    let topic = "unread";
    let scene = Scene::new(kafka, topic).await?;
    kafka.create_topic(topic, 1).await?;
    kafka.produce(topic, &records(5, 0)).await?;
    let mut mesh = Mesh::start(&scene.own_topic(LATEST)).await?;
    scene.until_ready(&mesh).await?;
    mesh.stop().await?;
    kafka.produce(topic, &records(10, 0)).await?;
    kafka.delete_records(topic, 0, 12).await?;
    mesh.restart().await?;
    // What Kafka has still is read, with `latest` too.
    scene.until_exactly(&mesh, ids(0, 12..15)).await?;
    until_source(&mesh, "telling of the loss", |source| {
        let reason = source["lastError"]["reason"].as_str().unwrap_or_default();
        reason.starts_with("unread[0]@12: Kafka has deleted 7 offsets")
    })
    .await?;
    mesh.admin()
        .until_metric("millrace_source_deleted_unread_total", 7.0)
        .await
}

/// Kafka deletes what a reader that has fallen behind is about to read.
async fn records_are_deleted_under_a_reader(kafka: &Kafka) -> anyhow::Result<()> {
    let topic = "overtaken";
    let scene = Scene::new(kafka, topic).await?;
    kafka.create_topic(topic, 1).await?;
    let gate = Gate::closed();
    scene.sink.answer(PATH, [Answer::ok().after(&gate)]);
    // The Broker is full soon, and the partition is paused.
    let broker = Documents::broker_annotated(&[("millrace.dev/backlog-bytes", "4000000")])
        .trigger(&Trigger::new("ship", &scene.sink.url(PATH)));
    let mesh =
        Mesh::start(&(broker.text().to_owned() + &source(&kafka.bootstrap(), topic, BROKER, ""))).await?;
    let value = "x".repeat(10_000);
    let all: Vec<Record> = (0..4_000).map(|_| Record::of(value.as_str())).collect();
    kafka.produce(topic, &all).await?;
    mesh.admin()
        .until_metric("millrace_source_paused_partitions", 1.0)
        .await?;
    kafka.delete_records(topic, 0, 3_990).await?;
    gate.open();
    scene
        .sink
        .until_all(PATH, &ids(0, 3_990..4_000).collect())
        .await?;
    until_source(&mesh, "telling of the loss", |source| {
        let reason = source["lastError"]["reason"].as_str().unwrap_or_default();
        reason.starts_with("overtaken[0]@3990: Kafka has deleted ")
    })
    .await?;
    assert!(
        mesh.admin()
            .metric("millrace_source_deleted_unread_total")
            .await?
            > 0.0
    );
    Ok(())
}

async fn aborted_records_are_no_lag(kafka: &Kafka) -> anyhow::Result<()> {
    let topic = "aborted";
    let scene = Scene::new(kafka, topic).await?;
    kafka.create_topic(topic, 1).await?;
    let mut mesh = Mesh::start(&scene.own_topic(EARLIEST)).await?;
    kafka.produce_in_transaction(topic, &records(3, 0), true).await?;
    // Three records and a marker; then three that nobody gets, and another one.
    scene.until_exactly(&mesh, ids(0, 0..3)).await?;
    kafka.until_committed(&group(topic), topic, 0, 4).await?;
    kafka.produce_in_transaction(topic, &records(3, 0), false).await?;
    kafka.until_committed(&group(topic), topic, 0, 8).await?;
    mesh.kill().await?;
    mesh.restart().await?;
    kafka.produce_in_transaction(topic, &records(1, 0), true).await?;
    kafka.until_committed(&group(topic), topic, 0, 10).await?;
    scene.until_exactly(&mesh, ids(0, 0..3).chain(ids(0, 8..9))).await
}
