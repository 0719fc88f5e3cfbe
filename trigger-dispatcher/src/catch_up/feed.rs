//! Gives lanes the events that they have not read yet.

use std::collections::HashSet;
use std::sync::Arc;

use millrace_channel::{Batch, ChannelError, Reader};
use millrace_filter::Subject;

use super::asking::{Asking, offer};
use super::costly::Costly;
use super::{BATCH_BYTES, KEPT_BYTES, KEPT_READERS};
use crate::lane::{Lane, Place};
use crate::serving::Serving;

const BATCH_EVENTS: usize = 256;

/// What could not be read.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// The lanes that stand there.
    pub(super) lanes: HashSet<u32>,
    /// Why, for the first of them.
    pub(super) why: Option<ChannelError>,
}

/// Gives each lane what it owes from before, then reads one stretch of the log for each group of lanes near
/// each other, so that none waits for another that is further behind. Gives those for which something could
/// not be read.
pub(super) async fn feed(
    serving: &Arc<Serving>,
    lanes: &[Arc<Lane>],
    readers: &mut Vec<Box<dyn Reader>>,
    costly: &mut Costly,
) -> Unread {
    let mut unread = Unread::default();
    let mut behind = Vec::new();
    for lane in lanes {
        if let Err(error) = feed_owed(serving, lane).await {
            unread.lanes.insert(lane.key);
            unread.why.get_or_insert(error);
            continue;
        }
        let inner = lane.inner.lock();
        if let (Place::Behind { cursor }, false) = (inner.place, inner.window.owes_from_before()) {
            behind.push((cursor, lane));
        }
    }
    behind.sort_by_key(|(cursor, _)| *cursor);
    let mut rest = &behind[..];
    while let Some((first, _)) = rest.first() {
        let fed = match feed_group(serving, rest, readers, costly).await {
            Ok(fed) => fed,
            // Those that are further on may be in a part that can be read.
            Err(error) => {
                let stuck = rest.partition_point(|(cursor, _)| cursor <= first);
                unread
                    .lanes
                    .extend(rest[..stuck].iter().map(|(_, lane)| lane.key));
                unread.why.get_or_insert(error);
                stuck
            }
        };
        rest = &rest[fed..];
    }
    unread
}

/// Reads one stretch for the first of these lanes and those whose place it reaches; says how many those are.
async fn feed_group(
    serving: &Arc<Serving>,
    lanes: &[(u64, &Arc<Lane>)],
    readers: &mut Vec<Box<dyn Reader>>,
    costly: &mut Costly,
) -> Result<usize, ChannelError> {
    let first = lanes[0].0;
    let (at, router) = (serving.at(first), serving.routes.lock().position);
    let mut reader = match readers.iter().position(|reader| reader.position() == at) {
        Some(index) => readers.swap_remove(index),
        None => serving.channel.log().reader(at),
    };
    let batch = reader.try_next(BATCH_EVENTS, BATCH_BYTES).await?;
    if first < router && batch.next <= at {
        // A remote log may have lost its end. Asking again at once would never end.
        return Err(ChannelError::Storage(format!(
            "it ends at {at}, before what the router has read"
        )));
    }
    readers.retain(|reader| reader.read_ahead() <= KEPT_BYTES);
    readers.truncate(KEPT_READERS - 1);
    readers.insert(0, reader);
    let reached = lanes
        .partition_point(|(cursor, _)| *cursor <= batch.next.offset)
        .max(1);
    // The lanes share them, so that data is parsed once for all of them.
    let mut subjects: Vec<Subject<'_>> = batch
        .records
        .iter()
        .map(|record| Subject::new(&record.event))
        .collect();
    for (_, lane) in &lanes[..reached] {
        feed_batch(serving, lane, &batch, &mut subjects, costly).await;
    }
    Ok(reached)
}

/// Reads again, one by one, the positions that a lane owed when it was restored or its queue was dropped.
/// Each stays owed until it is queued: a commit may come while it is read.
async fn feed_owed(serving: &Arc<Serving>, lane: &Arc<Lane>) -> Result<(), ChannelError> {
    loop {
        let offset = {
            let inner = lane.inner.lock();
            match inner.window.next_owed() {
                Some(offset) if inner.is_hungry() => offset,
                _ => return Ok(()),
            }
        };
        let record = serving.channel.get(serving.at(offset)).await?;
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
                serving
                    .trigger_span(&lane.name)
                    .in_scope(|| tracing::error!(position = offset, "an owed event is gone from the log"));
            }
        }
        inner.window.was_read();
        serving.stir(lane, &mut inner);
    }
}

/// Feeds one lane from a stretch of the log, up to an event whose filter needs more than an allowance: that
/// is put off until the stretch is given back.
async fn feed_batch(
    serving: &Arc<Serving>,
    lane: &Arc<Lane>,
    batch: &Batch,
    // Not shared: a subject parses its data on demand, for one thread.
    subjects: &mut [Subject<'_>],
    costly: &mut Costly,
) {
    loop {
        let Some(asking) = Asking::of(lane, batch) else {
            return;
        };
        let answers = asking.ask(serving, lane, batch, subjects);
        if answers.is_empty() && asking.from < asking.end {
            let record = &batch.records[asking.from];
            costly.put_off(lane, asking, record);
            return;
        }
        if !offer(serving, lane, batch, &asking, &answers).await {
            return;
        }
        tokio::task::yield_now().await;
    }
}
