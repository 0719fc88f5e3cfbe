//! The promises of the log as a whole, over the simulated disk and over a real folder.

mod behaviour;
mod crash;
mod damage;
mod find;
mod gone;
mod past_cache;

use std::sync::Arc;

use bytes::Bytes;
use millrace_event::{DataForm, Event, SpecVersion, Timestamp};

use super::simulated::Disk;
use super::*;
use crate::{ChannelError, Gap, GapReason, Reader};

/// Small segments, so that few events make several.
const SEGMENT: u64 = 4096;

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: SEGMENT,
        clock: Clock::manual(Timestamp(1_000_000)),
        ..LogOptions::default()
    }
}

fn event(id: usize, bytes: usize) -> Event {
    let builder = Event::builder(SpecVersion::V10).attribute("id", &id.to_string());
    let builder = builder.attribute("source", "/log").attribute("type", "test");
    builder
        .data(DataForm::Bytes, &vec![u8::try_from(id % 251).unwrap() | 1; bytes])
        .build()
        .unwrap()
}

fn id_of(record: &Record) -> usize {
    record.event.id().parse().unwrap()
}

fn open(disk: &Disk, options: &LogOptions) -> (Log, Recovery) {
    Log::open(Arc::new(disk.clone()), options.clone(), 0).unwrap()
}

/// Everything from `from` on, through a reader: `(offset, id)` and the gaps. Checks that it covers each
/// offset once.
async fn read_all(log: &Log, from: u64) -> (Vec<(u64, usize)>, Vec<Gap>) {
    let mut reader = log.reader(from);
    let (mut records, mut gaps, mut covered) = (Vec::new(), Vec::new(), 0);
    loop {
        let batch = reader.try_next(7, 1 << 20).await.unwrap();
        if batch.records.is_empty() && batch.gaps.is_empty() {
            break;
        }
        covered += batch.records.len() as u64;
        covered += batch
            .gaps
            .iter()
            .map(|gap| gap.to.offset - gap.from.offset)
            .sum::<u64>();
        records.extend(
            batch
                .records
                .iter()
                .map(|record| (record.position.offset, id_of(record))),
        );
        gaps.extend(batch.gaps);
        assert_eq!(reader.position(), batch.next);
        assert_eq!(
            from + covered,
            batch.next.offset,
            "records and gaps cover what was read"
        );
    }
    assert!(records.is_sorted_by(|a, b| a.0 < b.0), "in order, none twice");
    assert_eq!(reader.position().offset, log.head().max(from));
    (records, gaps)
}
