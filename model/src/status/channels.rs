//! How the channel of a Broker stands, for its status in a cluster.

use std::sync::Arc;

use crate::Broker;

/// How the channel of a Broker stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelStatus {
    /// The Broker as it is served: with the channel that is open, or to be opened.
    pub broker: Arc<Broker>,
    /// What a 202 rests on, in a word and a sentence; `None` while that is not known.
    pub durability: Option<(&'static str, &'static str)>,
    /// Why events cannot be taken.
    pub fault: Option<String>,
    /// Why the channel is not kept as its `config` says.
    pub refused: Option<String>,
}
