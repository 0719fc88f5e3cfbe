//! What can be set: of a data folder, and of each channel in it.

use millrace_event::Clock;

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
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// When an append counts as durable.
    pub durability: Durability,
    /// The clock.
    pub clock: Clock,
    /// Set unreadable state databases aside and begin every lane at the oldest retained event.
    pub rebuild_state: bool,
    /// Bytes of the attempts' history of each broker; 64 MiB. It takes less on a small volume; with 0 none is
    /// kept.
    pub history_bytes: u64,
}

/// Per broker: what its resource says (see `millrace_model::Broker`; the channel crate does not know the
/// model).
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

// === impl StoreOptions ===

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            clock: Clock::default(),
            rebuild_state: false,
            history_bytes: 64 << 20,
        }
    }
}
