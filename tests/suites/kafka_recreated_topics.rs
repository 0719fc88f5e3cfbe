//! Promise: a KafkaSource reads a topic that was deleted and recreated from its beginning, with ids of its
//! own, whether it runs meanwhile or not.
//!
//! Scenarios on topics of their own share a Kafka broker, since starting one takes longer than most of them.

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::{Context as _, ensure};
use millrace_tests::kafka::scene::{EARLIEST, Millrace, PATH, Scene, ids, records, until_source};
use millrace_tests::kafka::{Kafka, group};
use millrace_tests::{Mesh, wait_until};

fn ids_of_life(life: u32, offsets: Range<i64>) -> impl Iterator<Item = String> {
    offsets.map(move |offset| format!("partition:0/life:{life}/offset:{offset}"))
}

#[tokio::test]
async fn a_topic_that_is_recreated_is_read_from_its_beginning() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let (down, up, frozen, several) = tokio::join!(
        is_recreated_while(&kafka, Millrace::Down),
        is_recreated_while(&kafka, Millrace::Up),
        is_recreated_while(&kafka, Millrace::Frozen),
        several_partitions_are_recreated(&kafka),
    );
    down.context("while it is down")?;
    up.context("while it is up")?;
    frozen.context("between two looks")?;
    several.context("several_partitions_are_recreated")
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
    let scene = Scene::new(kafka, topic).await?;
    kafka.create_topic(topic, 1).await?;
    kafka.produce(topic, &records(10, 0)).await?;
    let mut mesh = Mesh::start(&scene.own_topic(EARLIEST)).await?;
    scene.until_exactly(ids(0, 0..10)).await?;
    kafka.until_committed(&group(topic), topic, 0, 10).await?;
    scene
        .meanwhile(&mut mesh, millrace, async || {
            kafka.delete_topic(topic).await?;
            wait_until("the topic to be recreated", || async {
                kafka.create_topic(topic, 1).await.map(Some)
            })
            .await?;
            kafka.produce(topic, &records(count, 0)).await
        })
        .await?;
    let all = i64::try_from(count)?;
    let second: BTreeSet<String> = ids_of_life(2, 0..all).collect();
    scene.sink.until_all(PATH, &second).await?;
    until_source(&mesh, "telling of it", |source| {
        source["lastError"]["reason"].as_str().is_some_and(|reason| {
            reason.contains(&format!(
                "{topic}[0] (life 2): the topic was deleted and recreated"
            ))
        })
    })
    .await?;
    assert_eq!(
        mesh.admin()
            .metric("millrace_source_taken_otherwise_total")
            .await?,
        1.0
    );
    // It is known again after a restart, and goes on.
    kafka.until_committed(&group(topic), topic, 0, all).await?;
    mesh.kill().await?;
    kafka.produce(topic, &records(3, 0)).await?;
    mesh.restart().await?;
    let third: BTreeSet<String> = ids_of_life(2, all..all + 3).collect();
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
    scene
        .until_exactly((0..3).flat_map(|partition| ids(partition, 0..5)))
        .await?;
    for partition in 0..3 {
        kafka.until_committed(&group(topic), topic, partition, 5).await?;
    }
    mesh.stop().await?;
    kafka.delete_topic(topic).await?;
    wait_until("the topic to be recreated", || async {
        kafka.create_topic(topic, 4).await.map(Some)
    })
    .await?;
    for (partition, count) in [(0, 2), (1, 5), (2, 9), (3, 4)] {
        kafka.produce(topic, &records(count, partition)).await?;
    }
    mesh.restart().await?;
    let of_life = |partition: i32, count: i64| {
        (0..count).map(move |offset| format!("partition:{partition}/life:2/offset:{offset}"))
    };
    let first = (0..3).flat_map(|partition| ids(partition, 0..5));
    let second = of_life(0, 2).chain(of_life(1, 5)).chain(of_life(2, 9));
    scene
        .until_exactly(first.chain(second).chain(ids(3, 0..4)))
        .await?;
    assert_eq!(
        mesh.admin()
            .metric("millrace_source_taken_otherwise_total")
            .await?,
        3.0
    );
    Ok(())
}
