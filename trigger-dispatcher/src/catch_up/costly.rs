//! Events behind the head whose filter needs more than an allowance.

use std::sync::Arc;

use millrace_channel::{Batch, Record};

use super::BATCH_BYTES;
use super::asking::{Asking, offer};
use crate::lane::Lane;
use crate::serving::Serving;

/// Events that need turns, each the next one of its lane. They are decided without a stretch: while one
/// Broker waits for its turns, others read.
#[derive(Default)]
pub(super) struct Costly {
    pub(super) events: Vec<(Arc<Lane>, Asking, Record)>,
    bytes: usize,
}

// === impl Costly ===

impl Costly {
    /// Keeps the event for later. Beyond a batch's bytes it is dropped: its lane asks again.
    pub(super) fn put_off(&mut self, lane: &Arc<Lane>, asking: Asking, record: &Record) {
        let same = self.events.last().map(|(_, _, last)| last);
        let record = match same.filter(|last| last.position == record.position) {
            Some(same) => same.clone(),
            None if self.bytes >= BATCH_BYTES => return,
            None => {
                self.bytes += record.event.stored().len();
                Record {
                    event: record.event.compact(),
                    ..record.clone()
                }
            }
        };
        self.events.push((lane.clone(), asking, record));
    }

    /// Decides on all of them. `false`: the broker is no longer served.
    pub(super) async fn decide(self, serving: &Arc<Serving>) -> bool {
        for (lane, asking, record) in self.events {
            let Some(answer) = asking.ask_in_turns(serving, &record.event).await else {
                return false;
            };
            let next = serving.at(record.position.offset + 1);
            let batch = Batch {
                records: vec![record],
                next,
                ..Batch::default()
            };
            let asking = Asking {
                from: 0,
                end: 1,
                ..asking
            };
            offer(serving, &lane, &batch, &asking, &[answer]).await;
        }
        true
    }
}
