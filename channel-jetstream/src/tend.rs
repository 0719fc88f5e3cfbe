//! What looks after a partition that this process owns: whether it still is, what is settled and old, and a
//! state that has grown.

use std::time::Duration;

use millrace_channel::ChannelError;
use tokio_util::sync::CancellationToken;

use crate::partition::Partition;

/// How often it is looked whether the partition still is ours.
const LOOK: Duration = Duration::from_secs(2);
/// After so many looks old events are deleted, and the state is made small again.
const TIDY_AFTER: u32 = 15;
/// Removed records leave a message each. Beyond so many messages the state is written anew.
const MANY_MESSAGES: u64 = 50_000;

/// From how many percent of the stream on settled events go, however young.
const SHORT_FROM: u64 = 80;

/// Why a partition is not looked after any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The process asked for it.
    Asked,
    /// The servers have lost events that they had acknowledged, or a stream is gone: it must be opened anew.
    Lost,
    /// Another process has taken the partition over.
    TakenOver,
}

// === impl Partition ===

impl Partition {
    /// Looks after the partition until it is asked to end, or cannot go on.
    pub async fn tend(&self, until: &CancellationToken) -> Ended {
        let mut looks: u32 = 0;
        loop {
            let lost = self.inner.known.lost.notified();
            if self.inner.known.has_lost() {
                return Ended::Lost;
            }
            tokio::select! {
                biased;
                () = until.cancelled() => return Ended::Asked,
                () = lost => return Ended::Lost,
                () = tokio::time::sleep(LOOK) => {}
            }
            if self.owner().is_taken_over() {
                return Ended::TakenOver;
            }
            looks += 1;
            let is_time = looks.is_multiple_of(TIDY_AFTER) || self.is_short();
            if self.inner.known.is_away() || !is_time {
                continue;
            }
            match self.tidy().await {
                Err(ChannelError::NotOwner) => return Ended::TakenOver,
                Err(error) => {
                    tracing::warn!(%error, "what is settled cannot be tidied up; it is tried again")
                }
                Ok(()) => {}
            }
        }
    }

    /// Whether settled events have to go before a producer is refused.
    fn is_short(&self) -> bool {
        self.inner.known.bytes() / 100 >= self.inner.known.max_bytes() / 100 * SHORT_FROM / 100
    }

    async fn tidy(&self) -> Result<(), ChannelError> {
        let options = &self.inner.options;
        let age = if self.is_short() {
            Duration::ZERO
        } else {
            options.retention_age
        };
        let before = options.clock.now().before(age);
        self.owner().delete_settled(before).await?;
        let (newest, messages) = self.inner.state_length().await?;
        if messages > MANY_MESSAGES && messages / 2 > self.owner().records() as u64 {
            // All of what counts is newer than that once it has been written again.
            self.owner().write_again().await?;
            self.inner.forget_state_below(newest).await?;
        }
        Ok(())
    }
}
