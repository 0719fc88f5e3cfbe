//! What a source must remember between two runs, kept by compare-and-set so that two instances cannot both
//! win.

use std::collections::BTreeMap;

/// A stored checkpoint: the value and the version to give when replacing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Counts up with each change, from 1; a value that was removed begins at 1 again.
    pub version: u64,
    /// What the source stored; its meaning is the source's own.
    pub value: Vec<u8>,
}

/// One of several values that are replaced at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its key.
    pub key: String,
    /// The version that it must still have (0: there is none yet).
    pub expected: u64,
    /// The new value, which has the version after `expected`; `None` removes it.
    pub value: Option<Vec<u8>>,
}

/// Why a checkpoint was not read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Somebody else changed it since it was read.
    #[error("the checkpoint `{0}` was changed by somebody else")]
    Conflict(String),
    /// The store could not be read or written.
    #[error("checkpoints cannot be stored: {0}")]
    Storage(String),
}

/// The store of checkpoints.
#[async_trait::async_trait]
pub trait Checkpoint: Send + Sync {
    /// The value under `key`, if there is one.
    async fn get(&self, key: &str) -> Result<Option<Stored>, CheckpointError>;

    /// Replaces the value under `key`, durably, if its version is still `expected` (0: there is none yet).
    /// Returns the new version.
    async fn compare_and_set(
        &self,
        key: &str,
        expected: u64,
        value: Vec<u8>,
    ) -> Result<u64, CheckpointError> {
        let change = Change {
            key: key.to_owned(),
            expected,
            value: Some(value),
        };
        self.replace_all(vec![change]).await?;
        Ok(expected + 1)
    }

    /// All values whose keys begin with `prefix`, by key.
    async fn scan(&self, prefix: &str) -> Result<BTreeMap<String, Stored>, CheckpointError>;

    /// Makes all changes durable, or none of them.
    ///
    /// # Errors
    /// [`CheckpointError::Conflict`] when one of the values does not have the expected version.
    async fn replace_all(&self, changes: Vec<Change>) -> Result<(), CheckpointError>;
}
