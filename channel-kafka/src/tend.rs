//! What looks after an open partition: whether its servers answer, and what is settled and old.

use std::time::Duration;

use millrace_channel::ChannelError;
use tokio_util::sync::CancellationToken;

use crate::partition::Partition;

/// How often the topic of the events is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// After so many looks old events are deleted.
const TIDY_AFTER: u32 = 15;

/// Why a partition is not looked after any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The process asked for it.
    Asked,
    /// The servers have lost events that they had acknowledged, or a topic is gone: it must be opened anew.
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
            let looked = self.inner.look().await;
            self.inner.known.answers(looked.is_ok());
            looks += 1;
            if looked.is_err() || !looks.is_multiple_of(TIDY_AFTER) {
                continue;
            }
            let before = self.inner.options.clock.now();
            let before = before.before(self.inner.options.retention_age);
            match self.owner().delete_settled(before).await {
                Err(ChannelError::NotOwner) => return Ended::TakenOver,
                Err(error) => {
                    tracing::warn!(%error, "what is settled cannot be deleted; it is tried again")
                }
                Ok(()) => {}
            }
        }
    }
}
