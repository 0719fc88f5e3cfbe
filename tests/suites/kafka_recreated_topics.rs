//! Promise: a KafkaSource reads a topic that was deleted and recreated from its beginning, with ids of its
//! own, whether it runs meanwhile or not.
//!
//! Scenarios on topics of their own share a Kafka broker, since starting one takes longer than most of them.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use millrace_tests::kafka::scene::{
    BROKER, EARLIEST, Millrace, PATH, Scene, ids, ids_of_life, records, until_source,
};
use millrace_tests::kafka::{Kafka, group};
use millrace_tests::{Answer, Mesh};

const OTHERWISE: &str = "millrace_source_taken_otherwise_total";

#[tokio::test]
async fn a_topic_that_is_recreated_is_read_from_its_beginning() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let (down, up, frozen, several, held) = tokio::join!(
        is_recreated_while(&kafka, Millrace::Down),
        is_recreated_while(&kafka, Millrace::Up),
        is_recreated_while(&kafka, Millrace::Frozen),
        several_partitions_are_recreated(&kafka),
        what_was_read_of_the_earlier_topic_is_delivered_first(&kafka),
    );
    down.context("while it is down")?;
    up.context("while it is up")?;
    frozen.context("between two looks")?;
    several.context("several_partitions_are_recreated")?;
    held.context("what_was_read_of_the_earlier_topic_is_delivered_first")
}

/// Topics are recreated with fewer, as many and more records.
async fn is_recreated_while(kafka: &Kafka, millrace: Millrace) -> anyhow::Result<()> {
    let name = |count: &str| format!("{millrace:?}-{count}").to_lowercase();
    let names = ["fewer", "as-many", "more"].map(name);
    let (fewer, same, more) = tokio::join!(
        is_recreated(kafka, &names[0], 4, millrace),
        is_recreated(kafka, &names[1], 10, millrace),
        is_recreated(kafka, &names[2], 15, millrace),
    );
    fewer.context("fewer records")?;
    same.context("as many records")?;
    more.context("more records")
}

/// A topic has 10 records, which are read; then it is deleted and recreated at once, with so many records.
async fn is_recreated(kafka: &Kafka, topic: &str, count: usize, millrace: Millrace) -> anyhow::Result<()> {
    let (scene, mut mesh) = Scene::with_records(kafka, topic, 10).await?;
    scene
        .meanwhile(&mut mesh, millrace, async || {
            kafka.recreate_topic(topic, 1).await?;
            kafka.produce(topic, &records(count, 0)).await
        })
        .await?;
    let all = i64::try_from(count)?;
    let second: BTreeSet<String> = ids_of_life(0, 2, 0..all).collect();
    scene.sink.until_all(PATH, &second).await?;
    until_source(&mesh, "telling of it", |source| {
        source["lastError"]["reason"].as_str().is_some_and(|reason| {
            reason.contains(&format!(
                "{topic}[0] (life 2): the topic was deleted and recreated"
            ))
        })
    })
    .await?;
    mesh.admin().until_metric(OTHERWISE, 1.0).await?;
    // It is known again after a restart, and goes on.
    kafka.until_committed(&group(topic), topic, 0, all).await?;
    mesh.kill().await?;
    kafka.produce(topic, &records(3, 0)).await?;
    mesh.restart().await?;
    let third: BTreeSet<String> = ids_of_life(0, 2, all..all + 3).collect();
    scene.sink.until_all(PATH, &third).await?;
    let later: Vec<String> = scene.sink.ids(PATH);
    ensure!(!later.iter().any(|id| id.contains("life:3")), "{later:?}");
    Ok(())
}

/// Each partition has its own life. One that had no record has begun none, and so its ids stay as they are.
async fn several_partitions_are_recreated(kafka: &Kafka) -> anyhow::Result<()> {
    let topic = "several";
    let scene = Scene::new(kafka, topic).await?;
    kafka.create_topic(topic, 4).await?;
    for partition in 0..3 {
        kafka.produce(topic, &records(5, partition)).await?;
    }
    let mut mesh = Mesh::start(&scene.own_topic(EARLIEST)).await?;
    let first = || (0..3).flat_map(|partition| ids(partition, 0..5));
    scene.until_exactly(&mesh, first()).await?;
    mesh.stop().await?;
    kafka.recreate_topic(topic, 4).await?;
    for (partition, count) in [(0, 2), (1, 5), (2, 9), (3, 4)] {
        kafka.produce(topic, &records(count, partition)).await?;
    }
    mesh.restart().await?;
    let second = [(0, 2), (1, 5), (2, 9)];
    let second = second
        .into_iter()
        .flat_map(|(partition, count)| ids_of_life(partition, 2, 0..count));
    scene
        .until_exactly(&mesh, first().chain(second).chain(ids(3, 0..4)))
        .await?;
    mesh.admin().until_metric(OTHERWISE, 3.0).await
}

/// A topic is recreated while the sink takes nothing.
async fn what_was_read_of_the_earlier_topic_is_delivered_first(kafka: &Kafka) -> anyhow::Result<()> {
    let topic = "held";
    let scene = Scene::new(kafka, topic).await?;
    kafka.create_topic(topic, 1).await?;
    kafka.produce(topic, &records(10, 0)).await?;
    scene.sink.decide(PATH, |_, _| Answer::status(503));
    let reads = "topics: [held], delivery: {backoffPolicy: linear, backoffDelay: PT0.1S}";
    let straight = format!("{{uri: '{}'}}", scene.sink.url(PATH));
    let mesh = Mesh::start(&scene.documents(reads, EARLIEST).replace(BROKER, &straight)).await?;
    scene.sink.wait_for(PATH, 1).await?;
    kafka.recreate_topic(topic, 1).await?;
    kafka.produce(topic, &records(4, 0)).await?;
    // The source has noticed, and reads nothing more.
    mesh.admin()
        .until_metric("millrace_source_paused_partitions", 1.0)
        .await?;
    scene.sink.decide(PATH, |_, _| Answer::ok());
    let wanted: Vec<String> = ids(0, 0..10).chain(ids_of_life(0, 2, 0..4)).collect();
    scene.until_exactly(&mesh, wanted.clone()).await?;
    let mut arrived = scene.sink.ids(PATH);
    // The first one was refused before it was taken.
    arrived.dedup();
    ensure!(arrived == wanted, "{arrived:?}");
    Ok(())
}
