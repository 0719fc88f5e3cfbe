//! Checkpoints in memory, which fail as often as they are told. The unit tests and those in this folder share
//! them.

use std::collections::BTreeMap;

use millrace_event::checkpoint::{Change, Stored};
use millrace_event::{Checkpoint, CheckpointError};
use parking_lot::Mutex;

/// What is stored, and how many of the next changes fail.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) all: Mutex<BTreeMap<String, Stored>>,
    pub(crate) failures: Mutex<usize>,
}

// === impl Store ===

#[async_trait::async_trait]
impl Checkpoint for Store {
    async fn get(&self, key: &str) -> Result<Option<Stored>, CheckpointError> {
        Ok(self.all.lock().get(key).cloned())
    }

    async fn scan(&self, prefix: &str) -> Result<BTreeMap<String, Stored>, CheckpointError> {
        let mut all = self.all.lock().clone();
        all.retain(|key, _| key.starts_with(prefix));
        Ok(all)
    }

    async fn replace_all(&self, changes: Vec<Change>) -> Result<(), CheckpointError> {
        {
            let mut failures = self.failures.lock();
            if *failures > 0 {
                *failures -= 1;
                return Err(CheckpointError::Storage("no disk".to_owned()));
            }
        }
        // Others get their turn between the read and the write.
        tokio::task::yield_now().await;
        let mut all = self.all.lock();
        let mut changed = all.clone();
        for Change { key, expected, value } in changes {
            let is_expected = match changed.get(&key) {
                Some(stored) => stored.version == expected,
                None => expected == 0 && value.is_some(),
            };
            if !is_expected {
                return Err(CheckpointError::Conflict(key));
            }
            match value {
                Some(value) => {
                    let version = expected + 1;
                    changed.insert(key, Stored { version, value })
                }
                None => changed.remove(&key),
            };
        }
        *all = changed;
        Ok(())
    }
}
