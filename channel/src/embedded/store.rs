//! One data folder: its format, its lock, its brokers' channels and its checkpoints.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_event::{Checkpoint, Clock, ObjectName};

use crate::Channel;

/// When an append counts as durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// After `fdatasync`: survives a power failure.
    #[default]
    Sync,
    /// After `write`: survives the end of the process, not of the machine.
    Os,
}

/// How a data folder is opened.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// When an append counts as durable.
    pub durability: Durability,
    /// The clock.
    pub clock: Clock,
    /// Throw unreadable state databases away and begin every lane at the oldest retained event.
    pub rebuild_state: bool,
}

/// Per broker: what its resource says (see `millrace_model::Broker`; the channel crate does not know the model).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelOptions {
    /// Settled history is kept this long.
    pub retention_age: std::time::Duration,
    /// Settled history is kept up to this many bytes.
    pub retention_bytes: u64,
    /// Bytes of unsettled events from which producers are turned away.
    pub backlog_bytes: Option<u64>,
    /// Make room by skipping the hindmost lanes forward instead of turning producers away.
    pub drop_oldest: bool,
}

/// Why a data folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it (exit code 4).
    #[error("the data folder {} is in use by another process", .0.display())]
    Locked(PathBuf),
    // the helper completes this list
}

/// An open data folder. Holds the lock until it is dropped.
#[derive(Debug)]
pub struct Store {}

impl Store {
    /// Opens (or makes) the folder and takes its lock.
    pub fn open(folder: &Path, options: StoreOptions) -> Result<Self, OpenError> {
        todo!()
    }
    /// Opens a broker's channel (makes it when new), or applies new options to the open one.
    pub async fn channel(&self, broker: &ObjectName, options: ChannelOptions) -> Result<Arc<dyn Channel>, OpenError> {
        todo!()
    }
    /// The brokers that have a folder here, also those that are in no document any more.
    pub fn brokers(&self) -> Result<Vec<ObjectName>, OpenError> {
        todo!()
    }
    /// Deletes a broker's folder with everything in it. Its channel must be closed.
    pub fn remove(&self, broker: &ObjectName) -> Result<(), OpenError> {
        todo!()
    }
    /// The checkpoints of sources, in `<data>/sources.db`.
    pub fn checkpoints(&self) -> Arc<dyn Checkpoint> {
        todo!()
    }
}
