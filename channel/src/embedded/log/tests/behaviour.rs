//! What the log does when nothing breaks, and when the disk is full or an operation fails.

use std::time::Duration;

use super::super::simulated::DiskFault;
use super::*;

async fn append_many(log: &Log, ids: std::ops::Range<usize>) {
    for id in ids {
        assert_eq!(log.append(vec![event(id, 300)]).await, Ok(id as u64));
    }
}

#[tokio::test]
async fn a_reader_gets_everything_in_order_from_memory_and_from_disk() {
    for tail_bytes in [0, 2000, 8 << 20] {
        let disk = Disk::new(1);
        let (log, recovery) = open(
            &disk,
            &LogOptions {
                tail_bytes,
                ..options()
            },
        );
        assert_eq!(recovery, Recovery::default());
        append_many(&log, 0..50).await;
        assert_eq!(
            log.append((50..60).map(|id| event(id, 10)).collect()).await,
            Ok(50)
        );
        assert!(log.segments().len() > 3, "{:?}", log.segments());
        for from in [0, 1, 17, 49, 50, 55, 59, 60] {
            let (records, gaps) = read_all(&log, from).await;
            assert_eq!(
                records,
                (from..60)
                    .map(|at| (at, usize::try_from(at).unwrap()))
                    .collect::<Vec<_>>()
            );
            assert!(gaps.is_empty());
        }
        assert_eq!(log.get(55).unwrap().map(|record| id_of(&record)), Some(55));
        assert!(log.get(60).unwrap().is_none());
        assert!(log.read_disk(60, 1, 1).unwrap().records.is_empty());
        let batch = log.read_disk(52, 3, usize::MAX).unwrap();
        assert_eq!(batch.records.iter().map(id_of).collect::<Vec<_>>(), [52, 53, 54]);
        assert_eq!(batch.next.offset, 55);
        assert_eq!(
            log.read_disk(52, 100, 1).unwrap().records.len(),
            1,
            "at least one, however large"
        );
    }
}

#[tokio::test]
async fn who_keeps_up_reads_large_groups_from_memory() {
    let options = LogOptions {
        tail_bytes: LogOptions::default().tail_bytes,
        segment_bytes: 64 << 20,
        ..options()
    };
    let (log, _) = open(&Disk::new(1), &options);
    let mut reader = log.reader(0);
    let mut next = 0;
    for _ in 0..3 {
        // As much as four partitions of a KafkaSource give at once.
        let events: Vec<_> = (next..next + 4_000).map(|id| event(id, 1024)).collect();
        log.append(events).await.unwrap();
        let end = next + 4_000;
        while next < end {
            for record in reader.next(256, 1 << 20).await.unwrap().records {
                assert_eq!(id_of(&record), next);
                next += 1;
            }
        }
    }
    assert_eq!(log.metrics().disk_reads.get(), 0);
}

#[tokio::test]
async fn a_reader_waits_at_the_head_and_ends_with_the_log() {
    let (log, _) = open(&Disk::new(1), &options());
    let mut reader = log.reader(0);
    assert!(reader.try_next(1, 1).await.unwrap().records.is_empty());
    let waiting = tokio::spawn(async move {
        let batch = reader.next(10, 1000).await.unwrap();
        (batch.records.len(), reader.next(10, 1000).await)
    });
    append_many(&log, 0..1).await;
    log.close().await.unwrap();
    let (read, after) = waiting.await.unwrap();
    assert_eq!(read, 1);
    assert_eq!(after.unwrap_err(), ChannelError::Closed);
    assert_eq!(log.append(vec![event(1, 1)]).await, Err(LogError::Closed));
    assert_eq!(log.close().await, Ok(()));
}

#[tokio::test]
async fn what_is_reopened_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let files: Arc<dyn Files> = Arc::new(Folder::open(folder.path()).unwrap());
    for life in 0..4 {
        let (log, recovery) = Log::open(Arc::clone(&files), options(), 0).unwrap();
        assert_eq!(recovery, Recovery::default(), "life {life}");
        assert_eq!(log.head(), life * 20);
        let first = usize::try_from(life * 20).unwrap();
        append_many(&log, first..first + 20).await;
        assert_eq!(read_all(&log, 0).await.0.len(), first + 20);
        // Every other life ends without a farewell.
        if life % 2 == 0 {
            log.close().await.unwrap();
        }
    }
}

#[tokio::test]
async fn positions_that_state_names_are_skipped_for_good() {
    let disk = Disk::new(1);
    let (log, _) = open(&disk, &options());
    append_many(&log, 0..3).await;
    drop(log);
    let (log, recovery) = Log::open(Arc::new(disk.clone()), options(), 10).unwrap();
    assert_eq!(recovery.skipped, Some((3, 10)));
    assert_eq!(log.append(vec![event(10, 1)]).await, Ok(10));
    for log in [log, open(&disk, &options()).0] {
        let (records, gaps) = read_all(&log, 0).await;
        assert_eq!(records, [(0, 0), (1, 1), (2, 2), (10, 10)]);
        assert_eq!(
            gaps.iter()
                .map(|gap| (gap.from.offset, gap.to.offset, gap.reason))
                .collect::<Vec<_>>(),
            [(3, 10, GapReason::Unused)]
        );
    }
}

#[tokio::test]
async fn deleting_frees_whole_segments_and_leaves_a_gap() {
    let disk = Disk::new(1);
    let (log, _) = open(
        &disk,
        &LogOptions {
            tail_bytes: 0,
            ..options()
        },
    );
    append_many(&log, 0..60).await;
    let before = log.bytes();
    let segments = log.segments();
    let keep = segments[2].base;
    assert_eq!(
        log.delete_before(segments[2].end - 1),
        Ok(segments[0].bytes + segments[1].bytes)
    );
    assert_eq!(log.oldest(), keep);
    assert_eq!(log.bytes(), before - segments[0].bytes - segments[1].bytes);
    let (records, gaps) = read_all(&log, 0).await;
    assert_eq!(records.first(), Some(&(keep, usize::try_from(keep).unwrap())));
    assert_eq!(
        (gaps[0].from.offset, gaps[0].to.offset, gaps[0].reason),
        (0, keep, GapReason::Dropped)
    );
    assert!(log.get(0).unwrap().is_none());
    log.roll().await.unwrap();
    log.delete_before(u64::MAX).unwrap();
    assert_eq!((log.oldest(), log.head(), log.segments().len()), (60, 60, 1));
    drop(log);
    let (log, _) = open(&disk, &options());
    assert_eq!(log.append(vec![event(60, 1)]).await, Ok(60));
}

#[tokio::test]
async fn a_time_is_found_among_what_is_retained() {
    let (disk, options) = (Disk::new(1), options());
    let (log, _) = open(&disk, &options);
    for id in 0..40 {
        options.clock.advance(Duration::from_millis(10));
        log.append(vec![event(id, 300)]).await.unwrap();
    }
    options.clock.advance(Duration::from_millis(10));
    log.close().await.unwrap();
    drop(log);
    let log = open(&disk, &options).0;
    let start = 1_000_010;
    for (time, offset) in [
        (0, 0),
        (start, 0),
        (start + 1, 1),
        (start + 205, 21),
        (start + 390, 39),
        (start + 391, 40),
    ] {
        assert_eq!(log.offset_at(Timestamp(time)), Ok(offset), "{time}");
    }
    let segments = log.segments();
    assert!(
        segments.is_sorted_by(|a, b| a.first_time <= a.last_time && a.last_time <= b.last_time),
        "{segments:?}"
    );
}

#[tokio::test]
async fn a_full_disk_refuses_and_takes_again_when_there_is_room() {
    let disk = Disk::new(1);
    let (log, _) = open(
        &disk,
        &LogOptions {
            segment_bytes: 1 << 20,
            ..options()
        },
    );
    append_many(&log, 0..10).await;
    disk.set_capacity(4000);
    assert_eq!(log.append(vec![event(10, 1000)]).await, Err(LogError::DiskFull));
    assert_eq!(log.append(vec![event(10, 1000)]).await, Err(LogError::DiskFull));
    disk.set_capacity(u64::MAX);
    append_many(&log, 10..12).await;
    assert_eq!(log.segments().len(), 1, "a full disk costs no segments");
    assert_eq!(read_all(&log, 0).await.0.len(), 12);
    drop(log);
    assert_eq!(open(&disk, &options()).1, Recovery::default());
}

#[tokio::test]
async fn a_failed_sync_is_never_repeated_and_its_offsets_are_skipped() {
    let disk = Disk::new(3);
    let (log, _) = open(&disk, &options());
    append_many(&log, 0..3).await;
    // The write of the next append, then its sync.
    disk.set_fault(DiskFault::FailAt(disk.operations() + 1));
    let failed = log.append(vec![event(90, 10), event(91, 10)]).await;
    assert!(
        matches!(
            failed,
            Err(LogError::Io {
                operation: "sync",
                ..
            })
        ),
        "{failed:?}"
    );
    assert_eq!(log.head(), 3);
    assert_eq!(log.append(vec![event(5, 10)]).await, Ok(5));
    for log in [log, open(&disk, &options()).0] {
        let (records, gaps) = read_all(&log, 0).await;
        assert_eq!(records, [(0, 0), (1, 1), (2, 2), (5, 5)]);
        assert_eq!(gaps.len(), 1);
        assert_eq!(
            (gaps[0].from.offset, gaps[0].to.offset, gaps[0].reason),
            (3, 5, GapReason::Unused)
        );
    }
}

#[tokio::test]
async fn what_waits_is_bounded() {
    let (log, _) = open(
        &Disk::new(1),
        &LogOptions {
            max_waiting_bytes: 1000,
            ..options()
        },
    );
    // The first of these passes although it is larger than the bound; the second meets it.
    let first = log.inner.shared.queue.append(vec![event(0, 2000)]).unwrap();
    let second = log.inner.shared.queue.append(vec![event(1, 2000)]);
    assert!(matches!(second, Err(LogError::QueueFull)));
    log.inner.call();
    assert_eq!(first.await.unwrap(), Ok(0));
    let large = vec![event(0, 1); usize::from(u16::MAX) + 1];
    assert!(matches!(
        log.append(large).await,
        Err(LogError::TooLarge { events: 65_536, .. })
    ));
    assert_eq!(log.append(Vec::new()).await, Ok(log.head()));
}

#[tokio::test]
async fn many_producers_share_the_writer_without_losing_or_mixing_anything() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(
        Arc::new(Folder::open(folder.path()).unwrap()),
        LogOptions::default(),
        0,
    )
    .unwrap();
    let mut producers = tokio::task::JoinSet::new();
    for producer in 0..32 {
        let log = log.clone();
        producers.spawn(async move {
            let mut given = Vec::new();
            for turn in 0..20 {
                let first = producer * 1000 + turn * 2;
                let offset = log
                    .append(vec![event(first, 20), event(first + 1, 20)])
                    .await
                    .unwrap();
                given.extend([(offset, first), (offset + 1, first + 1)]);
            }
            given
        });
    }
    let mut given: Vec<_> = producers.join_all().await.into_iter().flatten().collect();
    given.sort_unstable();
    assert_eq!(read_all(&log, 0).await.0, given);
    // The writer counts an append off after it has answered it; what it does after that, it does for an
    // order.
    log.roll().await.unwrap();
    assert_eq!(log.waiting_bytes(), 0);
    assert!(
        log.metrics().groups.get() < log.metrics().appends.get(),
        "appends share syncs"
    );
}

#[tokio::test]
async fn without_syncs_an_explicit_one_makes_durable() {
    let disk = Disk::new(1);
    let options = LogOptions {
        durability: Durability::Os,
        ..options()
    };
    let (log, _) = open(&disk, &options);
    append_many(&log, 0..5).await;
    log.sync().unwrap();
    let before = disk.operations();
    log.sync().unwrap();
    assert_eq!(disk.operations(), before, "nothing was left to sync");
    disk.crash();
    drop(log);
    let (log, recovery) = open(&disk, &options);
    assert_eq!(recovery, Recovery::default());
    assert_eq!(read_all(&log, 0).await.0.len(), 5);
}

#[tokio::test]
async fn a_later_format_is_refused_in_words() {
    let disk = Disk::new(1);
    drop(open(&disk, &options()));
    disk.damage("00000000000000000000.log", |bytes| {
        for copy in bytes[..128].chunks_exact_mut(64) {
            copy[8] = 2;
            let checksum = crc32c::crc32c(&copy[..60]);
            copy[60..].copy_from_slice(&checksum.to_le_bytes());
        }
    });
    let refused = Log::open(Arc::new(disk), options(), 0).unwrap_err();
    assert!(
        matches!(refused, LogError::Format { version: 2, .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn the_age_of_a_segment_does_not_jump_with_the_wall_clock() {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    let (disk, options) = (Disk::new(1), options());
    let clock = &options.clock;
    let (log, _) = open(&disk, &options);
    let age = |log: &Log| clock.steady().since(log.segments()[0].last_steady);
    log.append(vec![event(0, 1)]).await.unwrap();
    for set in [clock.now().after(70 * YEAR), clock.now().before(2 * YEAR)] {
        clock.set(set);
        clock.advance(Duration::from_secs(60));
        assert_eq!(age(&log), Duration::from_secs(60));
        log.append(vec![event(1, 1)]).await.unwrap();
        assert_eq!(age(&log), Duration::ZERO);
    }
    clock.set(clock.now().after(70 * YEAR));
    log.append(vec![event(2, 1)]).await.unwrap();
    log.close().await.unwrap();
    drop(log);
    // The next process finds one time in the future and one in the past.
    clock.set(clock.now().before(70 * YEAR));
    clock.advance(Duration::from_secs(60));
    let log = open(&disk, &options).0;
    assert_eq!(age(&log), Duration::ZERO, "it gets older from now on");
    log.append(vec![event(3, 1)]).await.unwrap();
    drop(log);
    clock.advance(Duration::from_secs(3600));
    assert_eq!(age(&open(&disk, &options).0), Duration::from_secs(3600));
}

#[tokio::test]
async fn a_clean_end_makes_no_history_younger() {
    let (disk, options) = (Disk::new(1), options());
    let log = open(&disk, &options).0;
    log.append(vec![event(0, 1)]).await.unwrap();
    options.clock.advance(Duration::from_secs(3600));
    log.close().await.unwrap();
    drop(log);
    let log = open(&disk, &options).0;
    let age = options.clock.steady().since(log.segments()[0].last_steady);
    assert_eq!(age, Duration::from_secs(3600));
}

#[tokio::test]
async fn a_segment_from_the_future_gets_older_with_those_after_it_however_often_the_process_starts() {
    const DAY: Duration = Duration::from_secs(86_400);
    let (disk, options) = (Disk::new(1), options());
    let clock = &options.clock;
    let ages = |log: &Log| -> Vec<u64> {
        let segments = log.segments();
        let age = |segment: &SegmentInfo| clock.steady().since(segment.last_steady).as_secs() / 86_400;
        segments
            .iter()
            .filter(|segment| segment.end > segment.base)
            .map(age)
            .collect()
    };
    let log = open(&disk, &options).0;
    for (offset, set) in [(0, 0), (1, 70 * 365), (2, 0), (3, 0)] {
        let right = clock.now();
        clock.set(right.after(set * DAY));
        log.append(vec![event(offset, 1)]).await.unwrap();
        log.roll().await.unwrap();
        clock.set(right);
        clock.advance(DAY);
    }
    drop(log);
    for day in 0..3 {
        let log = open(&disk, &options).0;
        assert_eq!(ages(&log), [4 + day, 2 + day, 2 + day, 1 + day]);
        drop(log);
        clock.advance(DAY);
    }
}
