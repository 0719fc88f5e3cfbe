//! The default backend: files on the local disk, no other server.
//!
//! A data folder ([`store`], [`folder`]) has a channel for each broker. A channel is the contract's
//! [`crate::Log`] and its one partition, a [`crate::Channel`] ([`Embedded`]). It consists of the events
//! ([`log`]), and of progress and debts beside them ([`state`]). Of a Broker that is forgotten only its end
//! stays ([`ends`]). The volume under it may fill up: [`disk`] knows how much room there is, [`shares`]
//! decides who may have it, and [`ballast`] keeps some for writing progress down. Open files may be removed
//! or replaced: [`path_identity`] notices it, and a [`fault`] reports it until it is mended.
//! [`backup`](mod@backup) copies a folder that is in use. Logs and states are written on the threads of one
//! [`pool`], and one task makes the [`rounds`] of all Brokers that rest.

mod backup;
mod ballast;
mod blocking;
mod channel;
mod checkpoints;
mod disk;
mod ends;
mod error;
mod fault;
mod folder;
pub mod log;
mod metrics;
mod options;
mod path_identity;
mod pool;
mod rounds;
mod shares;
pub mod state;
pub mod store;

pub use backup::{BackupError, BackupReport, backup};
pub use channel::Embedded;
pub use error::OpenError;
pub use options::{ChannelOptions, Durability, StoreOptions};
pub use store::{Store, close_all};

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::channel::testing::{OPTIONS, broker};
    use super::*;
    use crate::Channel;
    use crate::conformance::{self, Backend};

    struct Folder {
        temp: tempfile::TempDir,
        durability: Durability,
    }

    #[async_trait::async_trait]
    impl Backend for Folder {
        async fn open(&mut self) -> Arc<dyn Channel> {
            let options = StoreOptions {
                durability: self.durability,
                ..StoreOptions::default()
            };
            let store = loop {
                match Store::open(self.temp.path(), options.clone()) {
                    // The upkeep of the one before has it in hand for a moment.
                    Err(OpenError::Locked(_)) => tokio::task::yield_now().await,
                    opened => break opened.unwrap(),
                }
            };
            store.channel(&broker(), OPTIONS).await.unwrap()
        }

        async fn open_elsewhere(&mut self) -> Option<Arc<dyn Channel>> {
            let refused = Store::open(self.temp.path(), StoreOptions::default());
            assert!(
                matches!(refused, Err(OpenError::Locked(_))),
                "one process has the folder"
            );
            None
        }
    }

    async fn conforms(durability: Durability) {
        conformance::all(|| Folder {
            temp: tempfile::tempdir().unwrap(),
            durability,
        })
        .await;
    }

    #[tokio::test]
    async fn keeps_the_contract_when_every_append_is_synced() {
        conforms(Durability::Sync).await;
    }

    #[tokio::test]
    async fn keeps_the_contract_when_the_system_syncs() {
        conforms(Durability::Os).await;
    }
}
