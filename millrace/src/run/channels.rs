//! How the channels of Brokers stand, for their statuses in a cluster.

use std::sync::Arc;

use millrace_channel::Logs;
use millrace_controller::AllChannels;
use millrace_model::status::ChannelStatus;
use millrace_model::{Broker, Mesh};

use super::backends::Refused;

/// Where that is looked up.
#[derive(Clone, Debug)]
pub(super) struct ChannelsSeen {
    pub(super) logs: Logs,
    pub(super) refused: Refused,
}

// === impl ChannelsSeen ===

impl ChannelsSeen {
    /// How the channels of a mesh's Brokers stand.
    pub(super) fn of(&self, mesh: &Mesh) -> AllChannels {
        let brokers = mesh.brokers.values();
        brokers
            .map(|broker| (broker.name.clone(), self.of_one(broker)))
            .collect()
    }

    fn of_one(&self, broker: &Arc<Broker>) -> ChannelStatus {
        let log = self.logs.get(&broker.name);
        let not_open = || Some("the channel is not open".to_owned());
        let durability = log.as_ref().and_then(|log| log.durability());
        ChannelStatus {
            broker: broker.clone(),
            durability: durability.map(|durability| (durability.word, durability.meaning)),
            fault: log.map_or_else(not_open, |log| log.fault()),
            refused: self.refused.lock().get(&broker.name).cloned(),
        }
    }
}
