//! The state of a broker and its lanes, computed when somebody asks.

use std::sync::atomic::Ordering;

use millrace_event::ObjectName;
use millrace_model::status::{BrokerStatus, Statuses, TriggerStatus, UnderWay};
use millrace_model::{BrokerState, TriggerState};

use crate::lane::{Halt, Inner, Place};
use crate::serving::Serving;

/// Why a lane is orphaned, and what can be done.
const ORPHANED: &str = "its trigger is gone; its debts are kept for the grace period while there is room, or until \
                        `millrace triggers forget`";

impl Statuses for Serving {
    fn broker(&self) -> BrokerStatus {
        let usage = self.channel.usage();
        let orphaned = self.orphaned.load(Ordering::Relaxed);
        let (state, reason) = match self.channel.log().fault() {
            Some(fault) => (BrokerState::NotReady, Some(fault)),
            None if orphaned => (BrokerState::Orphaned, Some(why_kept(usage.parked))),
            None => (BrokerState::Ready, self.panics.lock().in_words()),
        };
        BrokerStatus {
            state,
            reason,
            head: usage.head.offset,
            oldest: usage.oldest.offset,
            log_bytes: usage.log_bytes,
            refusing: usage.refusing,
            dropped: usage.dropped,
            forgotten: usage.forgotten,
            parked: usage.parked,
        }
    }

    fn triggers(&self, wanted: &dyn Fn(&ObjectName) -> bool) -> Vec<(ObjectName, TriggerStatus)> {
        let head = self.channel.head().offset;
        let (position, lanes) = {
            let routes = self.routes.lock();
            (
                routes.position,
                routes
                    .lanes
                    .values()
                    .filter(|lane| wanted(&lane.name))
                    .cloned()
                    .collect::<Vec<_>>(),
            )
        };
        // If a trigger of the same name is back, that one counts.
        let mut all: Vec<_> = self
            .gone
            .lock()
            .iter()
            .filter(|(name, _)| wanted(name))
            .cloned()
            .collect();
        all.extend(
            lanes
                .iter()
                .map(|lane| (lane.name.clone(), of_lane(&lane.inner.lock(), position, head))),
        );
        all
    }

    fn under_way(&self, position: u64) -> Vec<(ObjectName, UnderWay)> {
        let lanes: Vec<_> = self.routes.lock().lanes.values().cloned().collect();
        lanes
            .iter()
            .filter_map(|lane| Some((lane.name.clone(), lane.inner.lock().under_way(position)?)))
            .collect()
    }
}

/// Why a Broker that is gone is still here, and what can be done.
fn why_kept(parked: u64) -> String {
    const GONE: &str = "it is in no document any more";
    match parked {
        0 => format!(
            "{GONE}; it is kept for the grace period with what its triggers are owed, or until \
             `millrace brokers forget`"
        ),
        parked => {
            let events = if parked == 1 { "event keeps" } else { "events keep" };
            format!(
                "{GONE}; {parked} parked {events} it, until they are dropped, or until `millrace brokers forget`"
            )
        }
    }
}

/// The status of a trigger that is gone, from the stored state.
pub(crate) fn of_orphan(lane: &millrace_channel::Lane, head: u64) -> TriggerStatus {
    let reads_at = lane.queued.or(lane.cursor).map_or(head, |at| at.offset);
    TriggerStatus {
        state: TriggerState::Orphaned,
        reason: Some(ORPHANED.to_owned()),
        cursor: lane.unsettled.first().map_or(reads_at, |first| first.offset),
        reads_at,
        backlog: head.saturating_sub(reads_at),
        deferred: lane.deferred,
        parked: lane.parked,
        ..TriggerStatus::default()
    }
}

fn of_lane(inner: &Inner, router: u64, head: u64) -> TriggerStatus {
    let reads_at = match inner.place {
        Place::Live { from } => from.max(router),
        Place::Behind { cursor } => cursor,
    };
    let (state, reason) = state(inner);
    TriggerStatus {
        state,
        reason,
        shortage: inner.shortage(),
        cursor: inner.window.first_unsettled().unwrap_or(reads_at),
        reads_at,
        backlog: head.saturating_sub(reads_at),
        queued: (inner.window.queued() + inner.window.in_hand.new_ones()) as u64,
        deferred: inner.deferred.get(),
        parked: inner.parked.get(),
        delivered: inner.tally.delivered,
        failed_attempts: inner.tally.failed_attempts,
        dead_lettered: inner.tally.dead_lettered,
        last_failure: inner.tally.last_failure.clone(),
        too_much_work: inner.tally.too_much_work,
    }
}

fn state(inner: &Inner) -> (TriggerState, Option<String>) {
    let bounds = inner.settings.bounds;
    match (inner.halt, &inner.settings.subscriber) {
        (Some(Halt::Paused), _) => (TriggerState::Paused, None),
        (Some(Halt::Orphaned(_)), _) => (TriggerState::Orphaned, Some(ORPHANED.to_owned())),
        (None, Err(why)) => (TriggerState::NotReady, Some(why.to_string())),
        (None, Ok(_)) if inner.parked.get() >= u64::from(bounds.parked) => (
            TriggerState::Blocked,
            Some(match inner.parked.get() {
                1 => "1 event is parked, as many as allowed".to_owned(),
                parked => format!("{parked} events are parked, as many as allowed"),
            }),
        ),
        (None, Ok(_)) if inner.deferred.get() >= u64::from(bounds.deferred) => (
            TriggerState::Blocked,
            Some(match inner.deferred.get() {
                1 => "1 event waits for another attempt, as many as allowed".to_owned(),
                deferred => format!("{deferred} events wait for another attempt, as many as allowed"),
            }),
        ),
        (None, Ok(_)) => {
            let waits = inner.shortage().map(|shortage| shortage.to_string());
            match inner.place {
                Place::Live { .. } => (TriggerState::Live, waits),
                Place::Behind { .. } => (TriggerState::Behind, waits),
            }
        }
    }
}
