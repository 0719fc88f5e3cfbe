//! One chunk on its way to the sink.
//!
//! # Guarantees
//! When a chunk that was [begun](begin) ends, each of its events is durable in the sink, in order, or was
//! refused for good: then it is counted, told with its coordinates, and passed by, so that one bad record
//! never holds up its partition.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{FutureExt as _, TryFutureExt as _};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::partitions::{Chunk, Ticket};
use crate::{Outlet, Report};

/// A chunk on its way. Dropping it ends that.
pub(super) type OnTheWay = Pin<Box<dyn Future<Output = Result<Ticket, BrokeDown>> + Send>>;

/// Carrying a chunk has panicked.
#[derive(Debug, thiserror::Error)]
#[error("carrying broke down")]
pub(super) struct BrokeDown;

/// Sends a chunk on its way. A Broker takes it within the task that waits for it: a task of its own costs two
/// wake-ups a chunk. Requests to a URL are more work, so they have one, and all threads share it.
pub(super) fn begin(outlet: Arc<Outlet>, report: Report, chunk: Chunk) -> OnTheWay {
    let takes_batches = outlet.takes_batches();
    let carried = carry(outlet, report, chunk);
    if takes_batches {
        return Box::pin(AssertUnwindSafe(carried).catch_unwind().map_err(|_| BrokeDown));
    }
    let carried = AbortOnDropHandle::new(tokio::spawn(carried.in_current_span()));
    Box::pin(carried.map_err(|_| BrokeDown))
}

/// Brings a chunk to the sink.
async fn carry(outlet: Arc<Outlet>, report: Report, chunk: Chunk) -> Ticket {
    let Chunk {
        ticket,
        offsets,
        events,
    } = chunk;
    // The parts that are left, the next one last.
    let whole = 0..events.len();
    let mut parts = vec![whole];
    while let Some(part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        let Err(refusal) = outlet.deliver(&events[part.clone()]).await else {
            continue;
        };
        if part.len() == 1 {
            let (place, offset) = (&ticket.place, offsets[part.start]);
            tracing::warn!(%place, offset, code = refusal.code, %refusal, "a record is passed by: its sink refuses it for good");
            report.refused(
                "refused-by-sink",
                format!("{place}@{offset}: {refusal}; passed by"),
            );
        } else {
            // None of them was taken; the one at fault is found by halves.
            let half = part.start + part.len() / 2;
            parts.extend([half..part.end, part.start..half]);
        }
    }
    ticket
}
