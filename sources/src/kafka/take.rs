//! Turns messages into runs of events, one for each partition.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use millrace_event::kafka::Header;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use smallvec::SmallVec;

use super::begin::Turn;
use super::fingerprint::Fingerprint;
use super::flow::Load;
use super::group::Group;
use super::partitions::Run;
use super::record::{Mapping, PartitionLife, Record, TooLarge};
use crate::Report;

/// Turns messages into events.
pub(super) struct Taking {
    pub(super) mapping: Mapping,
    pub(super) report: Report,
    /// Whether each event goes to the sink by itself. Then each record may be the last one done.
    pub(super) singly: bool,
}

/// The run that the present messages of a batch go to.
struct Current {
    run: Run,
    /// The index of its latest message.
    last: usize,
}

// === impl Taking ===

impl Taking {
    /// Adds messages to their runs. Returns the load that they add.
    pub(super) fn take_all(
        &mut self,
        consumer: &BaseConsumer<Group>,
        messages: &[BorrowedMessage<'_>],
        runs: &mut BTreeMap<PartitionLife, Run>,
    ) -> Load {
        let mut load = Load::default();
        // `None`: the messages of the partition are left out.
        let mut current: Option<Current> = None;
        let mut left_out: SmallVec<[usize; 4]> = SmallVec::new();
        let mut headers = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| &messages[before]);
            if !before.is_some_and(|before| are_of_one_partition(before, message)) {
                put_back(runs, current.take(), messages);
                if left_out
                    .iter()
                    .any(|&left_out| are_of_one_partition(&messages[left_out], message))
                {
                    continue;
                }
                let (place, takes) = match consumer.context().turn(consumer, message) {
                    Turn::Take(place) => (place, true),
                    Turn::PassBy(place) => (place, false),
                    Turn::Skip => {
                        left_out.push(index);
                        continue;
                    }
                };
                let run = runs.remove(&place);
                let run = run.unwrap_or_else(|| Run::beginning(place, message.offset()));
                current = Some(Current { run, last: index });
                if !takes {
                    continue;
                }
            }
            let Some(current) = &mut current else { continue };
            current.last = index;
            load.add(self.take(message, &mut headers, &mut current.run));
        }
        put_back(runs, current, messages);
        load
    }

    /// Adds one message to its run. Returns the load that it adds. `headers` has been used for the message
    /// before.
    fn take<'a>(
        &mut self,
        message: &'a BorrowedMessage<'_>,
        headers: &mut Vec<Header<'a>>,
        run: &mut Run,
    ) -> Load {
        let (place, offset) = (&run.place, message.offset());
        if let Err(why) = read_headers(message, headers) {
            self.report
                .taken_otherwise("attribute-left-out", format!("{place}@{offset}: {why}"));
        }
        let record = Record {
            place,
            offset,
            timestamp: message.timestamp().to_millis(),
            key: message.key(),
            value: message.payload(),
            headers,
        };
        let event = match self.mapping.event(&record) {
            Ok(mapped) => {
                for (code, why) in mapped.remarks {
                    tracing::debug!(%place, offset, code, why, "a record is not quite what it says");
                    self.report
                        .taken_otherwise(code, format!("{place}@{offset}: {why}"));
                }
                Some(mapped.event)
            }
            Err(TooLarge) => {
                let bytes = message.payload().map_or(0, <[u8]>::len);
                tracing::warn!(%place, offset, bytes, "a record is larger than an event may be, and is passed by");
                let why = format!(
                    "{place}@{offset}: a record of {bytes} bytes is larger than an event may be; passed by"
                );
                self.report.refused("record-too-large", why);
                None
            }
        };
        let bytes = event.as_ref().map_or(0, |event| event.stored().len());
        let load = Load { records: 1, bytes };
        if let Some(event) = event {
            run.events.push(event);
            run.offsets.push(offset);
            if self.singly {
                run.fingerprints.push(Fingerprint::of(message));
            }
        }
        run.mark.next = offset + 1;
        run.load.add(load);
        load
    }
}

/// Reads the headers of a message, in the place of those that were there. The binding breaks down over a name
/// that is not UTF-8, which Kafka stores all the same; that must not take the reading thread with it.
fn read_headers<'a>(
    message: &'a BorrowedMessage<'_>,
    headers: &mut Vec<Header<'a>>,
) -> Result<(), &'static str> {
    headers.clear();
    let Some(stored) = message.headers() else {
        return Ok(());
    };
    let read = || headers.extend(stored.iter().map(|header| (header.key, header.value)));
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| {
        headers.clear();
        "the name of a header is not UTF-8: its headers are left out"
    })
}

/// Puts a run back to the others, with the fingerprint of its last record.
fn put_back(
    runs: &mut BTreeMap<PartitionLife, Run>,
    done: Option<Current>,
    messages: &[BorrowedMessage<'_>],
) {
    // One that has none only passes the record by.
    if let Some(Current { mut run, last }) = done.filter(|current| current.run.load.records > 0) {
        run.mark.record = Some(Fingerprint::of(&messages[last]));
        runs.insert(run.place.clone(), run);
    }
}

fn are_of_one_partition(one: &BorrowedMessage<'_>, other: &BorrowedMessage<'_>) -> bool {
    one.topic_ptr() == other.topic_ptr() && one.partition() == other.partition()
}
