//! The reader at the log's head: each event is read once and given to the lanes that want it.

use std::sync::Arc;

use millrace_channel::{Batch, GapReason};
use millrace_event::Event;
use millrace_filter::{Allowance, Matching, Subject};

use crate::lane::{Lane, Place, at};
use crate::observer::Observation;
use crate::serving::{Routes, Serving};

/// Events and bytes of one batch; small enough that the lock on the routes is short.
const BATCH_EVENTS: usize = 256;
const BATCH_BYTES: usize = 1 << 20;

/// Reads and routes until the broker is no longer served.
pub(crate) async fn run(serving: Arc<Serving>) {
    let start = serving.routes.lock().position;
    let mut reader = serving.channel.reader(at(start));
    let mut found = Matching::default();
    loop {
        let batch = tokio::select! {
            () = serving.stop.cancelled() => return,
            batch = reader.next(BATCH_EVENTS, BATCH_BYTES) => batch,
        };
        match batch {
            Ok(batch) => {
                let _gate = serving.gate.lock().await;
                route(&serving, &batch, &mut found);
            }
            Err(error) => {
                tracing::error!(broker = %serving.broker, %error, "the log cannot be read; trying again in a second");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                reader = serving.channel.reader(at(serving.routes.lock().position));
            }
        }
    }
}

fn route(serving: &Arc<Serving>, batch: &Batch, found: &mut Matching) {
    report_gaps(serving, batch);
    let observer = serving.observer();
    let mut routes = serving.routes.lock();
    let mut errors = 0;
    for record in &batch.records {
        found.clear();
        let subject = Subject::new(&record.event);
        routes
            .index
            .matching_within(&subject, &Allowance::unlimited(), found);
        let matches = &found.matched;
        errors += u64::from(subject.errors());
        if let Some(observer) = observer {
            let triggers: Vec<_> = matches
                .iter()
                .filter_map(|key| routes.lanes.get(key))
                .map(|lane| lane.name.clone())
                .collect();
            observer.tell(&Observation::Matched {
                broker: &serving.broker,
                position: record.position,
                event: &record.event,
                triggers: &triggers,
            });
        }
        if matches.is_empty() {
            continue;
        }
        // Queues may keep it for long: not with all that was read or stored together with it.
        let event = record.event.compact();
        for key in matches.iter() {
            if let Some(lane) = routes.lanes.get(key) {
                give(serving, lane, record.position.offset, &event);
            }
        }
    }
    serving.metrics.filter_errors.inc_by(errors);
    serving.metrics.routed.inc_by(batch.records.len() as u64);
    moved(serving, &mut routes, batch.next.offset);
}

fn give(serving: &Arc<Serving>, lane: &Arc<Lane>, offset: u64, event: &Event) {
    let mut inner = lane.inner.lock();
    let Place::Live { from } = inner.place else { return };
    if offset < from {
        return;
    }
    if inner.offer(offset, event, &serving.common.budget) {
        serving.metrics.matched.inc();
    } else {
        inner.leave_router(offset);
        serving.metrics.fell_behind.inc();
    }
    serving.stir(lane, &mut inner);
}

fn moved(serving: &Arc<Serving>, routes: &mut Routes, position: u64) {
    routes.position = position;
    if !routes.position_moved {
        routes.position_moved = true;
        serving.dirty_waker.notify_one();
    }
}

/// Positions that are gone are counted and told; only the router does so, so that each is told once.
fn report_gaps(serving: &Serving, batch: &Batch) {
    for gap in &batch.gaps {
        let events = gap.to.offset - gap.from.offset;
        if gap.reason == GapReason::Corrupt {
            serving.metrics.lost.inc_by(events);
            tracing::error!(broker = %serving.broker, from = %gap.from, to = %gap.to, "events are corrupt and cannot be delivered");
        }
    }
}
