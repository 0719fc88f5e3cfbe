//! On which servers a Broker's channel is, and what it is once it is open there: the same for all.

#[cfg(feature = "jetstream")]
use std::sync::Arc;

use millrace_delivery::guard::Guard;
use millrace_model::{Backend, Broker, MissingSecret};
use tokio_util::sync::CancellationToken;

#[cfg(feature = "jetstream")]
use super::member::Myself;
#[cfg(feature = "jetstream")]
use super::on_jetstream;
#[cfg(feature = "kafka")]
use super::on_kafka;

/// How a channel is opened.
#[derive(Debug)]
pub(super) enum On {
    /// On NATS JetStream.
    #[cfg(feature = "jetstream")]
    JetStream(Box<millrace_channel_jetstream::Options>),
    /// On Kafka.
    #[cfg(feature = "kafka")]
    Kafka(Box<millrace_channel_kafka::Options>),
    /// Nowhere: for that reason.
    Nowhere(String),
}

/// A channel that is open.
pub(super) enum Opened {
    /// Whose partitions several processes share: nothing is taken over yet.
    #[cfg(feature = "jetstream")]
    Shared(
        Box<millrace_channel_jetstream::Streams>,
        Box<millrace_channel_jetstream::Members>,
    ),
    /// Whose one partition this process has taken over.
    #[cfg(feature = "kafka")]
    Whole(Box<millrace_channel_kafka::Partition>),
}

// === impl On ===

impl On {
    /// How a Broker's channel is opened; `None`: it is on the local disk.
    pub(super) fn of(
        broker: &Broker,
        rebuild_state: bool,
        guard: &Guard,
        ending: CancellationToken,
    ) -> Option<Self> {
        // NATS' client is given its servers once they are judged, and asks nobody about others.
        #[cfg(not(feature = "kafka"))]
        let _ = guard;
        let (missing, on) = match &broker.backend {
            #[cfg(feature = "jetstream")]
            Backend::JetStream(jetstream) => {
                let options = on_jetstream::options(broker, jetstream, rebuild_state, ending);
                (
                    &jetstream.missing,
                    options.map(|options| Self::JetStream(Box::new(options))),
                )
            }
            #[cfg(feature = "kafka")]
            Backend::Kafka(topics) => {
                let options = on_kafka::options(broker, topics, rebuild_state, guard, ending);
                (
                    &topics.missing,
                    options.map(|options| Self::Kafka(Box::new(options))),
                )
            }
            Backend::Unknown(why) => return Some(Self::Nowhere(why.clone())),
            // What this build has not is refused before.
            _ => return None,
        };
        let missing: Option<&MissingSecret> = missing.as_ref();
        Some(match (on, missing) {
            (Err(wrong), _) => Self::Nowhere(wrong),
            (Ok(_), Some(missing)) => Self::Nowhere(missing.to_string()),
            (Ok(on), None) => on,
        })
    }

    /// The servers that the document names, each an address or an URL, and the port of one that names none.
    pub(super) fn servers(&self) -> (Vec<String>, u16) {
        match self {
            #[cfg(feature = "jetstream")]
            Self::JetStream(options) => (options.servers.clone(), 4222),
            #[cfg(feature = "kafka")]
            Self::Kafka(options) => (options.servers.clone(), 9092),
            Self::Nowhere(_) => (Vec::new(), 0),
        }
    }

    /// Opens the channel; takes it over where one process owns it all.
    pub(super) async fn open(
        &self,
        #[cfg(feature = "jetstream")] myself: &Arc<Myself>,
    ) -> Result<Opened, String> {
        match self {
            #[cfg(feature = "jetstream")]
            Self::JetStream(options) => {
                use millrace_channel_jetstream::{Members, Streams};

                let opened = Streams::open((**options).clone()).await;
                let streams = opened.map_err(|error| error.to_string())?;
                let myself = myself.clone();
                let about = tokio::task::spawn_blocking(move || myself.about());
                let about = about.await.map_err(|error| error.to_string())?;
                let joined = Members::join(&streams, about).await;
                let members = joined.map_err(|error| error.to_string())?;
                Ok(Opened::Shared(Box::new(streams), Box::new(members)))
            }
            #[cfg(feature = "kafka")]
            Self::Kafka(options) => {
                let opened = millrace_channel_kafka::Partition::open((**options).clone()).await;
                let partition = opened.map_err(|error| error.to_string())?;
                Ok(Opened::Whole(Box::new(partition)))
            }
            Self::Nowhere(why) => Err(why.clone()),
        }
    }
}
