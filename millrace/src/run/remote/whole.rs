//! Serving a Broker of which this process owns everything, as on Kafka: there its one partition is taken over
//! when it is opened.

use std::sync::Arc;
use std::time::Duration;

use millrace_channel::Channel;
use millrace_channel_kafka::{Ended, Partition};
use tracing::Instrument as _;

use super::Looking;

/// How often it is looked whether the lanes are there.
const LANES: Duration = Duration::from_millis(50);

/// Serves the partition for as long as it is ours; whether it is to be opened again.
pub(super) async fn serve(looking: &Looking, partition: Partition) -> bool {
    let (log, channel) = (partition.log(), partition.channel());
    tracing::info!(
        durability = partition.durability().as_str(),
        "the broker's channel on the servers is open"
    );
    let name = &looking.name;
    looking.owned.gain([(name.clone(), channel.clone())]);
    let until = looking.stop.clone();
    let mut tended = tokio::spawn(async move { partition.tend(&until).await }.in_current_span());
    let early = tokio::select! {
        ended = &mut tended => Some(ended),
        () = lanes_of(looking, &channel) => None,
    };
    let ended = match early {
        Some(ended) => ended,
        None => {
            looking.logs.insert(name.clone(), log);
            looking.tried.send_replace(true);
            tended.await
        }
    };
    // What panicked has told so, and is opened anew.
    let goes_on = match ended.unwrap_or(Ended::Lost) {
        Ended::Asked => {
            looking.logs.remove(name);
            if let Err(error) = channel.close().await {
                tracing::warn!(%error, "the broker's channel was not closed cleanly");
            }
            false
        }
        Ended::Lost => {
            looking.put_off("the servers have lost events; the channel is opened anew");
            true
        }
        Ended::TakenOver => {
            let reason =
                "another process has taken the broker over; this one serves it again after a restart";
            tracing::error!("{reason}");
            looking.put_off(reason);
            looking.owned.lose(name, channel.partition());
            looking.stop.cancelled().await;
            return false;
        }
    };
    looking.owned.lose(name, channel.partition());
    goes_on
}

/// Waits until each Trigger that is to be served has a lane: an event that is let in finds all of them.
async fn lanes_of(looking: &Looking, channel: &Arc<dyn Channel>) {
    while !looking.has_lanes(channel).await {
        tokio::time::sleep(LANES).await;
    }
}
