//! What is in hand of each partition, in which order it may be handed on, and up to where all of it is done.
//!
//! # Guarantees
//! - Ordered: a partition has one chunk on its way at a time, so the sink gets its records in their order.
//! - [`Partitions::done`] gives an offset only when every record before it is done.

use std::collections::{BTreeMap, VecDeque};

use millrace_event::Event;
use millrace_model::source::Ordering;

use super::fingerprint::{Fingerprint, Mark};
use super::flow::Load;
use super::record::PartitionLife;

/// The most records of a chunk, and the most bytes. A Broker takes 1 000 events and 8 MiB of data at once;
/// larger chunks than these were measured to be no faster, and take more memory.
pub(super) const CHUNK: Load = Load {
    records: 1_000,
    bytes: 1 << 20,
};
/// The most chunks of a partition that are on their way at once where the order does not matter.
const UNORDERED: usize = 32;

/// Records of one partition, one after the other.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) place: PartitionLife,
    pub(super) events: Vec<Event>,
    /// The offset of each event's record.
    pub(super) offsets: Vec<i64>,
    /// The fingerprint of each event's record, if each event goes by itself.
    pub(super) fingerprints: Vec<Fingerprint>,
    /// How far the partition is done after this. Of the last record there may be no event.
    pub(super) mark: Mark,
    /// Counts also the records of which there is no event.
    pub(super) load: Load,
}

/// What is handed on at once.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) ticket: Ticket,
    pub(super) events: Vec<Event>,
    /// The offset of each event's record.
    pub(super) offsets: Vec<i64>,
}

/// A chunk on its way.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub(super) place: PartitionLife,
    pub(super) load: Load,
    /// The runs of the partition that it is made of: the first one's number, and the number after the last
    /// one's.
    runs: (u64, u64),
}

/// All partitions of a source.
#[derive(Debug)]
pub(super) struct Partitions {
    ordering: Ordering,
    /// Whether each event is handed on by itself.
    singly: bool,
    all: BTreeMap<PartitionLife, Partition>,
}

#[derive(Debug, Default)]
struct Partition {
    /// Runs that wait, with their numbers.
    waiting: VecDeque<(u64, Run)>,
    /// Chunks on their way.
    on_the_way: usize,
    /// All runs that are not done up to their end, in order: how far each goes, and whether it is done.
    open: VecDeque<(Mark, bool)>,
    /// The number of the first of them.
    first: u64,
}

// === impl Run ===

impl Run {
    /// One of no record, at that offset.
    pub(super) fn beginning(place: PartitionLife, next: i64) -> Self {
        Self {
            place,
            events: Vec::new(),
            offsets: Vec::new(),
            fingerprints: Vec::new(),
            mark: Mark { next, record: None },
            load: Load::default(),
        }
    }
}

// === impl Partitions ===

impl Partitions {
    pub(super) fn new(ordering: Ordering, takes_batches: bool) -> Self {
        Self {
            ordering,
            singly: !takes_batches,
            all: BTreeMap::new(),
        }
    }

    /// Takes in what has been read.
    pub(super) fn add(&mut self, run: Run) {
        let partition = match self.all.get_mut(&run.place) {
            Some(partition) => partition,
            None => self.all.entry(run.place.clone()).or_default(),
        };
        if self.singly {
            singles(run).for_each(|run| partition.add(run));
        } else {
            partition.add(run);
        }
    }

    /// The next chunk of that partition that may be handed on now.
    pub(super) fn next(&mut self, place: &PartitionLife) -> Option<Chunk> {
        let most = match self.ordering {
            Ordering::Ordered => 1,
            Ordering::Unordered => UNORDERED,
        };
        let partition = self.all.get_mut(place)?;
        if partition.on_the_way >= most {
            return None;
        }
        let (first, run) = partition.waiting.pop_front()?;
        let Run {
            place,
            mut events,
            mut offsets,
            mut load,
            ..
        } = run;
        let mut after = first + 1;
        while !self.singly
            && let Some((number, next)) = partition.waiting.front()
            && load.records + next.load.records <= CHUNK.records
            && load.bytes + next.load.bytes <= CHUNK.bytes
        {
            after = number + 1;
            if let Some((_, next)) = partition.waiting.pop_front() {
                load.add(next.load);
                events.extend(next.events);
                offsets.extend(next.offsets);
            }
        }
        partition.on_the_way += 1;
        let runs = (first, after);
        let ticket = Ticket { place, load, runs };
        Some(Chunk {
            ticket,
            events,
            offsets,
        })
    }

    /// A chunk is done. Gives how far everything is done, if that has moved.
    pub(super) fn done(&mut self, ticket: &Ticket) -> Option<Mark> {
        let partition = self.all.get_mut(&ticket.place)?;
        partition.on_the_way = partition.on_the_way.saturating_sub(1);
        for number in ticket.runs.0..ticket.runs.1 {
            let index = usize::try_from(number.checked_sub(partition.first)?).ok()?;
            partition.open.get_mut(index)?.1 = true;
        }
        let mut moved = None;
        while let Some((mark, true)) = partition.open.front() {
            moved = Some(*mark);
            partition.open.pop_front();
            partition.first += 1;
        }
        moved
    }

    /// Forgets everything that waits.
    pub(super) fn forget_waiting(&mut self) {
        self.all
            .values_mut()
            .for_each(|partition| partition.waiting.clear());
    }

    /// Forgets everything: the partitions are somebody else's now.
    pub(super) fn forget(&mut self) {
        self.all.clear();
    }
}

// === impl Partition ===

impl Partition {
    fn add(&mut self, run: Run) {
        let number = self.first + u64::try_from(self.open.len()).unwrap_or(u64::MAX);
        self.open.push_back((run.mark, false));
        self.waiting.push_back((number, run));
    }
}

/// Each event of a run as a run of its own; the last one goes up to the run's end.
fn singles(run: Run) -> impl Iterator<Item = Run> {
    let Run {
        place,
        events,
        offsets,
        fingerprints,
        mark: end,
        load,
    } = run;
    let none = events.is_empty().then(|| Run {
        place: place.clone(),
        events: Vec::new(),
        offsets: Vec::new(),
        fingerprints: Vec::new(),
        mark: end,
        load,
    });
    let count = events.len();
    let share = Load {
        records: load.records / count.max(1),
        bytes: load.bytes / count.max(1),
    };
    let rest = Load {
        records: load.records - share.records * count.saturating_sub(1),
        bytes: load.bytes - share.bytes * count.saturating_sub(1),
    };
    let single = move |(index, (event, offset))| {
        let is_last = index + 1 == count;
        let own = Mark {
            next: offset + 1,
            record: fingerprints.get(index).copied(),
        };
        Run {
            place: place.clone(),
            events: vec![event],
            offsets: vec![offset],
            fingerprints: Vec::new(),
            mark: if is_last { end } else { own },
            load: if is_last { rest } else { share },
        }
    };
    let records = events.into_iter().zip(offsets);
    none.into_iter().chain(records.enumerate().map(single))
}

#[cfg(test)]
mod tests {
    use millrace_event::SpecVersion;

    use super::*;

    fn place() -> PartitionLife {
        PartitionLife {
            topic: "t".into(),
            partition: 0,
            life: 1,
        }
    }

    /// The record of this offset, as if its checksum were that too.
    fn fingerprint(offset: i64) -> Fingerprint {
        Fingerprint {
            offset,
            timestamp: 0,
            checksum: u32::try_from(offset).expect("it is small"),
        }
    }

    fn mark(next: i64, last: i64) -> Option<Mark> {
        let record = Some(fingerprint(last));
        Some(Mark { next, record })
    }

    fn run(offsets: std::ops::Range<i64>, next: i64) -> Run {
        let event = |offset: i64| {
            let event = Event::builder(SpecVersion::V10)
                .attribute("id", &offset.to_string())
                .attribute("source", "/s")
                .attribute("type", "t");
            event.build().expect("it is valid")
        };
        let events: Vec<_> = offsets.clone().map(event).collect();
        let load = Load {
            records: events.len().max(1),
            bytes: 10,
        };
        Run {
            place: place(),
            events,
            fingerprints: offsets.clone().map(fingerprint).collect(),
            offsets: offsets.collect(),
            mark: Mark {
                next,
                record: Some(fingerprint(next - 1)),
            },
            load,
        }
    }

    fn offsets(chunk: &Chunk) -> Vec<i64> {
        let ids = chunk.events.iter().map(Event::id);
        assert!(ids.eq(chunk.offsets.iter().map(i64::to_string)));
        chunk.offsets.clone()
    }

    #[test]
    fn ordered_one_chunk_is_on_its_way_and_what_came_meanwhile_is_the_next() {
        let mut all = Partitions::new(Ordering::Ordered, true);
        all.add(run(0..2, 2));
        let first = all.next(&place()).expect("a chunk");
        all.add(run(2..3, 3));
        all.add(run(3..5, 7));
        assert!(all.next(&place()).is_none());
        assert_eq!(all.done(&first.ticket), mark(2, 1));
        let second = all.next(&place()).expect("a chunk");
        assert_eq!(offsets(&second), [2, 3, 4]);
        assert_eq!(all.done(&second.ticket), mark(7, 6));
    }

    #[test]
    fn unordered_an_offset_waits_for_all_before_it() {
        let mut all = Partitions::new(Ordering::Unordered, true);
        all.add(run(0..2, 2));
        let first = all.next(&place()).expect("a chunk");
        all.add(run(2..3, 3));
        let second = all.next(&place()).expect("a chunk");
        assert_eq!(all.done(&second.ticket), None);
        assert_eq!(all.done(&first.ticket), mark(3, 2));
    }

    #[test]
    fn ordered_to_a_url_one_event_is_on_its_way_so_that_a_stop_waits_for_no_more() {
        let mut all = Partitions::new(Ordering::Ordered, false);
        all.add(run(0..2, 3));
        let first = all.next(&place()).expect("a chunk");
        assert_eq!(offsets(&first), [0]);
        assert!(all.next(&place()).is_none());
        assert_eq!(all.done(&first.ticket), mark(1, 0));
        let second = all.next(&place()).expect("a chunk");
        assert_eq!(all.done(&second.ticket), mark(3, 2));
    }

    #[test]
    fn unordered_to_a_url_each_event_goes_by_itself() {
        let mut all = Partitions::new(Ordering::Unordered, false);
        all.add(run(0..3, 9));
        let chunks: Vec<_> = std::iter::from_fn(|| all.next(&place())).collect();
        assert_eq!(chunks.iter().map(offsets).collect::<Vec<_>>(), [[0], [1], [2]]);
        let load = chunks.iter().fold(Load::default(), |mut load, chunk| {
            load.add(chunk.ticket.load);
            load
        });
        assert_eq!((load.records, load.bytes), (3, 10));
        assert_eq!(all.done(&chunks[2].ticket), None);
        assert_eq!(all.done(&chunks[0].ticket), mark(1, 0));
        assert_eq!(all.done(&chunks[1].ticket), mark(9, 8));
    }

    #[test]
    fn records_of_which_there_is_no_event_move_the_offset_too() {
        for takes_batches in [true, false] {
            let mut all = Partitions::new(Ordering::Unordered, takes_batches);
            all.add(run(0..0, 4));
            let chunk = all.next(&place()).expect("a chunk");
            assert!(chunk.events.is_empty());
            assert_eq!(all.done(&chunk.ticket), mark(4, 3));
        }
    }

    #[test]
    fn a_chunk_has_no_more_than_a_broker_takes_at_once() {
        let mut all = Partitions::new(Ordering::Ordered, true);
        for n in 0..3 {
            all.add(run(n * 600..(n + 1) * 600, (n + 1) * 600));
        }
        let first = all.next(&place()).expect("a chunk");
        assert_eq!(first.events.len(), 600);
        assert_eq!(all.done(&first.ticket), mark(600, 599));
    }
}
