//! What a source remembers between two runs: texts under names of its own. Only the run that has read a text
//! last may replace it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use millrace_event::checkpoint::Change;
use millrace_event::{Checkpoint, CheckpointError};
use millrace_model::SourceKey;
use parking_lot::Mutex;

/// One source's part of the checkpoints. Clones share what they have read.
#[derive(Clone)]
pub struct Memory {
    checkpoints: Arc<dyn Checkpoint>,
    prefix: Arc<str>,
    /// The version of each name as last read or written by this run.
    versions: Arc<Mutex<BTreeMap<String, u64>>>,
}

// === impl Memory ===

impl Memory {
    /// The memory of the source of this key.
    pub fn new(checkpoints: Arc<dyn Checkpoint>, key: &SourceKey) -> Self {
        Self {
            checkpoints,
            prefix: format!("{}/{}/", key.kind, key.name).into(),
            versions: Arc::default(),
        }
    }

    /// What is stored under `name`, if anything.
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, CheckpointError> {
        let stored = self.checkpoints.get(&format!("{}{name}", self.prefix)).await?;
        let version = stored.as_ref().map_or(0, |stored| stored.version);
        self.versions.lock().insert(name.to_owned(), version);
        Ok(stored.map(|stored| stored.value))
    }

    /// Replaces what is stored under `name`, durably.
    ///
    /// # Errors
    /// [`CheckpointError::Conflict`] when another run has replaced it since this run read or wrote it.
    pub async fn put(&self, name: &str, value: Vec<u8>) -> Result<(), CheckpointError> {
        self.put_all(BTreeMap::from([(name.to_owned(), Some(value))]))
            .await
    }

    /// All that is stored under names that begin with `prefix`, by the whole name.
    pub async fn scan(&self, prefix: &str) -> Result<BTreeMap<String, Vec<u8>>, CheckpointError> {
        let stored = self.checkpoints.scan(&format!("{}{prefix}", self.prefix)).await?;
        let mut versions = self.versions.lock();
        let values = stored.into_iter().map(|(key, stored)| {
            let name = key[self.prefix.len()..].to_owned();
            versions.insert(name.clone(), stored.version);
            (name, stored.value)
        });
        Ok(values.collect())
    }

    /// Replaces all these, or none of them, durably; `None` removes what is stored.
    ///
    /// # Errors
    /// [`CheckpointError::Conflict`] when somebody else has replaced one of them since this run read or wrote
    /// it.
    pub async fn put_all(&self, values: BTreeMap<String, Option<Vec<u8>>>) -> Result<(), CheckpointError> {
        let (mut changes, mut after) = (Vec::with_capacity(values.len()), Vec::with_capacity(values.len()));
        {
            let known = self.versions.lock();
            for (name, value) in values {
                let expected = known.get(&name).copied().unwrap_or(0);
                if expected == 0 && value.is_none() {
                    continue;
                }
                let key = format!("{}{name}", self.prefix);
                after.push((name, value.as_ref().map_or(0, |_| expected + 1)));
                changes.push(Change { key, expected, value });
            }
        }
        self.checkpoints.replace_all(changes).await?;
        self.versions.lock().extend(after);
        Ok(())
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
