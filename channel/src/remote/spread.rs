//! The log of a broker with several partitions: each event goes to the partition of its key.

use std::collections::BTreeMap;

use millrace_event::{Event, Timestamp};

use super::log::Client;
use crate::{AppendError, ChannelError, Class, Durability, Ends, Guarantees, Log, Position, Reader, Record};

/// One process's way to all partitions.
#[derive(Clone, Debug)]
pub struct Spread {
    first: Client,
    /// From partition 1 on.
    others: Vec<Client>,
}

/// The partition of an event: by its `partitionkey`, else by its source and id. What is asked for never
/// changes, or one key would have two partitions.
pub fn partition_of(event: &Event, partitions: u32) -> u32 {
    let hash = match event.get("partitionkey") {
        Some(key) => fnv1a(BASIS, key.text.as_bytes()),
        None => {
            let source = fnv1a(BASIS, event.source().as_bytes());
            fnv1a(fnv1a(source, &[0]), event.id().as_bytes())
        }
    };
    hash % partitions.max(1)
}

/// Where FNV-1a of 32 bits begins.
const BASIS: u32 = 0x811c_9dc5;

/// FNV-1a of 32 bits: what NATS servers use for `partition()` in a mapping of subjects.
fn fnv1a(basis: u32, octets: &[u8]) -> u32 {
    octets.iter().fold(basis, |hash, octet| {
        (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193)
    })
}

// === impl Spread ===

impl Spread {
    /// The partitions of a broker, from 0 on.
    pub fn new(first: Client, others: Vec<Client>) -> Self {
        Self { first, others }
    }

    fn all(&self) -> impl Iterator<Item = &Client> {
        [&self.first].into_iter().chain(&self.others)
    }

    /// The partition of that number. Numbers come from the log itself, so there is none that is not there.
    fn part(&self, partition: u32) -> &Client {
        let other = partition
            .checked_sub(1)
            .and_then(|other| self.others.get(other as usize));
        other.unwrap_or(&self.first)
    }

    /// The events of each partition, in order.
    fn by_partition(&self, events: Vec<Event>) -> BTreeMap<u32, Vec<Event>> {
        let partitions = self.others.len() as u32 + 1;
        let mut groups: BTreeMap<u32, Vec<Event>> = BTreeMap::new();
        for event in events {
            let partition = partition_of(&event, partitions);
            groups.entry(partition).or_default().push(event);
        }
        groups
    }
}

#[async_trait::async_trait]
impl Log for Spread {
    fn guarantees(&self) -> Guarantees {
        let of_one = self.first.guarantees();
        Guarantees {
            // Each partition stores its part by itself.
            atomic_batch: of_one.atomic_batch && self.others.is_empty(),
            ..of_one
        }
    }

    async fn append(&self, events: Vec<Event>, class: Class) -> Result<(), AppendError> {
        let groups = self.by_partition(events);
        // What can be refused is refused before a part of it is stored.
        if groups.len() > 1 {
            for (partition, events) in &groups {
                self.part(*partition).takes(events, class)?;
            }
        }
        for (partition, events) in groups {
            self.part(partition).append(events, class).await?;
        }
        Ok(())
    }

    fn ends(&self) -> Vec<Ends> {
        self.all().flat_map(Log::ends).collect()
    }

    fn reader(&self, from: Position) -> Box<dyn Reader> {
        self.part(from.partition).reader(from)
    }

    async fn get_many(&self, at: &[Position]) -> Result<Vec<Option<Record>>, ChannelError> {
        let mut found: BTreeMap<Position, Record> = BTreeMap::new();
        for (partition, part) in (0u32..).zip(self.all()) {
            let asked = at.iter().copied().filter(|at| at.partition == partition);
            let asked: Vec<Position> = asked.collect();
            if asked.is_empty() {
                continue;
            }
            let records = part.get_many(&asked).await?;
            found.extend(
                asked
                    .into_iter()
                    .zip(records)
                    .filter_map(|(at, record)| Some((at, record?))),
            );
        }
        Ok(at.iter().map(|at| found.get(at).cloned()).collect())
    }

    async fn position_at(&self, partition: u32, time: Timestamp) -> Result<Position, ChannelError> {
        self.part(partition).position_at(partition, time).await
    }

    fn durability(&self) -> Option<Durability> {
        self.first.durability()
    }

    fn fault(&self) -> Option<String> {
        self.all().find_map(Log::fault)
    }
}

#[cfg(test)]
mod tests {
    use millrace_event::{DataForm, SpecVersion};

    use super::*;

    fn event(id: &str, key: Option<&str>) -> Event {
        let builder = Event::builder(SpecVersion::V10).attribute("id", id);
        let builder = builder.attribute("source", "/till").attribute("type", "t");
        let builder = match key {
            Some(key) => builder.attribute("partitionkey", key),
            None => builder,
        };
        builder.data(DataForm::Bytes, b"").build().expect("a valid event")
    }

    #[test]
    fn a_key_has_one_partition_for_ever() {
        let of = |key: &str| fnv1a(BASIS, key.as_bytes());
        assert_eq!(
            (of(""), of("a"), of("foobar")),
            (0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968)
        );
        let keyed = |id: &str| partition_of(&event(id, Some("till-1")), 8);
        assert_eq!(keyed("1"), keyed("2"));
        assert_eq!(keyed("1"), of("till-1") % 8);
        assert_eq!(partition_of(&event("1", None), 8), of("/till\u{0}1") % 8);
        assert_eq!(partition_of(&event("1", None), 1), 0);
    }

    #[test]
    fn keys_and_ids_spread_over_all_partitions() {
        for keyed in [true, false] {
            let partitions = (0..1_000).map(|n| {
                let text = n.to_string();
                partition_of(&event(&text, keyed.then_some(text.as_str())), 8)
            });
            let mut counts = [0; 8];
            for partition in partitions {
                counts[partition as usize] += 1;
            }
            assert!(
                counts.iter().all(|count| (60..=200).contains(count)),
                "{counts:?}"
            );
        }
    }
}
