//! Power is cut, or an operation fails, at every operation of a scripted run; then everything promised is
//! checked.

use std::collections::HashMap;

use tokio::task::JoinSet;

use super::super::header::{self, Head};
use super::super::simulated::DiskFault;
use super::*;

/// Runs of the script with a fault at each operation.
const SEEDS: u64 = 3;

/// What the producers know.
#[derive(Debug, Default)]
struct Ledger {
    /// Ids handed out so far.
    ids: usize,
    /// The ids of each append, answered or not.
    batches: Vec<Vec<usize>>,
    /// Id by offset, of what was answered.
    acknowledged: HashMap<u64, usize>,
    /// Deletions were asked for up to here.
    deleted: u64,
}

impl Ledger {
    fn batch(&mut self, sizes: &[usize]) -> Vec<Event> {
        let first = self.ids;
        self.ids += sizes.len();
        self.batches.push((first..self.ids).collect());
        sizes
            .iter()
            .enumerate()
            .map(|(index, size)| event(first + index, *size))
            .collect()
    }

    fn answered(&mut self, events: &[Event], offset: u64) {
        for (offset, event) in (offset..).zip(events) {
            let before = self.acknowledged.insert(offset, event.id().parse().unwrap());
            assert_eq!(before, None, "offset {offset} was given out twice");
        }
    }

    async fn append(&mut self, log: &Log, sizes: &[usize]) {
        let events = self.batch(sizes);
        if let Ok(offset) = log.append(events.clone()).await {
            self.answered(&events, offset);
        }
    }

    /// Appends at the same time, so that they form groups.
    async fn append_together(&mut self, log: &Log, batches: &[&[usize]]) {
        let mut together = JoinSet::new();
        for sizes in batches {
            let (log, events) = (log.clone(), self.batch(sizes));
            together.spawn(async move { (log.append(events.clone()).await, events) });
        }
        for (answer, events) in together.join_all().await {
            if let Ok(offset) = answer {
                self.answered(&events, offset);
            }
        }
    }
}

/// A life of the log with everything in it. Errors are taken as a producer takes them: it goes on.
async fn script(disk: &Disk, options: &LogOptions, ledger: &mut Ledger) {
    let mut ended_cleanly = false;
    for life in 0..3 {
        let options = LogOptions {
            ended_cleanly,
            ..options.clone()
        };
        let Ok((log, _)) = Log::open(Arc::new(disk.clone()), options, 0) else {
            return;
        };
        ledger.append(&log, &[10]).await;
        ledger.append(&log, &[700, 0, 30]).await;
        ledger
            .append_together(&log, &[&[600], &[5, 5], &[900], &[40, 1100, 2], &[1]])
            .await;
        ledger.append(&log, &[6000]).await;
        ledger.append(&log, &[500; 4]).await;
        let _ = log.roll().await;
        ledger.append_together(&log, &[&[300], &[300; 3], &[300]]).await;
        let keep = log
            .segments()
            .iter()
            .rev()
            .nth(2)
            .map_or(0, |segment| segment.base);
        ledger.deleted = ledger.deleted.max(keep);
        let _ = log.delete_before(keep);
        ledger.append(&log, &[20, 20]).await;
        if life == 1 {
            ended_cleanly = log.close().await.is_ok();
        }
    }
}

/// Reopens and checks every promise; then uses the log a little, and once more after that.
async fn check(disk: &Disk, options: &LogOptions, ledger: &mut Ledger, sync: bool) {
    for round in 0..2 {
        let (log, recovery) = Log::open(Arc::new(disk.clone()), options.clone(), 0).unwrap();
        assert_eq!(
            recovery.corrupt,
            [],
            "round {round}: a crash is no corruption: {:?}",
            disk.names()
        );
        let (records, gaps) = read_all(&log, log.oldest()).await;
        assert!(gaps.iter().all(|gap| gap.reason == GapReason::Unused), "{gaps:?}");
        assert!(
            disk.names().iter().all(|name| !name.contains("corrupt")),
            "{:?}",
            disk.names()
        );
        let by_offset: HashMap<u64, usize> = records.iter().copied().collect();
        for (offset, id) in &ledger.acknowledged {
            match by_offset.get(offset) {
                Some(found) => assert_eq!(found, id, "offset {offset} holds what was put there"),
                None => assert!(
                    !sync || (*offset < log.oldest() && *offset < ledger.deleted),
                    "round {round}: acknowledged offset {offset} is lost"
                ),
            }
            assert!(!sync || log.head() > *offset);
        }
        check_batches(ledger, &records, log.oldest());
        // What is there now may have been seen: none of it may change its place from here on.
        if !sync {
            ledger.acknowledged.clear();
        }
        for (offset, id) in records {
            ledger.acknowledged.insert(offset, id);
        }
        let before = ledger.acknowledged.len();
        ledger.append(&log, &[100, 100]).await;
        assert_eq!(ledger.acknowledged.len(), before + 2, "it can be written again");
        ledger
            .append_together(&log, &[&[1000], &[1000], &[1000; 2], &[10]])
            .await;
    }
}

fn check_batches(ledger: &Ledger, records: &[(u64, usize)], oldest: u64) {
    let by_id: HashMap<usize, u64> = records.iter().map(|(offset, id)| (*id, *offset)).collect();
    assert_eq!(by_id.len(), records.len(), "no event twice");
    for batch in &ledger.batches {
        let found: Vec<u64> = batch.iter().filter_map(|id| by_id.get(id).copied()).collect();
        assert!(
            found.is_empty() || found.len() == batch.len(),
            "a batch is whole or not there: {batch:?} {found:?}"
        );
        assert!(
            found.windows(2).all(|pair| pair[0] + 1 == pair[1]),
            "a batch stands together"
        );
    }
    assert!(
        records
            .iter()
            .all(|(offset, id)| *offset >= oldest && *id < ledger.ids)
    );
}

/// Runs the script with a fault at every operation, until it ends before the fault.
async fn at_every_operation(durability: Durability, fault: impl Fn(u64) -> DiskFault, seeds: u64) {
    for seed in 0..seeds {
        for at in 0.. {
            let (disk, mut ledger) = (Disk::new(seed * 1_000_003 + at), Ledger::default());
            // Nothing from memory: what is read is what the disk has.
            let options = LogOptions {
                durability,
                tail_bytes: 0,
                ..options()
            };
            disk.set_fault(fault(at));
            script(&disk, &options, &mut ledger).await;
            let ended = disk.operations() <= at;
            assert!(ended || disk.is_off() || matches!(fault(at), DiskFault::FailAt(_)));
            disk.crash();
            check(&disk, &options, &mut ledger, durability == Durability::Sync).await;
            if ended {
                assert!(at > 60, "the script does something: {at}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_power_cut_at_any_operation_loses_nothing_that_was_acknowledged() {
    at_every_operation(Durability::Sync, DiskFault::CutAt, SEEDS).await;
}

#[tokio::test]
async fn a_failure_of_any_operation_followed_by_a_power_cut_loses_nothing_that_was_acknowledged() {
    at_every_operation(Durability::Sync, DiskFault::FailAt, SEEDS).await;
}

/// The state of a new Broker says that its last run ended cleanly, also if the process was killed while it
/// made the log.
#[tokio::test]
async fn what_a_killed_process_left_unsynced_is_synced_before_it_is_written_to() {
    for seed in 0..20 {
        let disk = Disk::new(seed);
        let head = Head {
            marker: 7,
            base: 0,
            previous_end: 0,
            created: Timestamp(1),
        };
        let file = disk.create(&header::file_name(0)).unwrap();
        file.write_at(&head.encode(), 0).unwrap();
        let options = LogOptions {
            ended_cleanly: true,
            ..options()
        };
        let (log, _) = open(&disk, &options);
        log.look_over().await.unwrap();
        assert!(log.rest(), "nothing is owed");
        assert_eq!(log.append(vec![event(0, 10)]).await, Ok(0));
        drop(log);
        disk.crash();
        let (log, recovery) = open(&disk, &options);
        assert_eq!((log.head(), recovery), (1, Recovery::default()), "seed {seed}");
    }
}

#[tokio::test]
async fn without_syncs_a_power_cut_leaves_a_whole_beginning() {
    at_every_operation(Durability::Os, DiskFault::CutAt, SEEDS).await;
}

#[tokio::test]
async fn without_syncs_the_end_of_the_process_loses_nothing() {
    let (disk, mut ledger) = (Disk::new(1), Ledger::default());
    let options = LogOptions {
        durability: Durability::Os,
        tail_bytes: 0,
        ..options()
    };
    script(&disk, &options, &mut ledger).await;
    check(&disk, &options, &mut ledger, true).await;
}

#[tokio::test]
async fn a_disk_that_is_full_at_any_size_loses_nothing_that_was_acknowledged() {
    for capacity in (0..20_000).step_by(97) {
        let (disk, mut ledger) = (Disk::new(capacity), Ledger::default());
        let options = LogOptions {
            tail_bytes: 0,
            ..options()
        };
        disk.set_capacity(capacity);
        script(&disk, &options, &mut ledger).await;
        disk.set_capacity(u64::MAX);
        disk.crash();
        check(&disk, &options, &mut ledger, true).await;
    }
}
