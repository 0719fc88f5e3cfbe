//! The reader behind the head: feeds lanes that left the router, those near each other together, and hands them back.

use std::sync::Arc;

use millrace_channel::{Batch, Reader};

use crate::lane::{Lane, Place, at};
use crate::serving::Serving;

const BATCH_EVENTS: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
/// Readers kept where they stopped, so that a lane that comes back finds its place without a new look-up.
const KEPT_READERS: usize = 4;

/// Feeds hungry lanes until the broker is no longer served.
pub(crate) async fn run(serving: Arc<Serving>) {
    let mut readers: Vec<Box<dyn Reader>> = Vec::new();
    loop {
        let hungry = std::mem::take(&mut *serving.hungry.lock());
        if hungry.is_empty() {
            readers.clear();
            tokio::select! {
                () = serving.stop.cancelled() => return,
                () = serving.hungry_waker.notified() => continue,
            }
        }
        if serving.stop.is_cancelled() {
            return;
        }
        let lanes: Vec<_> = hungry.into_iter().filter_map(|key| serving.lane(key)).collect();
        if let Err(error) = feed(&serving, &lanes, &mut readers).await {
            tracing::error!(broker = %serving.broker, %error, "the log cannot be read; trying again in a second");
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        for lane in &lanes {
            let mut inner = lane.inner.lock();
            inner.asked = false;
            serving.stir(lane, &mut inner);
        }
    }
}

/// Gives each lane what it owes from before, then reads one stretch of the log for the hindmost and those near it.
async fn feed(
    serving: &Arc<Serving>,
    lanes: &[Arc<Lane>],
    readers: &mut Vec<Box<dyn Reader>>,
) -> Result<(), millrace_channel::ChannelError> {
    let mut behind = Vec::new();
    for lane in lanes {
        feed_owed(serving, lane).await?;
        let inner = lane.inner.lock();
        if let (Place::Behind { cursor }, false) = (inner.place, inner.window.owes_from_before()) {
            behind.push((cursor, lane));
        }
    }
    behind.sort_by_key(|(cursor, _)| *cursor);
    let Some(&(first, _)) = behind.first() else {
        return Ok(());
    };
    let mut reader = match readers.iter().position(|reader| reader.position() == at(first)) {
        Some(index) => readers.swap_remove(index),
        None => serving.channel.reader(at(first)),
    };
    let batch = reader.try_next(BATCH_EVENTS, BATCH_BYTES).await?;
    readers.truncate(KEPT_READERS - 1);
    readers.insert(0, reader);
    let _gate = serving.gate.lock().await;
    for (_, lane) in behind
        .into_iter()
        .take_while(|(cursor, _)| *cursor <= batch.next.offset)
    {
        feed_batch(serving, lane, &batch);
    }
    Ok(())
}

/// Reads again, one by one, the positions that a lane owed when it was restored or its queue was dropped. Each stays
/// owed until it is queued: a commit may come while it is read.
async fn feed_owed(serving: &Arc<Serving>, lane: &Arc<Lane>) -> Result<(), millrace_channel::ChannelError> {
    loop {
        let offset = {
            let inner = lane.inner.lock();
            match inner.window.next_owed() {
                Some(offset) if inner.is_hungry() => offset,
                _ => return Ok(()),
            }
        };
        let record = serving.channel.get(at(offset)).await?;
        let mut inner = lane.inner.lock();
        if inner.window.next_owed() != Some(offset) {
            // The queue was dropped meanwhile: what it held comes first.
            continue;
        }
        match record {
            Some(record) => {
                if !inner.offer(offset, &record.event, &serving.common.budget) {
                    return Ok(());
                }
            }
            None => {
                serving.metrics.lost.inc();
                inner.dirty = true;
                tracing::error!(broker = %serving.broker, trigger = %lane.name, position = offset, "an owed event is gone from the log");
            }
        }
        inner.window.was_read();
        serving.stir(lane, &mut inner);
    }
}

fn feed_batch(serving: &Arc<Serving>, lane: &Arc<Lane>, batch: &Batch) {
    let router = serving.routes.lock();
    let mut inner = lane.inner.lock();
    let Place::Behind { mut cursor } = inner.place else {
        return;
    };
    if !inner.is_hungry() || inner.window.owes_from_before() {
        return;
    }
    let compiled = inner.settings.trigger.compiled.clone();
    let mut full = false;
    for record in &batch.records {
        let offset = record.position.offset;
        if offset < cursor {
            continue;
        }
        if compiled.matches(&record.event) && !inner.offer(offset, &record.event, &serving.common.budget) {
            cursor = offset;
            full = true;
            break;
        }
        cursor = offset + 1;
    }
    if !full {
        cursor = cursor.max(batch.next.offset);
    }
    let moved = inner.place != Place::Behind { cursor };
    inner.place = if !full && cursor >= router.position {
        Place::Live { from: cursor }
    } else {
        Place::Behind { cursor }
    };
    inner.dirty |= moved || matches!(inner.place, Place::Live { .. });
    serving.stir(lane, &mut inner);
}
