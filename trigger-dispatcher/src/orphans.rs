//! Lanes whose trigger is gone: shown while they are kept, and removed when they are forgotten. They are
//! forgotten here after the grace period or with their Broker, and in the channel by hand or when room is
//! short. Dropped debts are counted and logged.

use std::collections::HashSet;
use std::sync::Arc;

use millrace_channel::{ChannelError, LaneId, LaneState};

use crate::lane::{Halt, Lane};
use crate::serving::{Gate, Serving};
use crate::status;

/// Sets lanes aside whose trigger disappeared unnoticed, and drops those that stayed away too long.
pub(crate) async fn sweep(serving: &Arc<Serving>) -> Result<(), ChannelError> {
    // Steady time: a wall clock that jumps to another year must not end a grace period.
    let now = serving.steady();
    let lanes = serving.channel.lanes().await?;
    note(serving, &lanes);
    for stored in lanes {
        match stored.state {
            LaneState::Orphaned(since) if now.since(since) >= serving.common.options.orphan_grace => {
                let debts = forget(serving, &stored).await?;
                let unread = unread(serving, &stored);
                serving.trigger_span(&stored.trigger).in_scope(|| {
                    tracing::warn!(
                        debts,
                        unread,
                        "the trigger stayed away longer than the grace period; its debts are dropped"
                    );
                });
            }
            LaneState::Active | LaneState::Paused if !is_known(serving, &stored) => {
                serving
                    .channel
                    .set_lane_state(stored.id, LaneState::Orphaned(now))
                    .await?;
                serving.trigger_span(&stored.trigger).in_scope(|| {
                    tracing::info!("the trigger is gone; its debts are kept for the grace period")
                });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Applies what was forgotten in the stored state: a lane that no longer exists there is removed here too.
pub(crate) fn take_over(serving: &Arc<Serving>, gate: &mut Gate, stored: &[millrace_channel::Lane]) {
    let there: HashSet<LaneId> = stored.iter().map(|lane| lane.id).collect();
    let gone: Vec<Arc<Lane>> = {
        let mut routes = serving.routes.lock();
        let is_gone = |lane: &Lane| {
            !there.contains(&lane.id) && matches!(lane.inner.lock().halt, Some(Halt::Orphaned(_)))
        };
        let gone: Vec<_> = routes
            .lanes
            .values()
            .filter(|lane| is_gone(lane))
            .cloned()
            .collect();
        for lane in &gone {
            routes.lanes.remove(&lane.key);
            gate.remove(lane.key);
            if routes.by_name.get(&lane.name) == Some(&lane.key) {
                routes.by_name.remove(&lane.name);
            }
        }
        gone
    };
    for lane in gone {
        let mut inner = lane.inner.lock();
        let debts = inner.deferred.get() + inner.window.unsettled().len() as u64;
        inner.give_up(&serving.common.budget, serving.steady());
        serving.metrics.dropped.inc_by(debts);
        serving.trigger_span(&lane.name).in_scope(|| {
            tracing::info!(
                debts,
                "the trigger that is gone was forgotten; its debts are dropped"
            )
        });
    }
    note(serving, stored);
}

/// Notes the lanes that have been orphaned since an earlier run, so that they are shown.
fn note(serving: &Serving, stored: &[millrace_channel::Lane]) {
    let head = serving.channel.head().offset;
    let gone = stored
        .iter()
        .filter(|lane| matches!(lane.state, LaneState::Orphaned(_)) && !is_known(serving, lane));
    let gone = gone.map(|lane| (lane.trigger.clone(), status::of_orphan(lane, head)));
    *serving.gone.lock() = gone.collect();
}

fn is_known(serving: &Serving, stored: &millrace_channel::Lane) -> bool {
    let routes = serving.routes.lock();
    let key = routes.by_name.get(&stored.trigger);
    key.and_then(|key| routes.lanes.get(key))
        .is_some_and(|lane| lane.id == stored.id)
}

/// Forgets every lane of a Broker that is gone itself. What cannot be removed from the stored state goes with
/// it.
pub(crate) async fn forget_all(serving: &Arc<Serving>) {
    let lanes = match serving.channel.lanes().await {
        Ok(lanes) => lanes,
        Err(error) => {
            serving.span.in_scope(|| tracing::warn!(%error, "what was owed to the triggers of a forgotten broker cannot be counted"));
            return;
        }
    };
    for stored in lanes {
        let forgotten = forget(serving, &stored).await;
        serving.trigger_span(&stored.trigger).in_scope(|| match forgotten {
            Ok(debts) => {
                let unread = unread(serving, &stored);
                tracing::info!(
                    debts,
                    unread,
                    "the trigger was forgotten with its broker; its debts are dropped"
                );
            }
            Err(error) => {
                tracing::warn!(%error, "what was owed to a trigger of a forgotten broker cannot be counted");
            }
        });
    }
}

/// How many positions a lane has not read.
fn unread(serving: &Serving, stored: &millrace_channel::Lane) -> u64 {
    let head = serving.channel.head().offset;
    // What was queued is read again.
    let reads_on = stored.queued.or(stored.cursor);
    reads_on.map_or(0, |at| head.saturating_sub(at.offset))
}

/// Forgets a lane; says how many debts are dropped with it, which are counted.
async fn forget(serving: &Arc<Serving>, stored: &millrace_channel::Lane) -> Result<u64, ChannelError> {
    {
        let mut routes = serving.routes.lock();
        let key = routes.by_name.get(&stored.trigger).copied();
        if let Some(key) = key.filter(|key| routes.lanes.get(key).is_some_and(|lane| lane.id == stored.id)) {
            routes.by_name.remove(&stored.trigger);
            if let Some(lane) = routes.lanes.remove(&key) {
                lane.inner
                    .lock()
                    .give_up(&serving.common.budget, serving.steady());
            }
        }
    }
    let rows = serving.channel.drop_lane(stored.id).await?;
    let debts = rows + stored.unsettled.len() as u64;
    serving.metrics.dropped.inc_by(debts);
    Ok(debts)
}
