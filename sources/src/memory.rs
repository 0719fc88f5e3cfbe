//! What a source remembers between two runs: texts under names of its own. Only the run that has read a text
//! last may replace it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

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
        let expected = self.versions.lock().get(name).copied().unwrap_or(0);
        let key = format!("{}{name}", self.prefix);
        let version = self.checkpoints.compare_and_set(&key, expected, value).await?;
        self.versions.lock().insert(name.to_owned(), version);
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
