//! The reader behind the head: feeds lanes that left the router, those near each other together, and hands them back.

use std::sync::Arc;
use std::time::Duration;

use millrace_channel::{Batch, ChannelError, Reader};
use millrace_filter::{Allowance, Decision, Subject};

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
        if !feed(&serving, &lanes, &mut readers).await {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        for lane in &lanes {
            let mut inner = lane.inner.lock();
            inner.asked = false;
            serving.stir(lane, &mut inner);
        }
    }
}

/// Gives each lane what it owes from before, then reads one stretch of the log for each group of lanes near each other,
/// so that none waits for another that is further behind. `false`: something could not be read.
async fn feed(serving: &Arc<Serving>, lanes: &[Arc<Lane>], readers: &mut Vec<Box<dyn Reader>>) -> bool {
    let mut good = true;
    let mut behind = Vec::new();
    for lane in lanes {
        if let Err(error) = feed_owed(serving, lane).await {
            tracing::error!(broker = %serving.broker, trigger = %lane.name, %error, "an owed event cannot be read; trying again in a second");
            good = false;
            continue;
        }
        let inner = lane.inner.lock();
        if let (Place::Behind { cursor }, false) = (inner.place, inner.window.owes_from_before()) {
            behind.push((cursor, lane));
        }
    }
    behind.sort_by_key(|(cursor, _)| *cursor);
    let mut rest = &behind[..];
    while !rest.is_empty() {
        match feed_group(serving, rest, readers).await {
            Ok(fed) => rest = &rest[fed..],
            Err(error) => {
                tracing::error!(broker = %serving.broker, %error, "the log cannot be read; trying again in a second");
                return false;
            }
        }
    }
    good
}

/// Reads one stretch for the first of these lanes and those whose place it reaches; says how many those are.
async fn feed_group(
    serving: &Arc<Serving>,
    lanes: &[(u64, &Arc<Lane>)],
    readers: &mut Vec<Box<dyn Reader>>,
) -> Result<usize, ChannelError> {
    let first = lanes[0].0;
    let mut reader = match readers.iter().position(|reader| reader.position() == at(first)) {
        Some(index) => readers.swap_remove(index),
        None => serving.channel.reader(at(first)),
    };
    let batch = reader.try_next(BATCH_EVENTS, BATCH_BYTES).await?;
    readers.truncate(KEPT_READERS - 1);
    readers.insert(0, reader);
    let _gate = serving.gate.lock().await;
    let reached = lanes
        .partition_point(|(cursor, _)| *cursor <= batch.next.offset)
        .max(1);
    // The lanes share them, so that data is parsed once for all of them.
    let subjects: Vec<Subject> = batch
        .records
        .iter()
        .map(|record| Subject::new(&record.event))
        .collect();
    for (_, lane) in &lanes[..reached] {
        feed_batch(serving, lane, &batch, &subjects);
    }
    Ok(reached)
}

/// Reads again, one by one, the positions that a lane owed when it was restored or its queue was dropped. Each stays
/// owed until it is queued: a commit may come while it is read.
async fn feed_owed(serving: &Arc<Serving>, lane: &Arc<Lane>) -> Result<(), ChannelError> {
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

fn feed_batch(serving: &Arc<Serving>, lane: &Arc<Lane>, batch: &Batch, subjects: &[Subject]) {
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
    for (record, subject) in batch.records.iter().zip(subjects) {
        let offset = record.position.offset;
        if offset < cursor {
            continue;
        }
        let wanted = compiled.decide(subject, &Allowance::unlimited()) == Decision::Match;
        if wanted && !inner.offer(offset, &record.event.compact(), &serving.common.budget) {
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
