//! Gives back the folders of Brokers that are in no document any more: after the grace period if they hold
//! nothing that anybody waits for, or when an operator says so.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use millrace_admin::{BrokerKeeper, NotForgotten};
use millrace_event::{Clock, ObjectName};
use millrace_trigger_dispatcher::sweep_interval;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::effect::{Changing, Effect};

/// Asks of operators that may wait; more wait for room.
const QUEUE: usize = 16;

/// What an operator asks, and where the answer goes.
#[derive(Debug)]
struct Ask {
    broker: ObjectName,
    answer: oneshot::Sender<Result<(), NotForgotten>>,
}

/// Where an operator's ask goes.
#[derive(Debug)]
struct Desk(mpsc::Sender<Ask>);

/// Looks after Brokers that are gone.
#[derive(Debug)]
pub(super) struct Keeper {
    effect: Arc<Effect>,
    grace: Duration,
    clock: Clock,
    asks: Asks,
    /// Brokers that stay although their grace period has ended; that was logged once for each.
    stay: HashSet<ObjectName>,
    /// Brokers whose folder could not be given back, and whose channel could not be opened again either.
    closed: HashSet<ObjectName>,
}

/// The asks of operators, which wait until somebody keeps the Brokers.
#[derive(Debug)]
pub(super) struct Asks(mpsc::Receiver<Ask>);

/// A way to ask for a Broker to be forgotten, and where the asks arrive.
pub(super) fn desk() -> (Arc<dyn BrokerKeeper>, Asks) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Arc::new(Desk(sender)), Asks(receiver))
}

#[async_trait::async_trait]
impl BrokerKeeper for Desk {
    async fn forget(&self, broker: &ObjectName) -> Result<(), NotForgotten> {
        let (answer, answered) = oneshot::channel();
        let broker = broker.clone();
        let asked = self.0.send(Ask { broker, answer }).await;
        asked.map_err(|_| NotForgotten::NotReady)?;
        answered.await.unwrap_or(Err(NotForgotten::NotReady))
    }
}

fn span_of(broker: &ObjectName) -> Span {
    tracing::error_span!(parent: None, "broker", %broker)
}

// === impl Keeper ===

impl Keeper {
    pub(super) fn new(effect: Arc<Effect>, grace: Duration, asks: Asks) -> Self {
        Self {
            effect,
            grace,
            clock: Clock::System,
            asks,
            stay: HashSet::new(),
            closed: HashSet::new(),
        }
    }

    /// Works until `shutdown`. A Broker that is being given back then is finished.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let mut sweep = tokio::time::interval(sweep_interval(self.grace));
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = sweep.tick() => self.sweep(&shutdown).await,
                Some(Ask { broker, answer }) = self.asks.0.recv() => {
                    // Whoever asked may be gone; what was asked is done all the same.
                    let forgotten = self.forget(&broker).instrument(span_of(&broker)).await;
                    let _ = answer.send(forgotten);
                }
            }
        }
    }

    async fn sweep(&mut self, shutdown: &CancellationToken) {
        let mut gone = self.effect.gone();
        gone.extend(self.closed.iter().cloned());
        self.stay.retain(|broker| gone.contains(broker));
        for broker in gone {
            if shutdown.is_cancelled() {
                return;
            }
            self.look_at(&broker).instrument(span_of(&broker)).await;
        }
    }

    /// Gives the Broker back if its grace period has ended and it holds nothing. Its Triggers are forgotten
    /// by the dispatcher before.
    async fn look_at(&mut self, broker: &ObjectName) {
        let effect = self.effect.clone();
        let change = effect.change().await;
        self.open_again(&change, broker).await;
        let Some(channel) = change.gone(broker) else {
            return;
        };
        let usage = channel.usage();
        let now = self.clock.steady();
        if usage.orphaned.is_none_or(|since| now.since(since) < self.grace) {
            return;
        }
        if usage.parked > 0 {
            if self.stay.insert(broker.clone()) {
                tracing::warn!(
                    parked = usage.parked,
                    "the broker stayed away longer than the grace period; it stays for its parked events, until they are dropped or `millrace brokers forget`"
                );
            }
            return;
        }
        // One whose state cannot be read is looked at again.
        if !channel.lanes().await.is_ok_and(|lanes| lanes.is_empty()) {
            return;
        }
        match change.give_back(broker, channel).await {
            Ok(end) => {
                tracing::info!(
                    end,
                    "the broker stayed away longer than the grace period; its folder is given back"
                );
            }
            Err(error) => {
                self.note_if_closed(broker);
                tracing::error!(error = %crate::reasons::reasons(&error), "the folder of a broker that is gone cannot be given back; it is tried again");
            }
        }
    }

    /// Gives a Broker back that is gone, whatever it holds.
    async fn forget(&mut self, broker: &ObjectName) -> Result<(), NotForgotten> {
        let effect = self.effect.clone();
        let change = effect.change().await;
        if change.is_wanted(broker) {
            return Err(NotForgotten::InUse);
        }
        self.open_again(&change, broker).await;
        let channel = change.gone(broker).ok_or(NotForgotten::Unknown)?;
        let parked = channel.usage().parked;
        match change.give_back(broker, channel).await {
            Ok(end) => {
                tracing::warn!(
                    parked,
                    end,
                    "the broker that is gone was forgotten; its folder is given back"
                );
                Ok(())
            }
            Err(error) => {
                self.note_if_closed(broker);
                Err(NotForgotten::Failed(crate::reasons::reasons(&error)))
            }
        }
    }

    /// Opens the channel of a Broker that an earlier try has left closed.
    async fn open_again(&mut self, change: &Changing<'_>, broker: &ObjectName) {
        if self.closed.remove(broker) && !change.is_wanted(broker) {
            self.effect.take_back(broker).await;
            self.note_if_closed(broker);
        }
    }

    fn note_if_closed(&mut self, broker: &ObjectName) {
        if !self.effect.is_open(broker) {
            self.closed.insert(broker.clone());
        }
    }
}
