//! Brings rows of work back when they are due: a timer for all lanes of a broker, and the fetch for one.

use std::sync::Arc;

use millrace_channel::{ChannelError, Work};
use millrace_event::Event;

use crate::lane::{Lane, MAX_DUE};
use crate::serving::Serving;

/// Fetches due rows until the broker is no longer served.
pub(crate) async fn run(serving: Arc<Serving>) {
    loop {
        let next = serving.due.lock().first().copied();
        let now = serving.now();
        match next {
            Some((due, key)) if due <= now => {
                serving.due.lock().remove(&(due, key));
                if let Some(lane) = serving.lane(key)
                    && let Err(error) = fetch(&serving, &lane).await
                {
                    tracing::error!(broker = %serving.broker, %error, "due work cannot be read; trying again in a second");
                    serving.schedule(key, now.after(std::time::Duration::from_secs(1)));
                }
            }
            next => {
                let timer = async {
                    match next {
                        Some((due, _)) => serving.common.clock.sleep_until(due).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = serving.stop.cancelled() => return,
                    () = serving.due_waker.notified() => {}
                    () = timer => {}
                }
            }
        }
        if serving.stop.is_cancelled() {
            return;
        }
    }
}

/// Gives a lane its due rows, as many as it has room for, and sets the timer for what is left.
async fn fetch(serving: &Arc<Serving>, lane: &Arc<Lane>) -> Result<(), ChannelError> {
    let now = serving.now();
    let limit = MAX_DUE + lane.inner.lock().taken();
    let rows = serving.channel.due(lane.id, now, limit).await?;
    let all = rows.len() < limit;
    for work in rows {
        if !lane.inner.lock().has_room_for_due() {
            lane.inner.lock().due_waiting = true;
            return Ok(());
        }
        if !lane.inner.lock().is_taken(&work.key) {
            hold(serving, lane, work).await?;
        }
    }
    if !all {
        lane.inner.lock().due_waiting = true;
    } else if let Some(next) = serving.channel.next_due(lane.id, now).await? {
        serving.schedule(lane.key, next);
    }
    Ok(())
}

async fn hold(serving: &Arc<Serving>, lane: &Arc<Lane>, mut work: Work) -> Result<(), ChannelError> {
    if work.open {
        // An attempt of a process that is gone: rows that this process opened are taken.
        work.open = false;
        work.suspect = serving.suspects_below > 0;
        work.crashes += u32::from(work.suspect);
    }
    let event: Option<Event> = match &work.body {
        Some(body) => Some(body.clone()),
        None => serving
            .channel
            .get(work.key.position)
            .await?
            .map(|record| record.event),
    };
    let mut inner = lane.inner.lock();
    // A worker may have settled it, or a command changed it, while the event was read.
    if inner.is_taken(&work.key) {
        return Ok(());
    }
    match event {
        Some(event) => inner.offer_due(work, event, &serving.common.budget),
        None => {
            serving.metrics.lost.inc();
            tracing::error!(broker = %serving.broker, trigger = %lane.name, position = %work.key.position, "a deferred event is gone from the log");
            inner.lose_due(work.key);
        }
    }
    serving.stir(lane, &mut inner);
    Ok(())
}
