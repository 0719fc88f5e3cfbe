//! One chunk on its way to the sink.
//!
//! # Guarantees
//! When [`carry`] returns, each event of the chunk is durable in the sink, in order, or was refused for good: then it is counted,
//! told with its coordinates, and passed by, so that one bad record never holds up its partition.

use std::sync::Arc;

use millrace_event::Event;

use super::partitions::{Chunk, Ticket};
use crate::{Outlet, Report};

/// Brings a chunk to the sink.
pub(super) async fn carry(outlet: Arc<Outlet>, report: Report, chunk: Chunk) -> Ticket {
    let Chunk { ticket, events } = chunk;
    // The parts that are left, the next one last.
    let mut parts: Vec<Vec<(i64, Event)>> = if outlet.takes_batches() {
        vec![events]
    } else {
        events.into_iter().rev().map(|event| vec![event]).collect()
    };
    while let Some(mut part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        let events = part.iter().map(|(_, event)| event.clone()).collect();
        let Err(refusal) = outlet.deliver(events).await else {
            continue;
        };
        if let [(offset, _)] = part[..] {
            let place = &ticket.place;
            tracing::warn!(%place, offset, code = refusal.code, %refusal, "a record is passed by: its sink refuses it for good");
            report.refused(
                "refused-by-sink",
                format!("{place}@{offset}: {refusal}; passed by"),
            );
        } else {
            // None of them was taken; the one at fault is found by halves.
            let second = part.split_off(part.len() / 2);
            parts.extend([second, part]);
        }
    }
    ticket
}
