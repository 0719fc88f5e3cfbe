//! What a source stores of a cluster: the last list of topics, and how far each partition is done.
//!
//! # Contract
//! - Each cluster and group has values of its own in `sources.db`.
//! - The list is stored in one change with the places of the partitions that it admits. So a partition in the
//!   list without a place was not matched when the list was made.
//! - Places are stored a moment after the records are durable in the sink. They may be behind, and are never
//!   ahead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_event::{CheckpointError, Clock};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use super::fingerprint::{Fingerprint, Mark};
use super::record::PartitionLife;
use super::topics::Topics;
use crate::Memory;

/// A partition by topic and number, whatever its life.
pub(super) type Partition = (Arc<str>, i32);

/// How far a partition is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The offset that is read next.
    pub(super) next: i64,
    /// The last record known before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) record: Option<Fingerprint>,
    /// Which life of the partition this is, as far as this source has seen; from 1.
    pub(super) life: u32,
    /// The group's commit when this life began. A commit of this value does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stale: Option<i64>,
    /// The topic has been recreated since: this place is of the earlier life.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_over: bool,
    /// When a list first lacked the topic, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gone: Option<i64>,
}

/// What is stored, and what is yet to be stored. Only the reading thread uses it.
pub(super) struct Remembered {
    memory: Memory,
    clock: Clock,
    handle: Handle,
    /// The prefix of its keys.
    prefix: String,
    positions: BTreeMap<Partition, Position>,
    /// `None`: the source has not been admitted yet.
    topics: Option<Topics>,
    /// Partitions whose place must be stored.
    changed: BTreeSet<Partition>,
    topics_changed: bool,
    last_store: Instant,
    storing: Option<Storing>,
}

/// A store under way.
struct Storing {
    task: JoinHandle<Result<(), CheckpointError>>,
    /// The partitions whose places it stores or removes.
    partitions: BTreeSet<Partition>,
}

/// How often places are stored.
const EVERY: Duration = Duration::from_secs(1);
/// The most partitions that are kept of topics that are gone. Beyond it the longest gone are dropped.
const GONE: usize = 10_000;

// === impl Position ===

impl Position {
    /// A place in the first life, without a known record.
    pub(super) fn at(next: i64) -> Self {
        Self {
            next,
            record: None,
            life: 1,
            stale: None,
            is_over: false,
            gone: None,
        }
    }

    /// The beginning of the next life.
    pub(super) fn new_life(&self, low: i64, stale: i64) -> Self {
        Self {
            life: self.life.saturating_add(1),
            stale: Some(stale),
            ..Self::at(low)
        }
    }
}

// === impl Remembered ===

impl Remembered {
    /// Loads what is stored of this cluster and group.
    pub(super) fn open(
        memory: Memory,
        clock: Clock,
        handle: Handle,
        cluster: &str,
        group: &str,
    ) -> Result<Self, String> {
        let group: String = form_urlencoded::byte_serialize(group.as_bytes()).collect();
        let prefix = format!("{cluster}/{group}/");
        let stored = handle
            .block_on(memory.scan(&prefix))
            .map_err(|error| error.to_string())?;
        let mut this = Self {
            memory,
            clock,
            handle,
            prefix,
            positions: BTreeMap::new(),
            topics: None,
            changed: BTreeSet::new(),
            topics_changed: false,
            last_store: Instant::now(),
            storing: None,
        };
        for (name, value) in stored {
            let name = &name[this.prefix.len()..];
            let unreadable = |error| format!("what is remembered of {name} cannot be read: {error}");
            if name == "topics" {
                this.topics = Some(serde_json::from_slice(&value).map_err(unreadable)?);
            } else if let Some(partition) = partition(name) {
                let position = serde_json::from_slice(&value).map_err(unreadable)?;
                this.positions.insert(partition, position);
            }
        }
        Ok(this)
    }

    pub(super) fn get(&self, partition: &Partition) -> Option<&Position> {
        self.positions.get(partition)
    }

    /// The last list of topics; `None` before the first.
    pub(super) fn topics(&self) -> Option<&Topics> {
        self.topics.as_ref()
    }

    pub(super) fn set(&mut self, partition: Partition, position: Position) {
        if self.positions.get(&partition) != Some(&position) {
            self.changed.insert(partition.clone());
            self.positions.insert(partition, position);
        }
    }

    /// Notes how far a partition is done, unless that is of an earlier life.
    pub(super) fn mark(&mut self, place: &PartitionLife, mark: Mark) {
        let partition = (place.topic.clone(), place.partition);
        let known = self.positions.get(&partition);
        if let Some(position) = known.filter(|known| known.life == place.life && !known.is_over) {
            let record = mark.record.or(position.record);
            let position = Position {
                next: mark.next,
                record,
                ..*position
            };
            self.set(partition, position);
        }
    }

    /// Notes the record before a place.
    pub(super) fn learn(&mut self, place: &PartitionLife, record: Fingerprint) {
        let partition = (place.topic.clone(), place.partition);
        if let Some(position) = self.positions.get(&partition).copied() {
            let record = Some(record);
            self.set(partition, Position { record, ..position });
        }
    }

    /// Notes that a topic was deleted and recreated.
    pub(super) fn end_life(&mut self, topic: &str) {
        for (partition, position) in &mut self.positions {
            if *partition.0 == *topic && !position.is_over {
                position.is_over = true;
                self.changed.insert(partition.clone());
            }
        }
    }

    /// Notes the topics that the cluster has now. Partitions of topics that are gone are kept for their
    /// return.
    pub(super) fn set_topics(&mut self, topics: Topics) {
        let now = self.clock.now().0;
        let mut gone = Vec::new();
        for (partition, position) in &mut self.positions {
            let since = (!topics.has(&partition.0, partition.1)).then(|| position.gone.unwrap_or(now));
            if position.gone != since {
                position.gone = since;
                self.changed.insert(partition.clone());
            }
            gone.extend(since.map(|since| (since, partition.clone())));
        }
        gone.sort_unstable();
        for (_, partition) in gone.iter().take(gone.len().saturating_sub(GONE)) {
            self.positions.remove(partition);
            self.changed.insert(partition.clone());
        }
        self.topics_changed |= self.topics.as_ref() != Some(&topics);
        self.topics = Some(topics);
    }

    /// Stores changes once a second, without waiting. If that fails, they are stored with the next ones.
    pub(super) fn store_soon(&mut self) {
        let is_storing = self
            .storing
            .as_ref()
            .is_some_and(|store| !store.task.is_finished());
        if self.last_store.elapsed() < EVERY || is_storing {
            return;
        }
        self.last_store = Instant::now();
        if let Err(error) = self.finish_store() {
            tracing::warn!(%error, "how far partitions are done was not stored; it is tried again");
        }
        self.begin_store();
    }

    /// Stores changes, and waits until they are durable.
    pub(super) fn store(&mut self) -> Result<(), String> {
        if let Err(error) = self.finish_store() {
            tracing::debug!(%error, "how far partitions are done was not stored; it is tried again");
        }
        self.begin_store();
        self.finish_store()
    }

    /// Waits for a store under way. If it fails, everything is to be stored again.
    fn finish_store(&mut self) -> Result<(), String> {
        let Some(Storing { task, partitions }) = self.storing.take() else {
            return Ok(());
        };
        let outcome = match self.handle.block_on(task) {
            Ok(outcome) => outcome.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if outcome.is_err() {
            // An earlier run whose client hung may have stored something in between. What this run knows
            // counts.
            let _ = self.handle.block_on(self.memory.scan(&self.prefix));
            self.changed.extend(self.positions.keys().cloned());
            // Those that are forgotten are to be removed still.
            self.changed.extend(partitions);
            self.topics_changed = self.topics.is_some();
        }
        outcome
    }

    /// Begins to store what has changed.
    fn begin_store(&mut self) {
        let partitions = std::mem::take(&mut self.changed);
        let mut values = BTreeMap::new();
        for partition in &partitions {
            let name = format!("{}at/{}/{}", self.prefix, partition.0, partition.1);
            values.insert(name, self.positions.get(partition).map(encode));
        }
        if std::mem::take(&mut self.topics_changed) {
            values.insert(format!("{}topics", self.prefix), self.topics.as_ref().map(encode));
        }
        if !values.is_empty() {
            let memory = self.memory.clone();
            let task = self
                .handle
                .spawn(async move { memory.put_all(values).await }.in_current_span());
            self.storing = Some(Storing { task, partitions });
        }
    }
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("invariant: places and topics can be written as JSON")
}

/// The partition whose place has this key.
fn partition(name: &str) -> Option<Partition> {
    let (topic, partition) = name.strip_prefix("at/")?.rsplit_once('/')?;
    Some((topic.into(), partition.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use millrace_event::ObjectName;
    use millrace_model::{SourceKey, SourceKind};
    use tokio::runtime::Runtime;

    use super::*;
    use crate::store::Store;

    struct Scene {
        store: Arc<Store>,
        runtime: Runtime,
    }

    impl Scene {
        fn new() -> Self {
            Self {
                store: Arc::default(),
                runtime: Runtime::new().expect("a runtime"),
            }
        }

        fn open(&self, cluster: &str, group: &str) -> Remembered {
            let key = SourceKey {
                kind: SourceKind::Kafka,
                name: ObjectName::new("shop", "orders"),
            };
            let memory = Memory::new(self.store.clone(), &key);
            let handle = self.runtime.handle().clone();
            Remembered::open(memory, Clock::default(), handle, cluster, group).expect("it is readable")
        }
    }

    fn topics(text: &str) -> Topics {
        serde_json::from_str(text).expect("topics")
    }

    fn place(life: u32) -> PartitionLife {
        PartitionLife {
            topic: "orders".into(),
            partition: 0,
            life,
        }
    }

    fn mark(next: i64) -> Mark {
        let record = Some(Fingerprint {
            offset: next - 1,
            timestamp: 1,
            checksum: 7,
        });
        Mark { next, record }
    }

    fn partition() -> Partition {
        ("orders".into(), 0)
    }

    #[test]
    fn what_is_stored_is_read_again_by_cluster_and_group() {
        let scene = Scene::new();
        let mut first = scene.open("c", "a/b");
        assert_eq!(first.topics(), None);
        first.set(partition(), Position::at(0));
        first.set_topics(topics("{\"orders\":1}"));
        first.mark(&place(1), mark(5));
        first.mark(
            &place(1),
            Mark {
                next: 7,
                record: None,
            },
        );
        first.store().expect("it is stored");
        let again = scene.open("c", "a/b");
        let position = again.get(&partition()).copied().expect("a place");
        assert_eq!(
            (position.next, position.record, position.life),
            (7, mark(5).record, 1)
        );
        assert_eq!(again.topics(), Some(&topics("{\"orders\":1}")));
        for (cluster, group) in [("d", "a/b"), ("c", "a"), ("c", "a%2Fb"), ("", "a/b")] {
            let other = scene.open(cluster, group);
            assert_eq!(
                (other.get(&partition()), other.topics()),
                (None, None),
                "{cluster} {group}"
            );
        }
    }

    #[test]
    fn what_was_not_stored_is_stored_later() {
        let scene = Scene::new();
        let mut remembered = scene.open("c", "g");
        remembered.set(partition(), Position::at(3));
        *scene.store.failures.lock() = 1;
        assert!(remembered.store().is_err());
        remembered.store().expect("it is stored");
        assert_eq!(scene.open("c", "g").get(&partition()), Some(&Position::at(3)));
    }

    #[test]
    fn marks_of_another_life_do_not_count() {
        let scene = Scene::new();
        let mut remembered = scene.open("c", "g");
        remembered.set(partition(), Position::at(0));
        remembered.mark(&place(2), mark(5));
        assert_eq!(remembered.get(&partition()).map(|at| at.next), Some(0));
        remembered.mark(&place(1), mark(5));
        remembered.end_life("orders");
        remembered.mark(&place(1), mark(9));
        let position = remembered.get(&partition()).copied().expect("a place");
        assert_eq!((position.next, position.is_over), (5, true));
    }

    #[test]
    fn topics_that_are_gone_are_remembered_within_bounds() {
        let scene = Scene::new();
        let mut remembered = scene.open("c", "g");
        let count = i32::try_from(GONE).expect("it is small") + 10;
        for number in 0..count {
            remembered.set(("gone".into(), number), Position::at(1));
        }
        remembered.set(partition(), Position::at(1));
        remembered.set_topics(topics("{\"orders\":1}"));
        remembered.store().expect("it is stored");
        let mut again = scene.open("c", "g");
        assert_eq!(again.positions.len(), GONE + 1);
        assert!(again.get(&partition()).is_some_and(|at| at.gone.is_none()));
        let back = ("gone".into(), count - 1);
        assert!(again.get(&back).is_some_and(|at| at.gone.is_some()));
        again.set_topics(topics(&format!("{{\"gone\":{count},\"orders\":1}}")));
        assert!(again.get(&back).is_some_and(|at| at.gone.is_none()));
    }

    #[test]
    fn what_was_forgotten_is_removed_even_if_a_store_fails_meanwhile() {
        let scene = Scene::new();
        let count = i32::try_from(GONE).expect("it is small") + 10;
        let mut remembered = scene.open("c", "g");
        for number in 0..count {
            remembered.set(("gone".into(), number), Position::at(1));
        }
        remembered.store().expect("it is stored");
        assert_eq!(scene.open("c", "g").positions.len(), GONE + 10);
        remembered.set_topics(topics("{\"orders\":1}"));
        *scene.store.failures.lock() = 1;
        assert!(remembered.store().is_err());
        remembered.store().expect("it is stored");
        assert_eq!(scene.open("c", "g").positions.len(), GONE);
    }
}
