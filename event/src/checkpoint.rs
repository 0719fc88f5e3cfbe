//! What a source must remember between two runs, kept by compare-and-set so that two instances cannot both win.

/// A stored checkpoint: the value and the version to give when replacing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Counts up with each change, from 1.
    pub version: u64,
    /// What the source stored; its meaning is the source's own.
    pub value: Vec<u8>,
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

    /// Replaces the value under `key`, durably, if its version is still `expected` (0: there is none yet). Returns the new version.
    async fn compare_and_set(&self, key: &str, expected: u64, value: Vec<u8>)
    -> Result<u64, CheckpointError>;
}
