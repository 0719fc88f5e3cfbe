//! Lanes whose trigger stayed away: after the grace period their debts are dropped, counted and logged.

use std::sync::Arc;

use millrace_channel::{ChannelError, LaneState};

use crate::serving::Serving;

/// Sets lanes aside whose trigger disappeared while nobody looked, and drops those that stayed away too long.
pub(crate) async fn sweep(serving: &Arc<Serving>) -> Result<(), ChannelError> {
    // Steady time: a wall clock that jumps to another year must not end a grace period.
    let now = serving.steady();
    for stored in serving.channel.lanes().await? {
        match stored.state {
            LaneState::Orphaned(since) if now.since(since) >= serving.common.options.orphan_grace => {
                forget(serving, &stored).await?;
            }
            LaneState::Active | LaneState::Paused if !is_known(serving, &stored) => {
                serving
                    .channel
                    .set_lane_state(stored.id, LaneState::Orphaned(now))
                    .await?;
                tracing::info!(broker = %serving.broker, trigger = %stored.trigger, "the trigger is gone; its debts are kept for the grace period");
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_known(serving: &Serving, stored: &millrace_channel::Lane) -> bool {
    let routes = serving.routes.lock();
    let key = routes.by_name.get(&stored.trigger);
    key.and_then(|key| routes.lanes.get(key))
        .is_some_and(|lane| lane.id == stored.id)
}

async fn forget(serving: &Arc<Serving>, stored: &millrace_channel::Lane) -> Result<(), ChannelError> {
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
    let cursor = stored.cursor.map_or(0, |cursor| {
        serving.channel.head().offset.saturating_sub(cursor.offset)
    });
    let debts = rows + stored.unsettled.len() as u64;
    serving.metrics.dropped.inc_by(debts);
    tracing::warn!(broker = %serving.broker, trigger = %stored.trigger, debts, unread = cursor, "the trigger stayed away longer than the grace period; its debts are dropped");
    Ok(())
}
