//! A Broker, a Trigger and a KafkaSource with which something happens in Kafka, while Millrace runs or does
//! not.

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::ensure;
use rustix::process::Signal;
use serde_json::Value;

use super::{Kafka, Record, group, source};
use crate::documents::{Documents, Trigger};
use crate::{Mesh, Sink, wait_until};

/// The path of the sink that the Trigger calls.
pub const PATH: &str = "/ship";
/// The sink of the source.
pub const BROKER: &str = "{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}";
/// Where a [`source()`] begins unless told otherwise.
pub const EARLIEST: &str = "initialOffset: earliest";
/// Where a source of Millrace begins by default.
pub const LATEST: &str = "initialOffset: latest";

/// Whether Millrace runs while something happens in Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Millrace {
    /// It runs.
    Up,
    /// It is stopped, and started afterwards.
    Down,
    /// It stands still (SIGSTOP), and so sees only what has become of it.
    Frozen,
}

/// A Broker, a Trigger that sends everything to the sink, and a KafkaSource into the Broker.
#[derive(Debug)]
pub struct Scene<'a> {
    kafka: &'a Kafka,
    name: &'a str,
    /// Where the Trigger sends the events.
    pub sink: Sink,
}

// === impl Scene ===

impl<'a> Scene<'a> {
    /// Starts the sink.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn new(kafka: &'a Kafka, name: &'a str) -> anyhow::Result<Self> {
        let sink = Sink::start().await?;
        Ok(Self { kafka, name, sink })
    }

    /// Starts the sink and Millrace, and waits until a topic of this name has been read, which has so many
    /// records in one partition.
    ///
    /// # Errors
    /// When something does not start, or the records have not come at the deadline.
    pub async fn with_records(
        kafka: &'a Kafka,
        topic: &'a str,
        count: usize,
    ) -> anyhow::Result<(Self, Mesh)> {
        let scene = Self::new(kafka, topic).await?;
        kafka.create_topic(topic, 1).await?;
        kafka.produce(topic, &records(count, 0)).await?;
        let mesh = Mesh::start(&scene.own_topic(EARLIEST)).await?;
        scene
            .until_exactly(&mesh, ids(0, 0..i64::try_from(count)?))
            .await?;
        Ok((scene, mesh))
    }

    /// The documents, with what the source reads in the place of its topic.
    pub fn documents(&self, reads: &str, initial: &str) -> String {
        let broker = Documents::broker().trigger(&Trigger::new("ship", &self.sink.url(PATH)));
        let source = source(&self.kafka.bootstrap(), self.name, BROKER, "")
            .replace(&format!("topics: [{}]", self.name), reads)
            .replace(EARLIEST, initial);
        broker.text().to_owned() + &source
    }

    /// The documents with a source that reads the topic of its name.
    pub fn own_topic(&self, initial: &str) -> String {
        self.documents(&format!("topics: [{}]", self.name), initial)
    }

    /// Waits until the source says that it is ready, and has been given partitions.
    ///
    /// # Errors
    /// When it does not before the deadline.
    pub async fn until_ready(&self, mesh: &Mesh) -> anyhow::Result<()> {
        until_source(mesh, "ready", |source| {
            source["state"] == "ready" && source["reason"].is_null()
        })
        .await
        .map(drop)
    }

    /// Waits until exactly these events have come, some of them more than once perhaps, and nothing more can
    /// come: the source has read its own topic to the end, and the Broker has delivered everything.
    ///
    /// # Errors
    /// When one is missing at the deadline, or another one has come.
    pub async fn until_exactly(
        &self,
        mesh: &Mesh,
        wanted: impl IntoIterator<Item = String>,
    ) -> anyhow::Result<()> {
        let wanted: BTreeSet<String> = wanted.into_iter().collect();
        self.sink.until_all(PATH, &wanted).await?;
        self.kafka
            .until_all_committed(&group(self.name), self.name)
            .await?;
        mesh.until_settled().await?;
        let found: BTreeSet<String> = self.sink.ids(PATH).into_iter().collect();
        ensure!(found == wanted, "{}: {found:?}", self.name);
        Ok(())
    }

    /// Checks that so many events have come, none of them twice.
    ///
    /// # Errors
    /// When it is another number.
    pub fn came_once(&self, count: usize) -> anyhow::Result<()> {
        let arrived = self.sink.ids(PATH);
        ensure!(arrived.len() == count, "some came twice: {arrived:?}");
        Ok(())
    }

    /// Does something while Millrace runs, or while it is stopped, or while it stands still.
    ///
    /// # Errors
    /// Those of what is done, and when Millrace does not stop or start.
    pub async fn meanwhile(
        &self,
        mesh: &mut Mesh,
        millrace: Millrace,
        what: impl AsyncFnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match millrace {
            Millrace::Up => what().await,
            Millrace::Down => {
                mesh.stop().await?;
                what().await?;
                mesh.restart().await
            }
            Millrace::Frozen => {
                mesh.running().signal(Signal::STOP)?;
                let done = what().await;
                mesh.running().signal(Signal::CONT)?;
                done
            }
        }
    }
}

/// Waits until the one source of a mesh is as it should be.
///
/// # Errors
/// When it is not before the deadline.
pub async fn until_source(mesh: &Mesh, what: &str, is_so: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    wait_until(&format!("the source to be: {what}"), || async {
        let sources = mesh.admin().get("sources").await?;
        ensure!(is_so(&sources[0]), "{sources}");
        Ok(Some(sources[0].clone()))
    })
    .await
}

/// The ids of records in the first life of a partition.
pub fn ids(partition: i32, offsets: Range<i64>) -> impl Iterator<Item = String> {
    offsets.map(move |offset| format!("partition:{partition}/offset:{offset}"))
}

/// The ids of records in a later life of a partition.
pub fn ids_of_life(partition: i32, life: u32, offsets: Range<i64>) -> impl Iterator<Item = String> {
    offsets.map(move |offset| format!("partition:{partition}/life:{life}/offset:{offset}"))
}

/// So many records for a partition.
pub fn records(count: usize, partition: i32) -> Vec<Record> {
    (0..count)
        .map(|n| Record::of(n.to_string()).partition(partition))
        .collect()
}
