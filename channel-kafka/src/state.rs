//! The records of the topic of the state: those of a partition's state, and whose it is.
//!
//! A record that is too large for one of Kafka is several of one transaction: its first part says how many
//! follow.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_channel::ChannelError;
use millrace_channel::remote::{Key, State, Write};
use serde::{Deserialize, Serialize};

use crate::error::storage;

/// The key of the record that says whose the partition is.
const OWNER: &str = "owner";
/// How many parts follow.
pub(crate) const PARTS: &str = "millrace-parts";
/// The most bytes of a part.
const PART: usize = 200 << 10;

/// Whose the partition is, and its newest commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnerRecord {
    /// Tells one claim from another.
    pub(crate) nonce: String,
    /// The number of the commit.
    pub(crate) commit: u64,
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) key: String,
    /// `None` removes it.
    pub(crate) value: Option<Bytes>,
    /// How many parts follow.
    pub(crate) parts: usize,
}

/// How many parts more than one each record has.
pub(crate) type Parts = BTreeMap<Key, usize>;

/// The newest record of each key, while the topic is read.
#[derive(Debug, Default)]
pub(crate) struct Found {
    by_key: BTreeMap<String, (Bytes, usize)>,
    /// Where the newest record that says whose it is stands.
    owned_at: u64,
}

/// The state that was read.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// `None`: the partition has none.
    pub(crate) state: Option<State>,
    pub(crate) owner: OwnerRecord,
    pub(crate) owned_at: u64,
    pub(crate) parts: Parts,
}

// === impl Draft ===

impl Draft {
    /// The record of an owner.
    pub(crate) fn of_owner(nonce: &str, commit: u64) -> Self {
        let owner = OwnerRecord {
            nonce: nonce.to_owned(),
            commit,
        };
        Self {
            key: OWNER.to_owned(),
            value: Some(serde_json::to_vec(&owner).unwrap_or_default().into()),
            parts: 0,
        }
    }

    /// The records of a chunk.
    pub(crate) fn of_chunk(chunk: &[Write], parts: &mut Parts) -> Vec<Self> {
        let mut drafts = Vec::with_capacity(chunk.len() + 1);
        for write in chunk {
            Self::add(&mut drafts, write, parts);
        }
        drafts
    }

    fn add(drafts: &mut Vec<Self>, write: &Write, parts: &mut Parts) {
        let key = write.key();
        let bytes = write.encode().map(Bytes::from);
        let length = bytes.as_ref().map_or(0, Bytes::len);
        let more = length.saturating_sub(1) / PART;
        let before = match more {
            0 => parts.remove(&key),
            more => parts.insert(key, more),
        };
        for part in 0..=more.max(before.unwrap_or(0)) {
            let (from, to) = (part * PART, ((part + 1) * PART).min(length));
            let value = bytes.as_ref().filter(|_| part <= more);
            drafts.push(Self {
                key: match part {
                    0 => key.to_string(),
                    part => format!("{key}.part{part}"),
                },
                value: value.map(|bytes| bytes.slice(from..to)),
                parts: if part == 0 { more } else { 0 },
            });
        }
    }
}

// === impl Found ===

impl Found {
    /// Takes the next record of the topic.
    pub(crate) fn take(&mut self, offset: u64, key: &str, value: Option<&[u8]>, parts: usize) {
        if key == OWNER {
            self.owned_at = offset;
        }
        match value {
            Some(value) => {
                let value = Bytes::copy_from_slice(value);
                drop(self.by_key.insert(key.to_owned(), (value, parts)));
            }
            None => drop(self.by_key.remove(key)),
        }
    }

    pub(crate) fn load(self, partition: u32) -> Result<Loaded, ChannelError> {
        let owner = self.by_key.get(OWNER).map(|(value, _)| value.as_ref());
        let owner = owner.and_then(|value| serde_json::from_slice(value).ok());
        let (mut state, mut known, mut has_progress) = (State::new(0), Parts::new(), false);
        for (text, (value, more)) in &self.by_key {
            // Parts, and what others may write in newer versions, have no key of ours.
            let Some(key) = Key::parse(text) else { continue };
            let mut bytes = value.to_vec();
            for part in 1..=*more {
                let part = self.by_key.get(&format!("{text}.part{part}"));
                bytes.extend_from_slice(part.map_or(&[][..], |(value, _)| value));
            }
            if *more > 0 {
                known.insert(key, *more);
            }
            has_progress |= key == Key::Progress;
            state.load(partition, key, &bytes).map_err(storage)?;
        }
        Ok(Loaded {
            state: has_progress.then_some(state),
            owner: owner.unwrap_or_default(),
            owned_at: self.owned_at,
            parts: known,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(drafts: &[Draft]) -> Found {
        let mut found = Found::default();
        for (offset, draft) in (0..).zip(drafts) {
            found.take(offset, &draft.key, draft.value.as_deref(), draft.parts);
        }
        found
    }

    #[test]
    fn the_newest_record_of_each_key_counts_and_without_progress_there_is_no_state() {
        let mut drafts = vec![Draft::of_owner("a", 0), Draft::of_owner("b", 3)];
        let loaded = taken(&drafts).load(0).unwrap();
        assert!(loaded.state.is_none());
        assert_eq!((loaded.owner.nonce.as_str(), loaded.owner.commit), ("b", 3));
        assert_eq!(loaded.owned_at, 1);
        drafts.extend(Draft::of_chunk(&[State::new(7).progress()], &mut Parts::new()));
        let state = taken(&drafts).load(0).unwrap().state.expect("a state");
        assert_eq!(state.epochs().position(7), 7);
    }

    #[test]
    fn a_record_that_is_too_large_comes_in_parts_and_parts_that_are_left_over_go() {
        let mut parts = Parts::from([(Key::Progress, 3)]);
        let drafts = Draft::of_chunk(&[State::new(7).progress()], &mut parts);
        let keys: Vec<_> = drafts.iter().map(|draft| draft.key.as_str()).collect();
        assert_eq!(
            keys,
            ["progress", "progress.part1", "progress.part2", "progress.part3"]
        );
        assert!(drafts[0].value.is_some() && drafts[1..].iter().all(|draft| draft.value.is_none()));
        assert_eq!(parts, Parts::new());
        // Cut where it is read, so that the parts need no large record here.
        let whole = drafts[0].value.clone().expect("a progress");
        let mut found = Found::default();
        found.take(0, "progress", Some(&whole[..5]), 1);
        found.take(1, "progress.part1", Some(&whole[5..]), 0);
        let loaded = found.load(0).unwrap();
        assert!(loaded.state.is_some());
        assert_eq!(loaded.parts, Parts::from([(Key::Progress, 1)]));
    }
}
