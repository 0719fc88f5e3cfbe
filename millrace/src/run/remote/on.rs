//! On which servers a Broker's channel is, and what it is once it is open there: the same for all.

#[cfg(feature = "kafka")]
use std::pin::Pin;
use std::sync::Arc;

#[cfg(feature = "kafka")]
use millrace_channel::{Channel, Log};
use millrace_delivery::guard::Guard;
use millrace_model::{Backend, Broker, MissingSecret};
use tokio_util::sync::CancellationToken;
#[cfg(feature = "kafka")]
use tracing::Instrument as _;

#[cfg(feature = "jetstream")]
use super::member::Myself;
#[cfg(feature = "kafka")]
use super::on_kafka;
#[cfg(feature = "jetstream")]
use super::settings;

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
        millrace_channel_jetstream::Members,
    ),
    /// Of which this process owns all.
    #[cfg(feature = "kafka")]
    Whole(Whole),
}

/// A channel of which this process owns all partitions.
#[cfg(feature = "kafka")]
pub(super) struct Whole {
    /// What anybody appends to and reads.
    pub(super) log: Arc<dyn Log>,
    /// What the dispatcher serves, by partition.
    pub(super) channels: Vec<Arc<dyn Channel>>,
    /// What a 202 rests on.
    pub(super) durability: &'static str,
    /// Each looks after a part of it.
    pub(super) tended: Vec<Tended>,
}

/// Looks after something until it is asked to end, or cannot go on.
#[cfg(feature = "kafka")]
pub(super) type Tended = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// Why a channel is not looked after any more.
#[cfg(feature = "kafka")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The process asked for it.
    Asked,
    /// The servers have lost events that they had acknowledged: it must be opened anew.
    Lost,
    /// Another process has taken it over.
    TakenOver,
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
                let options = settings::options(broker, jetstream, rebuild_state, ending);
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

    /// Opens the channel; takes it over where one process owns it all. What looks after it ends with `until`.
    pub(super) async fn open(
        &self,
        until: &CancellationToken,
        #[cfg(feature = "jetstream")] myself: &Arc<Myself>,
    ) -> Result<Opened, String> {
        #[cfg(not(feature = "kafka"))]
        let _ = until;
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
                Ok(Opened::Shared(Box::new(streams), members))
            }
            #[cfg(feature = "kafka")]
            Self::Kafka(options) => {
                let opened = millrace_channel_kafka::Partition::open((**options).clone()).await;
                let partition = opened.map_err(|error| error.to_string())?;
                let until = until.clone();
                Ok(Opened::Whole(Whole {
                    log: partition.log(),
                    channels: vec![partition.channel()],
                    durability: partition.durability().as_str(),
                    tended: vec![Box::pin(
                        async move { partition.tend(&until).await.into() }.in_current_span(),
                    )],
                }))
            }
            Self::Nowhere(why) => Err(why.clone()),
        }
    }
}

// === impl Ended ===

#[cfg(feature = "kafka")]
impl From<millrace_channel_kafka::Ended> for Ended {
    fn from(ended: millrace_channel_kafka::Ended) -> Self {
        use millrace_channel_kafka::Ended as Of;
        match ended {
            Of::Asked => Self::Asked,
            Of::Lost => Self::Lost,
            Of::TakenOver => Self::TakenOver,
        }
    }
}
